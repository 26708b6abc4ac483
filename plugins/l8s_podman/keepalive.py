"""Podman's service, kept up while somebody may need it again soon.

systemd starts it at the first connection, and it ends after five seconds in which it had no connection that was ever
used (measured with 4.3 and 5.4; pkg/api/server/idle/tracker.go of Podman). Then what was opened ahead of a command is
closed, and the command pays for a round trip more and for the start, a tenth of a second. Worse, for the up to six
seconds of its end the service still takes requests on old connections and cuts off whatever is not done by then. So one
connection is used every few seconds. Not here: the channels that are opened ahead (`l8s_podman.channels`).
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable

import paramiko

from l8s_podman.streams import ChannelSocket

PULSE = 7.0
"""Seconds between two uses; after ten idle ones the service closes a connection."""

WARM = 600.0
"""Seconds since somebody last wanted the service for which it is kept up."""

WATCH = 0.5
"""Seconds in which the end of the service is noticed."""

ANSWER_TIMEOUT = 30.0
"""Seconds that an answer may take."""


class Keepalive:
    """Uses a connection of its own from time to time, in a thread of its own.

    ``open_stream`` gives a stream to the service; ``on_end`` is called when the service has ended or is about to.
    """

    def __init__(self, open_stream: Callable[[], ChannelSocket], on_end: Callable[[], None]) -> None:
        self._open_stream = open_stream
        self._on_end = on_end
        self._lock = threading.Lock()
        self._running = False
        self._wanted_until = 0.0
        self._stopped = threading.Event()

    def want(self) -> None:
        """Keep the service up for `WARM` seconds from now."""
        with self._lock:
            self._wanted_until = time.monotonic() + WARM
            if self._running or self._stopped.is_set():
                return
            self._running = True
        threading.Thread(target=self._run, name="l8s-keepalive", daemon=True).start()

    def stop(self) -> None:
        """Let the service go, for good."""
        self._stopped.set()

    def _run(self) -> None:
        stream: ChannelSocket | None = None
        try:
            while self._go_on():
                if stream is None:
                    stream = self._open_stream()
                if _stays(stream):
                    self._watch(stream)
                if not stream.idle:
                    stream.close()
                    stream = None
                    self._on_end()
                    self._stopped.wait(WATCH)
        except (paramiko.SSHException, OSError, EOFError):
            pass  # the connection is gone, or the socket cannot be reached: whoever needs it learns why
        finally:
            if stream is not None:
                stream.close()
            with self._lock:
                self._running = False

    def _go_on(self) -> bool:
        with self._lock:
            return not self._stopped.is_set() and time.monotonic() < self._wanted_until

    def _watch(self, stream: ChannelSocket) -> None:
        """Wait until the stream is to be used again, or is not there any more."""
        end = time.monotonic() + PULSE
        while stream.idle and time.monotonic() < end and not self._stopped.wait(WATCH):
            pass


def _stays(stream: ChannelSocket) -> bool:
    """Ask for nothing in particular; whether there was an answer and it did not say that the connection ends."""
    stream.settimeout(ANSWER_TIMEOUT)
    connection = http.client.HTTPConnection("podman")
    connection.sock = stream
    try:
        connection.request("GET", "/_ping", headers={"User-Agent": "l8s"})  # the service logs each request
        answer = connection.getresponse()
        answer.read()
    except (http.client.HTTPException, ConnectionError):
        connection.close()
        return False
    return not answer.will_close
