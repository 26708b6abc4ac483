"""An SSH channel as the socket that http.client expects.

A raw paramiko channel under http.client loses data: a response whose end is the connection's end closes the "socket"
after the headers, and a dead connection reads like a clean end. Here readers are counted, as real sockets do, and an
end without the peer's end-of-file is an error.
"""

from __future__ import annotations

import io
import socket
import threading
import time
from contextlib import suppress
from typing import Any

import paramiko

PACKET = 32 * 1024 - 64
"""Bytes of data that paramiko puts into one packet, when the server takes packets of 32 KiB as OpenSSH does."""


class LinkLost(ConnectionError):
    """The SSH connection ended before the stream on it did."""


class BrokenOff(ConnectionError):
    """A stream ended in the middle of what it carried, over a connection that lives: whoever served it is gone."""


class Unsent(BrokenOff):
    """A stream was closed by whoever served it before all that was to be sent had been: the end of it never left."""


class ChannelSocket:
    """The part of `socket.socket` that http.client and urllib3 use, over a paramiko channel."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._readers = 0
        self._closed = False
        self._lock = threading.Lock()
        self._used: float | None = None

    @property
    def unused_for(self) -> float:
        """Seconds since something was last sent or received; 0 when nothing ever was."""
        return 0.0 if self._used is None else time.monotonic() - self._used

    @property
    def idle(self) -> bool:
        """Whether another request can be sent: still open, and nothing unread or ended on it."""
        channel = self._channel
        transport = channel.get_transport()
        return not (
            self._closed or channel.closed or channel.eof_received or channel.recv_ready() or not transport.is_active()
        )

    def settimeout(self, timeout: float | None) -> None:
        """Seconds that one read or write may wait; None waits as long as the connection lives."""
        self._channel.settimeout(timeout)

    def sendall(self, data: Any) -> None:
        """Send every byte.

        Raises:
            TimeoutError: the window stayed full for the timeout.
            Unsent: the peer closed the stream before the last of them was sent.
            LinkLost: the connection died.
        """
        self._used = time.monotonic()
        try:
            # One packet at a time: paramiko would copy all that is left for each packet that it takes off the front.
            for start in range(0, len(data), PACKET):
                self._channel.sendall(data[start : start + PACKET])
        except TimeoutError:
            raise
        except OSError as error:
            if self._channel.eof_received:  # which nobody says of a connection that died
                raise Unsent("the stream was closed before everything was sent") from error
            raise LinkLost(f"the connection was closed while sending: {error}") from error

    def shutdown_write(self) -> None:
        """Tell the peer that nothing more will be sent."""
        if not self._channel.closed:
            self._channel.shutdown_write()

    def recv_into(self, buffer: memoryview) -> int:
        """Receive into ``buffer``; 0 is the peer's end-of-file.

        Raises:
            TimeoutError: nothing came within the timeout.
            LinkLost: the connection ended without an end-of-file.
        """
        try:
            data = self._channel.recv(len(buffer))
        except TimeoutError:
            raise
        except OSError as error:
            raise LinkLost(f"the connection was closed while receiving: {error}") from error
        if not data and not self._channel.eof_received:
            raise LinkLost("the SSH connection ended in the middle of an answer")
        buffer[: len(data)] = data
        self._used = time.monotonic()
        return len(data)

    def makefile(self, mode: str = "rb", buffering: int = -1, **_: Any) -> io.BufferedReader:
        """A buffered reader; the channel is closed when the socket and its last reader are."""
        if mode != "rb":
            raise ValueError(f"only reading is supported, not {mode!r}")
        with self._lock:
            self._readers += 1
        return io.BufferedReader(_ChannelReader(self), buffering if buffering > 0 else 64 * 1024)

    def close(self) -> None:
        """Close, once the readers are closed too."""
        with self._lock:
            self._closed = True
            finished = self._readers == 0
        if finished:
            self._end()

    def shutdown(self, how: int = socket.SHUT_RDWR) -> None:
        """End both directions at once."""
        del how
        self._end()

    def _end(self) -> None:
        # the peer is told, which fails when the connection has ended: and with it this has
        with suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.close()

    def _reader_closed(self) -> None:
        with self._lock:
            self._readers -= 1
            finished = self._closed and self._readers == 0
        if finished:
            self._end()


class _ChannelReader(io.RawIOBase):
    """The raw end under a `makefile`."""

    def __init__(self, owner: ChannelSocket) -> None:
        self._owner = owner

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._owner.recv_into(memoryview(buffer).cast("B"))

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._owner._reader_closed()
