"""An SSH server for tests on the loopback interface, and a line to it that can be cut without a word.

The remote-only rule forbids loopback addresses; tests hand the link a `Hop` that was never judged.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import paramiko

from l8s_core.model import PublicKey

Answer = Callable[[paramiko.Channel, str], None]


def exit_with(code: int, stdout: bytes = b"", stderr: bytes = b"") -> Answer:
    """Answers a command like a program that prints and ends."""

    def answer(channel: paramiko.Channel, command: str) -> None:
        channel.sendall(stdout)
        channel.sendall_stderr(stderr)
        channel.send_exit_status(code)
        channel.close()

    return answer


def never(channel: paramiko.Channel, command: str) -> None:
    """Answers a command like a program that does not end."""


class LoopbackServer(paramiko.ServerInterface):
    """Accepts connections until it is closed; notes down which keys were offered and which commands were run."""

    def __init__(self, *, accepts: PublicKey | None, answer: Answer = never) -> None:
        self.host_key = paramiko.ECDSAKey.generate()
        self.offered: list[str] = []
        self.commands: list[str] = []
        self._accepts, self._answer = accepts, answer
        self._transports: list[paramiko.Transport] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="test-accept", daemon=True).start()

    @property
    def public_key(self) -> PublicKey:
        return PublicKey(self.host_key.get_name(), self.host_key.get_base64())

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(self.host_key)
            self._transports.append(transport)
            with suppress(paramiko.SSHException, EOFError):
                transport.start_server(event=threading.Event(), server=self)

    def close(self) -> None:
        # a thread in accept() holds the listener open: shutting it down wakes the thread
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for transport in self._transports:
            transport.close()

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self.offered.append(key.get_base64())
        accepted = self._accepts is not None and key.get_base64() == self._accepts.base64
        return paramiko.AUTH_SUCCESSFUL if accepted else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED if kind == "session" else paramiko.OPEN_FAILED_UNKNOWN_CHANNEL_TYPE

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self.commands.append(command.decode())
        # paramiko says yes to the request when this has returned, and no program answers before that
        threading.Timer(0.1, self._answer, (channel, command.decode())).start()
        return True


@contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A TCP server that does ``talk`` with the first to connect, and then waits; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held: list[socket.socket] = []

        def serve() -> None:
            with suppress(OSError):
                connection, _ = listener.accept()
                held.append(connection)
                talk(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for connection in held:
                connection.close()


class Line:
    """A TCP relay to a port on the loopback; after `freeze` it passes nothing on and closes nothing."""

    def __init__(self, port: int) -> None:
        self._frozen = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._ends: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._serve, args=(port,), daemon=True)]
        self._threads[0].start()

    def freeze(self) -> None:
        self._frozen.set()

    def _serve(self, port: int) -> None:
        with suppress(OSError):
            near, _ = self._listener.accept()
            far = socket.create_connection(("127.0.0.1", port))
            self._ends += [near, far]
            for source, target in ((near, far), (far, near)):
                thread = threading.Thread(target=self._pass, args=(source, target), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self._frozen.is_set():
                    return
                target.sendall(data)

    def close(self) -> None:
        for end in (self._listener, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        for thread in self._threads:
            thread.join(5)


def settled(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether ``condition`` comes true within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
