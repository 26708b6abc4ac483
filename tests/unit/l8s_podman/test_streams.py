"""A channel as a socket: counted readers, and the difference between an end and a break."""

from __future__ import annotations

import http.client
import io

import paramiko
import pytest

from l8s_podman.streams import ChannelSocket, LinkLost, Unsent


class FakeTransport:
    active = True

    def is_active(self) -> bool:
        return self.active


class FakeChannel:
    """What `ChannelSocket` uses of a paramiko channel. ``pieces`` are received one by one; an exception is raised."""

    def __init__(self, *pieces: bytes | Exception, eof: bool = True) -> None:
        self.pieces = list(pieces)
        self.eof = eof
        self.sent = bytearray()
        self.closed = False
        self.write_ended = False
        self.timeout: float | None = None
        self.transport = FakeTransport()
        self.send_error: Exception | None = None
        self.close_error: Exception | None = None

    @property
    def eof_received(self) -> bool:
        return self.eof and not self.pieces

    def get_transport(self) -> FakeTransport:
        return self.transport

    def recv_ready(self) -> bool:
        return bool(self.pieces)

    def recv(self, size: int) -> bytes:
        if not self.pieces:
            return b""
        piece = self.pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        if len(piece) > size:
            self.pieces.insert(0, piece[size:])
        return piece[:size]

    def sendall(self, data: bytes) -> None:
        if self.send_error is not None:
            raise self.send_error
        self.sent += data

    def settimeout(self, timeout: float | None) -> None:
        self.timeout = timeout

    def shutdown_write(self) -> None:
        self.write_ended = True

    def close(self) -> None:
        self.closed = True
        if self.close_error is not None:
            raise self.close_error


def stream(channel: FakeChannel) -> ChannelSocket:
    return ChannelSocket(channel)  # type: ignore[arg-type]


def test_a_reader_outlives_the_socket() -> None:
    channel = FakeChannel(b"one", b"two")
    socket = stream(channel)
    first, second = socket.makefile("rb"), socket.makefile("rb")
    socket.close()
    assert not channel.closed
    assert first.read(3) == b"one"
    first.close()
    first.close()  # counted once
    assert not channel.closed
    assert second.read() == b"two"
    second.close()
    assert channel.closed


def test_without_readers_closing_closes() -> None:
    channel = FakeChannel()
    socket = stream(channel)
    socket.makefile("rb").close()
    assert not channel.closed
    socket.close()
    assert channel.closed


@pytest.mark.parametrize("error", [EOFError(), OSError("Socket is closed"), paramiko.SSHException("not active")])
def test_over_a_connection_that_has_ended_closing_is_no_failure(error: Exception) -> None:
    channel = FakeChannel()
    channel.close_error = error
    socket = stream(channel)
    socket.makefile("rb").close()
    socket.shutdown()
    socket.close()
    reader = stream(channel).makefile("rb")
    reader.close()
    assert channel.closed


def test_an_answer_that_ends_with_the_connection_is_whole() -> None:
    """The very case that loses data on a raw channel: http.client closes the socket after such headers."""
    body = b"x" * 300_000
    channel = FakeChannel(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", body[:100_000], body[100_000:])
    response = http.client.HTTPResponse(stream(channel))  # type: ignore[arg-type]
    response.begin()
    assert response.read() == body
    response.close()


def test_an_end_of_file_is_an_end() -> None:
    reader = stream(FakeChannel(b"all", eof=True)).makefile("rb")
    assert reader.read() == b"all"


def test_an_end_without_end_of_file_is_a_break() -> None:
    reader = stream(FakeChannel(b"part", eof=False)).makefile("rb")
    assert reader.read(4) == b"part"
    with pytest.raises(LinkLost, match="middle of an answer"):
        reader.read(1)


def test_a_timeout_stays_a_timeout() -> None:
    channel = FakeChannel(TimeoutError("slow"))
    socket = stream(channel)
    socket.settimeout(2.5)
    assert channel.timeout == 2.5
    with pytest.raises(TimeoutError):
        socket.makefile("rb").read(1)
    channel.send_error = TimeoutError("full")
    with pytest.raises(TimeoutError):
        socket.sendall(b"x")


@pytest.mark.parametrize("error", [OSError("Socket is closed"), ConnectionResetError()])
def test_other_failures_are_a_lost_link(error: OSError) -> None:
    channel = FakeChannel(error, eof=False)
    channel.send_error = error
    socket = stream(channel)
    with pytest.raises(LinkLost, match="receiving"):
        socket.makefile("rb").read(1)
    with pytest.raises(LinkLost, match="sending"):
        socket.sendall(b"x")


def test_a_stream_that_the_peer_closed_takes_nothing_more() -> None:
    channel = FakeChannel(eof=True)
    channel.send_error = OSError("Socket is closed")
    with pytest.raises(Unsent):
        stream(channel).sendall(b"x")


def test_how_long_a_stream_was_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("l8s_podman.streams.time.monotonic", lambda: now)
    socket = stream(FakeChannel(b"answer"))
    now = 500.0
    assert socket.unused_for == 0, "it never was used"
    socket.sendall(b"question")
    now = 503.0
    assert socket.unused_for == 3
    socket.makefile("rb").read(1)
    assert socket.unused_for == 0


def test_only_a_quiet_open_stream_is_idle() -> None:
    assert stream(FakeChannel(eof=False)).idle
    assert not stream(FakeChannel(b"unread", eof=False)).idle
    assert not stream(FakeChannel(eof=True)).idle
    dead = FakeChannel(eof=False)
    dead.transport.active = False
    assert not stream(dead).idle
    closed = stream(FakeChannel(eof=False))
    closed.close()
    assert not closed.idle


def test_input_is_ended_once_and_not_on_a_closed_channel() -> None:
    channel = FakeChannel()
    stream(channel).shutdown_write()
    assert channel.write_ended
    gone = FakeChannel()
    gone.closed = True
    stream(gone).shutdown_write()
    assert not gone.write_ended


@pytest.mark.parametrize("mode", ["wb", "r", "rwb"])
def test_files_are_for_reading_bytes(mode: str) -> None:
    with pytest.raises(ValueError, match="reading"):
        stream(FakeChannel()).makefile(mode)


def test_reads_are_buffered() -> None:
    reader = stream(FakeChannel(b"a\nb\n")).makefile("rb")
    assert isinstance(reader, io.BufferedReader)
    assert (reader.readline(), reader.readline(), reader.readline()) == (b"a\n", b"b\n", b"")
