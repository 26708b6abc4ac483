"""What the transport adds to paramiko's: the unix-socket channel's exact bytes, and the watchdog."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator

import paramiko
import pytest
from loopback_server import Line, LoopbackServer, never, settled
from paramiko.buffered_pipe import PipeTimeout

from l8s_podman import transport as module
from l8s_podman.streams import ChannelSocket, LinkLost
from l8s_podman.transport import STREAMLOCAL, WINDOW_SIZE, ChunkPipe, SSHTransport, WatchedSocket


def text(value: str) -> bytes:
    """A string of the SSH protocol (RFC 4251, section 5)."""
    return struct.pack(">I", len(value.encode())) + value.encode()


@pytest.fixture
def unconnected(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[SSHTransport, list[bytes]]]:
    """A transport that believes itself connected, and what it sends as channel messages."""
    sent: list[bytes] = []

    def record(self: paramiko.Transport, message: paramiko.Message) -> None:
        sent.append(message.asbytes())
        raise paramiko.SSHException("recorded")

    monkeypatch.setattr(paramiko.Transport, "_send_user_message", record)
    near, far = socket.socketpair()
    with near, far:
        transport = SSHTransport(WatchedSocket(near), on_authenticate=lambda: None)
        transport.active = True
        yield transport, sent
        transport.active = False
        transport.close()


def opening(kind: str, number: int) -> bytes:
    """CHANNEL_OPEN with its four standard fields (RFC 4254, section 5.1); 32768 is paramiko's packet size."""
    return b"\x5a" + text(kind) + struct.pack(">III", number, WINDOW_SIZE, 32768)


@pytest.mark.parametrize("path", ["/run/podman/podman.sock", "/run/ü/s"])
@pytest.mark.parametrize("main_thread", [True, False])
def test_a_unix_socket_channel_is_asked_for_as_openssh_wants_it(
    unconnected: tuple[SSHTransport, list[bytes]], path: str, main_thread: bool
) -> None:
    transport, sent = unconnected

    def ask() -> None:
        with pytest.raises(paramiko.SSHException, match="recorded"):
            transport.open_streamlocal(path, timeout=1)

    if main_thread:
        ask()
    else:
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(5)
    # OpenSSH's PROTOCOL, section 2.4: string socket path, string reserved, uint32 reserved
    assert sent == [opening(STREAMLOCAL, 0) + text(path) + text("") + struct.pack(">I", 0)]


def test_other_channels_are_left_as_they_are(unconnected: tuple[SSHTransport, list[bytes]]) -> None:
    transport, sent = unconnected
    with pytest.raises(paramiko.SSHException):
        transport.open_streamlocal("/run/a", timeout=1)
    with pytest.raises(paramiko.SSHException):
        transport.open_session(timeout=1)
    assert sent[1] == opening("session", 1)


def test_a_closed_transport_sends_nothing(unconnected: tuple[SSHTransport, list[bytes]]) -> None:
    transport, sent = unconnected
    transport.active = False
    with pytest.raises((EOFError, paramiko.SSHException)):
        transport.open_streamlocal("/run/a", timeout=1)
    assert sent == []


# The watchdog


@pytest.fixture
def line() -> Iterator[Line]:
    server = LoopbackServer(accepts=None, answer=never)
    line = Line(server.port)
    yield line
    line.close()
    server.close()


@pytest.fixture
def watched(line: Line, monkeypatch: pytest.MonkeyPatch) -> Iterator[SSHTransport]:
    """A transport to a real server, after the key exchange; its watchdog is impatient."""
    monkeypatch.setattr(module, "PING_INTERVAL", 0.1)
    monkeypatch.setattr(module, "DEAD_AFTER", 1.0)
    transport = SSHTransport(
        WatchedSocket(socket.create_connection(("127.0.0.1", line.port))), on_authenticate=lambda: None
    )
    transport.start_client(timeout=10)
    transport.watch()
    yield transport
    transport.close()


def test_a_server_that_answers_is_left_alone_for_ever(watched: SSHTransport) -> None:
    time.sleep(1.3)
    assert watched.is_active()
    assert not watched.died_silent


def test_a_silent_server_is_given_up_and_whoever_waits_learns_of_it(watched: SSHTransport, line: Line) -> None:
    channel = paramiko.Channel(7)
    channel._set_transport(watched)
    watched._channels.put(7, channel)
    threading.Timer(0.2, line.freeze).start()
    began = time.monotonic()
    with pytest.raises(LinkLost):
        ChannelSocket(channel).recv_into(memoryview(bytearray(10)))
    assert time.monotonic() - began < 5
    assert not watched.is_active()
    assert watched.died_silent


def test_the_watch_ends_with_the_connection(watched: SSHTransport) -> None:
    def ours() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("l8s-")]

    assert {"l8s-ping", "l8s-watchdog"} <= set(ours())
    watched.close()
    assert settled(lambda: not ours()), ours()


def test_time_in_which_this_process_stood_still_does_not_count(
    watched: SSHTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = threading.Event()

    def stand_still(self: SSHTransport, seconds: float) -> None:
        if threading.current_thread().name == "l8s-watchdog" and not stopped.is_set():
            time.sleep(0.3)  # longer than asked for: as after Ctrl-Z and fg
            self._watched.last_received -= 1000
            stopped.set()
        time.sleep(0.05)

    monkeypatch.setattr(module, "STOOD_STILL", 0.2)
    monkeypatch.setattr(SSHTransport, "_sleep", stand_still)
    assert stopped.wait(5)
    time.sleep(0.2)
    assert watched.is_active()
    assert not watched.died_silent


def to_channel(kind: bytes, channel: int) -> paramiko.Message:
    return paramiko.Message(kind + struct.pack(">I", channel))


def test_nothing_is_sent_to_a_channel_after_its_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSH ends the whole connection for a message to a channel that it no longer has."""
    sent: list[bytes] = []
    monkeypatch.setattr(paramiko.Transport, "_send_message", lambda self, message: sent.append(message.asbytes()))
    close, eof, data, adjust, request = b"\x61", b"\x60", b"\x5e", b"\x5d", b"\x62"
    near, far = socket.socketpair()
    with near, far:
        transport = SSHTransport(WatchedSocket(near), on_authenticate=lambda: None)
        for kind in (data, eof, close, eof, data, adjust, request, close):
            transport._send_message(to_channel(kind, 7))
        transport._send_message(to_channel(data, 8))
        transport._send_message(paramiko.Message(b"\x50keepalive"))
        seven, eight = struct.pack(">I", 7), struct.pack(">I", 8)
        assert sent == [data + seven, eof + seven, close + seven, data + eight, b"\x50keepalive"]
        # the server gives the number to a new channel
        monkeypatch.setattr(paramiko.Transport, "_parse_channel_open_success", lambda self, message: None)
        transport._parse_channel_open_success(paramiko.Message(struct.pack(">IIII", 3, 7, 1, 1)))
        sent.clear()
        transport._send_message(to_channel(data, 7))
        assert sent == [data + seven]
        transport.close()


def test_an_answer_while_new_keys_are_agreed_on_does_not_hold_that_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The transport's thread answers a channel's close, and is the one that finishes a key exchange."""
    sent: list[bytes] = []
    monkeypatch.setattr(paramiko.Transport, "_send_message", lambda self, message: sent.append(message.asbytes()))
    answered = threading.Event()

    class Answering(SSHTransport):
        def run(self) -> None:
            self._send_user_message(to_channel(b"\x61", 7))
            answered.set()

    near, far = socket.socketpair()
    with near, far:
        transport = Answering(WatchedSocket(near), on_authenticate=lambda: None)
        transport.active = True
        transport.clear_to_send.clear()
        transport.start()
        assert answered.wait(5)
        assert sent == []
        transport.clear_to_send.set()
        assert settled(lambda: sent == [b"\x61" + struct.pack(">I", 7)])
        transport.active = False
        transport.close()


# What makes it quick


def test_what_was_read_ahead_is_handed_out_in_order_and_counts_as_a_sign_of_life() -> None:
    near, far = socket.socketpair()
    with near, far:
        far.sendall(bytes(range(200)))
        watched = WatchedSocket(near)
        watched.last_received = 0.0
        taken = [watched.recv(size) for size in (16, 100, 50, 100)]
        assert taken == [bytes(range(16)), bytes(range(16, 116)), bytes(range(116, 166)), bytes(range(166, 200))]
        assert watched.last_received > 0
        far.sendall(b"more")
        assert watched.recv(100) == b"more"
        far.shutdown(socket.SHUT_WR)
        assert watched.recv(100) == b""


def test_a_greeting_is_not_read_ahead() -> None:
    near, far = socket.socketpair()
    with near, far:
        far.sendall(b"SSH-2.0-x\r\nkeys")
        watched = WatchedSocket(near)
        with watched.greeting(5):
            assert watched.recv(11) == b"SSH-2.0-x\r\n"
        assert near.recv(100) == b"keys"


class TestChunkPipe:
    def test_any_sizes_give_the_same_bytes(self) -> None:
        pipe = ChunkPipe()
        for piece in (b"abc", b"", b"defgh", b"i"):
            pipe.feed(piece)
        assert len(pipe) == 9
        assert pipe.read_ready()
        assert [pipe.read(size) for size in (2, 3, 100)] == [b"ab", b"cde", b"fghi"]
        assert not pipe.read_ready()
        pipe.close()
        assert pipe.read(10) == b""

    def test_nothing_within_the_time(self) -> None:
        with pytest.raises(PipeTimeout):
            ChunkPipe().read(1, 0.01)
        with pytest.raises(PipeTimeout):
            ChunkPipe().read(1, 0.0)

    def test_what_comes_later_is_waited_for(self) -> None:
        pipe = ChunkPipe()
        threading.Timer(0.05, pipe.feed, (b"late",)).start()
        assert pipe.read(10, 5) == b"late"

    def test_a_close_ends_the_waiting(self) -> None:
        pipe = ChunkPipe()
        threading.Timer(0.05, pipe.close).start()
        assert pipe.read(10, 5) == b""

    def test_the_event_says_whether_there_is_something(self) -> None:
        pipe, event = ChunkPipe(), threading.Event()
        pipe.set_event(event)
        assert not event.is_set()
        pipe.feed(b"a")
        assert event.is_set()
        pipe.set_event(event)
        assert event.is_set()
        assert pipe.empty() == b"a"
        assert not event.is_set()
        pipe.close()
        assert event.is_set()


@pytest.mark.parametrize(
    ("raised", "alive", "told"),
    [
        (paramiko.SSHException("Unable to open channel."), True, paramiko.ChannelException),
        (paramiko.SSHException("Unable to open channel."), False, paramiko.SSHException),
        (paramiko.SSHException("Timeout opening channel."), True, paramiko.SSHException),
        (paramiko.ChannelException(1, "prohibited"), True, paramiko.ChannelException),
    ],
)
def test_a_channel_refused_beside_another_is_refused_all_the_same(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, alive: bool, told: type[Exception]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(paramiko.Transport, "open_channel", refuse)
    near, far = socket.socketpair()
    with near, far:
        made = SSHTransport(near, on_authenticate=lambda: None)
        monkeypatch.setattr(made, "is_active", lambda: alive)
        with pytest.raises(paramiko.SSHException) as caught:
            made.open_channel("session")
        assert type(caught.value) is told
