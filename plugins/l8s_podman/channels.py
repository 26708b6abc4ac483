"""What one caller has open on the shared connection: its channels, its round trips, and ending what it waits for.

Several callers may share one `l8s_podman.link.Link`; each has `Channels` of its own, and a few channels to the API's
socket are kept open ahead of them (`Ready`), so that a request costs one round trip and not two. Not here: the
connection itself, and what is said over a channel.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol
from weakref import WeakSet

import paramiko

from l8s_core.errors import L8sError
from l8s_core.model import OutputSink
from l8s_podman.link import Link, Ran
from l8s_podman.streams import ChannelSocket, LinkLost

SPARES = 2
"""Channels kept open ahead: most commands use one, and `exec` a second at once."""


class _Closable(Protocol):
    def close(self) -> None: ...


class Ready:
    """Channels to the API's socket that were opened ahead of whoever needs one next.

    They do not keep Podman's service up, and end with it (`l8s_podman.keepalive`).
    """

    def __init__(self, link: Link, path: str) -> None:
        self._link = link
        self._path = path
        self._spares: list[ChannelSocket] = []
        self._lock = threading.Lock()
        self._wanted = 0
        self._filling = False
        self._dropped = 0
        self.forwards = True
        """Whether the server forwards to the socket, as far as anybody who uses the connection knows."""

    def keep(self) -> None:
        """From now on keep `SPARES` of them."""
        self._wanted = SPARES
        self._fill()

    def take(self) -> ChannelSocket | None:
        """One that is still good, if there is one; another is opened in its place, by a thread of its own."""
        found = None
        with self._lock:
            while self._spares and found is None:
                spare = self._spares.pop(0)
                if spare.idle:
                    found = spare
                else:
                    spare.close()
        self._fill()
        return found

    def drop(self) -> None:
        """Close those that were opened so far: they lead to a service that is ending. Others take their place."""
        with self._lock:
            self._dropped += 1
        self._close_all()
        self._fill()

    def close(self) -> None:
        """Close those that are left."""
        with self._lock:
            self._wanted = 0
        self._close_all()

    def _close_all(self) -> None:
        with self._lock:
            spares, self._spares = self._spares, []
        for spare in spares:
            spare.close()

    def _fill(self) -> None:
        with self._lock:
            if self._filling or len(self._spares) >= self._wanted:
                return
            self._filling = True
        threading.Thread(target=self._open, name="l8s-ready", daemon=True).start()

    def _open(self) -> None:
        while True:
            with self._lock:
                if len(self._spares) >= self._wanted:
                    self._filling = False
                    return
                dropped = self._dropped
            try:
                spare = ChannelSocket(self._link.streamlocal(self._path))
            except (paramiko.SSHException, OSError, EOFError) as error:
                with self._lock:  # whoever needs one opens it, and learns why that fails
                    self._filling = False
                    if isinstance(error, paramiko.ChannelException):
                        self._wanted = 0
                return
            with self._lock:
                if self._wanted and dropped == self._dropped:
                    self._spares.append(spare)
                    continue
            spare.close()


class Channels:
    """One caller's use of a link: `Link.streamlocal`, `Link.command` and `Link.run`, counted and interruptible."""

    def __init__(self, link: Link, ready: Ready) -> None:
        self._link = link
        self._ready = ready
        self._open: WeakSet[_Closable] = WeakSet()
        self._lock = threading.Lock()
        self._calling = False
        self._cuttable = False
        self._interrupted = False
        self.round_trips = 0
        """How often the server's answer had to be waited for."""

    @property
    def where(self) -> str:
        """The server, for messages."""
        return self._link.where

    @property
    def dead(self) -> bool:
        """Whether the connection is gone."""
        return self._link.dead

    @property
    def interrupted(self) -> bool:
        """Whether the call that runs now was told to end."""
        return self._interrupted

    @property
    def forwards(self) -> bool:
        """Whether the server forwards to the API's socket; what one caller found out, the others know."""
        return self._ready.forwards

    @forwards.setter
    def forwards(self, found: bool) -> None:
        self._ready.forwards = found

    def asked(self) -> None:
        """Count a question whose answer is waited for."""
        self.round_trips += 1

    def ready(self) -> ChannelSocket | None:
        """A channel to the API's socket that was opened ahead, if there is one."""
        found = self._ready.take()
        if found is not None:
            self._open.add(found)
        return found

    def forget_ready(self) -> None:
        """Use none of the channels that were opened ahead so far."""
        self._ready.drop()

    def streamlocal(self, path: str) -> paramiko.Channel:
        """See `Link.streamlocal`; one round trip."""
        self.asked()
        channel = self._link.streamlocal(path)
        self._open.add(channel)
        return channel

    def command(self, words: Sequence[str]) -> paramiko.Channel:
        """See `Link.command`; a round trip for the channel, and one for the command."""
        self.round_trips += 2
        channel = self._link.command(words)
        self._open.add(channel)
        return channel

    def run(
        self,
        words: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float = 15.0,
        limit: int = 1024 * 1024,
        on_output: OutputSink | None = None,
    ) -> Ran:
        """See `Link.run`; a round trip for the channel, and one for the command."""
        self.round_trips += 2
        return self._link.run(
            words, stdin=stdin, timeout=timeout, limit=limit, on_output=on_output, on_open=self._open.add
        )

    @contextmanager
    def call(self) -> Iterator[None]:
        """Around a call that `interrupt` may end."""
        with self._lock:
            self._calling, self._interrupted = True, False
        try:
            yield
        finally:
            with self._lock:
                self._calling = False

    @contextmanager
    def cuttable(self) -> Iterator[None]:
        """Around the part of a `call` that is ended by closing its channels.

        Raises:
            KeyboardInterrupt: it was told to end.
        """
        with self._lock:
            if self._interrupted:
                raise KeyboardInterrupt
            self._cuttable = True
        try:
            yield
        except (L8sError, LinkLost) as error:
            if self._interrupted:
                raise KeyboardInterrupt from error
            raise
        finally:
            with self._lock:
                self._cuttable = False

    def interrupt(self) -> None:
        """End the `call` that runs now, from another thread: it raises KeyboardInterrupt."""
        # under the lock to the end: what stops the command afterwards begins with a call of its own, and must not be
        # given a channel that is about to be closed
        with self._lock:
            if not self._calling:
                return
            self._interrupted = True
            for channel in list(self._open) if self._cuttable else ():
                if isinstance(channel, ChannelSocket):
                    channel.shutdown()
                else:
                    channel.close()
