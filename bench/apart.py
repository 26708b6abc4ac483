"""What the measuring process asks the kernel for itself: mounts of its own, and to end with its parent."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from pathlib import Path

CLONE_NEWNS = 0x20000
"""unshare(2)."""

PR_SET_PDEATHSIG = 1
"""prctl(2)."""


def end_with_parent() -> None:
    """From here on this process gets SIGTERM when its parent ends, also when that is killed."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def private_mounts(home: Path) -> None:
    """From here on this process's mounts are its own, and root's home is ``home``.

    ssh takes a home from the password database and not from HOME, and what rivals write there is not for root's own.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    _mount("--make-rprivate", "/")
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    lines = [line.split(":") for line in Path("/etc/passwd").read_text().splitlines()]
    passwd = home.with_suffix(".passwd")
    passwd.write_text(
        "".join(
            ":".join([*entry[:5], str(home), *entry[6:]] if entry[0] == "root" else entry) + "\n" for entry in lines
        )
    )
    _mount("--bind", str(passwd), "/etc/passwd")


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)
