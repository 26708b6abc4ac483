"""paramiko's Transport, with what it lacks: unix-socket channels, knowing whether the peer is alive, and speed.

Not here: who is connected to (`l8s_podman.link`).
"""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any, cast

import paramiko
from paramiko.buffered_pipe import PipeTimeout
from paramiko.common import (
    OPEN_FAILED_CONNECT_FAILED,
    cMSG_CHANNEL_CLOSE,
    cMSG_CHANNEL_DATA,
    cMSG_CHANNEL_EOF,
    cMSG_CHANNEL_EXTENDED_DATA,
    cMSG_CHANNEL_OPEN,
    cMSG_CHANNEL_REQUEST,
    cMSG_CHANNEL_WINDOW_ADJUST,
    cMSG_GLOBAL_REQUEST,
)
from paramiko.message import Message

from l8s_core.policy import boot_clock

STREAMLOCAL = "direct-streamlocal@openssh.com"
"""The channel type that leads to a unix socket on the server (OpenSSH's PROTOCOL, section 2.4)."""

WINDOW_SIZE = 8 * 1024 * 1024
"""Bytes that a channel may have in flight, and in memory here: enough for 80 MB/s over 100 ms."""

READ_AHEAD = 256 * 1024
"""Bytes that are taken from the socket at once: paramiko asks for each packet in two pieces."""

FASTEST_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
"""What is asked for first (RFC 5647): it needs no MAC beside it, which halves the work of a transfer.

paramiko puts it last. A gibibyte received took 3.6 s of processor time with aes128-ctr and hmac-sha2-256, 2.0 s with
this one."""

PING_INTERVAL = 3.0
"""Seconds without a byte from the server after which it is asked for a sign of life."""

DEAD_AFTER = 12.0
"""Seconds without a byte from the server, although it was asked, after which the connection counts as dead."""

GREETING_LIMIT = 32 * 1024
"""Bytes that a server may say before it names its protocol; an administrator's words of welcome are far shorter."""

HEARD_LATELY = PING_INTERVAL + 1.5
"""Seconds since the last bytes: a server that is there is heard at least so often, being asked all the time."""

STOOD_STILL = 3.0
"""Seconds that half a second's sleep must last to mean that this process was stopped meanwhile."""


_TO_A_CHANNEL = frozenset(
    {
        cMSG_CHANNEL_WINDOW_ADJUST,
        cMSG_CHANNEL_DATA,
        cMSG_CHANNEL_EXTENDED_DATA,
        cMSG_CHANNEL_EOF,
        cMSG_CHANNEL_CLOSE,
        cMSG_CHANNEL_REQUEST,
    }
)
"""The messages that begin with the server's number of an open channel (RFC 4254, section 9)."""


class _Greeting:
    """What a server says before the key exchange (RFC 4253, 4.2), which paramiko bounds neither in time nor in size."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self.size = 0
        self.complaint = ""

    def check(self) -> None:
        if self.size > GREETING_LIMIT:
            self.complaint = f"it said {self.size} bytes, and no banner of an SSH server was among them"
        elif time.monotonic() >= self._end:
            self.complaint = f"no banner of an SSH server within {self._seconds:g} s"
        if self.complaint:
            raise paramiko.SSHException(self.complaint)


class WatchedSocket:
    """A connected socket, or a channel of a jump host, that remembers when the last bytes came in."""

    def __init__(self, inner: socket.socket | paramiko.Channel) -> None:
        self._inner = inner
        self.last_received = time.monotonic()
        self.last_heard = boot_clock()
        self._last_sent = 0.0
        self._ahead = b""
        self._taken = 0
        self._greeting: _Greeting | None = None

    @contextmanager
    def greeting(self, seconds: float) -> Iterator[None]:
        """Until this ends at most `GREETING_LIMIT` bytes come in, and none after ``seconds``.

        Raises:
            paramiko.SSHException: one of the two was reached.
        """
        self._greeting = greeting = _Greeting(seconds)
        try:
            yield
        except paramiko.SSHException as error:
            # paramiko puts its own words before whatever happened
            raise paramiko.SSHException(greeting.complaint or str(error)) from error
        finally:
            self._greeting = None

    def recv(self, size: int) -> bytes:
        """Receive, and note the moment when it came in. Only one thread may be in here, and is: the transport's."""
        start = self._taken
        if start < len(self._ahead):
            self._taken = start + size
            return self._ahead[start : start + size]
        if self._greeting is not None:
            self._greeting.check()
            data: bytes = self._inner.recv(size)  # what is bounded is not read ahead
            self._greeting.size += len(data)
        else:
            data = self._inner.recv(READ_AHEAD)
        if data:
            self.last_received = time.monotonic()
            self.last_heard = boot_clock()
        if len(data) > size:
            self._ahead, self._taken = data, size
            return data[:size]
        return data

    def send(self, data: bytes) -> int:
        """Send, and note the moment."""
        sent = self._inner.send(data)
        self._last_sent = time.monotonic()
        return sent

    def owed_for(self) -> float:
        """Seconds since the last bytes were sent, if none came in after them; else 0."""
        return time.monotonic() - self._last_sent if self._last_sent > self.last_received else 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class ChunkPipe:
    """What came in on a channel and was not read yet: paramiko's BufferedPipe, without its copying.

    The pieces are kept as they came; paramiko's own appends each to an array and takes it out of there again.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._closed = False
        self._event: threading.Event | None = None

    def set_event(self, event: threading.Event) -> None:
        """Let ``event`` be set while there is something to read, and for good once the pipe is closed."""
        with self._changed:
            self._event = event
            if self._closed or self._size:
                event.set()
            else:
                event.clear()

    def feed(self, data: bytes) -> None:
        """Add a piece; paramiko's thread calls it."""
        if not data:
            return
        with self._changed:
            if self._event is not None:
                self._event.set()
            self._chunks.append(data)
            self._size += len(data)
            self._changed.notify_all()

    def read_ready(self) -> bool:
        """Whether there is something to read."""
        return self._size > 0

    def read(self, nbytes: int, timeout: float | None = None) -> bytes:
        """At most ``nbytes``; empty when the pipe was closed and nothing is left.

        Raises:
            PipeTimeout: nothing came within ``timeout`` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._size or self._closed, timeout):
                raise PipeTimeout
            return self._take(nbytes)

    def empty(self) -> bytes:
        """Everything that is there."""
        with self._changed:
            return self._take(self._size)

    def close(self) -> None:
        """Nothing more will come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            if self._event is not None:
                self._event.set()

    def __len__(self) -> int:
        return self._size

    def _take(self, limit: int) -> bytes:
        taken: list[bytes] = []
        left = limit
        while left and self._chunks:
            piece = self._chunks.popleft()
            if len(piece) > left:
                self._chunks.appendleft(piece[left:])
                piece = piece[:left]
            taken.append(piece)
            left -= len(piece)
        self._size -= limit - left
        if self._event is not None and not self._size and not self._closed:
            self._event.clear()
        return taken[0] if len(taken) == 1 else b"".join(taken)


class SSHTransport(paramiko.Transport):
    """A Transport that opens unix-socket channels and closes itself when the server falls silent.

    ``on_authenticate`` is called once, when the host key has been accepted and before anything of the user is sent.
    """

    _preferred_ciphers = (
        *FASTEST_CIPHERS,
        *(name for name in paramiko.Transport._preferred_ciphers if name not in FASTEST_CIPHERS),  # type: ignore[attr-defined]
    )

    def __init__(self, sock: WatchedSocket, *, on_authenticate: Callable[[], None], **options: Any) -> None:
        self._sending = threading.Lock()
        self._said_goodbye: set[int] = set()
        super().__init__(cast(socket.socket, sock), default_window_size=WINDOW_SIZE, **options)
        self._watched = sock
        self._on_authenticate = on_authenticate
        self._opening = threading.local()
        self._outgoing: SimpleQueue[tuple[Message, Future[None]] | None] = SimpleQueue()
        threading.Thread(target=self._send_outgoing, name="l8s-send", daemon=True).start()
        self.died_silent = False
        """Whether the connection was given up because the server stopped answering."""
        self.dismissed = False
        """Whether the server itself said that it ends the connection."""

    def auth_publickey(self, username: str, key: paramiko.PKey, event: Any = None) -> list[str]:
        """Authenticate; says first that the host key was accepted."""
        self._on_authenticate()
        threading.Thread(target=self._judge_login, name="l8s-login", daemon=True).start()
        result: list[str] = super().auth_publickey(username, key, event)
        return result

    def _check_banner(self) -> None:
        seconds = self.banner_timeout
        self.banner_timeout = seconds + 1.0  # paramiko's own comes second: it cannot say what happened
        with self._watched.greeting(seconds):
            super()._check_banner()  # type: ignore[misc]

    def _parse_disconnect(self, m: Message) -> None:
        self.dismissed = True
        super()._parse_disconnect(m)  # type: ignore[misc]

    def open_streamlocal(self, path: str, *, timeout: float) -> paramiko.Channel:
        """A channel to the unix socket ``path`` on the server.

        Raises: what ``open_channel`` raises: `paramiko.ChannelException` when the server will not or cannot.
        """
        self._opening.path = path
        try:
            return self.open_channel(STREAMLOCAL, timeout=timeout)
        finally:
            self._opening.path = None

    def open_channel(self, *arguments: Any, **options: Any) -> paramiko.Channel:
        """A channel; see paramiko.

        Raises:
            paramiko.ChannelException: the server refused it.
            paramiko.SSHException: the connection ended, or it did not answer in time.
        """
        try:
            return super().open_channel(*arguments, **options)
        except paramiko.ChannelException:
            raise
        except paramiko.SSHException as error:
            if self.is_active() and str(error) == "Unable to open channel.":
                # paramiko has one place for the reason, and another thread that was refused at the same time took it
                raise paramiko.ChannelException(OPEN_FAILED_CONNECT_FAILED, "refused, as another one was") from error
            raise

    def _send_user_message(self, data: Message) -> None:
        # open_channel has no way to add what this channel type needs after the four standard fields:
        # string socket path, string reserved, uint32 reserved.
        path = getattr(self._opening, "path", None)
        if path is not None and data.asbytes()[:1] == cMSG_CHANNEL_OPEN:
            self._opening.path = None
            data.add_string(path)
            data.add_string("")
            data.add_int(0)
        current = threading.current_thread()
        if current is self and not self.clear_to_send.is_set():
            # New keys are being agreed on, as after every 512 MiB, and only this thread can finish that. Were it to
            # wait here with its answer to a channel's close, the connection would stand still until it is given up.
            self._outgoing.put((data, Future()))
        elif current is threading.main_thread():
            self._send_from_elsewhere(data)
        else:
            super()._send_user_message(data)  # type: ignore[misc]  # the stubs leave private methods out

    def _send_message(self, data: Message) -> None:
        # A channel that is being ended from both sides: one thread has an end-of-file or data to send while another
        # answers the server's close. What comes after the close belongs to no channel any more, and OpenSSH ends the
        # whole connection for it.
        head = bytes(data.packet.getbuffer()[:5])
        with self._sending:
            if head[:1] in _TO_A_CHANNEL:
                channel = int.from_bytes(head[1:5], "big")
                if channel in self._said_goodbye:
                    return
                if head[:1] == cMSG_CHANNEL_CLOSE:
                    self._said_goodbye.add(channel)
            super()._send_message(data)  # type: ignore[misc]

    def _parse_channel_open_success(self, m: Message) -> None:
        channel = self._channels.get(m.get_int())  # type: ignore[attr-defined]
        if channel is not None:
            channel.in_buffer = ChunkPipe()  # this thread is also the one that will fill it
        with self._sending:  # the server's number of the channel, which may be one that was used before, comes next
            self._said_goodbye.discard(m.get_int())
        m.rewind()
        super()._parse_channel_open_success(m)  # type: ignore[misc]

    def _send_from_elsewhere(self, data: Message) -> None:
        """Let the sending thread send, and wait until it has.

        Ctrl-C strikes the main thread, wherever it is: in the middle of a packet it would leave half of it on the
        wire, and with that the connection broken just when things must be taken back.
        """
        if not self.is_active():
            raise EOFError("the SSH connection is closed")
        sent: Future[None] = Future()
        self._outgoing.put((data, sent))
        while True:
            try:
                return sent.result(timeout=1.0)
            except TimeoutError:
                if not self.is_active():
                    raise EOFError("the SSH connection was closed while sending") from None

    def _send_outgoing(self) -> None:
        while (item := self._outgoing.get()) is not None:
            message, sent = item
            try:
                super()._send_user_message(message)  # type: ignore[misc]
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
                sent.set_exception(error)
            else:
                sent.set_result(None)

    def close(self) -> None:
        """Close the connection and end the sending thread."""
        super().close()
        self._outgoing.put(None)

    def watch(self) -> None:
        """Start noticing a silent server: two daemon threads, one that asks and one that judges.

        They are two because asking can itself get stuck behind a full socket buffer.
        """
        threading.Thread(target=self._ask, name="l8s-ping", daemon=True).start()
        threading.Thread(target=self._judge, name="l8s-watchdog", daemon=True).start()

    def answers(self, within: float) -> bool:
        """Whether the server was heard a moment ago or, being asked now, is heard within so many seconds.

        By the clock that goes on while the laptop sleeps: after that, a connection looks as it did before.
        """
        before = self._watched.last_heard
        if boot_clock() - before < HEARD_LATELY:
            return self.is_active()
        end = time.monotonic() + within
        threading.Thread(target=self._ping, name="l8s-ping", daemon=True).start()
        while self.is_active() and self._watched.last_heard == before and time.monotonic() < end:
            time.sleep(0.002)
        return self.is_active() and self._watched.last_heard != before

    def _ping(self) -> None:
        request = Message()
        request.add_byte(cMSG_GLOBAL_REQUEST)
        request.add_string("keepalive@openssh.com")
        request.add_boolean(True)  # an answer is wanted; "no such request" is one
        with suppress(OSError, EOFError, paramiko.SSHException):
            self._send_user_message(request)

    def _silence(self) -> float:
        return time.monotonic() - self._watched.last_received

    def _ask(self) -> None:
        asked = 0.0
        while self.is_active():
            if min(self._silence(), time.monotonic() - asked) >= PING_INTERVAL:
                asked = time.monotonic()
                self._ping()
            self._sleep(0.5)

    def _judge(self) -> None:
        while self.is_active():
            if self._silence() >= DEAD_AFTER:
                self.died_silent = True
                self.close()
                return
            before = time.monotonic()
            self._sleep(0.5)
            if time.monotonic() - before > STOOD_STILL:
                # This process stood still (Ctrl-Z): the server was not asked, so it has not failed to answer.
                self._watched.last_received = time.monotonic()

    def _judge_login(self) -> None:
        """Give up a server that owes an answer: before the login it cannot be asked for a sign of life.

        The time that the agent takes, which may be waiting for a person, is not the server's.
        """
        while self.is_active() and not self.is_authenticated():
            if self._watched.owed_for() >= DEAD_AFTER:
                self.died_silent = True
                self.close()
                return
            time.sleep(0.25)

    def _sleep(self, seconds: float) -> None:
        """Wait, but not longer than the connection lives."""
        end = time.monotonic() + seconds
        while self.is_active() and time.monotonic() < end:
            time.sleep(0.25)
