"""Ctrl-C while the command is being loaded, the garbage collector, and the end of the process."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
from pathlib import Path

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

    def cli() -> None:
        seen.append(signal.getsignal(signal.SIGINT))
        sys.exit(3)

    def end(code: int) -> None:
        seen.extend([code, signal.getsignal(signal.SIGINT)])

    monkeypatch.setattr(main, "cli", cli)
    monkeypatch.setattr(start, "_end", end)
    try:
        start.run()
    finally:
        signal.signal(signal.SIGINT, before)
        gc.set_threshold(*thresholds)
    assert seen == [before, 3, signal.SIG_IGN]


def test_nothing_is_collected_in_a_life_this_short() -> None:
    code = (
        "import atexit, gc, sys\n"
        "from l8s_cli.start import FEW_COLLECTIONS, run\n"
        "collected = []\n"
        "gc.callbacks.append(lambda phase, info: collected.append(info['generation']))\n"
        "def told(): print(gc.get_threshold()[0] == FEW_COLLECTIONS, collected)\n"
        "atexit.register(told)\n"
        "sys.argv[1:] = ['--help']\n"
        "run()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "True []", done.stderr


ENDING = """
import atexit, sys, threading, time
from l8s_cli import main, start

class Left:
    def __del__(self): print("taken apart", flush=True)

left = Left()
left.itself = left

def slow():
    time.sleep(0.2)
    print("a thread that is no daemon", end=" ")

def cli():
    threading.Thread(target=slow).start()
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    atexit.register(lambda: print("at exit", end=" "))
    print("said", end=" ")
    sys.exit({code})

main.cli = cli
start.run()
"""


@pytest.mark.parametrize("code", [0, 7, None])
def test_its_end_waits_for_what_python_waits_for_and_takes_nothing_apart(code: int | None) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDING.format(code=code)], capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.stdout, done.stderr) == ("said a thread that is no daemon at exit ", "")
    assert done.returncode == (code or 0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_output_that_could_not_be_written_at_the_end_is_no_success() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", ENDING.format(code=0)], stdout=full, check=False, timeout=30)
    assert done.returncode == 1
