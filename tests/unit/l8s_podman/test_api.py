"""HTTP over streams of our own: what is sent, where it goes, and what is made of strange answers."""

from __future__ import annotations

import io
import json
import math
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime

import paramiko
import pytest

from l8s_core.errors import BackendError, ConnectionFailed, OutcomeUnknown, SocketUnavailable
from l8s_podman.answers import RequestFailed
from l8s_podman.api import KEPT, LOOKS, Dialer, PodmanAPI, _read_head
from l8s_podman.link import Ran
from l8s_podman.streams import BrokenOff, LinkLost, Unsent

VERSION = b"Libpod-Api-Version: 5.4.2\r\n"


def answer(body: bytes = b"{}", *, status: str = "200 OK", headers: bytes = VERSION) -> bytes:
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status.encode(), headers, len(body), body)


class Stream:
    """A socket with what `ChannelSocket` has besides. It is closed to whoever sends more than ``takes`` messages."""

    def __init__(self, inner: socket.socket, takes: float = math.inf) -> None:
        self._inner = inner
        self._takes = takes
        self.sent: list[bytes] = []
        self.idle = True
        self.unused_for = 0.0

    def sendall(self, data: bytes) -> None:
        self._takes -= 1
        if self._takes < 0:
            raise Unsent("the stream was closed before everything was sent")
        self.sent.append(data)
        self._inner.sendall(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


class FakeDialer:
    """Each stream that it opens is answered with the next of ``answers``, however often it is asked on it.

    The first ones take no more messages than ``takes`` says of each.
    """

    way = "fake"

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.takes: list[float] = []
        self.streams: list[Stream] = []
        self.opened = self.ended = 0
        self.requests: list[bytes] = []
        self._sockets: list[socket.socket] = []

    def open(self) -> Stream:
        near, far = socket.socketpair()
        self._sockets += [near, far]
        threading.Thread(target=self._serve, args=(far, self.answers.pop(0)), daemon=True).start()
        self.opened += 1
        self.streams.append(Stream(near, self.takes.pop(0) if self.takes else math.inf))
        return self.streams[-1]

    def service_ends(self) -> None:
        self.ended += 1

    def _serve(self, end: socket.socket, answer: bytes) -> None:
        with suppress(OSError):
            while data := end.recv(65536):
                self.requests.append(data)
                end.sendall(answer)
                if b"Content-Length" not in answer:
                    end.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        for end in self._sockets:
            end.close()


class FakeLink:
    """A link on which a channel to the socket is refused with ``error``, and commands end as ``runs`` says."""

    where = "box"

    def __init__(self, error: Exception | None = None, *, dead: bool = False, **runs: Ran) -> None:
        self.error, self.dead, self.runs = error, dead, runs
        self.forwards = True
        self.ran: list[list[str]] = []
        self.commands: list[list[str]] = []

    def asked(self) -> None:
        pass

    def ready(self) -> None:
        return None

    def streamlocal(self, path: str) -> object:
        if self.error is not None:
            raise self.error
        return object()

    def run(self, words: list[str]) -> Ran:
        self.ran.append(words)
        return self.runs[words[0]]

    def command(self, words: list[str]) -> object:
        self.commands.append(words)
        return object()


def ran(exit_code: int = 0, stdout: bytes = b"") -> Ran:
    return Ran(exit_code=exit_code, stdout=stdout, stderr=b"")


@pytest.fixture
def make_api() -> Iterator[Callable[..., tuple[PodmanAPI, FakeDialer]]]:
    made: list[tuple[PodmanAPI, FakeDialer]] = []

    def make(*answers: bytes) -> tuple[PodmanAPI, FakeDialer]:
        dialer = FakeDialer(*answers)
        made.append((PodmanAPI(FakeLink(), dialer, where="box"), dialer))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for api, dialer in made:
        api.close()
        dialer.close()


MakeAPI = Callable[..., tuple[PodmanAPI, FakeDialer]]


# Where requests go


def test_no_proxy_gets_to_see_the_api(make_api: MakeAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(0.2)
        url = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, url)
            monkeypatch.setenv(name.lower(), url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        api, dialer = make_api(answer())
        api.request("POST", "/containers/create", doing="creating", body={"secret": 1})
        api.json("/info", doing="asking")
        assert dialer.opened == 1
        with pytest.raises(TimeoutError):
            proxy.accept()


def test_nothing_of_the_environment_steers_it(make_api: MakeAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTAINER_HOST", "unix:///run/podman/podman.sock")
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent")
    home = os.environ["HOME"]
    with open(f"{home}/.netrc", "w") as netrc:  # noqa: PTH123  the name is short
        netrc.write("machine podman login me password secret\n")
    api, dialer = make_api(answer())
    api.json("/info", doing="asking")
    assert b"Authorization" not in dialer.requests[0]
    assert dialer.requests[0].startswith(b"GET /v4.0.0/libpod/info HTTP/1.1\r\n")


@pytest.fixture(autouse=True)
def _home(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


def test_one_stream_serves_many_requests(make_api: MakeAPI) -> None:
    api, dialer = make_api(answer(b"[]"))
    for _ in range(5):
        assert api.json("/containers/json", doing="listing") == []
    assert (dialer.opened, len(dialer.requests)) == (1, 5)


def test_redirects_lead_nowhere_else(make_api: MakeAPI) -> None:
    redirect = answer(status="307 Moved", headers=VERSION + b"Location: http://192.0.2.1/stolen\r\n")
    api, _ = make_api(redirect, redirect)
    with pytest.raises((BackendError, ConnectionFailed)):
        api.json("/info", doing="asking")


# Versions


@pytest.mark.parametrize("version", ["4.3.0", "4.3.1", "4.10.0", "5.4.2", "6.0.0-dev", "10.0"])
def test_versions_from_the_floor_are_fine(make_api: MakeAPI, version: str) -> None:
    api, _ = make_api(answer(headers=f"Libpod-Api-Version: {version}\r\nServer: Libpod/{version} (linux)\r\n".encode()))
    assert api.ping() == (version, version)


@pytest.mark.parametrize("version", ["4.2.9", "3.4.4", "4.0.0", "0.1"])
def test_older_versions_are_refused_at_the_first_answer(make_api: MakeAPI, version: str) -> None:
    api, _ = make_api(answer(b"[]", headers=f"Libpod-Api-Version: {version}\r\n".encode()))
    with pytest.raises(BackendError, match=r"needs 4\.3 or later") as raised:
        api.json("/containers/json", doing="listing")
    assert version in raised.value.message
    assert raised.value.exit_code == 7


@pytest.mark.parametrize("headers", [b"", b"Api-Version: 1.41\r\nServer: Docker/24\r\n", b"Libpod-Api-Version: x\r\n"])
def test_something_else_is_not_podman(make_api: MakeAPI, headers: bytes) -> None:
    api, _ = make_api(answer(headers=headers))
    with pytest.raises(BackendError, match="is not Podman"):
        api.ping()


# Answers


def test_an_error_answer_has_the_servers_words(make_api: MakeAPI) -> None:
    api, _ = make_api(answer(b'{"cause":"c","message":"it broke","response":500}', status="500 Oops"))
    with pytest.raises(RequestFailed, match="failed while trying: it broke") as raised:
        api.request("GET", "/x", doing="trying")
    assert (raised.value.status, raised.value.reason) == (500, "it broke")


def test_an_allowed_status_is_an_answer(make_api: MakeAPI) -> None:
    api, _ = make_api(answer(b"{}", status="404 Not Found"))
    assert api.request("GET", "/x", doing="trying", allowed=(404,)).status_code == 404


BROKEN = {
    "nothing": b"",
    "not http": b"SSH-2.0-OpenSSH\r\n",
    "half a chunk": b"HTTP/1.1 200 OK\r\n" + VERSION + b"Transfer-Encoding: chunked\r\n\r\n5\r\n[1,",
    "no last chunk": b"HTTP/1.1 200 OK\r\n" + VERSION + b"Transfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n",
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_answer_fails_a_look_and_leaves_a_change_unknown(make_api: MakeAPI, broken: bytes) -> None:
    api, _ = make_api(*[broken] * (LOOKS + 1))
    with pytest.raises(BackendError, match="broke off"):
        api.request("GET", "/x", doing="looking")
    with pytest.raises(OutcomeUnknown):
        api.request("POST", "/x", doing="changing")


def test_a_look_is_repeated_on_a_new_stream(make_api: MakeAPI) -> None:
    api, dialer = make_api(*[b""] * (LOOKS - 1), answer(b"[]"))
    assert api.json("/containers/json", doing="listing") == []
    assert dialer.opened == LOOKS


def test_a_change_is_sent_once(make_api: MakeAPI) -> None:
    api, dialer = make_api(b"", answer())
    with pytest.raises(OutcomeUnknown):
        api.request("POST", "/containers/create", doing="creating", body={})
    assert dialer.opened == 1


@pytest.mark.parametrize(("body", "takes"), [({"Name": "x"}, 0), ({"Name": "x"}, 1), (None, 0)])
def test_a_change_that_was_not_sent_to_its_end_is_sent_again(make_api: MakeAPI, body: object, takes: int) -> None:
    """Podman's service ends while the head or the body of it is on its way."""
    api, dialer = make_api(answer(), answer())
    dialer.takes = [takes]
    assert api.request("POST", "/volumes/create", doing="creating", body=body).status_code == 200
    first, second = (stream.sent for stream in dialer.streams)
    assert first == second[:takes], "the first stream got a head at most"
    assert b"".join(second).startswith(b"POST /v4.0.0/libpod/volumes/create HTTP/1.1\r\n")
    assert len(second) == (1 if body is None else 2)


def test_what_is_read_as_it_is_sent_is_not_sent_again(make_api: MakeAPI) -> None:
    api, dialer = make_api(answer(), answer())
    dialer.takes = [1]
    with pytest.raises(OutcomeUnknown, match="closed before everything was sent"):
        api.request("PUT", "/containers/x/archive", doing="uploading", data=iter([b"tar"]))
    assert dialer.opened == 1


def test_over_a_dead_connection_nothing_is_sent_again(make_api: MakeAPI) -> None:
    api, dialer = make_api(answer(), answer())
    dialer.takes = [0]
    api._link.dead = True  # type: ignore[misc]
    with pytest.raises(OutcomeUnknown):
        api.request("POST", "/volumes/create", doing="creating", body={})
    assert dialer.opened == 1


def test_a_hijack_that_was_not_sent_is_sent_again(make_api: MakeAPI) -> None:
    head = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\n\r\n"
    api, dialer = make_api(head, head)
    dialer.takes = [0]
    stream, reader = api.hijack("/exec/1/start", {}, doing="running", timeout=5)
    reader.close()
    stream.close()
    assert dialer.opened == 2
    assert dialer.ended == 0, "the end of the connection's HTTP is not that of the service"


def test_a_service_that_says_that_it_ends_is_not_relied_on(make_api: MakeAPI) -> None:
    api, dialer = make_api(answer(b"[]", headers=VERSION + b"Connection: close\r\n"), answer(b"[]"))
    api.json("/containers/json", doing="listing")
    assert dialer.ended == 1
    assert api.connections == 1
    api.json("/containers/json", doing="listing")
    assert (dialer.opened, dialer.ended, api.connections) == (2, 1, 2)


def test_a_connection_that_the_service_may_be_closing_is_not_used_again(make_api: MakeAPI) -> None:
    api, dialer = make_api(answer(b"[]"), answer(b"[]"))
    for unused, opened in ((0.0, 1), (KEPT - 0.5, 1), (KEPT + 0.5, 2)):
        for stream in dialer.streams:
            stream.unused_for = unused
        api.json("/containers/json", doing="listing")
        assert dialer.opened == opened


def test_a_silent_server_is_not_waited_for(make_api: MakeAPI) -> None:
    # headers that promise more than comes
    api, dialer = make_api(b"HTTP/1.1 200 OK\r\n" + VERSION + b"Content-Length: 10\r\n\r\n[")
    with pytest.raises(ConnectionFailed):
        api.request("GET", "/x", doing="looking", timeout=0.2)
    assert dialer.opened == 1


def test_a_server_without_any_answer_is_not_asked_again(make_api: MakeAPI) -> None:
    api, dialer = make_api(b"HTTP/1.1 200 OK\r\nContent-Length")  # and the head does not end
    with pytest.raises(ConnectionFailed, match="no answer in time"):
        api.request("GET", "/x", doing="looking", timeout=0.2)
    assert dialer.opened == 1


def test_a_streamed_answer_that_breaks_off_says_so(make_api: MakeAPI) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + VERSION + b"Transfer-Encoding: chunked\r\n\r\n"
    api, _ = make_api(head + b"3\r\nabc\r\n0\r\n\r\n")
    response = api.request("GET", "/x", doing="looking", stream=True)
    assert b"".join(api.chunks(response, doing="looking", write=False)) == b"abc"
    api, _ = make_api(head + b"3\r\nabc\r\n")
    response = api.request("GET", "/x", doing="looking", stream=True)
    chunks = api.chunks(response, doing="looking", write=False)
    with pytest.raises(BackendError, match="broke off"):
        list(chunks)


# Hijacked connections


def test_a_hijacked_connection_is_raw_behind_the_head(make_api: MakeAPI) -> None:
    api, dialer = make_api(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\n\r\nraw bytes")
    stream, reader = api.hijack("/exec/1/start", {"Tty": False}, doing="running", timeout=5)
    assert reader.read(9) == b"raw bytes"
    reader.close()
    stream.close()
    head, _, body = dialer.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v4.0.0/libpod/exec/1/start HTTP/1.1\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert json.loads(body) == {"Tty": False}


def test_a_refused_hijack_has_the_servers_words(make_api: MakeAPI) -> None:
    api, _ = make_api(answer(b'{"message":"no such exec session"}', status="404 Not Found"))
    with pytest.raises(RequestFailed, match="no such exec session"):
        api.hijack("/exec/1/start", {}, doing="running", timeout=5)


@pytest.mark.parametrize("length", ["banana", "²", "-5", "99999999999"])
def test_a_refused_hijack_with_an_odd_length(make_api: MakeAPI, length: str) -> None:
    head = f"HTTP/1.1 500 Oops\r\ncontent-length: {length}\r\n\r\n".encode("latin-1")
    api, _ = make_api(head + b'{"message":"words"}')
    with pytest.raises(BackendError):
        api.hijack("/exec/1/start", {}, doing="running", timeout=5)


def test_a_hijack_that_is_answered_with_garbage(make_api: MakeAPI) -> None:
    api, _ = make_api(b"\x1b[2Jgarbage\r\n\r\n")
    with pytest.raises(BackendError, match="not HTTP") as raised:
        api.hijack("/exec/1/start", {}, doing="running", timeout=5)
    assert "\x1b" not in raised.value.message


def test_a_hijack_that_gets_no_answer_is_unknown(make_api: MakeAPI) -> None:
    api, _ = make_api(b"")
    with pytest.raises(OutcomeUnknown, match="before an answer"):
        api.hijack("/exec/1/start", {}, doing="running", timeout=5)


# The clock


def test_the_servers_clock_is_its_last_answers_date_and_what_went_by(make_api: MakeAPI) -> None:
    dated = [
        f"HTTP/1.1 200 OK\r\nDate: {date}\r\n".encode() + VERSION + b"Content-Length: 2\r\n\r\n[]"
        for date in ("Sat, 24 Nov 2035 10:00:00 GMT", "nonsense", "Sat, 24 Nov 99999 10:00:00 GMT")
    ]
    api, _ = make_api(*dated)
    assert api.time is None
    for _ in dated:  # what cannot be read changes nothing
        api.request("GET", "/x", doing="looking")
        assert api.time is not None
        passed = (api.time - datetime(2035, 11, 24, 10, tzinfo=UTC)).total_seconds()
        assert 0 <= passed < 10


# Reading


def head(data: bytes) -> tuple[int, dict[str, str], bytes]:
    reader = io.BufferedReader(io.BytesIO(data))  # type: ignore[arg-type]
    status, headers = _read_head(reader)
    return status, headers, reader.read()


def test_a_head_ends_at_the_empty_line() -> None:
    assert head(b"HTTP/1.1 101 UP\r\nA: b\r\nC-D:  e:f \r\n\r\nrest\r\n") == (
        101,
        {"a": "b", "c-d": "e:f"},
        b"rest\r\n",
    )
    assert head(b"HTTP/1.0 200\n\nrest") == (200, {}, b"rest")


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 -1 OK\r\n\r\n",
        b"\x00" * 10_000,
        b"HTTP/1.1 " + b"9" * 5000,
    ],
)
def test_a_head_that_is_none(data: bytes) -> None:
    with pytest.raises(BackendError, match="not HTTP"):
        head(data)


def test_a_head_that_never_came() -> None:
    with pytest.raises(BrokenOff):
        head(b"")


def test_a_head_without_end_is_bounded() -> None:
    status, headers, _ = head(b"HTTP/1.1 200 OK\r\n" + b"".join(b"h%d: v\r\n" % n for n in range(10_000)))
    assert status == 200
    assert len(headers) <= 64


# The dialer


REFUSED = paramiko.ChannelException(2, "Connect failed")
PROHIBITED = paramiko.ChannelException(1, "Administratively prohibited")
PATH = "/run/podman/podman.sock"


def dial(link: FakeLink) -> tuple[Dialer, object]:
    dialer = Dialer(link, PATH)  # type: ignore[arg-type]
    return dialer, dialer.open()


def test_a_forwarded_socket_costs_nothing_else() -> None:
    link = FakeLink()
    dialer, _ = dial(link)
    assert dialer.way == "forwarded"
    assert link.ran == []


@pytest.mark.parametrize("error", [REFUSED, PROHIBITED])
def test_where_forwarding_is_forbidden_podman_itself_dials(error: Exception) -> None:
    link = FakeLink(error, sh=ran(), podman=ran())
    dialer, _ = dial(link)
    assert dialer.way == "podman system dial-stdio"
    assert link.commands == [["podman", "--url", f"unix://{PATH}", "system", "dial-stdio"]]
    looked = len(link.ran)
    dialer.open()
    assert len(link.ran) == looked  # the way is remembered
    assert len(link.commands) == 2


@pytest.mark.parametrize(
    ("verdict", "code", "reason"),
    [
        (b"missing\n", 0, "there is no such file"),
        (b"plain\n", 0, "not a socket"),
        (b"denied\n", 0, "may not read and write"),
        (b"Welcome to this server!\ndenied\n", 0, "may not read and write"),
        (b"", 125, "nothing listens on it"),
        (b"", 127, "has no podman"),
    ],
)
def test_what_is_wrong_with_the_socket(verdict: bytes, code: int, reason: str) -> None:
    link = FakeLink(REFUSED, sh=ran(stdout=verdict), podman=ran(code))
    with pytest.raises(SocketUnavailable, match=reason) as raised:
        dial(link)
    assert PATH in raised.value.message
    assert "sudo systemctl enable --now podman.socket" in raised.value.message
    assert link.commands == []


@pytest.mark.parametrize("error", [LinkLost("closed"), EOFError(), paramiko.SSHException("Timeout opening channel.")])
def test_a_stream_that_was_never_opened_leaves_no_doubt(error: Exception) -> None:
    link = FakeLink(error, dead=True)
    with pytest.raises(ConnectionFailed):
        dial(link)
    api = PodmanAPI(link, Dialer(link, PATH), where="box")  # type: ignore[arg-type]
    with pytest.raises(ConnectionFailed):
        api.request("POST", "/containers/create", doing="creating", body={})
    with pytest.raises(ConnectionFailed):
        api.hijack("/exec/1/start", {}, doing="running", timeout=1)
    api.close()
