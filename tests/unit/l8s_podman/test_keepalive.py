"""Podman's service is kept up while it is wanted, and its end is noticed."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from l8s_podman import keepalive
from l8s_podman.keepalive import Keepalive
from l8s_podman.streams import LinkLost

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"
LAST = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nOK"


class Stream:
    """A socket with what `ChannelSocket` has besides."""

    def __init__(self, inner: socket.socket) -> None:
        self._inner = inner
        self.closed = False

    @property
    def idle(self) -> bool:
        if self.closed:
            return False
        self._inner.setblocking(False)
        try:
            return bool(self._inner.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        finally:
            self._inner.settimeout(10)

    def close(self) -> None:
        self.closed = True
        self._inner.close()

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


class Service:
    """Answers each question on each stream with ``answer``, until ``kill``."""

    def __init__(self) -> None:
        self.answer = ANSWER
        self.asked = 0
        self.streams: list[Stream] = []
        self.ends = 0
        self.error: Exception | None = None
        self._far: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def open(self) -> Stream:
        if self.error is not None:
            raise self.error
        near, far = socket.socketpair()
        self._far.append(far)
        self.streams.append(Stream(near))
        self._threads.append(threading.Thread(target=self._serve, args=(far,), daemon=True))
        self._threads[-1].start()
        return self.streams[-1]

    def _serve(self, end: socket.socket) -> None:
        with suppress(OSError):
            while data := end.recv(65536):
                assert data.startswith(b"GET /_ping HTTP/1.1\r\n")
                assert b"User-Agent: l8s\r\n" in data
                self.asked += 1
                end.sendall(self.answer)

    def ended(self) -> None:
        self.ends += 1

    def kill(self) -> None:
        for end in self._far:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.kill()
        for thread in self._threads:
            thread.join(10)
        for end in (*self._far, *self.streams):
            end.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setattr(keepalive, "PULSE", 0.02)
    monkeypatch.setattr(keepalive, "WATCH", 0.005)
    service = Service()
    yield service
    service.close()


@pytest.fixture
def kept(service: Service) -> Iterator[Keepalive]:
    kept = Keepalive(service.open, service.ended)  # type: ignore[arg-type]
    yield kept
    kept.stop()
    until(lambda: not kept._running)


def test_one_stream_is_used_again_and_again(service: Service, kept: Keepalive) -> None:
    kept.want()
    kept.want()
    until(lambda: service.asked >= 3)
    assert (len(service.streams), service.ends) == (1, 0)
    kept.stop()
    until(lambda: service.streams[0].closed)
    kept.want()  # it stays stopped
    assert not kept._running


def test_it_is_not_kept_up_for_good(service: Service, kept: Keepalive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keepalive, "WARM", 0.05)
    kept.want()
    until(lambda: not kept._running)
    assert service.asked >= 1
    assert service.streams[0].closed
    kept.want()
    until(lambda: len(service.streams) == 2)


def test_a_service_that_is_killed_is_noticed_and_the_next_one_kept_up(service: Service, kept: Keepalive) -> None:
    kept.want()
    until(lambda: service.asked >= 1)
    service.kill()
    until(lambda: service.ends == 1 and len(service.streams) == 2)
    assert service.streams[0].closed
    asked = service.asked
    until(lambda: service.asked > asked)


@pytest.mark.parametrize("answer", [LAST, b"", b"nonsense\r\n"])
def test_a_service_that_is_about_to_end_is_noticed_by_its_answer(
    service: Service, kept: Keepalive, answer: bytes
) -> None:
    service.answer = answer
    kept.want()
    if not answer:
        until(lambda: service.asked == 1)
        service.kill()
    until(lambda: service.ends >= 1)
    service.answer = ANSWER
    until(lambda: service.streams[-1].idle and service.asked >= 2)


@pytest.mark.parametrize("error", [LinkLost("the SSH connection is closed"), EOFError(), TimeoutError()])
def test_where_there_is_no_way_it_gives_up_quietly(service: Service, kept: Keepalive, error: Exception) -> None:
    service.error = error
    kept.want()
    until(lambda: not kept._running)
    service.error = None
    kept.want()
    until(lambda: service.asked >= 1)
