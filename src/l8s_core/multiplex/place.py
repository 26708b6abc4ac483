"""Where a holder is found, and which one: its socket, its lock and its log in ``~/.l8s/multiplex``.

A holder's name is made of all that its connection depends on: what the profile says of the server, the server keys that
are pinned, the selected key, and the code that runs. Whatever of that changes leads to another name, and so to
another holder. Not here: starting one (`l8s_core.multiplex.held`), and being one (`holder`).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import struct
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

import l8s_core
from l8s_core import files
from l8s_core.errors import LocalFileError
from l8s_core.model import Profile

LONGEST_PATH = 100
"""Bytes of a unix socket's path: 108 with the final NUL on Linux, 104 on macOS (unix(7))."""

STATE_LIMIT = 16 * 1024
SSH_CONFIG_LIMIT = 1024 * 1024
"""Bytes; of a longer one it is only looked whether it was written."""

CONNECTION_FIELDS = (
    "backend",
    "remote_host",
    "remote_user",
    "remote_port",
    "remote_socket",
    "ssh_key_path",
    "options",
)
"""What of a profile a connection may depend on, see `l8s_core.contracts.SharedConnection`."""


def directory() -> Path:
    """Where every holder of this user is found."""
    return files.state_dir() / "multiplex"


def said_of(profile: Profile) -> dict[str, Any]:
    """What a holder says of itself: the fields of the profile that its connection depends on."""
    return {name: getattr(profile, name) for name in CONNECTION_FIELDS}


def connection_of(profile: Profile) -> dict[str, Any]:
    """What of a profile its connection depends on; of the key's path also, whether somebody asked for it."""
    found = said_of(profile)
    asked = profile.sources.get("ssh_key_path", "default") != "default"
    return found | {"sources": {"ssh_key_path": "the profile"} if asked else {}}


@frozen
class Place:
    """One holder's files."""

    name: str

    @classmethod
    def of(cls, profile: Profile, *, third_party: bool, environ: Mapping[str, str]) -> Place:
        """The place of the holder that serves ``profile`` to this very program."""
        parts = {
            "connection": connection_of(profile),
            "pinned": _pinned(),
            "key": _text(_public_half(profile.ssh_key_path)),
            "ssh config": _ssh_config(Path.home() / ".ssh" / "config"),
            "code": [l8s_core.__version__, sys.executable, *_code()],
            "plugins": [third_party, environ.get("L8S_BLOCK_PLUGINS", "")],
        }
        encoded = json.dumps(parts, sort_keys=True, default=str).encode()
        return cls(hashlib.sha256(encoded).hexdigest()[:20])

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return directory() / f"{self.name}.sock"

    @property
    def lock(self) -> Path:
        """Locked as long as it lives; holds its `State`."""
        return directory() / f"{self.name}.lock"

    @property
    def log(self) -> Path:
        """What it has to say."""
        return directory() / f"{self.name}.log"

    @property
    def usable(self) -> bool:
        """Whether a socket can have this name."""
        return len(os.fsencode(self.socket)) <= LONGEST_PATH

    def state(self) -> dict[str, Any]:
        """What the holder wrote about itself; empty when there is none, or it is not understood."""
        try:
            found = json.loads(files.read_limited(self.lock, STATE_LIMIT) or b"{}")
        except (ValueError, RecursionError, LocalFileError):
            return {}
        return found if isinstance(found, dict) else {}

    def lock_descriptor(self) -> int | None:
        """Take the lock, to start a holder: the descriptor that holds it; None when a holder has it.

        Raises:
            OSError: there can be no such file.
        """
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), self.lock.lstat()):
                return descriptor
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)  # a holder has it; or it was removed meanwhile, and is not the lock any more
        return None

    def is_held(self) -> bool:
        """Whether a holder lives."""
        try:
            descriptor = os.open(self.lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False


def write_state(descriptor: int, state: Mapping[str, Any]) -> None:
    """Write what a holder says about itself into its lock file, which it holds."""
    data = json.dumps(state).encode()
    os.pwrite(descriptor, data, 0)
    os.ftruncate(descriptor, len(data))


def all_places() -> tuple[Place, ...]:
    """Every place that there are files of."""
    try:
        found = sorted(path.stem for path in directory().glob("*.lock"))
    except OSError:
        return ()
    return tuple(Place(name) for name in found)


def listen(path: Path) -> socket.socket:
    """A listening socket at ``path``, of which the caller holds the lock; what an earlier holder left is replaced."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    return listener


@frozen
class Peer:
    """Who is at the other end of a unix socket. ``pid`` is None where the system does not tell."""

    uid: int
    pid: int | None


def peer_of(connection: socket.socket) -> Peer:
    """The process at the other end: SO_PEERCRED (unix(7)), on macOS LOCAL_PEERCRED and LOCAL_PEERPID (sys/un.h).

    Raises:
        OSError: the system does not tell.
    """
    option = getattr(socket, "SO_PEERCRED", None)
    if option is not None:
        pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, option, 12))
        return Peer(uid=uid, pid=pid)
    _, uid = struct.unpack_from("Ii", connection.getsockopt(0, 1, 76))
    (pid,) = struct.unpack("i", connection.getsockopt(0, 2, 4))
    return Peer(uid=uid, pid=pid)


def prepare() -> None:
    """Make the directory, the user's alone.

    Raises:
        LocalFileError: it cannot be made.
    """
    files.private_dir(files.state_dir())
    files.private_dir(directory())


def _pinned() -> str:
    """The pinned keys of servers; those of containers change with every create."""
    data = files.read_limited(files.state_dir() / "known_hosts", 1024 * 1024) or b""
    lines = [line for line in data.split(b"\n") if b".l8s " not in line]
    return hashlib.sha256(b"\n".join(lines)).hexdigest()


def _public_half(path: str) -> Path:
    expanded = Path(path).expanduser()
    return expanded if expanded.suffix == ".pub" else expanded.with_name(expanded.name + ".pub")


def _text(path: Path) -> str:
    return hashlib.sha256(files.read_limited(path, 64 * 1024) or b"").hexdigest()


def _ssh_config(path: Path) -> object:
    """What the user's ssh configuration says; the line by which it includes l8s's own entries makes no difference."""
    try:
        data = files.read_limited(path, SSH_CONFIG_LIMIT) or b""
    except LocalFileError:
        return _stamp(path)
    kept = [line for line in data.split(b"\n") if b".l8s/ssh_config" not in line]
    return hashlib.sha256(b"\n".join(kept)).hexdigest()


def _stamp(path: Path) -> list[int]:
    """What changes with a file."""
    try:
        found = path.stat()
    except OSError:
        return []
    return [found.st_mtime_ns, found.st_size, found.st_ino]


def _code() -> Iterator[object]:
    """What an installation, an upgrade or the removal of a package changes: the directory that it is in."""
    folder = Path(l8s_core.__file__).parents[1]
    yield str(folder)
    yield _stamp(folder)[:1]
