"""Client, Container and Session: hooks around every operation, the proof before any call, errors with their place."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from l8s_core import agent, client, files, policy, ssh_tools
from l8s_core.client import Client, Session
from l8s_core.contracts import ImageBuilder
from l8s_core.errors import (
    BackendError,
    ConfigError,
    ContainerExists,
    ContainerNotFound,
    HostUnreachable,
    InvalidValue,
    L8sError,
    OperationVetoed,
    PluginError,
    ProvisionFailed,
    RemoteOnlyError,
    UnsupportedOperation,
)
from l8s_core.hookspecs import hookimpl
from l8s_core.model import ContainerRequest, ContainerSpec, ExecResult, Operation, Outcome, Profile, PublicKey, Step
from l8s_core.plugins import PluginHost
from l8s_core.processes import Completed
from l8s_core.providers import BackendProvider, ConfigStoreProvider, SSHConfigWriterProvider
from l8s_core.steps import Steps
from l8s_core.testing import FakeBackend, FakeConfigStore, FakeServer, FakeSSHConfigWriter

PROFILE = Profile(name="dev", remote_host="build.example.com", remote_user="root", backend="fake")
KEY = PublicKey("ssh-ed25519", base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + b"k" * 32).decode())
SPEC = ContainerSpec(name="myapp")


class House:
    """A plugin with a fake of everything; it watches operations, and vetoes or breaks when told."""

    def __init__(self) -> None:
        self.server = FakeServer()
        self.writer = FakeSSHConfigWriter()
        self.store = FakeConfigStore({"remote_host": "build.example.com", "remote_user": "root", "backend": "fake"})
        self.locations: list[Path | None] = []
        self.backends: list[FakeBackend] = []
        self.before: list[tuple[Operation, list[str]]] = []
        self.after: list[tuple[Operation, Outcome]] = []
        self.veto: BaseException | None = None
        self.break_after: BaseException | None = None

    def make(self, profile: Profile) -> FakeBackend:
        self.backends.append(FakeBackend(profile, self.server))
        return self.backends[-1]

    def open_store(self, location: Path | None) -> FakeConfigStore:
        self.locations.append(location)
        return self.store

    @property
    def calls(self) -> list[str]:
        return [call.method for backend in self.backends for call in backend.calls]

    @hookimpl
    def l8s_remote_backends(self) -> Iterator[BackendProvider]:
        yield BackendProvider(name="fake", summary="in memory", factory=self.make)

    @hookimpl
    def l8s_ssh_config_writers(self) -> Iterator[SSHConfigWriterProvider]:
        yield SSHConfigWriterProvider(name="openssh", summary="in memory", factory=lambda: self.writer)

    @hookimpl
    def l8s_config_stores(self) -> Iterator[ConfigStoreProvider]:
        yield ConfigStoreProvider(name="yaml", summary="in memory", factory=self.open_store)

    @hookimpl
    def l8s_before_operation(self, operation: Operation) -> None:
        self.before.append((operation, self.calls))
        if self.veto is not None:
            raise self.veto

    @hookimpl
    def l8s_after_operation(self, operation: Operation, outcome: Outcome) -> None:
        self.after.append((operation, outcome))
        if self.break_after is not None:
            raise self.break_after


@pytest.fixture(autouse=True)
def laptop_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(agent, "select_key", lambda profile: KEY)
    monkeypatch.setattr(agent, "public_key_file", lambda key: tmp_path / "key.pub")
    monkeypatch.setattr(ssh_tools, "login_works", lambda alias, timeout: Completed(("ssh",), 0, b"", b""))
    monkeypatch.setattr(ssh_tools, "stop_multiplexing", lambda alias: None)
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: None)


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def session(house: House) -> Session:
    plugins = PluginHost()
    plugins.register(house, "house")
    return Session(plugins, environ={})


@pytest.fixture
def opened(house: House, session: Session) -> Iterator[Client]:
    with session.client(PROFILE) as connected:
        yield connected


# The connection


def test_making_a_client_calls_nothing(house: House, session: Session) -> None:
    session.client(PROFILE)
    assert house.calls == []


def test_opening_and_closing_twice_is_fine(house: House, session: Session) -> None:
    one = session.client(PROFILE)
    one.open()
    one.open()
    with one:
        assert house.calls == ["open", "machine"]
    one.close()
    assert house.calls == ["open", "machine", "close", "close"]
    assert one.endpoint.host == "build.example.com"  # which connects again
    assert house.calls[4:] == ["open", "machine"]
    one.close()


def test_the_proof_is_a_step_and_comes_before_any_api_call(house: House, session: Session) -> None:
    told: list[Step] = []
    one = session.client(PROFILE)
    one.open(told.append)
    facts = one.facts(told.append)
    one.close()
    done = [step.name for step in told if step.state == "done"]
    assert done == [
        "address", "TCP", "host key", "agent", "authentication", "remote-only proof", "socket", "API version",
    ]  # fmt: skip
    assert facts.version == "5.4.2"
    assert house.calls.index("machine") < house.calls.index("facts")


def _this_machine(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = server.machine()
    local = policy.LocalMachine(boot_id=remote.boot_id, kernel="k", machine_id="")
    monkeypatch.setattr(policy, "this_machine", lambda: local)


@pytest.mark.parametrize(
    "act",
    [
        lambda one: one.open(),
        lambda one: one.list(),
        lambda one: one.create(SPEC),
        lambda one: one.exec("myapp", ["true"]),
        lambda one: one.build(on_output=print),
        lambda one: one.remove("myapp"),
        lambda one: one.facts(),
    ],
)
def test_this_machine_is_refused_before_any_api_call(
    house: House, session: Session, monkeypatch: pytest.MonkeyPatch, act: Callable[[Client], Any]
) -> None:
    _this_machine(house.server, monkeypatch)
    with pytest.raises(RemoteOnlyError, match="boot id") as caught:
        act(session.client(PROFILE))
    assert house.calls == ["open", "machine", "machine", "close"]
    assert caught.value.profile == "dev"
    assert caught.value.step == "remote-only proof"


def test_what_is_odd_about_the_server_is_kept(house: House, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    local = policy.LocalMachine(boot_id="x", kernel="k", machine_id=house.server.machine().machine_id)
    monkeypatch.setattr(policy, "this_machine", lambda: local)
    one = session.client(PROFILE)
    assert one.warnings == ()
    one.open()
    assert len(one.warnings) == 1
    assert "build.example.com" in one.warnings[0]
    one.close()


@pytest.mark.parametrize("method", ["open", "machine"])
@pytest.mark.parametrize("error", [HostUnreachable("no route"), KeyboardInterrupt(), RuntimeError("bug")])
def test_a_connection_that_fails_half_way_is_closed(
    house: House, session: Session, method: str, error: BaseException
) -> None:
    one = session.client(PROFILE)
    house.backends[0].fail(method, error)
    with pytest.raises((L8sError, KeyboardInterrupt)) as caught:
        one.open()
    assert house.calls[-1] == "close"
    if isinstance(error, L8sError):
        assert caught.value is error
        assert error.profile == "dev"
    one.open()  # the next try is a new one
    one.close()


# Operations


def _everything(one: Client) -> dict[str, Callable[[], Any]]:
    """Every operation, in an order in which they succeed."""
    return {
        "create": lambda: one.create(SPEC),
        "list": one.list,
        "show": lambda: one.get("myapp"),
        "exec": lambda: one.exec("myapp", ["true"]),
        "stop": lambda: one.stop("myapp"),
        "start": lambda: one.start("myapp"),
        "restart": lambda: one.restart("myapp"),
        "build": lambda: one.build(on_output=lambda text: None),
        "remove": lambda: one.remove("myapp"),
    }


TARGETS = {"list": "", "build": PROFILE.base_image}
KINDS = ["create", "list", "show", "exec", "stop", "start", "restart", "build", "remove"]


def test_hooks_are_called_around_every_operation(house: House, session: Session) -> None:
    with session.client(PROFILE) as one:
        for kind, act in _everything(one).items():
            house.before.clear()
            house.after.clear()
            act()
            ((operation, _),) = house.before
            ((finished, outcome),) = house.after
            assert operation is finished
            assert (operation.kind, operation.target) == (kind, TARGETS.get(kind, "myapp"))
            assert operation.profile == PROFILE
            assert operation.spec == (SPEC if kind == "create" else None)
            assert outcome.error is None
            assert 0 <= outcome.seconds < 60


def test_each_operation_has_an_id_of_its_own(house: House, opened: Client) -> None:
    opened.list()
    opened.list()
    first, second = (operation.id for operation, _ in house.before)
    assert first
    assert first != second


@pytest.mark.parametrize("kind", KINDS)
def test_a_veto_stops_an_operation_before_anything_is_sent(house: House, session: Session, kind: str) -> None:
    house.veto = OperationVetoed("not on Fridays")
    one = session.client(PROFILE)
    with pytest.raises(OperationVetoed, match="Fridays") as caught:
        _everything(one)[kind]()
    assert house.calls == []
    assert caught.value.profile == "dev"
    ((_, outcome),) = house.after
    assert outcome.error is caught.value


def test_a_check_that_broke_stops_an_operation_too(house: House, session: Session) -> None:
    house.veto = ZeroDivisionError()
    with pytest.raises(OperationVetoed):
        session.client(PROFILE).list()
    assert house.calls == []


@pytest.mark.parametrize(
    "error", [BackendError("no space left"), KeyboardInterrupt(), ContainerNotFound("gone", profile="prod")]
)
def test_a_failed_operation_is_told_to_the_hooks(house: House, opened: Client, error: BaseException) -> None:
    house.backends[0].fail("list", error)
    with pytest.raises(type(error)) as caught:
        opened.list()
    assert caught.value is error
    ((_, outcome),) = house.after
    assert outcome.error is error
    if isinstance(error, L8sError):
        assert error.profile == ("prod" if isinstance(error, ContainerNotFound) else "dev")


def test_a_stray_exception_of_a_backend_becomes_one_of_ours(house: House, opened: Client) -> None:
    house.backends[0].fail("list", KeyError("Labels"))
    with pytest.raises(BackendError, match=r"backend fake failed: KeyError: 'Labels'") as caught:
        opened.list()
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value.profile == "dev"
    assert any("l8s plugins" in hint for hint in caught.value.hints)
    ((_, outcome),) = house.after
    assert outcome.error is caught.value


@pytest.mark.parametrize("broken", [ValueError("a bug in an observer"), SystemExit(3)])
def test_an_observer_that_breaks_hides_nothing(house: House, opened: Client, broken: BaseException) -> None:
    house.break_after = broken
    assert opened.list() == ()
    house.backends[0].fail("list", BackendError("no space left"))
    with pytest.raises(BackendError, match="no space left"):
        opened.list()


@pytest.mark.parametrize("name", ["../x", "My App", "", "-v", "a/b"])
def test_a_bad_name_is_refused_before_hooks_and_network(house: House, session: Session, name: str) -> None:
    one = session.client(PROFILE)
    acts: list[Callable[[], Any]] = [
        lambda: one.create(ContainerSpec(name=name)),
        lambda: one.get(name),
        lambda: one.start(name),
        lambda: one.stop(name),
        lambda: one.restart(name),
        lambda: one.remove(name),
        lambda: one.exec(name, ["true"]),
    ]
    for act in acts:
        with pytest.raises(InvalidValue):
            act()
    assert house.calls == []
    assert house.before == []


# Containers


def test_a_container_from_its_making_to_its_end(house: House, opened: Client, tmp_path: Path) -> None:
    container = opened.create(SPEC)
    assert (container.name, container.alias, container.info.running) == ("myapp", "dev-myapp", True)
    assert [info.name for info in opened.list()] == ["dev-myapp"]
    block = opened.host_block(container.info)
    assert (block.alias, block.hostname, block.port) == ("dev-myapp", "build.example.com", 2200)
    container.stop()
    assert container.info.state == "exited"
    container.start()
    assert container.info.running
    container.restart()
    house.server.containers["dev-myapp"].state = "paused"
    assert container.show().state == "paused"
    assert container.remove().container
    with pytest.raises(ContainerNotFound):
        container.show()


def test_creating_twice_says_that_it_exists(opened: Client) -> None:
    opened.create(SPEC)
    with pytest.raises(ContainerExists) as caught:
        opened.create(SPEC)
    assert (caught.value.profile, caught.value.step) == ("dev", "check")


def test_the_list_is_one_request_and_only_ours_by_name(house: House, opened: Client) -> None:
    for name in ("zebra", "apple"):
        opened.create(ContainerSpec(name=name))
    house.server.add_container(
        ContainerRequest(name="db", image="i", hostname="db", command=(), labels={}, ports={}, volumes={})
    )
    start = len(house.calls)
    assert [info.short_name for info in opened.list()] == ["apple", "zebra"]
    assert house.calls[start:] == ["list"]


@pytest.mark.parametrize("act", ["get", "start", "stop", "restart"])
def test_what_l8s_did_not_make_is_not_touched(house: House, opened: Client, act: str) -> None:
    labels = {"l8s.managed": "true", "l8s.prefix": "prod"}
    box = house.server.add_container(
        ContainerRequest(name="dev-db", image="i", hostname="db", command=(), labels=labels, ports={}, volumes={})
    )
    box.state = "running"
    start = len(house.calls)
    with pytest.raises(ContainerNotFound, match="not made by l8s"):
        getattr(opened, act)("db")
    with pytest.raises(ContainerNotFound, match="not made by l8s"):
        opened.exec("db", ["true"])
    assert house.calls[start:] == ["inspect", "inspect"]


def test_exec_runs_as_the_containers_user_in_the_project(house: House, opened: Client) -> None:
    container = opened.create(SPEC)
    heard: list[Any] = []

    def answer(call: Any) -> ExecResult:
        heard.append(call)
        return ExecResult(exit_code=3, stdout_bytes=b"out", stderr_bytes=b"err")

    house.backends[0].on_exec(answer)
    result = container.exec(["make", "test"], env={"A": "b"}, stdin=b"in", timeout=30)
    assert (result.exit_code, result.stdout, result.stderr) == (3, "out", "err")
    call = heard[0]
    assert (call.name, call.argv, call.user, call.workdir) == (
        "dev-myapp",
        ("make", "test"),
        "dev",
        "/workspace/project",
    )
    assert (call.env, call.stdin, call.timeout) == ({"A": "b"}, b"in", 30)
    container.exec(["id"], user="root", workdir="/tmp")
    assert (heard[1].user, heard[1].workdir, heard[1].timeout) == ("root", "/tmp", None)
    streamed: list[tuple[str, bytes]] = []
    container.exec(["x"], on_output=lambda stream, data: streamed.append((stream, data)))
    assert streamed == [("stdout", b"out"), ("stderr", b"err")]


def test_exec_runs_as_the_user_that_the_container_was_made_for(house: House, session: Session) -> None:
    with session.client(PROFILE) as one:
        one.create(SPEC)
    with session.client(evolve(PROFILE, container_user="other")) as later:
        later.exec("myapp", ["id"])
    assert [call.arguments["user"] for call in house.backends[-1].calls if call.method == "exec"] == ["dev"]


@pytest.mark.parametrize(
    "wish",
    [
        {"argv": ["a\0b"]},
        {"argv": ["a", "\udcff"]},
        {"user": "-u"},
        {"user": "a b"},
        {"workdir": "tmp"},
        {"workdir": "/a\nb"},
        {"env": {"A=B": "c"}},
        {"env": {"A": "b\0"}},
    ],
    ids=str,
)
def test_what_exec_cannot_pass_on_is_refused_before_hooks_and_network(
    house: House, session: Session, wish: dict[str, Any]
) -> None:
    with pytest.raises(InvalidValue):
        session.client(PROFILE).exec("myapp", **{"argv": ["true"], **wish})
    assert (house.calls, house.before) == ([], [])


@pytest.mark.parametrize("key", ["backend", "ssh_config_writer"])
def test_a_name_that_no_plugin_has_is_refused_before_the_network_with_its_place(
    house: House, session: Session, key: str
) -> None:
    profile = evolve(PROFILE, **{key: "nobody"}, sources={key: "~/.l8s/config.yaml:3"})
    with pytest.raises(PluginError, match=rf"'nobody'(.|\n)*\({key} in ~/.l8s/config.yaml:3 names it\)"):
        session.client(profile)
    assert house.calls == []


def test_there_must_be_a_command(house: House, session: Session) -> None:
    with pytest.raises(InvalidValue, match="no command"):
        session.client(PROFILE).exec("myapp", [])
    assert house.calls == []


def test_a_start_waits_for_sshd(house: House, opened: Client) -> None:
    opened.create(SPEC)
    opened.stop("myapp")
    house.backends[0].on_exec(
        lambda call: ExecResult(exit_code=74, stderr_bytes=b"no") if call.argv[-1] == "/etc/l8s/ready" else None
    )
    for act in (opened.start, opened.restart):
        with pytest.raises(ProvisionFailed, match="sshd did not start"):
            act("myapp")


# Images


def test_a_build_sends_the_plan_and_names_the_image(house: House, opened: Client) -> None:
    said: list[str] = []
    told: list[Step] = []
    image = opened.build(
        base="registry.example.com/base:1", tag="localhost/x:2", on_output=said.append, on_step=told.append
    )
    assert image.reference == "localhost/x:2"
    assert image.id
    assert any("FROM registry.example.com/base:1" in line for line in said)
    assert told[-1].detail == "localhost/x:2 from l8s's minimal on registry.example.com/base:1"
    opened.create(ContainerSpec(name="myapp", image="localhost/x:2"))


def test_a_contradiction_is_refused_before_hooks_and_network(house: House, session: Session, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        session.client(PROFILE).build(containerfile=tmp_path / "none", on_output=print)
    assert (house.calls, house.before) == ([], [])


def test_a_backend_that_cannot_build_says_so(house: House, session: Session) -> None:
    class Plain:
        """A backend without the capability."""

        def __init__(self, inner: FakeBackend) -> None:
            self.open, self.machine, self.close = inner.open, inner.machine, inner.close

    plain: Any = Plain(FakeBackend(PROFILE))
    assert not isinstance(plain, ImageBuilder)
    with Client(session, PROFILE, plain) as one, pytest.raises(UnsupportedOperation, match="fake cannot build"):
        one.build(on_output=print)


# The session


def test_a_session_reads_its_configuration_once_and_when_needed(house: House, session: Session) -> None:
    assert house.locations == []
    assert session.profile().remote_host == "build.example.com"
    assert session.profile("dev").name == "dev"
    assert house.locations == [None]
    assert house.calls == []


def test_the_environment_names_the_store_and_its_place(house: House, tmp_path: Path) -> None:
    plugins = PluginHost()
    plugins.register(house, "house")
    assert Session(plugins, environ={"L8S_CONFIG": "~/other.yaml"}).store is house.store
    assert house.locations == [tmp_path / "other.yaml"]
    with pytest.raises(PluginError, match="none-such"):
        _ = Session(plugins, environ={"L8S_CONFIG_STORE": "none-such"}).store


def test_an_unknown_backend_is_named(session: Session) -> None:
    with pytest.raises(PluginError, match="none-such"):
        session.client(evolve(PROFILE, backend="none-such"))


def test_an_unknown_profile_is_named(session: Session) -> None:
    with pytest.raises(ConfigError, match="none-such"):
        session.profile("none-such")


@pytest.mark.parametrize("wanted", [None, "dev", PROFILE])
def test_connect_gives_a_connected_client(
    house: House, session: Session, monkeypatch: pytest.MonkeyPatch, wanted: str | Profile | None
) -> None:
    monkeypatch.setattr(Session, "load", classmethod(lambda cls, *, third_party: session))
    told: list[Step] = []
    with client.connect(wanted, on_step=told.append) as connected:
        assert connected.profile.remote_host == "build.example.com"
        assert house.calls == ["open", "machine"]
    assert told
    assert house.calls == ["open", "machine", "close"]


def test_a_fake_is_not_open_by_itself() -> None:
    """The tests above rely on it: a call on a closed backend fails."""
    backend = FakeBackend(PROFILE)
    with pytest.raises(L8sError):
        backend.list({})
    backend.open(Steps())
    assert backend.list({}) == []


# The clock


def test_the_servers_time_is_the_servers(house: House, opened: Client) -> None:
    house.server.clock_offset = timedelta(days=-3653)
    assert abs(opened.server_time() - house.server.time()) < timedelta(minutes=1)


def test_where_the_server_told_no_time_it_is_this_machines(
    house: House, opened: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.server.clock_offset = timedelta(days=3653)
    monkeypatch.setattr(FakeBackend, "server_time", lambda self: None)
    assert abs(opened.server_time() - datetime.now(UTC)) < timedelta(minutes=1)
