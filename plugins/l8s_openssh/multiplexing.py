"""Where ssh keeps the sockets of its shared connections (ControlPath).

A unix socket's path is short by nature: 108 bytes on Linux, 104 on macOS (unix(7)). Of these ssh takes 17 for
the suffix of a temporary name and one for the final NUL, and ``%C`` takes 40.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from attrs import frozen

from l8s_core import files

LONGEST = 104 - 1 - 17 - len("/") - 40
"""Bytes of the longest directory whose sockets ssh can make on every system."""


@frozen
class Multiplexing:
    """The directory of the sockets. A ``guarded`` one is used only while it exists and is the user's own."""

    directory: str
    guarded: bool = False


def choose(home: Path, uid: int) -> Multiplexing:
    """``~/.l8s/control``; a directory in ``/tmp`` for a home directory whose name is too long.

    ``/tmp`` is emptied at boot, and anyone may then make a directory of that name. ssh checks neither: it
    fails without the directory, and trusts a socket that it finds. So the entry has to.
    """
    directory = home / ".l8s" / "control"
    if len(os.fsencode(directory)) <= LONGEST:
        return Multiplexing(str(directory))
    return Multiplexing(f"/tmp/l8s-{uid}", guarded=True)  # noqa: S108


def prepare(place: Multiplexing) -> None:
    """Make the directory, 0700.

    Raises:
        LocalFileError: the one in the home directory cannot be made. Without one in ``/tmp`` ssh is slower.
    """
    directory = Path(place.directory)
    if not place.guarded:
        files.private_dir(files.state_dir())
        files.private_dir(directory)
        return
    with contextlib.suppress(OSError):
        directory.mkdir(mode=0o700, exist_ok=True)
        if not directory.is_symlink() and directory.stat().st_uid == os.geteuid():
            directory.chmod(0o700)
