"""A holder serves commands, ends what a command that left was running, and leaves when it is time to."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from l8s_core.errors import ContainerNotFound, HostUnreachable, OutcomeUnknown
from l8s_core.model import ContainerRequest, ExecResult, Profile, Step
from l8s_core.multiplex import place as places
from l8s_core.multiplex import starting
from l8s_core.multiplex.held import Unusable
from l8s_core.multiplex.place import Peer
from l8s_core.steps import Steps
from l8s_core.testing import FakeBackend
from l8s_core.testing.fakes import ExecCall, FakeSession
from l8s_core.testing.kept import Kept, keeping

PROFILE = Profile(name="dev", remote_host="build.example.com", remote_user="root")


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="lh-", dir="/tmp") as directory:  # a socket's path is short
        monkeypatch.setenv("HOME", directory)
        yield


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend(PROFILE)


@pytest.fixture
def kept(backend: FakeBackend) -> Iterator[Kept]:
    with keeping(PROFILE, lambda _: backend) as found:
        yield found


@pytest.fixture
def restore() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def container(backend: FakeBackend, name: str = "dev-x") -> str:
    request = ContainerRequest(
        name=name, image=PROFILE.base_image, hostname="x", command=("true",), labels={}, ports={}, volumes={}
    )
    with backend.server.lock:
        backend.server.add_container(request)
        backend.server.container(name).state = "running"
    return name


def waiting(backend: FakeBackend) -> tuple[threading.Event, list[FakeSession]]:
    """Let commands run until they are interrupted: set when one has begun, and the sessions of those that ended so."""
    begun, ended = threading.Event(), list[FakeSession]()

    def run(command: ExecCall) -> ExecResult | None:
        if command.argv != ("wait",):
            return None
        session = command.backend
        assert isinstance(session, FakeSession)
        begun.set()
        session.server.lock.release()  # as a real server, which goes on serving others
        try:
            assert session.interrupted.wait(20)
        finally:
            session.server.lock.acquire()
        ended.append(session)
        raise KeyboardInterrupt

    backend.on_exec(run)
    return begun, ended


def test_the_first_command_is_told_the_steps_and_the_next_that_it_was_there(kept: Kept, backend: FakeBackend) -> None:
    first, second = list[Step](), list[Step]()
    one, two = kept.held(), kept.held()
    assert one.open(Steps(first.append)) == two.open(Steps(second.append))
    assert [step.name for step in first if step.state == "done"][-1] == "remote-only proof"
    assert [step.name for step in second if step.state == "done"] == ["kept connection"]
    assert [call.method for call in backend.calls].count("open") == 1
    one.close()
    assert two.list({}) == []
    two.close()


def test_errors_come_over(kept: Kept, backend: FakeBackend) -> None:
    held = kept.held()
    held.open(Steps())
    with pytest.raises(ContainerNotFound):
        held.inspect("dev-none")
    assert held.list({}) == []
    held.close()


def test_ctrl_c_ends_the_command_on_the_server_and_is_raised_then(
    kept: Kept, backend: FakeBackend, restore: ExitStack
) -> None:
    name = container(backend)
    begun, ended = waiting(backend)
    held = kept.held()
    held.open(Steps())
    before = signal.default_int_handler  # a run in the background ignores it
    restore.callback(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, before))
    threading.Thread(target=lambda: begun.wait(10) and os.kill(os.getpid(), signal.SIGINT), daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        held.exec(name, ["wait"])
    assert len(ended) == 1, "it was raised before the command had ended"
    assert signal.getsignal(signal.SIGINT) == before
    assert held.inspect(name).running, "the same connection serves on"
    held.close()


def test_a_command_that_goes_away_ends_what_it_ran_and_nothing_else(kept: Kept, backend: FakeBackend) -> None:
    name = container(backend)
    begun, ended = waiting(backend)
    doomed, other = kept.held(), kept.held()
    doomed.open(Steps())
    other.open(Steps())

    def run() -> None:
        with pytest.raises(OutcomeUnknown):
            doomed.exec(name, ["wait"])

    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(10)
    wire = doomed._wire
    assert wire is not None
    wire.close()
    thread.join(10)
    until(lambda: len(ended) == 1, "its command goes on")
    assert other.inspect(name).running
    other.close()


def test_a_transfer_that_is_given_up_disturbs_nothing(kept: Kept, backend: FakeBackend) -> None:
    name = container(backend)
    held = kept.held()
    held.open(Steps())
    held.upload(name, "/", _archive(500_000))
    chunks = held.download(name, "/big")
    assert next(iter(chunks))
    close = chunks.close  # type: ignore[attr-defined]
    close()
    assert held.inspect(name).running
    assert len(b"".join(held.download(name, "/big"))) > 500_000
    held.close()


def _archive(size: int) -> bytes:
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        header = tarfile.TarInfo("big")
        header.size = size
        archive.addfile(header, io.BytesIO(b"x" * size))
    return buffer.getvalue()


def test_unused_it_leaves_nothing(kept: Kept, backend: FakeBackend) -> None:
    held = kept.held(idle=0.2)
    held.open(Steps())
    held.close()
    until(lambda: kept.ended, "it stays")
    assert list(places.directory().iterdir()) == []
    assert not backend.opened


def test_it_stays_as_long_as_it_serves(kept: Kept, backend: FakeBackend) -> None:
    held = kept.held(idle=0.0)
    held.open(Steps())
    assert starting.ask(kept.place, {"leave": True}) == {"leaving": True, "pid": os.getpid()}
    assert held.list({}) == []
    assert not kept.ended
    held.close()
    until(lambda: kept.ended, "it stays")


def test_it_says_what_it_is(kept: Kept, backend: FakeBackend) -> None:
    held = kept.held()
    held.open(Steps())
    said = starting.ask(kept.place, {"status": True})
    assert said is not None
    assert said["profiles"] == ["dev"]
    assert said["connection"]["remote_host"] == PROFILE.remote_host
    assert (said["connected"], said["serving"], said["pid"]) == (True, 1, os.getpid())
    assert kept.place.state()["pid"] == os.getpid()
    held.close()


def test_it_leaves_when_its_last_profile_is_served_elsewhere(kept: Kept, backend: FakeBackend) -> None:
    held = kept.held()
    held.open(Steps())
    held.close()
    assert starting.ask(kept.place, {"retire": "dev"}) == {"retired": True}
    until(lambda: kept.ended, "it stays")


def test_a_dead_connection_is_replaced(kept: Kept, backend: FakeBackend) -> None:
    held = kept.held()
    held.open(Steps())
    held.close()
    backend.opened = False
    until(lambda: kept.ended, "it stays")


def test_who_cannot_connect_is_told_why_and_the_process_leaves(kept: Kept, backend: FakeBackend) -> None:
    backend.fail("open", HostUnreachable("no route", hints=("look",)))
    with pytest.raises(HostUnreachable) as caught:
        kept.held().open(Steps())
    assert caught.value.hints == ("look",)
    assert caught.value.step == "TCP"
    until(lambda: kept.ended, "it stays")


def test_another_user_is_not_served(kept: Kept, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "peer_of", lambda _: Peer(uid=os.geteuid() + 1, pid=1))
    with pytest.raises(Unusable, match="somebody else"):
        kept.held().open(Steps())
    assert backend.calls == []


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n\r\n", b"M\xff\xff\xff\xff", b"M\0\0\0\2[]", b"M\0\0\0\2{}"])
def test_who_speaks_another_language_is_shown_out(kept: Kept, backend: FakeBackend, said: bytes) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(kept.place.socket))
        stranger.sendall(said)
        stranger.shutdown(socket.SHUT_WR)
        stranger.settimeout(5)
        assert stranger.recv(1) == b""
    held = kept.held()
    held.open(Steps())
    assert held.list({}) == []
    held.close()
