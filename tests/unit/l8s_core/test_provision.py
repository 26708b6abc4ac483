"""Creating and removing as transactions: every effect fails, is interrupted, or is the last before a kill -9."""

from __future__ import annotations

import base64
import io
import shlex
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import define, evolve, field

from l8s_core import agent, files, layout, provision, removal, ssh_tools
from l8s_core.errors import (
    BackendError,
    CommandTimedOut,
    ConfigError,
    ContainerExists,
    ContainerNotFound,
    GitError,
    HostUnreachable,
    ImageNotFound,
    Interrupted,
    InvalidValue,
    L8sError,
    OutcomeUnknown,
    ProvisionFailed,
    SSHConfigError,
)
from l8s_core.journal import Journal
from l8s_core.known_hosts import KnownHosts, container_name
from l8s_core.model import (
    ContainerInfo,
    ContainerRequest,
    ContainerSpec,
    Endpoint,
    ExecResult,
    HostBlock,
    Profile,
    PublicKey,
)
from l8s_core.processes import Completed
from l8s_core.steps import Steps
from l8s_core.testing import ExecCall, FakeBackend, FakeContainer, FakeServer, FakeSSHConfigWriter, FakeVolume

PROFILE = Profile(
    name="dev", remote_host="build.example.com", remote_user="root", labels={"team": "blue", "size": "small"}
)
SPEC = ContainerSpec(
    name="myapp",
    repository="https://me:s3cr%40t@git.example.com/app.git",
    branch="main",
    labels={"size": "big"},
    memory=512 * 1024**2,
    cpus=1.5,
    pids=200,
)
PLAIN = ContainerSpec(name="myapp")
KEY = PublicKey("ssh-ed25519", base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + b"k" * 32).decode(), "me@laptop")
VOLUMES = {"dev-myapp-hostkeys", "dev-myapp-home", "dev-myapp-workspace"}
PROVISION = ("/bin/sh", "/etc/l8s/provision")


class Killed(BaseException):
    """The process is gone: nothing after it runs, rollback included."""


@define
class Faults:
    """Counts every effect that a create has on the server and on the laptop, and fails at one of them."""

    seen: list[str] = field(factory=list)
    at: int = -1
    error: BaseException | None = None
    hook: Callable[[], None] | None = None

    def point(self, name: str) -> None:
        self.seen.append(name)
        if len(self.seen) - 1 == self.at:
            if self.hook is not None:
                self.hook()
            if self.error is not None:
                raise self.error

    def around(self, name: str, effect: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **settings: Any) -> Any:
            self.point(f"before {name}")
            result = effect(*arguments, **settings)
            self.point(f"after {name}")
            return result

        return call


class Watched:
    """Any object whose method calls are effects."""

    def __init__(self, name: str, target: Any, faults: Faults) -> None:
        self._name, self._target, self._faults = name, target, faults

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(self._target, attribute)
        return self._faults.around(f"{self._name}.{attribute}", found) if callable(found) else found


@define
class Laptop:
    """One laptop that talks to one server: its own ssh config and known_hosts."""

    server: FakeServer
    name: str = "build.example.com"
    profile: Profile = PROFILE
    writer: FakeSSHConfigWriter = field(factory=FakeSSHConfigWriter)
    faults: Faults = field(factory=Faults)
    backend: FakeBackend = field(init=False)
    steps: list[str] = field(factory=list)
    known_hosts: KnownHosts = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.backend = FakeBackend(self.profile, self.server)
        self.backend.open(Steps())
        self.known_hosts = KnownHosts(files.state_dir() / f"known_hosts-{self.name}")

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(user="root", host=self.name, port=22, socket=self.profile.remote_socket)

    @property
    def context(self) -> provision.Context:
        return provision.Context(
            backend=Watched("backend", self.backend, self.faults),  # type: ignore[arg-type]
            profile=self.profile,
            endpoint=self.endpoint,
            writer=Watched("writer", self.writer, self.faults),  # type: ignore[arg-type]
            known_hosts=Watched("known_hosts", self.known_hosts, self.faults),  # type: ignore[arg-type]
            steps=Steps(lambda step: self.steps.append(f"{step.name} {step.state}")),
            reconnect=self.reconnect,
        )

    def reconnect(self) -> None:
        self.backend.close()
        self.backend.open(Steps())

    def create(self, spec: ContainerSpec = SPEC) -> ContainerInfo:
        return provision.create(self.context, provision.validated(spec, self.profile))

    def remove(self, name: str = "myapp", *, keep_volumes: bool = False) -> Any:
        return removal.remove(self.context, name, keep_volumes=keep_volumes)

    def state(self) -> dict[str, object]:
        """Everything that a create may change, here and on the server."""
        return {
            "containers": {name: (box.id, box.state) for name, box in self.server.containers.items()},
            "volumes": {name: (volume.labels, set(volume.tree)) for name, volume in self.server.volumes.items()},
            "blocks": self.writer.blocks(),
            "pinned": self.known_hosts.keys(container_name("dev-myapp")),
            "journal": sorted(path.name for path in (files.state_dir() / "journal").glob("*")),
        }

    def assert_whole(self, spec: ContainerSpec = SPEC) -> None:
        """There is one container of ours, running, with its volumes, its entry and its pinned key."""
        box = self.server.containers["dev-myapp"]
        assert box.state == "running"
        assert set(box.request.volumes) == VOLUMES
        assert {name for name in self.server.volumes if name.startswith("dev-myapp")} == VOLUMES
        (block,) = self.writer.blocks()
        assert (block.alias, block.hostname, block.port) == ("dev-myapp", self.name, box.info.ssh_port)
        key = box.read("/var/lib/l8s/ssh_host_ed25519_key.pub")
        assert key is not None
        assert [pinned.line for pinned in self.known_hosts.keys(block.host_key_alias)] == [key.decode()]
        assert Journal.of(self.endpoint, "dev-myapp").operation() is None
        assert box.read("/etc/l8s/authorized_keys") == f"{KEY.line}\n".encode()


@pytest.fixture(autouse=True)
def laptop_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A home, an agent with one key, and an ssh that works; ``logins`` is what ssh says next."""
    monkeypatch.setenv("HOME", str(tmp_path))
    tools = SimpleNamespace(logins=[], stopped=[], now=0.0)
    identity = tmp_path / "key.pub"

    def login(alias: str, *, timeout: float) -> Completed:
        answer = tools.logins.pop(0) if tools.logins else (0, b"")
        if isinstance(answer, CommandTimedOut):
            tools.now += timeout
        if isinstance(answer, BaseException):
            raise answer
        return Completed(("ssh", alias), answer[0], b"", answer[1])

    def sleep(seconds: float) -> None:
        tools.now += seconds

    monkeypatch.setattr(agent, "select_key", lambda profile: KEY)
    monkeypatch.setattr(agent, "public_key_file", lambda key: identity)
    monkeypatch.setattr(ssh_tools, "login_works", login)
    monkeypatch.setattr(ssh_tools, "stop_multiplexing", tools.stopped.append)
    monkeypatch.setattr(provision, "time", SimpleNamespace(monotonic=lambda: tools.now, sleep=sleep))
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: None)  # no power is lost here
    return tools


@pytest.fixture
def laptop() -> Laptop:
    return Laptop(FakeServer())


def _content(container: FakeContainer) -> dict[str, str]:
    archive = container.pack("/etc/l8s")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {
            member.name.removeprefix("l8s/"): (tar.extractfile(member) or io.BytesIO()).read().decode()
            for member in tar.getmembers()
            if member.isfile()
        }


# Before any network


def test_a_spec_is_merged_with_the_profile() -> None:
    wish = provision.validated(SPEC, PROFILE)
    assert (wish.alias, wish.image, wish.branch) == ("dev-myapp", PROFILE.base_image, "main")
    assert wish.labels == {"team": "blue", "size": "big"}
    assert wish.repository is not None
    assert wish.repository.url == "https://git.example.com/app.git"
    assert (wish.memory, wish.cpus, wish.pids) == (512 * 1024**2, 1.5, 200)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "My App"},
        {"name": "../x"},
        {"repository": "ext::sh -c true"},
        {"branch": "--upload-pack=x"},
        {"image": "docker://x"},
        {"labels": {"l8s.managed": "true"}},
        {"labels": {"a": "b\n"}},
        {"memory": 1},
        {"cpus": 0.0},
        {"pids": 0},
    ],
)
def test_what_is_not_acceptable_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        provision.validated(evolve(SPEC, **changes), PROFILE)


def test_a_branch_needs_a_repository() -> None:
    with pytest.raises(ConfigError, match="without a repository"):
        provision.validated(ContainerSpec(name="myapp", branch="main"), PROFILE)


def test_the_last_port_is_the_last() -> None:
    assert layout.choose_port(65535, frozenset()) == 65535
    with pytest.raises(BackendError, match="65535"):
        layout.choose_port(65535, frozenset({65535}))


# Creating


def test_a_container_is_asked_for_with_all_that_it_needs(laptop: Laptop) -> None:
    info = laptop.create()
    laptop.assert_whole()
    (request,) = [call.arguments["request"] for call in laptop.backend.calls if call.method == "create"]
    assert isinstance(request, ContainerRequest)
    assert (request.name, request.hostname, request.image) == ("dev-myapp", "myapp", PROFILE.base_image)
    assert request.command == ("/bin/sh", "/etc/l8s/start")
    assert request.ports == {2200: 22}
    assert request.restart
    assert (request.memory, request.cpus, request.pids) == (SPEC.memory, SPEC.cpus, SPEC.pids)
    assert request.volumes == {
        "dev-myapp-hostkeys": "/var/lib/l8s",
        "dev-myapp-home": "/home/dev",
        "dev-myapp-workspace": "/workspace",
    }
    operation = request.labels["l8s.operation"]
    expected = {
        "team": "blue",
        "size": "big",
        "l8s.managed": "true",
        "l8s.name": "myapp",
        "l8s.prefix": "dev",
        "l8s.profile": "dev",
        "l8s.user": "dev",
        "l8s.operation": operation,
        "l8s.repository": "https://git.example.com/app.git",
        "l8s.branch": "main",
    }
    assert request.labels == {**expected, "l8s.ssh-port": "2200"}
    assert all(laptop.server.volumes[name].labels == expected for name in VOLUMES)
    assert info.ssh_port == 2200
    assert info.running


def test_the_steps_are_told_in_their_order(laptop: Laptop) -> None:
    laptop.create()
    assert [step.removesuffix(" done") for step in laptop.steps if step.endswith(" done")] == [
        "check",
        "volumes",
        "container",
        "upload",
        "start",
        "provision",
        "ssh config",
        "login",
    ]


def test_one_upload_and_one_exec_set_it_up(laptop: Laptop) -> None:
    laptop.create()
    methods = [call.method for call in laptop.backend.calls]
    assert methods.count("upload") == methods.count("exec") == 1
    assert methods.index("create") < methods.index("upload") < methods.index("start") < methods.index("exec")
    content = _content(laptop.server.containers["dev-myapp"])
    assert set(content) == {"settings", "sshd_config", "authorized_keys", "start", "ready", "provision"}
    assert dict(line.split("=", 1) for line in shlex.split(content["settings"])) == {
        "L8S_USER": "dev",
        "L8S_HOME": "/home/dev",
        "L8S_REPOSITORY": "https://git.example.com/app.git",
        "L8S_BRANCH": "main",
    }
    assert content["sshd_config"].splitlines()[-2:] == ["AllowUsers dev", "PermitRootLogin no"]
    assert "PasswordAuthentication no" in content["sshd_config"].splitlines()
    assert content["authorized_keys"] == f"{KEY.line}\n"


def test_a_root_user_has_its_own_home_and_may_log_in_by_key_only() -> None:
    laptop = Laptop(FakeServer(), profile=evolve(PROFILE, container_user="root"))
    laptop.create()
    box = laptop.server.containers["dev-myapp"]
    assert box.request.volumes["dev-myapp-home"] == "/root"
    assert _content(box)["sshd_config"].splitlines()[-2:] == [
        "AllowUsers root",
        "PermitRootLogin prohibit-password",
    ]


def test_credentials_go_to_standard_input_and_nowhere_else(laptop: Laptop) -> None:
    given: list[ExecCall] = []
    laptop.backend.on_exec(lambda call: given.append(call))
    laptop.create()
    (call,) = given
    assert call.argv == PROVISION
    assert call.user == "0"
    assert call.stdin == b"me\ns3cr@t\n"
    assert call.env == {}
    assert call.timeout is not None
    uploads = [call.arguments["archive"] for call in laptop.backend.calls if call.method == "upload"]
    everything = repr(laptop.backend.calls) + repr(laptop.writer.blocks()) + repr(laptop.steps) + repr(uploads)
    for path in files.state_dir().rglob("*"):
        everything += path.read_text() if path.is_file() else ""
    assert "s3cr" not in everything


def test_without_credentials_standard_input_says_so(laptop: Laptop) -> None:
    given: list[bytes] = []
    laptop.backend.on_exec(lambda call: given.append(call.stdin))  # type: ignore[func-returns-value]
    laptop.create(evolve(SPEC, repository="https://git.example.com/app.git"))
    laptop.remove()
    laptop.create(PLAIN)
    assert given == [b"\n\n", b""]
    assert "l8s.repository" not in laptop.server.containers["dev-myapp"].request.labels


def test_the_entry_leads_to_the_server_with_the_pinned_key(laptop: Laptop, tmp_path: Path) -> None:
    laptop.create()
    (block,) = laptop.writer.blocks()
    assert block == HostBlock(
        alias="dev-myapp",
        hostname="build.example.com",
        port=2200,
        user="dev",
        host_key_alias="dev-myapp.l8s",
        known_hosts_file=str(tmp_path / ".l8s" / "known_hosts"),
        identity_file=str(tmp_path / "key.pub"),
    )


def test_a_jump_host_and_the_profiles_choices_reach_the_entry() -> None:
    profile = evolve(PROFILE, host_key_checking=False, forward_agent=True)
    endpoint = Endpoint(user="root", host="inner", port=22, socket="/s", jump="me@bastion:2222")
    info = ContainerInfo(id="1", name="dev-x", image="i", state="running", labels={"l8s.ssh-port": "2207"})
    block = layout.host_block(info, profile, endpoint)
    assert (block.proxy_jump, block.host_key_checking, block.forward_agent) == ("me@bastion:2222", False, True)
    assert (block.port, block.user) == (2207, "dev")
    with pytest.raises(BackendError, match=r"l8s\.ssh-port"):
        layout.host_block(evolve(info, labels={}), profile, endpoint)


def test_progress_is_handed_on_and_standard_output_is_not(laptop: Laptop) -> None:
    def answer(call: ExecCall) -> ExecResult:
        out = b"l8s-host-key " + KEY.line.encode() + b"\n"
        return ExecResult(exit_code=0, stdout_bytes=out, stderr_bytes=b"Cloning ...\n")

    laptop.backend.on_exec(answer)
    heard: list[tuple[str, bytes]] = []
    wish = provision.validated(SPEC, PROFILE)
    provision.create(laptop.context, wish, on_output=lambda stream, data: heard.append((stream, data)))
    assert heard == [("stderr", b"Cloning ...\n")]


def test_ports_that_anything_holds_are_passed_over(laptop: Laptop) -> None:
    laptop.server.listeners |= {2200, 2202}
    stopped = laptop.server.add_container(
        ContainerRequest(name="foreign", image="i", hostname="f", command=(), labels={}, ports={2201: 80}, volumes={})
    )
    assert stopped.state == "created"
    assert laptop.create().ssh_port == 2203


def test_a_lost_race_for_a_port_takes_the_next_one(laptop: Laptop) -> None:
    thieves = iter([2200, 2201])

    def steal(call: Any) -> None:
        if call.method == "start":
            laptop.server.listeners.update({next(thieves, 22)})

    laptop.backend.on_call(steal)
    laptop.server.listeners.discard(2200)
    # What the server reports lags behind: only the start finds out.
    laptop.backend.ports_in_use = lambda: frozenset({22})  # type: ignore[method-assign]
    assert laptop.create().ssh_port == 2202
    laptop.assert_whole()


def test_ports_that_are_always_lost_are_given_up(laptop: Laptop) -> None:
    laptop.server.listeners |= set(range(2200, 2300))
    laptop.backend.ports_in_use = lambda: frozenset()  # type: ignore[method-assign]
    before = laptop.state()
    with pytest.raises(BackendError, match="20 attempts"):
        laptop.create()
    assert laptop.state() == before


@pytest.mark.parametrize(
    ("code", "words", "kind", "message"),
    [
        (70, "the image has no sshd", ProvisionFailed, "cannot run an SSH server: the image has no sshd"),
        (71, "no useradd", ProvisionFailed, r"could not be set up \(user\): no useradd"),
        (74, "sshd did not start", ProvisionFailed, r"\(start\)"),
        (75, "the image has no git", ProvisionFailed, "has no git"),
        (76, "1\n2\n3\n4\n5\nfatal: not found", GitError, "2\n3\n4\n5\nfatal: not found$"),
        (73, "ssh-keygen made no host key: No space left on device", BackendError, "The server's disk is full: ssh-"),
        (76, "fatal: cannot copy: No space left on device", BackendError, "The server's disk is full: fatal: "),
        (99, "", ProvisionFailed, r"\(inside\): exit code 99"),
    ],
)
def test_what_fails_inside_is_explained(
    laptop: Laptop, code: int, words: str, kind: type[L8sError], message: str
) -> None:
    laptop.backend.on_exec(lambda call: ExecResult(exit_code=code, stderr_bytes=words.encode()))
    before = laptop.state()
    with pytest.raises(kind, match=message) as caught:
        laptop.create()
    assert caught.value.step == "provision"
    assert laptop.state() == before


@pytest.mark.parametrize("said", [b"", b"hello\n", b"l8s-host-key \n", b"l8s-host-key ssh-ed25519 AAAA\n"])
def test_a_container_without_a_proper_host_key_is_not_trusted(laptop: Laptop, said: bytes) -> None:
    laptop.backend.on_exec(lambda call: ExecResult(exit_code=0, stdout_bytes=said))
    before = laptop.state()
    with pytest.raises(ProvisionFailed, match="host key") as caught:
        laptop.create()
    assert caught.value.step == "provision"
    assert laptop.state() == before


@pytest.mark.parametrize(
    "answer",
    [
        (255, b"connect to host build.example.com port 2200: Connection refused"),
        (255, b"connect to host build.example.com port 2200: Connection timed out"),
        (255, b"ssh: connect to host build.example.com port 2200: Operation timed out"),
    ],
    ids=lambda answer: answer[1].decode().rpartition(": ")[2],
)
def test_a_login_that_cannot_work_yet_is_tried_again(
    laptop: Laptop, laptop_tools: SimpleNamespace, answer: tuple[int, bytes]
) -> None:
    laptop_tools.logins += [answer] * 3
    laptop.create()
    assert laptop_tools.logins == []
    laptop.assert_whole()


def test_a_login_that_hangs_is_tried_again(laptop: Laptop, laptop_tools: SimpleNamespace) -> None:
    laptop_tools.logins += [CommandTimedOut("ssh took too long")]
    laptop.create()
    assert laptop_tools.logins == []
    laptop.assert_whole()


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ([(255, b"dev@build.example.com: Permission denied (publickey).")], ProvisionFailed),
        ([(255, b"Connection refused")] * 1000, ProvisionFailed),
        ([CommandTimedOut("ssh took too long")] * 1000, ProvisionFailed),
    ],
)
def test_a_container_that_cannot_be_logged_in_to_is_taken_back(
    laptop: Laptop, laptop_tools: SimpleNamespace, answers: list[Any], kind: type[L8sError]
) -> None:
    laptop_tools.logins += answers
    before = laptop.state()
    with pytest.raises(kind) as caught:
        laptop.create()
    assert caught.value.step == "login"
    assert laptop.state() == before
    assert laptop_tools.now <= provision.LOGIN_PATIENCE + provision.LOGIN_TIMEOUT + 1


def test_a_missing_image_is_said_at_its_step(laptop: Laptop) -> None:
    before = laptop.state()
    with pytest.raises(ImageNotFound) as caught:
        laptop.create(evolve(SPEC, image="registry.example.com/none:1"))
    assert caught.value.step == "container"
    assert laptop.state() == before


# What is there already


def _foreign(server: FakeServer, name: str = "dev-myapp", **labels: str) -> FakeContainer:
    return server.add_container(
        ContainerRequest(name=name, image="i", hostname="f", command=(), labels=labels, ports={2200: 22}, volumes={})
    )


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({}, "did not make"),
        ({"l8s.managed": "true", "l8s.prefix": "prod", "l8s.name": "myapp"}, "did not make"),
        ({"l8s.managed": "true", "l8s.prefix": "dev", "l8s.name": "myapp"}, "exists already"),
    ],
)
def test_a_container_of_that_name_stays(laptop: Laptop, labels: dict[str, str], words: str) -> None:
    _foreign(laptop.server, **labels)
    before = laptop.state()
    with pytest.raises(ContainerExists, match=words):
        laptop.create()
    assert laptop.state() == before


@pytest.mark.parametrize("volume", sorted(VOLUMES))
def test_a_foreign_volume_of_that_name_stays(laptop: Laptop, volume: str) -> None:
    laptop.server.volumes[volume] = FakeVolume(labels={"owner": "someone"})
    before = laptop.state()
    with pytest.raises(ContainerExists, match=volume):
        laptop.create()
    assert laptop.state() == before


def test_kept_volumes_are_used_again(laptop: Laptop) -> None:
    laptop.create()
    box = laptop.server.containers["dev-myapp"]
    box.write("/home/dev/notes", b"mine")
    laptop.remove(keep_volumes=True)
    laptop.create()
    assert laptop.server.containers["dev-myapp"].read("/home/dev/notes") == b"mine"
    laptop.assert_whole()


def test_a_create_on_this_laptop_keeps_others_out(laptop: Laptop) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with Journal.of(laptop.endpoint, "dev-myapp").held():
            entered.set()
            leave.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert entered.wait(10)
        with pytest.raises(ContainerExists, match="another l8s command"):
            laptop.create()
    finally:
        leave.set()
        holder.join()
    assert laptop.backend.calls[1:] == []


# Failing at every effect


def _points(spec: ContainerSpec, prepare: Callable[[Laptop], None] = lambda laptop: None) -> list[str]:
    """The effects of a create that succeeds, by name."""
    laptop = Laptop(FakeServer(), name="rehearsal")
    prepare(laptop)
    laptop.faults = Faults()
    laptop.create(spec)
    return laptop.faults.seen


def _with_kept_volumes(laptop: Laptop) -> None:
    laptop.create()
    laptop.server.containers["dev-myapp"].write("/workspace/project/work", b"unpushed")
    laptop.remove(keep_volumes=True)


def _empty(laptop: Laptop) -> None:
    pass


def _worlds(prepare: Callable[[Laptop], None], spec: ContainerSpec) -> Iterator[tuple[int, str, Laptop]]:
    """A fresh world for each effect of a create."""
    for index, point in enumerate(_points(spec, prepare)):
        laptop = Laptop(FakeServer(), name=f"server-{index}")
        prepare(laptop)
        laptop.steps.clear()
        laptop.faults = Faults(at=index)
        yield index, point, laptop


def test_the_rehearsal_sees_every_effect() -> None:
    points = _points(SPEC)
    for effect in (
        "backend.create_volume",
        "backend.create",
        "backend.upload",
        "backend.start",
        "backend.exec",
        "known_hosts.pin",
        "writer.apply",
    ):
        assert f"before {effect}" in points
        assert f"after {effect}" in points


@pytest.mark.parametrize(
    ("prepare", "error"), [(_with_kept_volumes, BackendError("injected")), (_empty, HostUnreachable("injected"))]
)
def test_a_failure_at_any_effect_leaves_everything_as_it_was(
    prepare: Callable[[Laptop], None], error: L8sError
) -> None:
    for index, point, laptop in _worlds(prepare, SPEC):
        before = laptop.state()
        laptop.faults.error = type(error)("injected")
        with pytest.raises(L8sError) as caught:
            laptop.create()
        assert caught.value is laptop.faults.error, (index, point, caught.value)
        failed = [step.removesuffix(" failed") for step in laptop.steps if step.endswith(" failed")]
        assert laptop.state() == before, (index, point)
        if "writer.blocks" not in point and "known_hosts.forget" not in point:
            assert failed == [caught.value.step], (index, point)


def test_ctrl_c_at_any_effect_leaves_everything_as_it_was() -> None:
    for index, point, laptop in _worlds(_with_kept_volumes, SPEC):
        before = laptop.state()
        laptop.faults.error = KeyboardInterrupt()
        with pytest.raises((Interrupted, KeyboardInterrupt)) as caught:
            laptop.create()
        assert laptop.state() == before, (index, point)
        if "check done" in laptop.steps:  # before that there is nothing to take back
            assert isinstance(caught.value, Interrupted), (index, point)
            assert "dev-myapp was not created" in caught.value.message


def test_a_plugins_stray_exception_is_rolled_back_too() -> None:
    for index, point, laptop in _worlds(_empty, PLAIN):
        before = laptop.state()
        laptop.faults.error = RuntimeError("a bug")
        with pytest.raises(RuntimeError, match="a bug"):
            laptop.create(PLAIN)
        assert laptop.state() == before, (index, point)


@pytest.mark.parametrize("prepare", [_empty, _with_kept_volumes])
def test_after_a_kill_at_any_effect_a_second_create_converges(
    prepare: Callable[[Laptop], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provision._Creation, "_taken_back", lambda self, error: error)
    for index, point, laptop in _worlds(prepare, SPEC):
        laptop.faults.error = Killed()
        with pytest.raises(Killed):
            laptop.create()
        published = [box.id for box in laptop.server.containers.values() if laptop.writer.blocks()]
        laptop.create()
        laptop.assert_whole()
        assert set(laptop.server.containers) == {"dev-myapp"}, (index, point)
        assert set(laptop.server.volumes) == VOLUMES, (index, point)
        if published:  # it was whole, and may have been used
            assert [box.id for box in laptop.server.containers.values()] == published, (index, point)
        if prepare is _with_kept_volumes:
            box = laptop.server.containers["dev-myapp"]
            assert box.read("/workspace/project/work") == b"unpushed", (index, point)
        with pytest.raises(ContainerExists, match="exists already"):
            laptop.create()


def _cut_off_at(effect: str, monkeypatch: pytest.MonkeyPatch) -> Laptop:
    """A laptop whose create was killed there."""
    monkeypatch.setattr(provision._Creation, "_taken_back", lambda self, error: error)
    laptop = Laptop(FakeServer())
    laptop.faults = Faults(at=_points(PLAIN).index(effect), error=Killed())
    with pytest.raises(Killed):
        laptop.create(PLAIN)
    laptop.faults = Faults()
    assert Journal.of(laptop.endpoint, "dev-myapp").operation() is not None
    return laptop


def test_a_create_that_left_nothing_is_over_when_another_container_has_the_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    laptop = _cut_off_at("before backend.create_volume", monkeypatch)
    _foreign(laptop.server)
    with pytest.raises(ContainerExists, match="did not make"):
        laptop.create(PLAIN)
    assert laptop.state()["journal"] == []


def test_a_create_is_over_when_another_laptop_finished_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    laptop = _cut_off_at("after backend.create_volume", monkeypatch)
    other = Laptop(laptop.server, name="another")
    other.remove()
    other.create(PLAIN)
    with pytest.raises(ContainerExists, match="exists already"):
        laptop.create(PLAIN)
    assert laptop.state()["journal"] == []


def test_what_a_create_left_beside_somebody_elses_container_is_still_cleared_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    laptop = _cut_off_at("after backend.create_volume", monkeypatch)
    _foreign(laptop.server)
    with pytest.raises(ContainerExists, match="did not make"):
        laptop.create(PLAIN)
    del laptop.server.containers["dev-myapp"]
    laptop.create(PLAIN)
    laptop.assert_whole(PLAIN)


def test_removing_what_was_never_made_ends_its_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    laptop = _cut_off_at("before backend.create_volume", monkeypatch)
    with pytest.raises(ContainerNotFound):
        laptop.remove()
    assert laptop.state()["journal"] == []


def test_after_a_kill_at_any_effect_remove_clears_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provision._Creation, "_taken_back", lambda self, error: error)
    for index, point, laptop in _worlds(_empty, PLAIN):
        before = laptop.state()
        laptop.faults.error = Killed()
        with pytest.raises(Killed):
            laptop.create(PLAIN)
        if laptop.server.containers or laptop.server.volumes:
            laptop.remove()
        else:  # a journal entry alone is nothing on the server, and the next create clears it
            laptop.create(PLAIN)
            laptop.remove()
        assert laptop.state() == before, (index, point)


def test_a_stale_entry_is_not_mistaken_for_a_finished_create(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another laptop removed the container, so its entry is still here; the next create is killed early on."""

    def stale(laptop: Laptop) -> None:
        laptop.create()
        laptop.server.containers.clear()
        laptop.server.volumes.clear()

    monkeypatch.setattr(provision._Creation, "_taken_back", lambda self, error: error)
    for index, point, laptop in _worlds(stale, SPEC):
        laptop.faults.error = Killed()
        with pytest.raises(Killed):
            laptop.create()
        laptop.backend.on_exec(_only_where_it_was_uploaded(laptop))
        laptop.create()
        laptop.assert_whole()
        assert set(laptop.server.volumes) == VOLUMES, (index, point)


def _only_where_it_was_uploaded(laptop: Laptop) -> Callable[[ExecCall], ExecResult | None]:
    def answer(call: ExecCall) -> ExecResult | None:
        if laptop.server.containers[call.name].exists("/etc/l8s/provision"):
            return None
        return ExecResult(exit_code=2, stderr_bytes=b"sh: cannot open /etc/l8s/provision")

    return answer


def test_a_published_container_is_finished_only_for_the_same_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provision._Creation, "_taken_back", lambda self, error: error)
    laptop = Laptop(FakeServer())
    laptop.faults = Faults(at=_points(SPEC).index("after writer.apply"), error=Killed())
    with pytest.raises(Killed):
        laptop.create()
    before = laptop.state()
    with pytest.raises(ContainerExists, match="another repository"):
        laptop.create(evolve(SPEC, repository="https://git.example.com/other.git"))
    assert laptop.state() == before
    laptop.server.containers["dev-myapp"].state = "exited"  # the server rebooted meanwhile
    laptop.create()
    laptop.assert_whole()


@pytest.mark.parametrize(
    ("first", "words"), [(BackendError("no space left"), "no space left"), (KeyboardInterrupt(), "Interrupted")]
)
def test_a_rollback_that_fails_too_says_what_to_run(laptop: Laptop, first: BaseException, words: str) -> None:
    laptop.backend.fail("upload", first)
    laptop.backend.fail("remove", HostUnreachable("the line is dead\nsecond line"), times=2)
    with pytest.raises(OutcomeUnknown) as caught:
        laptop.create()
    assert words in caught.value.message
    assert "the line is dead" in caught.value.message
    assert any("l8s create" in hint for hint in caught.value.hints)
    assert any("l8s rm myapp" in hint for hint in caught.value.hints)
    assert caught.value.exit_code == 10
    assert laptop.server.containers
    laptop.create()
    laptop.assert_whole()


@pytest.mark.parametrize("loss", [HostUnreachable("the line is dead"), OutcomeUnknown("no answer")])
def test_things_are_taken_back_over_a_new_connection_when_the_old_one_is_broken(laptop: Laptop, loss: L8sError) -> None:
    laptop.backend.fail("upload", loss)

    def broken_until_reconnected(call: Any) -> None:
        methods = [done.method for done in laptop.backend.calls]
        if "upload" in methods and "close" not in methods and call.method != "upload":
            raise loss

    laptop.backend.on_call(broken_until_reconnected)
    before = laptop.state()
    with pytest.raises(type(loss)) as caught:
        laptop.create()
    assert caught.value is loss
    assert laptop.state() == before
    assert [call.method for call in laptop.backend.calls].count("open") == 2


def test_an_error_that_is_no_broken_connection_does_not_reconnect(laptop: Laptop) -> None:
    laptop.backend.fail("upload", BackendError("no space left"))
    laptop.backend.fail("remove", BackendError("busy"))
    with pytest.raises(OutcomeUnknown, match="busy"):
        laptop.create()
    assert [call.method for call in laptop.backend.calls].count("open") == 1


def test_the_step_survives_a_failed_rollback(laptop: Laptop) -> None:
    laptop.backend.fail("upload", BackendError("no space left"))
    laptop.backend.fail("remove", HostUnreachable("the line is dead"), times=2)
    with pytest.raises(OutcomeUnknown) as caught:
        laptop.create()
    assert caught.value.step == "upload"


def test_local_files_that_cannot_be_taken_back_do_not_keep_the_server_from_being_cleared(
    laptop: Laptop, laptop_tools: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = laptop.writer.apply

    def full(plan: Any) -> None:
        if plan.remove:
            raise SSHConfigError("the disk is full")
        apply(plan)

    monkeypatch.setattr(laptop.writer, "apply", full)
    laptop_tools.logins += [(255, b"Permission denied")]
    with pytest.raises(OutcomeUnknown, match="the disk is full"):
        laptop.create()
    assert laptop.server.containers == {}
    assert laptop.server.volumes == {}


def test_a_container_that_appears_late_is_taken_back(laptop: Laptop) -> None:
    """Interrupted while the request was on its way: the server makes it while things are being taken back."""
    requests: list[ContainerRequest] = []

    def late(call: Any) -> None:
        if call.method == "create":
            requests.append(call.arguments["request"])
            raise KeyboardInterrupt
        if call.method == "inspect" and requests and len(laptop.backend.calls) > 12:
            laptop.server.add_container(requests.pop())

    laptop.backend.on_call(late)
    before = laptop.state()
    with pytest.raises(Interrupted):
        laptop.create()
    assert requests == []
    assert laptop.state() == before


def test_a_volume_that_appears_late_is_taken_back(laptop: Laptop, laptop_tools: SimpleNamespace) -> None:
    asked: list[Mapping[str, Any]] = []

    def late(call: Any) -> None:
        if call.method == "create_volume":
            asked.append(call.arguments)
            raise KeyboardInterrupt
        if asked and laptop_tools.now > 1:
            arguments = asked.pop()
            laptop.server.volumes[arguments["name"]] = FakeVolume(labels=dict(arguments["labels"]))

    laptop.backend.on_call(late)
    before = laptop.state()
    with pytest.raises(Interrupted):
        laptop.create()
    assert asked == []
    assert laptop.state() == before


def test_an_answer_is_not_waited_for_longer(laptop: Laptop, laptop_tools: SimpleNamespace) -> None:
    laptop.backend.fail("create", ImageNotFound("no image"))
    with pytest.raises(ImageNotFound):
        laptop.create()
    assert laptop_tools.now == 0


# Two laptops


def test_of_two_laptops_exactly_one_wins_wherever_the_other_comes_between() -> None:
    winners = []
    for index, point in enumerate(_points(SPEC)):
        server = FakeServer()
        ours, theirs = Laptop(server, name=f"ours-{index}"), Laptop(server, name=f"theirs-{index}")
        lost: list[L8sError] = []

        def come_between(other: Laptop = theirs, lost: list[L8sError] = lost) -> None:
            try:
                other.create()
            except ContainerExists as error:
                lost.append(error)

        ours.faults = Faults(at=index, hook=come_between)
        try:
            ours.create()
        except ContainerExists as error:
            lost.append(error)
            winner, loser = theirs, ours
        else:
            winner, loser = ours, theirs
        assert len(lost) == 1, (index, point)
        winner.assert_whole()
        assert loser.writer.blocks() == (), (index, point)
        assert set(server.volumes) == VOLUMES, (index, point)
        winners.append(winner is ours)
    assert any(winners)
    assert not all(winners)


def test_many_laptops_at_once_make_one_container() -> None:
    server = FakeServer()
    laptops = [Laptop(server, name=f"laptop-{number}") for number in range(4)]
    start = threading.Barrier(len(laptops))
    ended: list[tuple[Laptop, BaseException | None]] = []

    def run(laptop: Laptop) -> None:
        start.wait(10)
        try:
            laptop.create()
        except BaseException as error:
            ended.append((laptop, error))
        else:
            ended.append((laptop, None))

    threads = [threading.Thread(target=run, args=(laptop,)) for laptop in laptops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    (winner,) = [laptop for laptop, error in ended if error is None]
    winner.assert_whole()
    assert [type(error) for _, error in ended if error is not None] == [ContainerExists] * 3


# Starting again


def test_a_started_container_is_waited_for(laptop: Laptop) -> None:
    info = laptop.create()
    given: list[ExecCall] = []
    laptop.backend.on_exec(lambda call: given.append(call))
    provision.wait_until_ready(laptop.backend, info)
    assert [(call.argv, call.user) for call in given] == [(("/bin/sh", "/etc/l8s/ready"), "0")]
    laptop.backend.on_exec(lambda call: ExecResult(exit_code=74, stderr_bytes=b"no sshd\n"))
    with pytest.raises(ProvisionFailed, match="did not start: no sshd"):
        provision.wait_until_ready(laptop.backend, info)


# Removing


def test_remove_takes_everything_of_ours_and_nothing_else(laptop: Laptop, laptop_tools: SimpleNamespace) -> None:
    _foreign(laptop.server, "dev-myapp2")
    laptop.server.volumes["dev-myapp-home2"] = FakeVolume(labels={})
    laptop.server.volumes["db"] = FakeVolume(labels={})
    laptop.create(evolve(SPEC, name="other"))
    before = laptop.state()
    laptop.create()
    laptop_tools.stopped.clear()
    removal = laptop.remove()
    assert laptop.state() == before
    assert laptop_tools.stopped == ["dev-myapp"]
    assert (removal.alias, removal.container, removal.entry) == ("dev-myapp", True, True)
    assert (set(removal.volumes), removal.kept_volumes) == (VOLUMES, ())


def test_remove_keeps_the_volumes_when_asked(laptop: Laptop) -> None:
    laptop.create()
    removal = laptop.remove(keep_volumes=True)
    assert set(laptop.server.volumes) == {"dev-myapp-home", "dev-myapp-workspace"} == set(removal.kept_volumes)
    assert removal.volumes == ("dev-myapp-hostkeys",)
    with pytest.raises(ContainerNotFound):
        laptop.remove(keep_volumes=True)
    assert set(laptop.remove().volumes) == {"dev-myapp-home", "dev-myapp-workspace"}
    with pytest.raises(ContainerNotFound, match="no container myapp"):
        laptop.remove()


def test_remove_refuses_what_is_not_ours(laptop: Laptop) -> None:
    _foreign(laptop.server)
    laptop.server.volumes["dev-myapp-home"] = FakeVolume(labels={"l8s.managed": "true", "l8s.prefix": "prod"})
    before = laptop.state()
    with pytest.raises(ContainerNotFound, match="not made by l8s; it stays"):
        laptop.remove()
    assert laptop.state() == before


def test_remove_leaves_a_foreign_volume_beside_our_container(laptop: Laptop) -> None:
    laptop.create()
    laptop.server.volumes["dev-myapp-home"].labels.clear()
    assert "dev-myapp-home" not in laptop.remove().volumes
    assert set(laptop.server.volumes) == {"dev-myapp-home"}


def test_a_removal_that_was_cut_off_anywhere_can_be_run_again() -> None:
    rehearsal = Laptop(FakeServer(), name="rehearsal")
    rehearsal.create()
    rehearsal.faults = Faults()
    rehearsal.remove()
    for index, point in enumerate(rehearsal.faults.seen):
        for error in (HostUnreachable("the line is dead"), KeyboardInterrupt()):
            laptop = Laptop(FakeServer(), name="other")
            before = laptop.state()
            laptop.create()
            laptop.faults = Faults(at=index, error=error)
            with pytest.raises(type(error)):
                laptop.remove()
            try:
                laptop.remove()
            except ContainerNotFound:  # the first one got to its end
                assert not laptop.server.containers, (index, point)
            assert laptop.state() == before, (index, point)


@pytest.mark.parametrize("name", ["../x", "a b", "", "-v"])
def test_remove_validates_the_name(laptop: Laptop, name: str) -> None:
    with pytest.raises(InvalidValue):
        laptop.remove(name)
    assert [call.method for call in laptop.backend.calls] == ["open"]
