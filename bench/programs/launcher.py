"""Runs a command and writes its wall seconds, processor seconds, peak kilobytes and wait status to a file.

    python -I -S launcher.py FILE COMMAND...

A process of its own, and a small one, because a child's peak memory begins with that of the process that started it
(exec_mmap in Linux's fs/exec.c, `signal->maxrss`): measured from the bench itself nothing would be smaller than that.
"""

import os
import sys
import time

begun = time.perf_counter()
pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
seconds = time.perf_counter() - begun
with open(sys.argv[1], "w") as report:  # noqa: PTH123  pathlib would double the size of this process
    print(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, status, file=report)
