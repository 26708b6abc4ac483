"""Setting up a server: what is planned for what is found, and what a failure says."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import evolve

from l8s_core.client import Client, Session
from l8s_core.errors import ConnectionFailed, OutcomeUnknown, SetupFailed
from l8s_core.model import ExecResult, Profile
from l8s_core.plugins import PluginHost
from l8s_core.server import setup
from l8s_core.testing import FakeBackend

PROFILE = Profile(name="setup", remote_host="server.example.com", remote_user="root")
READY = {
    "uid": "0",
    "sudo": "no",
    "id": "debian",
    "version": "13",
    "name": "Debian GNU/Linux 13 (trixie)",
    "systemd": "yes",
    "missing": "",
    "answers": "yes",
    "podman": "5.4.2",
    "usable": "yes",
    "podman.socket": "yes",
    "podman-restart.service": "yes",
}
BARE = READY | {"missing": "podman netavark", "podman": "", "podman.socket": "no", "answers": "no"}


def planned(**found: str) -> setup.SetupPlan:
    return setup.planned(READY | found, user="root", host="server.example.com")


def looked(found: dict[str, str]) -> bytes:
    lines = [f"l8s-look {key} {value}" for key, value in {**found, "end": "yes"}.items()]
    return "\n".join(["welcome to this server", *lines]).encode()


def client_on(backend: FakeBackend) -> Client:
    return Client(Session(PluginHost()), PROFILE, backend)


def test_nothing_to_do() -> None:
    assert planned().changes == ()


def test_a_bare_server() -> None:
    install, socket = planned(**BARE).changes
    assert install == "install from the packages of Debian GNU/Linux 13 (trixie): podman netavark"
    assert "podman.socket" in socket


def test_a_socket_that_does_not_answer() -> None:
    assert planned(answers="no").changes == ("restart podman.socket, which does not answer",)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"id": "alpine"}, "neither Debian, Ubuntu nor Fedora"),
        ({"systemd": "no"}, "systemd does not run"),
        ({"id": "ubuntu", "version": "22.04", "podman": ""}, "too old"),
        ({"id": "debian", "version": "11", "podman": ""}, "too old"),
        ({"podman": "3.4.4"}, "Podman 3.4.4 is too old"),
        ({"uid": "1000"}, "not root"),
        ({"uid": "1000", "sudo": "yes", "usable": "no"}, "could not use Podman's socket"),
    ],
)
def test_refusals(found: dict[str, str], words: str) -> None:
    with pytest.raises(SetupFailed, match=words) as caught:
        planned(**found)
    assert caught.value.hints


@pytest.mark.parametrize(
    "found",
    [
        {"id": "ubuntu", "version": "24.04", "podman": ""},
        {"id": "ubuntu", "version": "22.04", "podman": "4.6.2"},
        {"id": "debian", "version": "", "podman": ""},
        {"id": "fedora", "version": "42", "podman": ""},
        {"podman": "4.3.1"},
    ],
)
def test_supported(found: dict[str, str]) -> None:
    planned(**found)


def test_with_sudo() -> None:
    assert planned(uid="1000", sudo="yes").command == ("sudo", "-n", "bash", "-s", "--", "--brief")


GROUP = setup.SocketGroup(name="l8s", members=("me",))
NO_GROUP = {"group.exists": "no", "group.outside": "me", "group.socket": "no"}


def test_a_group_and_what_it_means() -> None:
    found = READY | NO_GROUP | {"uid": "1000", "sudo": "yes", "usable": "no"}
    plan = setup.planned(found, user="me", host="server.example.com", group=GROUP)
    make, add, let = plan.changes
    assert make == "make the group l8s"
    assert add == "add to the group l8s, whose members are root on this server: me"
    assert let == "let the group l8s use Podman's socket, which makes each member root on this server"
    assert plan.command == ("sudo", "-n", "bash", "-s", "--", "--brief", "--group", "l8s", "--member", "me")


def test_who_is_in_a_group_already_is_named() -> None:
    found = READY | {"group.exists": "yes", "group.everyone": "ann bob", "group.socket": "no"}
    (change,) = setup.planned(found, user="root", host="server.example.com", group=GROUP).changes
    assert "the group l8s (members already: ann bob)" in change


def test_a_group_that_has_the_socket_needs_nothing() -> None:
    found = READY | {"group.exists": "yes", "group.everyone": "me", "group.socket": "yes"}
    assert setup.planned(found, user="root", host="server.example.com", group=GROUP).changes == ()


@pytest.mark.parametrize(
    ("found", "words"), [({"group.unknown": "me"}, "There is no user me"), ({"group.gid": "0"}, "root's own")]
)
def test_groups_that_are_refused(found: dict[str, str], words: str) -> None:
    with pytest.raises(SetupFailed, match=words) as caught:
        setup.planned(READY | NO_GROUP | found, user="root", host="server.example.com", group=GROUP)
    assert caught.value.hints


def test_the_login_user_becomes_a_member_and_root_does_not() -> None:
    for user, members in (("me", ("me", "ann")), ("root", ("ann",))):
        backend = FakeBackend(PROFILE)
        asked: list[tuple[str, ...]] = []

        def answer(argv: Sequence[str], stdin: bytes, asked: list[tuple[str, ...]] = asked) -> ExecResult:
            asked.append(tuple(argv))
            return ExecResult(exit_code=0, stdout_bytes=looked(READY | NO_GROUP))

        backend.on_server(answer)
        client = Client(Session(PluginHost()), evolve(PROFILE, remote_user=user), backend)
        plan = setup.plan(client, setup.SocketGroup(name="l8s", members=("ann",)))
        assert plan.group is not None
        assert plan.group.members == members
        assert asked[0][4:] == ("--group", "l8s", *(word for name in members for word in ("--member", name)))


def test_look_run_and_prove() -> None:
    backend = FakeBackend(PROFILE)
    ran: list[tuple[tuple[str, ...], bytes]] = []
    said: list[bytes] = []

    def answer(argv: Sequence[str], stdin: bytes) -> ExecResult:
        ran.append((tuple(argv), stdin))
        return ExecResult(exit_code=0, stdout_bytes=looked(BARE) if "--look" in argv else b"working")

    backend.on_server(answer)
    client = client_on(backend)
    plan = setup.plan(client)
    assert len(ran) == 1
    setup.run(client, plan, on_output=lambda _stream, data: said.append(data))
    assert ran == [(("bash", "-s", "--", "--look"), setup.script()), (("bash", "-s", "--", "--brief"), setup.script())]
    assert said == [b"working"]
    backend.server.facts = evolve(backend.server.facts, warnings=("it is slow",))
    assert setup.prove(client).warnings == ("it is slow",)
    assert [call.method for call in backend.calls][-4:] == ["close", "open", "machine", "facts"]


def test_a_look_that_was_cut_short() -> None:
    backend = FakeBackend(PROFILE)
    backend.on_server(lambda _argv, _stdin: ExecResult(exit_code=127, stderr_bytes=b"bash: not found"))
    with pytest.raises(SetupFailed, match="bash: not found"):
        setup.plan(client_on(backend))


def test_a_step_fails() -> None:
    backend = FakeBackend(PROFILE)
    backend.on_server(lambda _argv, _stdin: ExecResult(exit_code=1, stderr_bytes=b"ERROR: no disk"))
    with pytest.raises(SetupFailed, match="ERROR: no disk"):
        setup.run(client_on(backend), planned(**BARE))


def test_the_connection_is_lost() -> None:
    backend = FakeBackend(PROFILE)
    backend.fail("run_on_server", ConnectionFailed("gone"))
    with pytest.raises(OutcomeUnknown, match="goes on there") as caught:
        setup.run(client_on(backend), planned(**BARE))
    assert "l8s server setup server.example.com" in caught.value.hints[0]
