"""Ctrl-C while the command is being loaded, and the garbage collector."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys

import pytest

from l8s_cli import main, start

SCRIPT = """
import os, signal, sys

class Finder:
    def find_spec(self, name, *_):
        if name == "click":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
signal.signal(signal.SIGINT, signal.{before})
sys.argv[1:] = ["--help"]
from l8s_cli.start import run
run()
"""


@pytest.mark.parametrize(("before", "code"), [("default_int_handler", 130), ("SIG_IGN", 0)])
def test_an_interrupt_ends_it_quietly_unless_it_is_ignored(before: str, code: int) -> None:
    script = SCRIPT.format(before=before)
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=30)
    assert ran.returncode == code
    assert ran.stderr == ("\nError: Interrupted.\n" if code else "")


def test_the_command_has_its_own_way_with_interrupts_and_its_end_ignores_them(monkeypatch: pytest.MonkeyPatch) -> None:
    before, thresholds = signal.getsignal(signal.SIGINT), gc.get_threshold()
    seen: list[object] = []
    monkeypatch.setattr(main, "cli", lambda: seen.append(signal.getsignal(signal.SIGINT)))
    try:
        start.run()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
        gc.set_threshold(*thresholds)
        gc.unfreeze()
    assert seen == [before]


def test_little_is_collected_in_a_life_this_short() -> None:
    code = (
        "import atexit, gc, sys\n"
        "from l8s_cli.start import FEW_COLLECTIONS, run\n"
        "collected = []\n"
        "gc.callbacks.append(lambda phase, info: collected.append(info['generation']))\n"
        "def told(): print(gc.get_threshold()[0] == FEW_COLLECTIONS, gc.get_freeze_count() > 1000, collected)\n"
        "atexit.register(told)\n"
        "sys.argv[1:] = ['--help']\n"
        "run()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "True True []", done.stderr
