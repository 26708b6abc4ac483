"""A proxy that stands for distance: what goes in comes out half a round trip later, in order, as fast as it came.

The kernels this has to run on have no netem. What a proxy cannot delay is TCP's own handshake: the near kernel accepts
at once. So the far end is dialled one and a half round trips after that, which is when a distant server's accept()
would return, and nothing is passed on before. A server's first word therefore arrives two round trips after the client's
connect(), as it does over a real line; the client merely believes earlier that it is connected. A refusal shows as a
connection that ends.

Run as a program it listens at addresses of another network namespace, and ends with its standard input:

    python -m bench.delay NAMESPACE LISTEN=TARGET=SECONDS... -- PORT...
"""

from __future__ import annotations

import ctypes
import os
import queue
import selectors
import socket
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from attrs import frozen

CHUNK = 256 * 1024
CHUNKS = 1024
"""What one direction may have under way: 256 MiB at most, more than any line here carries in a round trip."""

CLONE_NEWNET = 0x40000000
"""setns(2)."""


@frozen
class Link:
    """``listen`` is ``target``, a round trip of ``seconds`` away; both are addresses."""

    listen: str
    target: str
    seconds: float

    @classmethod
    def parse(cls, text: str) -> Link:
        """From ``LISTEN=TARGET=SECONDS``."""
        listen, target, seconds = text.split("=")
        return cls(listen, target, float(seconds))

    def __str__(self) -> str:
        return f"{self.listen}={self.target}={self.seconds}"


def serve(near: socket.socket, target: tuple[str, int], round_trip: float) -> None:
    """Carry one accepted connection to ``target`` and back, until both directions have ended."""
    begun = time.monotonic() + 1.5 * round_trip
    _sleep_until(begun)
    with near:
        try:
            far = socket.create_connection(target, timeout=10)
        except OSError:
            return
        with far:
            far.settimeout(None)
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threads = [
                thread
                for source, sink in ((near, far), (far, near))
                for thread in _direction(source, sink, round_trip / 2, begun)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()


def _direction(source: socket.socket, sink: socket.socket, delay: float, begun: float) -> Iterable[threading.Thread]:
    under_way: queue.Queue[tuple[float, bytes]] = queue.Queue(CHUNKS)

    def take() -> None:
        data = b"-"
        while data:
            try:
                data = source.recv(CHUNK)
            except OSError:
                data = b""
            under_way.put((time.monotonic() + delay, data))

    def give() -> None:
        broken = False
        while True:
            due, data = under_way.get()
            _sleep_until(max(due, begun))
            if not data:
                break
            if not broken:
                try:
                    sink.sendall(data)
                except OSError:
                    # whoever sends must notice; what it had sent already is emptied out above
                    broken = True
                    _shut(source, socket.SHUT_RD)
        _shut(sink, socket.SHUT_WR)

    return threading.Thread(target=take, daemon=True), threading.Thread(target=give, daemon=True)


def _sleep_until(moment: float) -> None:
    left = moment - time.monotonic()
    if left > 0:
        time.sleep(left)


def _shut(end: socket.socket, how: int) -> None:
    with suppress(OSError):
        end.shutdown(how)


def listeners(
    namespace: str, links: Sequence[Link], ports: Sequence[int]
) -> list[tuple[socket.socket, tuple[str, int], float]]:
    """Sockets that listen in a network namespace, each with where it leads and how far that is.

    A socket stays in the namespace that it was made in; the thread comes back out.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(path: str) -> None:
        with Path(path).open() as handle:
            if libc.setns(handle.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)

    with Path("/proc/thread-self/ns/net").open() as home:
        enter(f"/run/netns/{namespace}")
        try:
            return [
                (socket.create_server((link.listen, port), backlog=128), (link.target, port), link.seconds)
                for link in links
                for port in ports
            ]
        finally:
            enter(f"/proc/self/fd/{home.fileno()}")


def accept_until_closed(
    listening: Sequence[tuple[socket.socket, tuple[str, int], float]], ended: socket.socket | int
) -> None:
    """Serve every connection to any of the sockets, until there is something to read on ``ended``, or its end."""
    with selectors.DefaultSelector() as selector:
        selector.register(ended, selectors.EVENT_READ)
        for listener, target, seconds in listening:
            selector.register(listener, selectors.EVENT_READ, (target, seconds))
        while True:
            for key, _ in selector.select():
                if key.data is None:
                    return
                assert isinstance(key.fileobj, socket.socket)
                near, _ = key.fileobj.accept()
                threading.Thread(target=serve, args=[near, *key.data], daemon=True).start()


def main(arguments: Sequence[str]) -> None:
    """The program."""
    namespace, *rest = arguments
    middle = rest.index("--")
    links = [Link.parse(text) for text in rest[:middle]]
    listening = listeners(namespace, links, [int(port) for port in rest[middle + 1 :]])
    print("ready", flush=True)
    accept_until_closed(listening, sys.stdin.fileno())


if __name__ == "__main__":
    main(sys.argv[1:])
