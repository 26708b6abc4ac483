"""What tests can do with the fakes beyond the contract: faults, races, commands, two laptops on one server."""

from __future__ import annotations

import pytest

from l8s_core import policy
from l8s_core.errors import BackendError, ConnectionFailed, ImageNotFound, OutcomeUnknown, PortInUse
from l8s_core.known_hosts import parse_public_key
from l8s_core.model import ContainerRequest, ExecResult, Profile
from l8s_core.steps import Steps
from l8s_core.testing import ExecCall, FakeBackend, FakeServer

PROFILE = Profile(name="dev", remote_host="build.example.com", remote_user="root")


def _request(name: str = "dev-myapp", **settings: object) -> ContainerRequest:
    values: dict[str, object] = {
        "name": name,
        "image": PROFILE.base_image,
        "hostname": "myapp",
        "command": ("/bin/sh",),
        "labels": {},
        "ports": {},
        "volumes": {},
    }
    return ContainerRequest(**(values | settings))  # type: ignore[arg-type]


def _opened(server: FakeServer | None = None) -> FakeBackend:
    backend = FakeBackend(PROFILE, server)
    backend.open(Steps())
    return backend


def _running() -> FakeBackend:
    backend = _opened()
    backend.create(_request(volumes={"dev-myapp-hostkeys": "/var/lib/l8s"}))
    backend.start("dev-myapp")
    return backend


def test_nothing_works_before_open_and_after_close() -> None:
    backend = FakeBackend(PROFILE)
    with pytest.raises(ConnectionFailed):
        backend.list({})
    backend.open(Steps())
    backend.list({})
    backend.close()
    with pytest.raises(ConnectionFailed):
        backend.list({})
    assert [call.method for call in backend.calls] == ["open", "list", "close"]


def test_a_fault_happens_as_often_as_asked() -> None:
    backend = _opened()
    backend.fail("create", BackendError("once"))
    with pytest.raises(BackendError, match="once"):
        backend.create(_request())
    assert backend.server.containers == {}
    backend.create(_request())
    backend.fail("list", BackendError("always"), times=None)
    for _ in range(3):
        with pytest.raises(BackendError, match="always"):
            backend.list({})


def test_a_fault_after_the_effect_leaves_the_effect() -> None:
    backend = _opened()
    backend.fail("create", OutcomeUnknown("no answer"), after=True)
    with pytest.raises(OutcomeUnknown):
        backend.create(_request())
    assert list(backend.server.containers) == ["dev-myapp"]


def test_opening_can_fail_at_a_step() -> None:
    backend = FakeBackend(PROFILE)
    backend.fail("open", ConnectionFailed("no route"))
    steps = Steps()
    with pytest.raises(ConnectionFailed) as raised:
        backend.open(steps)
    assert raised.value.step == "TCP"
    assert steps.done == ["address"]
    assert not backend.opened


def test_another_laptop_can_come_between() -> None:
    server = FakeServer()
    first, second = _opened(server), _opened(server)
    second.create(_request("dev-other", ports={2200: 22}))
    first.create(_request(ports={2200: 22}))
    first.on_call(lambda call: second.start("dev-other") if call.method == "start" else None)
    with pytest.raises(PortInUse, match="dev-other"):
        first.start("dev-myapp")


def test_a_listener_holds_its_port() -> None:
    backend = _opened(FakeServer(listeners=[2200]))
    backend.create(_request(ports={2200: 22}))
    assert backend.ports_in_use() == {2200}
    with pytest.raises(PortInUse, match="another program"):
        backend.start("dev-myapp")


def test_handlers_answer_commands_the_latest_first() -> None:
    backend = _running()
    seen: list[ExecCall] = []

    def first(command: ExecCall) -> ExecResult | None:
        seen.append(command)
        return ExecResult(exit_code=7)

    backend.on_exec(first)
    backend.on_exec(lambda command: ExecResult(exit_code=8) if command.argv == ("special",) else None)
    assert backend.exec("dev-myapp", ["special"]).exit_code == 8
    assert backend.exec("dev-myapp", ["git", "status"], user="dev", stdin=b"x").exit_code == 7
    assert (seen[0].argv, seen[0].user, seen[0].stdin) == (("git", "status"), "dev", b"x")


def test_what_nobody_understands_succeeds() -> None:
    assert _running().exec("dev-myapp", ["git", "status"]) == ExecResult(exit_code=0)


def test_the_host_key_outlives_the_container_on_its_volume() -> None:
    backend = _running()

    def host_key() -> str:
        said = backend.exec("dev-myapp", ["/bin/sh", "/etc/l8s/provision"]).stdout
        return parse_public_key(said.removeprefix("l8s-host-key ").strip()).line

    before = host_key()
    backend.remove("dev-myapp")
    backend.create(_request(volumes={"dev-myapp-hostkeys": "/var/lib/l8s"}))
    backend.start("dev-myapp")
    assert host_key() == before
    backend.remove("dev-myapp")
    backend.create(_request())
    backend.start("dev-myapp")
    assert host_key() != before


def test_the_fake_server_is_another_machine() -> None:
    proof = policy.prove_remote(_opened().machine, local=policy.this_machine())
    assert proof.warnings == ()


def test_a_reboot_brings_back_what_has_a_restart_policy() -> None:
    backend = _opened()
    for name, restart in (("dev-stays", True), ("dev-ends", False)):
        backend.create(_request(name, restart=restart))
        backend.start(name)
    backend.server.reboot()
    assert backend.inspect("dev-stays").running
    assert not backend.inspect("dev-ends").running


def test_an_own_server_has_the_profiles_image_and_no_other() -> None:
    backend = _opened()
    backend.create(_request())
    with pytest.raises(ImageNotFound):
        backend.create(_request("dev-other", image="localhost/other:latest"))
