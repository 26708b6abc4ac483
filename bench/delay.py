"""A proxy that stands for distance: what goes in comes out half a round trip later, in order, as fast as it came.

The kernels this has to run on have no netem. What a proxy cannot delay is TCP's own handshake: the near kernel accepts
at once. So the far end is dialled one and a half round trips after that, which is when a distant server's accept()
would return, and nothing is passed on before. A server's first word therefore arrives two round trips after the
client's connect(), as it does over a real line; the client merely believes earlier that it is connected. A refusal
shows as a connection that ends.

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
from collections.abc import Callable, Sequence
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
    outward, homeward = (_Direction(round_trip / 2, begun) for _ in range(2))
    with near:
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # from the start: what the client says before the far end is there is on its way as well
        threads = [_started(outward.take, near)]
        _sleep_until(begun)
        try:
            far = socket.create_connection(target, timeout=10)
        except OSError:
            _shut(near, socket.SHUT_RDWR)
            threads[0].join()
            return
        with far:
            far.settimeout(None)
            far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threads += [
                _started(outward.give, near, far),
                _started(homeward.take, far),
                _started(homeward.give, far, near),
            ]
            for thread in threads:
                thread.join()


class _Direction:
    """What is under way in one direction, each chunk with the moment at which it arrives; an empty one is the end."""

    def __init__(self, delay: float, begun: float) -> None:
        self._delay = delay
        self._begun = begun
        self._under_way: queue.Queue[tuple[float, bytes]] = queue.Queue(CHUNKS)

    def take(self, source: socket.socket) -> None:
        """Read ``source`` to its end."""
        data = b"-"
        while data:
            try:
                data = source.recv(CHUNK)
            except OSError:
                data = b""
            self._under_way.put((time.monotonic() + self._delay, data))

    def give(self, source: socket.socket, sink: socket.socket) -> None:
        """Write what has arrived to ``sink``, and then that this was all."""
        broken = False
        while True:
            due, data = self._under_way.get()
            _sleep_until(max(due, self._begun))
            if not data:
                break
            if not broken:
                try:
                    sink.sendall(data)
                except OSError:
                    # the sender must notice; what is under way still has to be emptied out, or its reader would wait
                    broken = True
                    _shut(source, socket.SHUT_RD)
        _shut(sink, socket.SHUT_WR)


def _started(work: Callable[..., None], *ends: socket.socket) -> threading.Thread:
    thread = threading.Thread(target=work, args=ends, daemon=True)
    thread.start()
    return thread


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
