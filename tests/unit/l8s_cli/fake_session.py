"""A Session and a Client in memory, for the tests of the command: they record what is asked of them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from attrs import define, evolve, field

from l8s_core import config as configuration
from l8s_core.errors import ContainerNotFound, HostKeyRejected
from l8s_core.hookspecs import hookimpl
from l8s_core.known_hosts import KnownHosts
from l8s_core.model import (
    LABEL_NAME,
    LABEL_REPOSITORY,
    LABEL_SSH_PORT,
    ContainerInfo,
    Endpoint,
    ExecResult,
    HostBlock,
    HostFacts,
    Profile,
    PublicKey,
)
from l8s_core.plugins import PluginHost
from l8s_core.providers import SSHConfigWriterProvider
from l8s_core.steps import Steps
from l8s_core.testing import FakeConfigStore, FakeSSHConfigWriter


def public_key(seed: int) -> PublicKey:
    """A well-formed ed25519 public key; each ``seed`` gives another."""
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes([seed]) * 32
    return PublicKey("ssh-ed25519", base64.b64encode(blob).decode())


SERVER_KEY = public_key(1)
FACTS = HostFacts(
    backend="podman", version="5.4.2", api_version="5.4.2", os="debian 13", kernel="6.12", cpus=4, memory=8 * 1024**3
)


def container(name: str, port: int = 2200, **changes: Any) -> ContainerInfo:
    info = ContainerInfo(
        id="abc123",
        name=f"dev-{name}",
        image="localhost/l8s-dev:latest",
        state="running",
        labels={
            LABEL_NAME: name,
            LABEL_SSH_PORT: str(port),
            LABEL_REPOSITORY: "https://git.example/app.git",
            "team": "blue",
        },
        ports={port: 22},
        created=datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
    )
    return evolve(info, **changes)


@define
class Server:
    """What the fake clients share."""

    containers: dict[str, ContainerInfo] = field(factory=dict)
    facts: HostFacts = FACTS
    open_error: BaseException | None = None
    facts_error: BaseException | None = None
    host_keys: dict[str, PublicKey] = field(factory=dict)
    """Names that must be pinned before a connection succeeds."""
    exec_output: tuple[tuple[str, bytes], ...] = ()
    exec_code: int = 0
    on_server: Any = None
    time: datetime = field(factory=lambda: datetime.now(UTC))
    calls: list[tuple[Any, ...]] = field(factory=list)
    opened: int = 0
    closed: int = 0


class Client:
    def __init__(self, profile: Profile, server: Server, pins: KnownHosts) -> None:
        self.profile = profile
        self.warnings: tuple[str, ...] = ()
        self._server = server
        self._pins = pins
        self.endpoint = Endpoint(
            user=profile.remote_user, host=profile.remote_host, port=profile.remote_port or 22, socket="/s"
        )

    def open(self, on_step: Any = None) -> None:
        self._server.opened += 1
        steps = Steps(on_step)
        with steps.step("address") as step:
            step.detail = "192.0.2.1"
        with steps.step("host key"):
            for name, key in self._server.host_keys.items():
                pinned = self._pins.keys(name)
                if key not in pinned:
                    raise HostKeyRejected(
                        f"The host key of {name} is not known.",
                        host=name,
                        key_type=key.type,
                        key_base64=key.base64,
                        reason="changed" if pinned else "unknown",
                    )
        with steps.step("TCP"):
            if self._server.open_error is not None:
                raise self._server.open_error

    def close(self) -> None:
        self._server.closed += 1

    def facts(self, on_step: Any = None) -> HostFacts:
        with Steps(on_step).step("API version") as step:
            step.detail = "5.4.2"
            if self._server.facts_error is not None:
                raise self._server.facts_error
        return self._server.facts

    def server_time(self) -> datetime:
        return self._server.time

    def list(self) -> tuple[ContainerInfo, ...]:
        self._server.calls.append(("list",))
        return tuple(self._server.containers.values())

    def get(self, name: str) -> Any:
        if name not in self._server.containers:
            raise ContainerNotFound(f"There is no container {name}.", hints=("See what there is: l8s list",))
        info = self._server.containers[name]
        return SimpleNamespace(info=info, name=name, alias=info.name)

    def create(self, spec: Any, *, on_step: Any = None, on_output: Any = None) -> Any:
        self._server.calls.append(("create", spec))
        with Steps(on_step).step("create: start"):
            on_output("stderr", b"Cloning\x1b[31m\n")
        self._server.containers[spec.name] = container(spec.name)
        return self.get(spec.name)

    def _verb(self, verb: str, name: str) -> Any:
        found = self.get(name)
        self._server.calls.append((verb, name))
        return found

    def start(self, name: str) -> Any:
        return self._verb("start", name)

    def stop(self, name: str) -> Any:
        return self._verb("stop", name)

    def restart(self, name: str) -> Any:
        return self._verb("restart", name)

    def remove(self, name: str, *, keep_volumes: bool = False, on_step: Any = None) -> Any:
        self._server.calls.append(("remove", name, keep_volumes))
        volumes = (f"dev-{name}-home", f"dev-{name}-workspace")
        return SimpleNamespace(
            container=self._server.containers.pop(name, None) is not None,
            volumes=() if keep_volumes else volumes,
            kept_volumes=volumes if keep_volumes else (),
            alias=f"dev-{name}",
            entry=True,
        )

    def exec(self, name: str, argv: Any, **options: Any) -> ExecResult:
        on_output, stdin = options.pop("on_output"), options.pop("stdin")
        given = stdin.read() if stdin is not None else None
        self._server.calls.append(("exec", name, tuple(argv), options, given))
        if on_output is not None:
            for stream, data in self._server.exec_output:
                on_output(stream, data)
            return ExecResult(exit_code=self._server.exec_code)
        joined = {
            wanted: b"".join(data for stream, data in self._server.exec_output if stream == wanted)
            for wanted in ("stdout", "stderr")
        }
        return ExecResult(
            exit_code=self._server.exec_code, stdout_bytes=joined["stdout"], stderr_bytes=joined["stderr"]
        )

    def build(self, **options: Any) -> Any:
        options.pop("on_step")
        on_output = options.pop("on_output")
        self._server.calls.append(("build", options))
        on_output("STEP 1/2\r\nSTEP\x1b[2J 2/2\n")
        return SimpleNamespace(reference=options["tag"] or self.profile.base_image, id="sha256:1234")

    def run_on_server(
        self, argv: Any, *, stdin: bytes = b"", timeout: float = 30.0, on_output: Any = None
    ) -> ExecResult:
        self._server.calls.append(("run_on_server", tuple(argv)))
        result: ExecResult = self._server.on_server(argv)
        if on_output is not None:
            on_output("stdout", result.stdout_bytes)
        return result

    def host_block(self, info: ContainerInfo) -> HostBlock:
        return HostBlock(
            alias=info.name,
            hostname=self.endpoint.host,
            port=info.ssh_port or 0,
            user=self.profile.container_user,
            host_key_alias=f"{info.name}.l8s",
            known_hosts_file="/k",
        )


class Session:
    def __init__(self, data: Mapping[str, object], server: Server, environ: Mapping[str, str]) -> None:
        self.store = FakeConfigStore(data, location="~/.l8s/config.yaml")
        self.server = server
        self.environ = environ
        self.plugins = PluginHost()
        self.writer = FakeSSHConfigWriter()
        self.plugins.register(_WriterPlugin(self.writer), "openssh")
        self.known_hosts = KnownHosts()

    @property
    def config(self) -> configuration.Config:
        return configuration.parse(self.store.load(), self.plugins.profiles())

    def choose(self, flag: str | None) -> configuration.Choice:
        return configuration.choose(self.config, flag=flag, environ=self.environ)

    def profile(self, flag: str | None) -> Profile:
        return self.config.profile(self.choose(flag).name)

    def ssh_config_writer(self, profile: Profile) -> FakeSSHConfigWriter:
        return self.writer

    def client(self, profile: Profile) -> Client:
        return Client(profile, self.server, self.known_hosts)


class _WriterPlugin:
    def __init__(self, writer: FakeSSHConfigWriter) -> None:
        self._writer = writer

    @hookimpl
    def l8s_ssh_config_writers(self) -> Any:
        yield SSHConfigWriterProvider(name="openssh", summary="in memory", factory=lambda: self._writer)
