"""Ctrl-C while the command is being loaded."""

from __future__ import annotations

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
    before = signal.getsignal(signal.SIGINT)
    seen: list[object] = []
    monkeypatch.setattr(main, "cli", lambda: seen.append(signal.getsignal(signal.SIGINT)))
    try:
        start.run()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [before]
