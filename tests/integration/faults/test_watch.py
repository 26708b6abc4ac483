"""What a command of the battery cost is counted for all its processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from battery import Watch


def watched(*argv: str) -> tuple[Watch, float]:
    """Run a command to its end; what was seen of it, and how many seconds it took."""
    began = time.monotonic()
    process = subprocess.Popen(argv)
    watch = Watch(process.pid)
    while process.poll() is None:
        watch.look()
        time.sleep(0.005)
    return watch, time.monotonic() - began


def test_the_memory_of_a_process_below_counts() -> None:
    program = "import time; held = bytearray(200_000_000); time.sleep(0.5)"
    watch, _ = watched("sh", "-c", f"{sys.executable} -c '{program}'; true")
    assert 200_000_000 < watch.peak < 300_000_000


def test_two_on_one_processor_keep_each_other_waiting() -> None:
    spin = "import time; end = time.monotonic() + 1\nwhile time.monotonic() < end: pass"
    share = f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}}); " + spin
    both = '"$0" -c "$1" & "$0" -c "$1"; wait'
    watch, seconds = watched("sh", "-c", both, sys.executable, share)
    assert 0.2 < watch.kept_waiting <= seconds
