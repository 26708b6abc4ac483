"""A trap: listens where a local Podman would, and notes down everyone who connects.

Run as ``python trap.py OWNER_PID LOG SOCKET...``. It prints ``busy SOCKET`` for those where somebody else listens,
then ``ready``; appends one line for each connection to LOG; answers nothing; and ends, removing its sockets, on
SIGTERM or when its owner has ended.
"""

from __future__ import annotations

import selectors
import signal
import socket
import struct
import sys
import time
from pathlib import Path


def who(connection: socket.socket) -> str:
    """The process at the other end, by its pid and command line (SO_PEERCRED, unix(7))."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, _, _ = struct.unpack("3i", credentials)
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        command = b" ".join(words).decode(errors="replace").strip()
    except OSError:
        command = "already gone"
    return f"process {pid} ({command})"


def listen(path: Path) -> socket.socket | None:
    """A listening socket at ``path``, or None when somebody else listens there."""
    # looked up and not tried: the somebody may be another run's trap
    if any(line.split()[-1:] == [str(path)] for line in Path("/proc/net/unix").read_text().splitlines()):
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # a trap that was killed leaves its socket's file behind
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


def main(owner: int, log: Path, paths: list[Path]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    selector = selectors.DefaultSelector()
    bound = []
    try:
        for path in paths:
            listener = listen(path)
            if listener is None:
                print(f"busy {path}", flush=True)
            else:
                selector.register(listener, selectors.EVENT_READ, path)
                bound.append(path)
        print("ready", flush=True)
        while Path(f"/proc/{owner}").exists():
            for key, _ in selector.select(timeout=1.0):
                connection, _ = key.fileobj.accept()  # type: ignore[union-attr]
                with connection, log.open("a") as lines:
                    print(f"{time.strftime('%H:%M:%S')} {key.data}: {who(connection)}", file=lines)
    finally:
        for path in bound:
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), [Path(argument) for argument in sys.argv[3:]])
