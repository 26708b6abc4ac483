"""What stands between a laptop and a server, or in a server's place: a line that is cut at a byte, things that do not
speak SSH, and a name server.

They run in the test's own process. What must be at a server's address listens inside that server's network, because
l8s talks to no address of its own machine.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import define, field
from battery import Battery
from lab import Server

PORT = 2022
"""On which everything here listens at a server's address."""

CLONE_NEWNET = 0x40000000
"""setns(2)."""


def listening(server: Server) -> socket.socket:
    """A socket that listens at the server's address, on `PORT`, in its network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    made: list[socket.socket | OSError] = []

    def make() -> None:
        # a namespace belongs to a thread, and a socket stays in the one that it was made in
        try:
            with Path(f"/run/netns/{server.name}").open() as namespace:
                if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            made.append(socket.create_server((server.host, PORT)))
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]


@contextmanager
def answering(server: Server, serve: Callable[[socket.socket], None]) -> Iterator[None]:
    """Each connection to `PORT` of the server is given to ``serve``, in a thread of its own."""
    threads: list[threading.Thread] = []
    connections: list[socket.socket] = []

    def handle(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            serve(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                threads.append(threading.Thread(target=handle, args=[connection], daemon=True))
                threads[-1].start()

    with listening(server) as listener:
        acceptor = threading.Thread(target=accept, daemon=True)
        acceptor.start()
        try:
            yield
        finally:
            shut(listener)
            acceptor.join(10)
            for connection in connections:
                shut(connection)
            for thread in threads:
                thread.join(10)
    assert not any(thread.is_alive() for thread in threads)


def shut(connection: socket.socket) -> None:
    """Wake up whoever reads from or writes to it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@define
class Line:
    """The line to a server's sshd: counts what passes in both directions, and is cut at a byte."""

    battery: Battery
    cut_at: int | None = None
    """The connection that carries this byte ends right before it. Later connections are left alone."""
    signal: str = "KILL"
    """What sshd's child for that connection gets; "" for nothing: the line itself falls silent."""
    passed: int = 0
    cut: list[str] = field(factory=list)
    """What was signalled (pids on the server), or what fell silent."""
    _lock: threading.Lock = field(factory=threading.Lock, init=False)
    _closing: threading.Event = field(factory=threading.Event, init=False)

    @contextmanager
    def open(self) -> Iterator[None]:
        with answering(self.battery.server, self._serve):
            try:
                yield
            finally:
                self._closing.set()
                if self.signal == "STOP" and self.cut:
                    pids = " ".join(self.cut)
                    self.battery.server.exec("sh", "-c", f"kill -KILL {pids}; kill -CONT {pids}; true", check=True)

    def arm(self, after: int) -> None:
        """Have it cut, once more, ``after`` bytes from now."""
        with self._lock:
            self.cut.clear()
            self.cut_at = self.passed + after

    def disarm(self) -> bool:
        """Have it cut no more; whether it was."""
        with self._lock:
            self.cut_at = None
            return bool(self.cut)

    def _serve(self, near: socket.socket) -> None:
        server = self.battery.server
        with socket.create_connection((server.host, server.port), timeout=10) as far:
            far.settimeout(None)
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            port = far.getsockname()[1]
            back = threading.Thread(target=self._carry, args=[far, near, port], daemon=True)
            back.start()
            self._carry(near, far, port)
            back.join()

    def _carry(self, source: socket.socket, target: socket.socket, port: int) -> None:
        with suppress(OSError):
            while data := source.recv(64 * 1024):
                with self._lock:
                    left = None if self.cut_at is None or self.cut else self.cut_at - self.passed
                    self.passed += len(data)
                    if f"the line from {port}" in self.cut:
                        break
                    if left is None or len(data) < left:
                        target.sendall(data)
                        continue
                    target.sendall(data[: left - 1])
                    self._cut(port)
                    if self.signal == "KILL":
                        break
                    if self.signal == "STOP":
                        target.sendall(data[left - 1 :])
        if not self.signal and self.cut:
            self._closing.wait()
        shut(source)
        shut(target)

    def _cut(self, port: int) -> None:
        if not self.signal:
            self.cut.append(f"the line from {port}")
            return
        found = (
            f"ss -Htnp '( sport = :22 and dport = :{port} )' | grep -o 'pid=[0-9]*' | cut -d= -f2 | sort -u |"
            f" while read pid; do kill -{self.signal} $pid && echo $pid; done"
        )
        self.cut += self.battery.server.exec("sh", "-c", found, check=True).stdout.split()
        assert self.cut, "sshd had no such connection"


@define
class Talker:
    """Something at the server's address that is no SSH server: says ``words``, one every ``pause`` seconds."""

    words: Iterator[bytes]
    pause: float
    accepted: int = 0
    said: int = 0
    _closing: threading.Event = field(factory=threading.Event, init=False)

    @contextmanager
    def open(self, server: Server) -> Iterator[None]:
        with answering(server, self._serve):
            try:
                yield
            finally:
                self._closing.set()

    def _serve(self, connection: socket.socket) -> None:
        self.accepted += 1
        for word in self.words:
            connection.sendall(word)
            self.said += len(word)
            if self._closing.wait(self.pause):
                return
        self._closing.wait()


@define
class NameServer:
    """A name server on loopback that knows one name, or (None) never answers; without addresses there is no such name.

    DNS messages are as RFC 1035, section 4, says.
    """

    addresses: Sequence[str] | None
    address: str = field(factory=lambda: f"127.88.{os.getpid() >> 8 & 255}.{os.getpid() & 255 or 1}")
    asked: int = 0

    @contextmanager
    def open(self) -> Iterator[None]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
            listener.bind((self.address, 53))
            listener.settimeout(0.1)
            ended = threading.Event()
            thread = threading.Thread(target=self._serve, args=[listener, ended], daemon=True)
            thread.start()
            try:
                yield
            finally:
                ended.set()
                thread.join(10)

    def _serve(self, listener: socket.socket, ended: threading.Event) -> None:
        while not ended.is_set():
            try:
                query, client = listener.recvfrom(4096)
            except TimeoutError:
                continue
            self.asked += 1
            if self.addresses is not None:
                listener.sendto(self._answer(query, self.addresses), client)

    def _answer(self, query: bytes, addresses: Sequence[str]) -> bytes:
        end = query.index(b"\0", 12) + 5
        of_ipv4 = query[end - 4 : end - 2] == b"\0\1"
        records = [b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 0, 4) + socket.inet_aton(one) for one in addresses]
        records = records if of_ipv4 else []
        flags = 0x8180 if addresses else 0x8183
        return query[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0) + query[12:end] + b"".join(records)

    def used_by(self, *command: str, directory: Path) -> tuple[str, ...]:
        """``command``, to be run where this is the only name server; two files are made in ``directory``."""
        resolv, hosts = directory / "resolv.conf", directory / "hosts"
        resolv.write_text(f"nameserver {self.address}\n")
        hosts.write_text("127.0.0.1 localhost\n")
        script = 'mount --bind "$0" /etc/resolv.conf; mount --bind "$1" /etc/hosts; shift; exec "$@"'
        return ("unshare", "--mount", "sh", "-ec", script, str(resolv), str(hosts), *command)
