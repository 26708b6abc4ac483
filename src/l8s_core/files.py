"""The one place that writes files on the laptop: whole, atomically, privately, under a lock.

Not here: what is in them, and the rules for the user's ``~/.ssh/config`` (the ssh-config writer's business).
Every `OSError` becomes a `LocalFileError` that names the path, the reason and the next step.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from l8s_core.errors import FileBusy, LocalFileError

UPDATE_ATTEMPTS = 20
"""How often `update` begins anew because of another program; each takes as long as the disk needs for one write."""

LATE_WRITERS = 2.0
"""Seconds that `update` waits for programs that have the old file open for writing."""


def state_dir() -> Path:
    """``~/.l8s``, where everything that l8s keeps on the laptop lives."""
    return Path.home() / ".l8s"


def display(path: Path) -> str:
    """``path`` as messages show it: ``~/...`` when it is under the home directory."""
    try:
        return str(Path("~") / path.relative_to(Path.home()))
    except (ValueError, RuntimeError):
        return str(path)


def private_dir(path: Path) -> None:
    """Make ``path`` and its missing parents, each 0700.

    An existing directory keeps its mode, unless it is l8s's own (`state_dir` or below) and open to others:
    then it is tightened to 0700.

    Raises:
        LocalFileError: it cannot be made, is no directory, or is l8s's own but belongs to someone else.
    """
    try:
        missing = [path]
        while not missing[-1].parent.exists():
            missing.append(missing[-1].parent)
        for directory in reversed(missing):
            with contextlib.suppress(FileExistsError):
                directory.mkdir(mode=0o700)
        found = path.stat()
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not path.is_relative_to(state_dir()):
            return
        if os.geteuid() not in (0, found.st_uid):
            raise PermissionError(errno.EPERM, "it belongs to another user")
        if found.st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise _failed("cannot use the directory", path, error) from error


def read_limited(path: Path, limit: int) -> bytes | None:
    """The bytes of a file, or None when there is none.

    Raises:
        LocalFileError: it cannot be read, is not a regular file, or has more than ``limit`` bytes.
    """
    try:
        # Without O_NONBLOCK opening a FIFO would wait for a writer for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _failed("cannot read", path, error) from error
    try:
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file")
            data = file.read(limit + 1)
    except OSError as error:
        raise _failed("cannot read", path, error) from error
    if len(data) > limit:
        raise LocalFileError(
            f"cannot read {display(path)}: it is larger than {limit // 1024} KiB",
            hints=(f"Look at what is in it: ls -l {display(path)}",),
        )
    return data


def write_atomic(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace a file's whole content, so that a reader sees the old bytes or the new ones and nothing else.

    Symlinks are followed, and a dangling one gets its target made. An existing file keeps its mode (and its
    owner, when root writes); a new one gets ``mode``. The bytes are on the disk when this returns. Whatever
    fails, the old file stays and no temporary file is left; that of a process that was killed, the next write of the
    same file clears away.

    Raises:
        LocalFileError: no such directory, no permission, no space, another user's file, no regular file.
    """
    try:
        target = Path(os.path.realpath(path))
        with _beside(target, data, mode) as temporary:
            temporary.replace(target)
        _sync_directory(target.parent)
    except OSError as error:
        raise _failed("cannot write", path, error) from error


def update(path: Path, change: Callable[[bytes | None], bytes | None], *, limit: int, mode: int = 0o600) -> None:
    """Make a file's content what ``change`` makes of it; when that is the same (or None), the file is not touched.

    `locked` keeps other l8s processes away, and nobody else: an editor, a script, ``ssh-keygen -R`` know nothing of
    it. When the file is no longer what ``change`` was given, nothing is written and it is asked again; what a program
    appends that had it open at the moment of the exchange is appended to the new file. (Left is one that keeps it
    open for longer than `LATE_WRITERS`, or on a system without leases at all; and one that replaces the file in the
    microseconds between the last look and the exchange.)

    Otherwise as `write_atomic`.

    Raises:
        LocalFileError: as `read_limited` and `write_atomic`, or it would have more than ``limit`` bytes.
        FileBusy: another program changed it each of `UPDATE_ATTEMPTS` times.
    """
    for _ in range(UPDATE_ATTEMPTS):
        before = read_limited(path, limit)
        after = change(before)
        if after is None or after == before:
            return
        if len(after) > limit:
            raise LocalFileError(
                f"cannot write {display(path)}: it would be larger than {limit // 1024} KiB",
                hints=(f"Remove from it what is not needed: ls -l {display(path)}",),
            )
        try:
            if _exchanged(Path(os.path.realpath(path)), before, after, mode):
                return
        except OSError as error:
            raise _failed("cannot write", path, error) from error
    raise FileBusy(
        f"{display(path)} is in use: another program writes it all the time",
        hints=(f"See which: fuser -v {display(path)}", "When it has ended, run the same command again"),
    )


@contextlib.contextmanager
def locked(path: Path, *, timeout: float = 10.0) -> Iterator[None]:
    """Hold the lock that belongs to ``path`` against other l8s processes; not reentrant.

    The lock file lives in ``~/.l8s/locks`` and stays there: removing it would let two processes hold it.

    Raises:
        FileBusy: another process still holds it after ``timeout`` seconds.
        LocalFileError: locking fails there.
    """
    import hashlib

    from filelock import FileLock, Timeout  # imported late: it pulls in asyncio

    directory = state_dir() / "locks"
    private_dir(state_dir())
    private_dir(directory)
    name = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:16]
    lock = FileLock(directory / f"{name}.lock", timeout=timeout, mode=0o600)
    try:
        lock.acquire()
    except Timeout as error:
        raise FileBusy(
            f"{display(path)} is in use: another l8s command holds its lock for more than {timeout:g} s",
            hints=(
                "See what is running: pgrep -af l8s",
                f"See who holds the lock: fuser -v {display(directory / f'{name}.lock')}",
            ),
        ) from error
    except (OSError, NotImplementedError) as error:
        reason = error if isinstance(error, OSError) else OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        raise _failed("cannot lock", path, reason) from error
    try:
        yield
    finally:
        lock.release()


def remove(path: Path) -> None:
    """Remove a file of l8s's own; that there is none is fine.

    Raises:
        LocalFileError: it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _failed("cannot remove", path, error) from error


def _exchanged(target: Path, before: bytes | None, after: bytes, mode: int) -> bool:
    """Replace ``before`` by ``after``; False when the file is not ``before`` any more. Raises `OSError`."""
    with _beside(target, after, mode) as temporary, contextlib.ExitStack() as stack:
        old: int | None = None
        with contextlib.suppress(FileNotFoundError):
            old = os.open(target, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            stack.callback(os.close, old)
        if (None if old is None else _all_of(old)) != before:
            return False
        temporary.replace(target)
        _sync_directory(target.parent)
        if old is not None and before is not None:
            _wait_for_writers(old)
            late = _all_of(old)
            if len(late) > len(before) and late.startswith(before):
                with target.open("ab", buffering=0) as file:
                    file.write(late[len(before) :])
    return True


def _wait_for_writers(descriptor: int) -> None:
    """Wait until nobody has a replaced file open for writing, where the system can tell.

    A read lease is refused while somebody has (fcntl(2), F_SETLEASE). Nobody can open a file without a name any
    more, and so nothing ever breaks the lease, which would send us a signal.
    """
    deadline = time.monotonic() + LATE_WRITERS
    while sys.platform == "linux" and os.fstat(descriptor).st_nlink == 0:
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError as error:
            if error.errno != errno.EAGAIN or time.monotonic() > deadline:
                return
            time.sleep(0.005)
        else:
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            return


def _all_of(descriptor: int) -> bytes:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        return file.read()


@contextlib.contextmanager
def _beside(target: Path, data: bytes, mode: int) -> Iterator[Path]:
    """``data`` in a file beside ``target``, on the disk, with its mode and owner; gone again unless it is renamed.

    Raises:
        OSError: it cannot be written, or ``target`` must not be replaced.
    """
    owner: tuple[int, int] | None = None
    try:
        found = target.lstat()
    except FileNotFoundError:
        pass
    else:
        if stat.S_ISLNK(found.st_mode):  # realpath leaves a link only when links form a loop
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if not stat.S_ISREG(found.st_mode):  # renaming over /dev/null would be a disaster
            raise OSError(errno.EINVAL, "it is not a regular file")
        if os.geteuid() not in (0, found.st_uid):
            raise PermissionError(errno.EPERM, "it belongs to another user")
        mode = stat.S_IMODE(found.st_mode)
        owner = (found.st_uid, found.st_gid)

    _sweep(target)
    descriptor, temporary = _temporary(target)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if owner is not None and os.geteuid() == 0:
                os.fchown(descriptor, *owner)
            elif owner is not None:
                with contextlib.suppress(OSError):  # a group that we are not in any more
                    os.fchown(descriptor, -1, owner[1])
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
            yield temporary  # open until it has its name: so long it is locked
    finally:
        temporary.unlink(missing_ok=True)


def _temporary(target: Path) -> tuple[int, Path]:
    """A new file beside ``target``, and locked, by which `_sweep` knows that whoever writes it lives."""
    import tempfile  # imported late: it pulls in shutil and every compressor

    while True:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=_prefix(target))
        with contextlib.suppress(OSError):  # where there are no locks nothing is swept
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor, Path(name)
        os.close(descriptor)  # it was swept in the moment before it was locked


def _prefix(target: Path) -> str:
    return f".{target.name[:80]}.l8s-"


def _sweep(target: Path) -> None:
    """Remove what processes that were killed while they wrote ``target`` have left beside it."""
    ours = re.compile(re.escape(_prefix(target)) + "[a-z0-9_]{8}")  # as tempfile makes names
    with contextlib.suppress(OSError), os.scandir(target.parent) as found:
        left = [entry.path for entry in found if ours.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)]
        for path in left:
            with contextlib.suppress(OSError):  # it is being written, or it is somebody else's
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    Path(path).unlink()
                finally:
                    os.close(descriptor)


def _sync_directory(directory: Path) -> None:
    """Put the rename itself on the disk; some network file systems cannot, and that loses nothing old."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failed(what: str, path: Path, error: OSError) -> LocalFileError:
    reason = error.strerror or str(error)
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    place = display(path) if target == path else f"{display(path)}, which leads to {display(target)}"
    return LocalFileError(f"{what} {place}: {reason}", hints=(_next_step(target, error),))


def _next_step(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"Free some space: df -h {display(path.parent)}"
    if error.errno == errno.EROFS:
        return f"The file system is read-only: findmnt -T {display(path.parent)}"
    if error.errno == errno.ENOENT:
        return f"Make its directory: mkdir -p {display(path.parent)}"
    return f"Look at who may write it: ls -ld {display(path.parent)} {display(path)}"
