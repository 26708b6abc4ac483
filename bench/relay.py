"""A process that keeps a connection and relays bytes, as far as a command sees it: the design that l8s did not take."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def relay(path: Path, onward: Path) -> Iterator[None]:
    """Listen at ``path``; each connection is given one to ``onward`` that was opened before it came."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=_serve, args=(listener, onward), daemon=True)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            path.unlink(missing_ok=True)


def _serve(listener: socket.socket, onward: Path) -> None:
    ready = _dial(onward)
    with suppress(OSError):
        while True:
            near, _ = listener.accept()
            far, ready = ready, _dial(onward)
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=(source, target), daemon=True).start()
    ready.close()


def _dial(path: Path) -> socket.socket:
    dialled = socket.socket(socket.AF_UNIX)
    dialled.connect(str(path))
    return dialled


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(2**16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
