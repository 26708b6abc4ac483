"""What a command and a holder say to each other: frames over a unix socket.

A frame is a byte for its kind, four for its length (big-endian), and its content. `MESSAGE` is JSON, one object; the
others are bytes as they are. Not here: what the messages mean (`l8s_core.multiplex.held`, `holder`).
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

PROTOCOL = 1
"""Raised whenever a command and a holder of different versions would misunderstand each other."""

HEADER = struct.Struct(">cI")
MESSAGE, OUT, ERR, DATA, BEAT = b"M", b"O", b"E", b"D", b"B"
"""A message; a command's standard output; its standard error; a piece of a transfer or of input; a sign of life."""

LIMIT = 256 * 1024 * 1024
"""Bytes of a frame: a list of 100,000 containers has half of that."""

CHUNK = 256 * 1024
"""Bytes of a piece, at most: larger ones gain nothing, and hold up what else is to be said."""


class WireClosed(Exception):
    """The other side is gone, fell silent, or says what is no frame."""


class Wire:
    """One connection between a command and a holder. One thread receives; any may send."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._reader = connection.makefile("rb", buffering=64 * 1024)
        self._sending = threading.Lock()

    def settimeout(self, seconds: float | None) -> None:
        """How long one `receive` may wait, and one `send` for the other side to take it."""
        self._socket.settimeout(seconds)

    def say(self, message: Mapping[str, Any]) -> None:
        """Send a message.

        Raises:
            WireClosed: nobody is there.
        """
        self.send(MESSAGE, json.dumps(message, separators=(",", ":")).encode("ascii"))

    def send(self, kind: bytes, content: bytes | memoryview = b"") -> None:
        """Send a frame, or several where ``content`` is longer than `CHUNK` and no message.

        Raises:
            WireClosed: nobody is there.
        """
        if kind != MESSAGE and len(content) > CHUNK:
            view = memoryview(content)
            for start in range(0, len(view), CHUNK):
                self.send(kind, view[start : start + CHUNK])
            return
        header = HEADER.pack(kind, len(content))
        try:
            with self._sending:
                if len(content) < 4096:
                    self._socket.sendall(header + bytes(content))
                else:
                    self._socket.sendall(header)
                    self._socket.sendall(content)
        except OSError as error:
            raise WireClosed(str(error)) from error

    def beat(self) -> None:
        """Give a sign of life, unless a frame is on its way, which is one too."""
        if not self._sending.acquire(blocking=False):
            return
        try:
            self._socket.send(HEADER.pack(BEAT, 0), socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass  # the other side has more than enough to read
        except OSError as error:
            raise WireClosed(str(error)) from error
        finally:
            self._sending.release()

    def receive(self) -> tuple[bytes, bytes]:
        """The next frame.

        Raises:
            WireClosed: the other side ended, was silent for the timeout, or said what is no frame.
        """
        try:
            header = self._reader.read(HEADER.size)
            if len(header) < HEADER.size:
                raise WireClosed("it ended")
            kind, length = HEADER.unpack(header)
            if length > LIMIT:
                raise WireClosed(f"a frame of {length} bytes was announced")
            content = self._reader.read(length) if length else b""
        except (OSError, ValueError) as error:
            raise WireClosed(str(error) or type(error).__name__) from error
        if len(content) < length:
            raise WireClosed("it ended in the middle of a frame")
        return kind, content

    def close(self) -> None:
        """Close it; whoever receives on it learns so."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.close()
        self._socket.close()


def parse(content: bytes) -> dict[str, Any]:
    """A message's content.

    Raises:
        WireClosed: it is no object in JSON.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise WireClosed("a message cannot be read") from error
    if not isinstance(found, dict):
        raise WireClosed("a message is no object")
    return found
