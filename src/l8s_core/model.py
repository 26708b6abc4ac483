"""The values that flow through l8s: frozen, validated where they are made, free of I/O.

Not here: how a value is read (`l8s_core.config`), checked as text (`l8s_core.names`) or printed (the command).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal

from attrs import field, frozen

StreamName = Literal["stdout", "stderr"]
OutputSink = Callable[[StreamName, bytes], None]
"""Receives a command's output as it comes: which stream, and the exact bytes."""

LABEL_PREFIX = "l8s."
LABEL_MANAGED = "l8s.managed"
LABEL_NAME = "l8s.name"
LABEL_PREFIX_NAME = "l8s.prefix"
LABEL_PROFILE = "l8s.profile"
LABEL_OPERATION = "l8s.operation"
LABEL_USER = "l8s.user"
LABEL_SSH_PORT = "l8s.ssh-port"
LABEL_REPOSITORY = "l8s.repository"
LABEL_BRANCH = "l8s.branch"
LABEL_VERSION = "l8s.version"

DEFAULT_SOCKET = "/run/podman/podman.sock"
DEFAULT_SSH_PORT = 22
DEFAULT_SSH_START_PORT = 2200
DEFAULT_KEY_PATH = "~/.ssh/id_ed25519"
DEFAULT_IMAGE = "localhost/l8s-dev:latest"
DEFAULT_CONTAINER_USER = "dev"


def _frozen_mapping(value: Mapping[str, str]) -> Mapping[str, str]:
    return dict(value)


def _frozen_ports(value: Mapping[int, int]) -> Mapping[int, int]:
    return dict(value)


@frozen(kw_only=True)
class Profile:
    """One server and how containers are made there; the merged result of every layer.

    ``sources`` tells for each field where its value came from (``"~/.l8s/config.yaml:3"``, ``"plugin acme"``,
    ``"default"``). ``remote_port`` None means: what the ssh alias says, else 22.
    """

    name: str
    remote_host: str
    remote_user: str
    remote_port: int | None = None
    remote_socket: str = DEFAULT_SOCKET
    ssh_key_path: str = DEFAULT_KEY_PATH
    base_image: str = DEFAULT_IMAGE
    container_user: str = DEFAULT_CONTAINER_USER
    container_prefix: str = field()
    ssh_start_port: int = DEFAULT_SSH_START_PORT
    labels: Mapping[str, str] = field(factory=dict, converter=_frozen_mapping)
    backend: str = "podman"
    ssh_config_writer: str = "openssh"
    options: Mapping[str, object] = field(factory=dict, converter=dict)
    host_key_checking: bool = True
    forward_agent: bool = False
    sources: Mapping[str, str] = field(factory=dict, converter=_frozen_mapping, eq=False, repr=False)

    @container_prefix.default
    def _container_prefix_default(self) -> str:
        return self.name

    def alias(self, name: str) -> str:
        """The container's name on the server and its ssh alias: ``dev-myapp``."""
        return f"{self.container_prefix}-{name}"


@frozen(kw_only=True)
class Endpoint:
    """Where a backend is really connected, after ssh's own alias resolution.

    ``host`` is the resolved host name (for ssh entries), ``address`` the IP address that was checked and connected
    to ("" behind a jump host), ``jump`` the chain of jump hosts as ssh's ProxyJump writes it ("" for none).
    """

    user: str
    host: str
    port: int
    socket: str
    address: str = ""
    jump: str = ""

    def __str__(self) -> str:
        return f"{self.user}@{self.host}" + ("" if self.port == DEFAULT_SSH_PORT else f":{self.port}")


@frozen(kw_only=True)
class MachineIdentity:
    """What tells one machine, and one boot of it, from another (`l8s_core.policy`).

    ``process_start`` is the start of a process that was fresh when it was read, in seconds since boot as that
    machine counts them (field 22 of /proc/self/stat over the clock tick, see proc(5)). ``sent`` and ``received`` are
    this laptop's CLOCK_BOOTTIME around that reading, in seconds. Empty text means: could not be read.
    """

    boot_id: str
    kernel: str
    process_start: float | None
    machine_id: str
    sent: float
    received: float


@frozen(kw_only=True)
class HostFacts:
    """Facts about the server. ``warnings`` are complete sentences about what will hurt later."""

    backend: str
    version: str
    api_version: str
    os: str
    kernel: str
    cpus: int
    memory: int
    """Bytes."""
    warnings: tuple[str, ...] = ()


@frozen(kw_only=True)
class ContainerSpec:
    """What a person asks for. ``memory`` is in bytes, ``cpus`` in cores, ``pids`` a count; None means no limit.

    ``repository`` may carry credentials (``https://user:token@host/...``); they are used for the clone only and
    never stored.
    """

    name: str
    repository: str | None = field(default=None, repr=False)
    branch: str | None = None
    image: str | None = None
    labels: Mapping[str, str] = field(factory=dict, converter=_frozen_mapping)
    memory: int | None = None
    cpus: float | None = None
    pids: int | None = None


@frozen(kw_only=True)
class ContainerRequest:
    """What a backend is asked to create; every name in it is validated already.

    ``ports`` maps server ports to container ports (TCP), ``volumes`` volume names to absolute mount points.
    ``restart`` True asks the backend to bring the container back after the server reboots.
    """

    name: str
    image: str
    hostname: str
    command: tuple[str, ...]
    labels: Mapping[str, str]
    ports: Mapping[int, int]
    volumes: Mapping[str, str]
    memory: int | None = None
    cpus: float | None = None
    pids: int | None = None
    restart: bool = True


@frozen(kw_only=True)
class ContainerInfo:
    """One container as the server reports it. ``name`` is its name there, which is also its ssh alias.

    ``state`` is the backend's word (``created``, ``running``, ``exited`` ...); ``ports`` maps server ports to container
    ports; ``created`` is in UTC, None when unknown; ``exit_code`` is that of PID 1's last end.
    """

    id: str
    name: str
    image: str
    state: str
    labels: Mapping[str, str] = field(factory=dict, converter=_frozen_mapping)
    ports: Mapping[int, int] = field(factory=dict, converter=_frozen_ports)
    created: datetime | None = None
    exit_code: int | None = None

    @property
    def short_name(self) -> str:
        """The name that was given to ``create``: ``myapp`` of ``dev-myapp``."""
        return self.labels.get(LABEL_NAME, self.name)

    @property
    def ssh_port(self) -> int | None:
        """The server's port that leads to the container's sshd, as its label says; None when that is no port."""
        text = self.labels.get(LABEL_SSH_PORT, "")
        port = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0
        return port if 0 < port < 65536 else None

    @property
    def running(self) -> bool:
        """Whether commands can run in it now."""
        return self.state == "running"


@frozen(kw_only=True)
class VolumeInfo:
    """A named volume on the server."""

    name: str
    labels: Mapping[str, str] = field(factory=dict, converter=_frozen_mapping)


@frozen(kw_only=True)
class ExecResult:
    """How a command in a container ended. The bytes are exact; they are empty when the output was streamed."""

    exit_code: int
    stdout_bytes: bytes = b""
    stderr_bytes: bytes = b""

    @property
    def stdout(self) -> str:
        """Standard output as text; bytes that are not UTF-8 become U+FFFD."""
        return self.stdout_bytes.decode("utf-8", "replace")

    @property
    def stderr(self) -> str:
        """Standard error as text; bytes that are not UTF-8 become U+FFFD."""
        return self.stderr_bytes.decode("utf-8", "replace")


CopyProgress = Callable[[int, int], None]
"""Is told how many files and bytes have been copied so far, a few times a second at least while there are any."""


@frozen(kw_only=True)
class Copied:
    """What was copied: ``files`` counts links too, ``bytes`` leaves out holes. ``warnings`` are complete sentences."""

    files: int
    bytes: int
    warnings: tuple[str, ...] = ()


@frozen
class PublicKey:
    """An SSH public key, as one line of authorized_keys or known_hosts holds it (RFC 4253, section 6.6)."""

    type: str
    base64: str
    comment: str = field(default="", eq=False)

    @property
    def fingerprint(self) -> str:
        """``SHA256:...`` as ssh-keygen -l prints it (RFC 4648 base64 without padding)."""
        digest = hashlib.sha256(base64.b64decode(self.base64)).digest()
        return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")

    @property
    def line(self) -> str:
        """``type base64``, without the comment."""
        return f"{self.type} {self.base64}"


@frozen(kw_only=True)
class HostBlock:
    """One ssh alias: what ``ssh dev-myapp`` needs to know.

    ``host_key_alias`` is the name in ``known_hosts_file`` under which the container's key is pinned; ``identity_file``
    holds the public half of the agent's key ("" to leave the choice to ssh); ``proxy_jump`` is "" for none.
    """

    alias: str
    hostname: str
    port: int
    user: str
    host_key_alias: str
    known_hosts_file: str
    identity_file: str = ""
    proxy_jump: str = ""
    host_key_checking: bool = True
    forward_agent: bool = False


@frozen(kw_only=True)
class FileChange:
    """One file of a `ChangePlan`: its bytes before (None: it does not exist) and after, and what changes in words."""

    path: Path
    before: bytes | None = field(repr=False)
    after: bytes = field(repr=False)
    summary: str


@frozen(kw_only=True)
class ChangePlan:
    """What an SSHConfigWriter would do. Empty ``files`` means that everything is as it should be already."""

    add: tuple[HostBlock, ...] = ()
    remove: tuple[str, ...] = ()
    files: tuple[FileChange, ...] = ()


@frozen(kw_only=True)
class Step:
    """One step of a longer job: first ``started``, then ``done`` or ``failed``, with its duration in ``seconds``."""

    name: str
    state: Literal["started", "done", "failed"]
    detail: str = ""
    seconds: float = 0.0


OperationKind = Literal[
    "create", "start", "stop", "restart", "remove", "list", "show", "exec", "copy_in", "copy_out", "build", "sync"
]


@frozen(kw_only=True)
class Operation:
    """One call on a `Client`, as hooks see it. ``target`` is the container's short name ("" where there is none)."""

    kind: OperationKind
    profile: Profile
    target: str = ""
    id: str = ""
    spec: ContainerSpec | None = None


@frozen(kw_only=True)
class Outcome:
    """How an `Operation` ended: ``error`` is None when it succeeded. ``seconds`` is its duration."""

    error: BaseException | None
    seconds: float


@frozen(kw_only=True)
class Image:
    """An image on the server: the name that it was given there, and its id."""

    reference: str
    id: str


@frozen(kw_only=True)
class Removal:
    """What removing a container took away: ``container`` and ``entry`` tell whether there was one."""

    alias: str
    container: bool
    entry: bool
    volumes: tuple[str, ...] = ()
    kept_volumes: tuple[str, ...] = ()
