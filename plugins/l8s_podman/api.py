"""Podman's REST API over the link: podman-py's APIClient on an adapter of our own.

podman-py's own ssh transport is not used: it does not check host keys, and dials anew for every connection. Here each
HTTP connection is a channel of the one SSH connection, to the socket itself (``direct-streamlocal``) or, where the
server forbids that, to ``podman system dial-stdio``. Not here: what is asked (`l8s_podman.backend`).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import paramiko
import requests
import urllib3
from podman.api.client import APIClient, APIResponse
from podman.errors import APIError
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection

from l8s_core import names
from l8s_core.errors import BackendError, socket_unavailable
from l8s_podman.answers import RequestFailed, error_text, parse_json
from l8s_podman.channels import Channels
from l8s_podman.streams import BrokenOff, ChannelSocket, Unsent
from l8s_podman.translate import causes, translated
from l8s_podman.uninterrupted import to_the_end

T = TypeVar("T")

API_VERSION = "4.0.0"
"""The version in the URLs: the oldest that is supported, which every later Podman still answers."""

MINIMUM_VERSION = (4, 3)
"""The oldest Podman that l8s is tested with."""

LOOKS = 3
"""How often a request is tried that has not been carried out, while the SSH connection lives."""

KEPT = 7.0
"""Seconds after which an HTTP connection is not used again: Podman's service closes it after ten idle ones (twice its
own idle time, says its pkg/api/server/server.go), and a request could be on its way at that moment."""

REQUEST_TIMEOUT = 30.0
"""Seconds between two pieces of an answer."""

BASE_URL = "http://podman"
"""Where podman-py is told that the API is; every connection to it is made by our adapter."""

_STATUS = re.compile(rb"[1-5]\d\d")
_VERSION = re.compile(r"^(\d+)\.(\d+)")


class Dialer:
    """Opens streams to the API's socket, in the way that works on this connection."""

    def __init__(self, link: Channels, socket_path: str) -> None:
        self._link = link
        self._path = socket_path

    @property
    def way(self) -> str:
        """In words, how the socket is reached."""
        return "forwarded" if self._link.forwards else "podman system dial-stdio"

    def service_ends(self) -> None:
        """Podman's service has said that it ends: what was opened ahead leads nowhere."""
        self._link.forget_ready()

    def open(self) -> ChannelSocket:
        """A new stream.

        Raises:
            SocketUnavailable: it cannot be had; the message says which of the ways in which that happens.
            ConnectionFailed: the SSH connection is gone.
        """
        # Nothing has been asked yet, so whatever goes wrong here leaves no doubt about what was done.
        with translated("reaching its socket", where=self._link.where, link_dead=lambda: self._link.dead):
            return self._open()

    def _open(self) -> ChannelSocket:
        if self._link.forwards:
            ready = self._link.ready()
            if ready is not None:
                return ready
            try:
                return ChannelSocket(self._link.streamlocal(self._path))
            except paramiko.ChannelException as error:
                # OpenSSH gives one code, 2, for a socket that cannot be reached and for forwarding that is forbidden.
                reason = self._socket_problem() or self._dial_stdio_problem()
                if reason:
                    raise socket_unavailable(self._path, reason) from error
                self._link.forwards = False
        return ChannelSocket(self._link.command(self._dial_stdio_words))

    @property
    def _dial_stdio_words(self) -> list[str]:
        return ["podman", "--url", f"unix://{self._path}", "system", "dial-stdio"]

    def _socket_problem(self) -> str:
        """What is wrong with the socket's file; "" when it looks right."""
        script = (
            'if [ ! -e "$1" ]; then echo missing; elif [ ! -S "$1" ]; then echo plain;'
            ' elif [ ! -r "$1" ] || [ ! -w "$1" ]; then echo denied; fi'
        )
        said = self._link.run(["sh", "-c", script, "sh", self._path]).stdout.decode("ascii", "replace").split()
        return {
            "missing": "there is no such file, or the login user may not look into its directory",
            "plain": "it is a file, but not a socket",
            "denied": "the login user may not read and write it",
        }.get(said[-1] if said else "", "")  # a login script may print before

    def _dial_stdio_problem(self) -> str:
        """Why the fallback does not lead to the socket either; "" when it does. With its input at its end, it ends."""
        ran = self._link.run(self._dial_stdio_words)
        if ran.exit_code == 127:
            return "the SSH server does not forward to it, and the login user has no podman to reach it with"
        return "nothing listens on it" if ran.exit_code else ""


class _Connection(HTTPConnection):
    """An HTTP connection over a stream of the adapter's dialer."""

    adapter: _Adapter
    sock: Any

    def connect(self) -> None:
        self.adapter.made += 1
        self.sock = self.adapter.dialer.open()
        self.sock.settimeout(self.timeout)

    @property
    def is_connected(self) -> bool:
        return self.sock is not None and self.sock.idle and self.sock.unused_for < KEPT


class _Adapter(HTTPAdapter):
    """A requests adapter all of whose connections are channels."""

    def __init__(self, dialer: Dialer) -> None:
        self.dialer = dialer
        self.made = 0
        connection = type("_DialedConnection", (_Connection,), {"adapter": self})
        pool = type("_DialedPool", (urllib3.HTTPConnectionPool,), {"ConnectionCls": connection})
        self._pool = pool("podman", maxsize=8)
        super().__init__(max_retries=0)

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> Any:
        return self._pool

    def close(self) -> None:
        self._pool.close()
        super().close()


class PodmanAPI:
    """Requests to one server's Podman."""

    def __init__(self, link: Channels, dialer: Dialer, *, where: str) -> None:
        self._link = link
        self._dialer = dialer
        self._where = where
        # Without a base_url podman-py would talk to this machine's own socket.
        self._client = APIClient(base_url=BASE_URL, version=API_VERSION, timeout=REQUEST_TIMEOUT)
        self._client.trust_env = False  # no proxy gets to see the API
        self._adapter = _Adapter(dialer)
        for scheme in ("http://", "https://"):
            self._client.mount(scheme, self._adapter)
        self._version_checked = False
        self._told_time: tuple[datetime, float] | None = None

    @property
    def where(self) -> str:
        """The server, for messages."""
        return self._where

    @property
    def time(self) -> datetime | None:
        """The server's clock, by the last answer's date (RFC 9110, 6.6.1: whole seconds) and what went by since."""
        if self._told_time is None:
            return None
        told, at = self._told_time
        return told + timedelta(seconds=time.monotonic() - at)

    @property
    def connections(self) -> int:
        """How many HTTP connections were made for `request` so far; the one used last is used first."""
        return self._adapter.made

    def ping(self) -> tuple[str, str]:
        """Podman's version and its API version.

        Raises:
            SocketUnavailable: the socket cannot be used.
            BackendError: Podman is too old, or something else answers.
        """
        response = self.request("GET", "/_ping", doing="asking for its version")
        api = str(response.headers.get("Libpod-Api-Version", ""))
        server = str(response.headers.get("Server", ""))
        return server.removeprefix("Libpod/").partition(" ")[0] or api, api

    def request(
        self,
        method: str,
        path: str,
        *,
        doing: str,
        params: Mapping[str, Any] | None = None,
        body: object | None = None,
        data: Any = None,
        content_type: str = "application/json",
        allowed: tuple[int, ...] = (),
        stream: bool = False,
        timeout: float = REQUEST_TIMEOUT,
    ) -> APIResponse:
        """One request. Statuses from 400 that are not ``allowed`` raise. ``path`` holds only quoted names.

        ``timeout`` is in seconds between two pieces of the answer.

        Raises:
            RequestFailed: the API answered with an error.
            OutcomeUnknown: a change was sent, and no answer came.
            ConnectionFailed: no answer came to a look.
        """
        self._link.asked()
        payload = data if body is None else json.dumps(body).encode("utf-8")
        headers = {"Content-Type": content_type} if payload is not None else {}
        with self._translated(doing, write=method != "GET"):
            send: Callable[..., APIResponse] = {
                "GET": self._client.get,
                "PUT": self._client.put,
                "DELETE": self._client.delete,
            }.get(method, self._client.post)
            options: dict[str, Any] = {
                "params": params,
                "headers": headers,
                "timeout": timeout,
                "stream": stream,
            }
            if payload is not None:
                options["data"] = payload
            response: APIResponse = (
                self._repeated(lambda: send(path, **options), _dropped)
                if method == "GET"
                else to_the_end(
                    # data is read as it is sent, and is not there a second time
                    lambda: self._repeated(lambda: send(path, **options), _unsent if data is None else _never),
                    abandoned=lambda late: late.close(),
                )
            )
        if response.headers.get("Connection", "").lower() == "close":  # RFC 9112, 9.6; a service that goes on keeps it
            self._dialer.service_ends()
        self._check_version(response)
        self._note_time(response)
        if response.status_code >= 400 and response.status_code not in allowed:
            with self._translated(doing, write=False):
                text = response.text
            raise RequestFailed(doing, self._where, response.status_code, error_text(text))
        return response

    def _repeated(self, send: Callable[[], T], harmless: Callable[[BaseException], bool]) -> T:
        """Send again when the stream, and not the SSH connection, ended in a way that is ``harmless``.

        Podman's service ends after five idle seconds and is started again by the next connection; one that comes at
        that very moment is taken by the ending service and dropped. A look can be repeated, and so can a change that
        was not even sent to its end; one that was is not, whatever became of it.
        """
        for _ in range(LOOKS - 1):
            try:
                return send()
            except (APIError, Unsent) as error:  # podman-py raises whatever requests does as the first
                if self._link.dead or not harmless(error):
                    raise
        return send()

    def json(self, path: str, *, doing: str, params: Mapping[str, Any] | None = None) -> Any:
        """The answer to a GET, parsed.

        Raises:
            BackendError: it is not JSON.
        """
        response = self.request("GET", path, doing=doing, params=params)
        return parse_json(response.content, doing=doing, where=self._where)

    def chunks(self, response: APIResponse, *, doing: str, write: bool) -> Iterator[bytes]:
        """The body of a streamed answer, as it comes, and the end of it only if it is the real one."""
        with self._translated(doing, write=write):
            yield from response.iter_content(chunk_size=None)

    def hijack(self, path: str, body: object, *, doing: str, timeout: float | None) -> tuple[ChannelSocket, Any]:
        """Send a POST whose connection then carries raw bytes; the stream, and a reader behind the answer's headers.

        The caller closes both. ``timeout`` is in seconds per read.

        Raises:
            RequestFailed: the API answered with an error.
            OutcomeUnknown: no answer came.
        """
        self._link.asked()
        payload = json.dumps(body).encode("utf-8")
        head = (
            f"POST /v{API_VERSION}/libpod{path} HTTP/1.1\r\n"
            "Host: podman\r\n"
            "Content-Type: application/json\r\n"
            "Connection: Upgrade\r\n"
            "Upgrade: tcp\r\n"
            f"Content-Length: {len(payload)}\r\n\r\n"
        )

        def send() -> tuple[ChannelSocket, Any]:
            stream = self._dialer.open()
            reader = None
            try:
                stream.settimeout(REQUEST_TIMEOUT)
                stream.sendall(head.encode("ascii") + payload)
                reader = stream.makefile("rb")
                status, headers = _read_head(reader)
                if status >= 400:
                    length = headers.get("content-length", "")
                    text = reader.read(min(int(length), 64 * 1024) if length.isdigit() else 64 * 1024)
                    raise RequestFailed(doing, self._where, status, error_text(text.decode("utf-8", "replace")))
                stream.settimeout(timeout)
            except BaseException:
                if reader is not None:
                    reader.close()
                stream.close()
                raise
            return stream, reader

        def close(opened: tuple[ChannelSocket, Any]) -> None:
            stream, reader = opened
            reader.close()
            stream.close()

        with self._translated(doing, write=True):
            return to_the_end(lambda: self._repeated(send, _unsent), abandoned=close)

    def close(self) -> None:
        """Close every HTTP connection; the link stays."""
        self._client.close()

    def _translated(self, doing: str, *, write: bool) -> Any:
        return translated(doing, write=write, where=self._where, link_dead=lambda: self._link.dead)

    def _note_time(self, response: APIResponse) -> None:
        with suppress(ValueError, OverflowError):
            told = parsedate_to_datetime(str(response.headers.get("Date", ""))).astimezone(UTC)
            self._told_time = told, time.monotonic()

    def _check_version(self, response: APIResponse) -> None:
        """Every answer names its version: a server that is too old is refused at the first one."""
        if self._version_checked:
            return
        text = str(response.headers.get("Libpod-Api-Version", ""))
        match = _VERSION.match(text)
        if match is None:
            raise BackendError(
                f"What answers on the socket of {self._where} is not Podman.",
                hints=("Check remote_socket: l8s profile show",),
            )
        if (int(match[1]), int(match[2])) < MINIMUM_VERSION:
            floor = ".".join(map(str, MINIMUM_VERSION))
            raise BackendError(
                f"Podman on {self._where} is {text}; l8s needs {floor} or later.",
                hints=("Upgrade Podman on the server, for example by a newer release of its distribution",),
            )
        self._version_checked = True


def _dropped(error: BaseException) -> bool:
    """Whether a request's stream ended without a word of an answer; silence, for one, is something else."""
    error = error.__cause__ or error
    return (
        isinstance(error, requests.ConnectionError)
        and bool(error.args)
        and isinstance(error.args[0], urllib3.exceptions.ProtocolError)
    )


def _unsent(error: BaseException) -> bool:
    """Whether the last of a request was never sent: Podman then has no whole header, or no whole JSON, to act on."""
    return any(isinstance(cause, Unsent) for cause in causes(error))


def _never(_error: BaseException) -> bool:
    return False


def _read_head(reader: Any) -> tuple[int, dict[str, str]]:
    """Status and headers of an HTTP/1 answer (RFC 9112), at most 64 lines.

    Raises:
        BrokenOff: nothing came before the end.
        BackendError: it is not one.
    """
    line = reader.readline(4096)
    if not line:
        raise BrokenOff("the stream ended before an answer")
    parts = line.split(None, 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not _STATUS.fullmatch(parts[1]):
        raise BackendError(f"The server's answer is not HTTP: {names.printable(line[:80].decode('latin-1'))!r}")
    headers: dict[str, str] = {}
    for _ in range(64):
        field = reader.readline(8192)
        if field in (b"\r\n", b"\n", b""):
            break
        name, _, value = field.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(parts[1]), headers
