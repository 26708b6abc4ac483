"""The backend: when it asks Podman again, and what it stops."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from l8s_core.errors import BackendError, ContainerNotFound, ContainerNotRunning, OutcomeUnknown
from l8s_core.model import Profile
from l8s_podman.answers import RequestFailed
from l8s_podman.backend import PodmanBackend, _Wiring
from l8s_podman.channels import Ready

PROFILE = Profile(name="dev", remote_host="box", remote_user="root")


class _Backend(PodmanBackend):
    """A backend whose session fails with ``failure``, and that notes whether the command was stopped."""

    def __init__(self, failure: BaseException, *, dead: bool = False) -> None:
        super().__init__(PROFILE)
        self.failure, self.stopped = failure, 0
        link = type("FakeLink", (), {"dead": dead})()
        self._wiring = _Wiring(link, Ready(link, "/run/podman/podman.sock"), PROFILE)

    def _exec_session(self, *args: object, **options: object) -> str:
        return "session"

    def _exec_run(self, *args: object) -> int:
        raise self.failure

    def _stop_marked(self, name: str, marker: str) -> bool:
        self.stopped += 1
        return True


class _OwnError(Exception):
    pass


@pytest.mark.parametrize(
    ("failure", "dead", "stops"),
    [
        (KeyboardInterrupt(), False, 1),
        (_OwnError(), False, 1),
        (OutcomeUnknown("the output broke off"), False, 1),
        (OutcomeUnknown("the connection broke"), True, 0),
        (KeyboardInterrupt(), True, 0),
        (ContainerNotRunning("it never began"), False, 0),
    ],
)
def test_nothing_is_left_running_as_long_as_it_can_be_reached(failure: BaseException, dead: bool, stops: int) -> None:
    backend = _Backend(failure, dead=dead)
    with pytest.raises(type(failure)):
        backend.exec("dev-app", ["true"])
    assert backend.stopped == stops


class _Sessions:
    """In the place of the API: an exec session that was made over the first connection and is over at once."""

    where = "box"

    def __init__(self, connections: int, *running: bool) -> None:
        self.connections = connections
        self.answers = [{"Running": True}] * len(running) + [{"Running": False, "ExitCode": 3}]

    def json(self, *_: object, **__: object) -> object:
        return self.answers.pop(0)


@pytest.mark.parametrize(
    ("connections", "age", "ends_with"),
    [
        (1, 0.0, 3),  # the service that passed the output on has answered: its age is not asked for
        (2, 1000.0, 3),
        (2, None, 3),  # systemd does not run it
        (2, 0.0, None),
    ],
)
@pytest.mark.parametrize("running", [(), (True, True)])
def test_an_exit_code_counts_only_with_the_service_that_the_output_came_from(
    monkeypatch: pytest.MonkeyPatch, connections: int, age: float | None, ends_with: int | None, running: tuple[bool]
) -> None:
    backend = PodmanBackend(PROFILE)
    channels = type("FakeChannels", (), {"interrupted": False})()
    wiring = type("FakeWiring", (), {"api": _Sessions(connections, *running), "channels": channels})()
    monkeypatch.setattr(backend, "_wiring", wiring)
    monkeypatch.setattr(backend, "_service_age", lambda: age)
    begun = time.monotonic() - 20.0
    if ends_with is None:
        with pytest.raises(BackendError, match="output was cut off"):
            backend._exit_code("session", begun, 1, None, "running a command")
    else:
        assert backend._exit_code("session", begun, 1, None, "running a command") == ends_with


# In the words of 4.3 and of 5.4, with the status 500
BEING_REMOVED = (
    f"container {'ab' * 32} does not exist in database: no such container",
    f"no container with ID {'ab' * 32} found in database: no such container",
)


class _Answers:
    """In the place of the API: answers to requests, in order."""

    where = "box"

    def __init__(self, *answers: RequestFailed | int) -> None:
        self.answers = list(answers)

    def request(self, *_: object, doing: str, **__: object) -> object:
        del doing
        answer = self.answers.pop(0)
        if isinstance(answer, RequestFailed):
            raise answer
        return type("Response", (), {"status_code": answer, "content": b"[]"})()


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[PodmanBackend, _Answers]]:
    """A backend of a server that answers as told."""
    monkeypatch.setattr("l8s_podman.backend.PAUSES", (0.0, 0.0))

    def make(*answers: RequestFailed | int) -> tuple[PodmanBackend, _Answers]:
        backend = PodmanBackend(PROFILE)
        api = _Answers(*answers)
        monkeypatch.setattr(backend, "_wiring", type("FakeWiring", (), {"api": api})())
        return backend, api

    return make


def failed(reason: str) -> RequestFailed:
    return RequestFailed("asking", "box", 500, reason)


@pytest.mark.parametrize("reason", BEING_REMOVED)
@pytest.mark.parametrize("method", ["inspect", "start", "stop"])
def test_a_container_that_is_being_removed_is_soon_gone(
    answering: Callable[..., tuple[PodmanBackend, _Answers]], method: str, reason: str
) -> None:
    backend, api = answering(failed(reason), failed(reason), 404)
    with pytest.raises(ContainerNotFound):
        getattr(backend, method)("dev-app")
    assert api.answers == []


@pytest.mark.parametrize("reason", [*BEING_REMOVED, "unlinkat /x: directory not empty", "device or resource busy"])
def test_a_removal_beside_another_one(answering: Callable[..., tuple[PodmanBackend, _Answers]], reason: str) -> None:
    backend, api = answering(failed(reason), 404)
    assert not backend.remove("dev-app")
    assert api.answers == []


@pytest.mark.parametrize(
    ("reason", "left"), [("the database is locked", 2), (BEING_REMOVED[0], 0)], ids=["another reason", "for too long"]
)
def test_what_does_not_pass_is_told(
    answering: Callable[..., tuple[PodmanBackend, _Answers]], reason: str, left: int
) -> None:
    backend, api = answering(*[failed(reason)] * 3)
    with pytest.raises(RequestFailed, match=reason):
        backend.inspect("dev-app")
    assert len(api.answers) == left


def test_a_backend_is_made_without_any_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("something was connected"))
    threads = threading.active_count()
    backend = PodmanBackend(PROFILE)
    backend.close()
    backend.close()
    assert threading.active_count() == threads


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("l8s_podman.backend", {"paramiko", "fabric", "requests", "podman"}),
        ("l8s_podman.arrival", {"paramiko", "fabric", "requests", "podman"}),
        ("l8s_podman.link", {"requests", "podman"}),
    ],
)
def test_what_can_wait_is_not_imported_first(module: str, absent: set[str]) -> None:
    script = f"import sys, {module}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)
    assert not absent & set(ran.stdout.split())
