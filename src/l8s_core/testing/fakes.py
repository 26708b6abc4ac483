"""In-memory fakes of the three contracts, which pass the same suites as the real ones.

They need no pytest. What the fake backend acts on is a `FakeServer`, which several backends can share.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import io
import string
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, cast

from attrs import define, evolve, field, frozen

from l8s_core import layout
from l8s_core.contracts import ConfigDocument
from l8s_core.errors import (
    BackendError,
    ConnectionFailed,
    ContainerExists,
    ContainerNotRunning,
    ImageNotFound,
    PortInUse,
)
from l8s_core.model import (
    ChangePlan,
    ContainerInfo,
    ContainerRequest,
    Endpoint,
    ExecResult,
    FileChange,
    HostBlock,
    HostFacts,
    MachineIdentity,
    OutputSink,
    Profile,
    StreamName,
    VolumeInfo,
)
from l8s_core.steps import Steps
from l8s_core.testing import copies, shell
from l8s_core.testing.server import FakeServer, FakeVolume, image_reference, with_labels

ADDRESS = "192.0.2.10"
"""The address that a fake backend says it is connected to (TEST-NET-1, RFC 5737)."""

_CHUNK = 32 * 1024

_PROVISION = ("/bin/sh", "/etc/l8s/provision")
"""How `l8s_core.provision` runs what it uploaded."""

_HOST_KEY = "/var/lib/l8s/ssh_host_ed25519_key.pub"
"""Where a container's host key is, on a volume of its own."""


@frozen(kw_only=True)
class Call:
    """One call on a `FakeBackend`: the method's name and its arguments by name."""

    method: str
    arguments: Mapping[str, object] = field(factory=dict)


@frozen(kw_only=True)
class ExecCall:
    """A command as an ``on_exec`` handler sees it; ``stdin`` is all of it."""

    name: str
    argv: tuple[str, ...]
    user: str | None
    workdir: str | None
    env: Mapping[str, str]
    stdin: bytes
    timeout: float | None
    backend: FakeBackend = field(repr=False)
    """What it was run on; a `FakeSession` has ``interrupted``."""


@define
class _Fault:
    method: str
    error: BaseException
    times: int | None
    after: bool


class FakeBackend:
    """A `RemoteBackend`, `ImageBuilder`, `ServerCommands` and `SharedConnection` on a `FakeServer`.

    Without ``server`` it gets one of its own, which has the profile's image. ``calls`` lists what was called.
    """

    def __init__(self, profile: Profile, server: FakeServer | None = None) -> None:
        self.profile = profile
        self.server = server if server is not None else FakeServer(images=(profile.base_image,))
        self.calls: list[Call] = []
        self.opened = False
        self._on_server: Callable[[Sequence[str], bytes], ExecResult] = _echo
        self._handlers: list[Callable[[ExecCall], ExecResult | None]] = []
        self._observers: list[Callable[[Call], None]] = []
        self._faults: list[_Fault] = []

    # For tests

    def on_exec(self, handler: Callable[[ExecCall], ExecResult | None]) -> None:
        """Let ``handler`` answer commands; None leaves one to earlier handlers.

        What no handler answers goes to a tiny shell (`l8s_core.testing.shell`), and what that does not understand
        succeeds. Copying works on the container's files. Provisioning succeeds too, and says a host key that is kept
        where a real one is.
        """
        self._handlers.insert(0, handler)

    def on_call(self, observer: Callable[[Call], None]) -> None:
        """Let ``observer`` act between a call and its effect: whatever another laptop might do there."""
        self._observers.append(observer)

    def fail(self, method: str, error: BaseException, *, times: int | None = 1, after: bool = False) -> None:
        """Make ``method`` raise ``error``, ``times`` times (None: always).

        With ``after`` the effect takes place first, as when the connection dies before the answer comes.
        """
        self._faults.append(_Fault(method, error, times, after))

    # RemoteBackend

    def open(self, steps: Steps) -> Endpoint:
        """See `RemoteBackend.open`."""
        profile = self.profile
        self.calls.append(Call(method="open"))
        for name, detail in (
            ("address", ADDRESS),
            ("TCP", f"port {profile.remote_port or 22}"),
            ("host key", "known"),
            ("agent", "one key"),
            ("authentication", profile.remote_user),
        ):
            with steps.step(name) as step:
                step.detail = detail
                if name == "TCP":
                    self._raise_fault("open", after=False)
        self.opened = True
        self._raise_fault("open", after=True)
        return Endpoint(
            user=profile.remote_user,
            host=profile.remote_host,
            port=profile.remote_port or 22,
            socket=profile.remote_socket,
            address=ADDRESS,
        )

    def machine(self) -> MachineIdentity:
        """See `RemoteBackend.machine`."""
        with self._call("machine"):
            return self.server.machine()

    def facts(self, steps: Steps) -> HostFacts:
        """See `RemoteBackend.facts`."""
        with self._call("facts"):
            with steps.step("socket") as step:
                step.detail = self.profile.remote_socket
            with steps.step("API version") as step:
                step.detail = self.server.facts.api_version
            return self.server.facts

    def list(self, labels: Mapping[str, str]) -> Sequence[ContainerInfo]:
        """See `RemoteBackend.list`; as with a real server's list, the exit codes are missing."""
        with self._call("list", labels=labels):
            infos = [container.info for container in self.server.containers.values()]
            return [evolve(info, exit_code=None) for info in infos if with_labels(info.labels, labels)]

    def inspect(self, name: str) -> ContainerInfo:
        """See `RemoteBackend.inspect`."""
        with self._call("inspect", name=name):
            return self.server.container(name).info

    def ports_in_use(self) -> frozenset[int]:
        """See `RemoteBackend.ports_in_use`."""
        with self._call("ports_in_use"):
            held = (port for container in self.server.containers.values() for port in container.request.ports)
            return frozenset(self.server.listeners) | frozenset(held)

    def create(self, request: ContainerRequest) -> str:
        """See `RemoteBackend.create`."""
        with self._call("create", request=request):
            if request.name in self.server.containers:
                raise ContainerExists(f"There is a container named {request.name} already")
            if image_reference(request.image) not in self.server.images:
                raise ImageNotFound(f"The server has no image {request.image}")
            return self.server.add_container(request).id

    def start(self, name: str) -> None:
        """See `RemoteBackend.start`."""
        with self._call("start", name=name):
            container = self.server.container(name)
            if container.state == "running":
                return
            for port in container.request.ports:
                holders = self.server.holders(port)
                if holders:
                    raise PortInUse(f"Port {port} is held by {', '.join(holders)}")
            container.state, container.exit_code = "running", None

    def stop(self, name: str, *, grace: float = 10.0) -> None:
        """See `RemoteBackend.stop`."""
        with self._call("stop", name=name, grace=grace):
            container = self.server.container(name)
            if container.state == "running":
                container.state, container.exit_code = "exited", 0

    def remove(self, name: str) -> bool:
        """See `RemoteBackend.remove`."""
        with self._call("remove", name=name):
            return self.server.containers.pop(name, None) is not None

    def volumes(self, labels: Mapping[str, str]) -> Sequence[VolumeInfo]:
        """See `RemoteBackend.volumes`."""
        with self._call("volumes", labels=labels):
            return [
                VolumeInfo(name=name, labels=volume.labels)
                for name, volume in self.server.volumes.items()
                if with_labels(volume.labels, labels)
            ]

    def create_volume(self, name: str, labels: Mapping[str, str]) -> bool:
        """See `RemoteBackend.create_volume`."""
        with self._call("create_volume", name=name, labels=labels):
            if name in self.server.volumes:
                return False
            self.server.volumes[name] = FakeVolume(labels=dict(labels))
            return True

    def remove_volume(self, name: str) -> bool:
        """See `RemoteBackend.remove_volume`."""
        with self._call("remove_volume", name=name):
            users = [
                container.request.name
                for container in self.server.containers.values()
                if name in container.request.volumes
            ]
            if users:
                raise BackendError(f"Volume {name} is in use by {', '.join(users)}")
            return self.server.volumes.pop(name, None) is not None

    def exec(
        self,
        name: str,
        argv: Sequence[str],
        *,
        user: str | None = None,
        workdir: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes | IO[bytes] | None = None,
        timeout: float | None = None,
        on_output: OutputSink | None = None,
    ) -> ExecResult:
        """See `RemoteBackend.exec`, and `on_exec` for what answers."""
        given = stdin if isinstance(stdin, bytes) else stdin.read() if stdin is not None else b""
        command = ExecCall(
            name=name,
            argv=tuple(argv),
            user=user,
            workdir=workdir,
            env=dict(env or {}),
            stdin=given,
            timeout=timeout,
            backend=self,
        )
        with self._call("exec", name=name, argv=command.argv, user=user, workdir=workdir):
            if self.server.container(name).state != "running":
                raise ContainerNotRunning(f"Container {name} is not running")
            result = self._answer(command)
        if on_output is None:
            return result
        if result.stdout_bytes:
            on_output("stdout", result.stdout_bytes)
        if result.stderr_bytes:
            on_output("stderr", result.stderr_bytes)
        return ExecResult(exit_code=result.exit_code)

    def upload(self, name: str, directory: str, archive: bytes) -> None:
        """See `RemoteBackend.upload`."""
        with self._call("upload", name=name, directory=directory, archive=archive):
            self.server.container(name).unpack(directory, archive)

    def download(self, name: str, path: str) -> Iterator[bytes]:
        """See `RemoteBackend.download`."""
        with self._call("download", name=name, path=path):
            packed = self.server.container(name).pack(path)
        return (packed[start : start + _CHUNK] for start in range(0, len(packed), _CHUNK))

    def close(self) -> None:
        """See `RemoteBackend.close`."""
        self.calls.append(Call(method="close"))
        self.opened = False

    # SharedConnection

    @property
    def round_trips(self) -> int:
        """See `CountsRoundTrips`: one for each call."""
        return len(self.calls)

    def session(self) -> FakeSession:
        """See `SharedConnection.session`."""
        return FakeSession(self)

    def alive(self, *, within: float) -> bool:
        """See `SharedConnection.alive`: until it is closed."""
        del within
        return self.opened

    # ServerClock

    def server_time(self) -> datetime | None:
        """See `ServerClock.server_time`; by `FakeServer.clock_offset`."""
        return self.server.time()

    # ServerCommands

    def on_server(self, handler: Callable[[Sequence[str], bytes], ExecResult]) -> None:
        """Let ``handler`` answer commands on the server; it gets the words and the input. Without one they echo it."""
        self._on_server = handler

    def run_on_server(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float,
        on_output: OutputSink | None = None,
    ) -> ExecResult:
        """See `ServerCommands.run_on_server`."""
        with self._call("run_on_server", argv=tuple(argv), stdin=stdin, timeout=timeout):
            result = self._on_server(argv, stdin)
        if on_output is not None:
            for stream, data in (("stdout", result.stdout_bytes), ("stderr", result.stderr_bytes)):
                if data:
                    on_output(cast(StreamName, stream), data)
        return result

    # ImageBuilder

    def build(
        self,
        tag: str,
        *,
        containerfile: str,
        context: bytes,
        build_args: Mapping[str, str],
        on_output: Callable[[str], None],
    ) -> str:
        """See `ImageBuilder.build`.

        Only ``FROM`` and ``RUN false`` mean anything: a base of ``localhost/`` must be there, and false fails.
        """
        with self._call("build", tag=tag, containerfile=containerfile, build_args=build_args):
            instructions = _instructions(context, containerfile)
            variables = {
                key: value
                for line in instructions
                if line.startswith("ARG ")
                for key, _, value in [line.removeprefix("ARG ").partition("=")]
            } | dict(build_args)
            for number, line in enumerate(instructions, start=1):
                instruction = string.Template(line).safe_substitute(variables)
                on_output(f"STEP {number}/{len(instructions)}: {instruction}\n")
                base = image_reference(instruction.removeprefix("FROM ").partition(" ")[0])
                missing = base.startswith("localhost/") and base not in self.server.images
                if instruction.startswith("FROM ") and missing:
                    raise BackendError(f"The build failed: no image {base}")
                if instruction == "RUN false":
                    raise BackendError("The build failed: RUN false ended with 1")
            self.server.images.add(image_reference(tag))
            return hashlib.sha256(tag.encode() + context).hexdigest()

    # Within

    @contextmanager
    def _call(self, method: str, **arguments: object) -> Iterator[None]:
        if not self.opened:
            raise ConnectionFailed(f"{method}: the fake backend is not open")
        call = Call(method=method, arguments=arguments)
        self.calls.append(call)
        for observer in self._observers:
            observer(call)
        self._raise_fault(method, after=False)
        with self.server.lock:
            yield
        self._raise_fault(method, after=True)

    def _raise_fault(self, method: str, *, after: bool) -> None:
        for fault in self._faults:
            if fault.method == method and fault.after is after and fault.times != 0:
                if fault.times is not None:
                    fault.times -= 1
                raise fault.error

    def _answer(self, command: ExecCall) -> ExecResult:
        for handler in self._handlers:
            result = handler(command)
            if result is not None:
                return result
        container = self.server.container(command.name)
        if command.argv == _PROVISION:
            key = container.read(_HOST_KEY)
            if key is None:
                key = _public_key(container.id)
                container.write(_HOST_KEY, key)
            container.make_directory(layout.PROJECT_DIRECTORY)
            return ExecResult(exit_code=0, stdout_bytes=b"l8s-host-key " + key + b"\n")
        copied = copies.answer(container, command.argv, workdir=command.workdir or "/", stdin=command.stdin)
        if copied is not None:
            return copied
        result = shell.run(
            container,
            command.argv,
            workdir=command.workdir or "/",
            env=command.env,
            stdin=command.stdin,
            timeout=command.timeout,
        )
        return result if result is not None else ExecResult(exit_code=0)


def _public_key(seed: str) -> bytes:
    """A well-formed ed25519 public key (RFC 8709, section 4) that nobody has the private half of."""
    kind = b"ssh-ed25519"
    point = hashlib.sha256(seed.encode()).digest()
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in (kind, point))
    return kind + b" " + base64.b64encode(blob)


def _instructions(context: bytes, containerfile: str) -> Sequence[str]:
    try:
        with tarfile.open(fileobj=io.BytesIO(context)) as archive:
            content = archive.extractfile(containerfile)
            text = content.read().decode() if content is not None else ""
    except (tarfile.TarError, KeyError) as error:
        raise BackendError(f"The build failed: no {containerfile} in the context") from error
    lines = text.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


class FakeSession(FakeBackend):
    """One caller's face of a `FakeBackend`; see `BackendSession`. Faults, handlers and observers are those of all."""

    def __init__(self, owner: FakeBackend) -> None:
        self.__dict__.update(owner.__dict__)
        self.calls = []
        self.interrupted = threading.Event()
        """Set by `interrupt`: for handlers that wait for it."""

    def open(self, steps: Steps) -> Endpoint:
        """See `BackendSession`; it is open already."""
        del steps
        return super().open(Steps())

    def interrupt(self) -> None:
        """See `BackendSession.interrupt`: a handler that waits for ``interrupted`` is to raise KeyboardInterrupt."""
        self.interrupted.set()


class FakeConfigStore:
    """A `ConfigStore` in memory; ``data`` None means that there is nothing in it yet."""

    def __init__(self, data: Mapping[str, object] | None = None, *, location: str = "the fake store") -> None:
        self.location = location
        self._data = copy.deepcopy(dict(data)) if data is not None else None
        self._lock = threading.RLock()

    def load(self) -> ConfigDocument:
        """See `ConfigStore.load`."""
        with self._lock:
            data = copy.deepcopy(self._data) if self._data is not None else {}
            return ConfigDocument(location=self.location, exists=self._data is not None, data=data)

    def edit(self, change: Callable[[dict[str, object]], Mapping[str, object]]) -> None:
        """See `ConfigStore.edit`."""
        with self._lock:
            self._data = copy.deepcopy(dict(change(copy.deepcopy(self._data or {}))))


class FakeSSHConfigWriter:
    """An `SSHConfigWriter` in memory."""

    def __init__(self) -> None:
        self._blocks: dict[str, HostBlock] = {}
        self._lock = threading.RLock()

    def blocks(self) -> Sequence[HostBlock]:
        """See `SSHConfigWriter.blocks`."""
        with self._lock:
            return tuple(self._blocks[alias] for alias in sorted(self._blocks))

    def plan(self, *, add: Sequence[HostBlock] = (), remove: Sequence[str] = ()) -> ChangePlan:
        """See `SSHConfigWriter.plan`."""
        with self._lock:
            after = self._changed(add, remove)
            change = FileChange(
                path=Path("/fake/ssh_config"),
                before=_rendered(self._blocks) if self._blocks else None,
                after=_rendered(after),
                summary=f"{len(after)} aliases",
            )
            return ChangePlan(add=tuple(add), remove=tuple(remove), files=(change,) if after != self._blocks else ())

    def apply(self, plan: ChangePlan) -> None:
        """See `SSHConfigWriter.apply`."""
        with self._lock:
            self._blocks = self._changed(plan.add, plan.remove)

    def _changed(self, add: Sequence[HostBlock], remove: Sequence[str]) -> dict[str, HostBlock]:
        kept = {alias: block for alias, block in self._blocks.items() if alias not in remove}
        return kept | {block.alias: block for block in add}


def _rendered(blocks: Mapping[str, HostBlock]) -> bytes:
    return "".join(f"{blocks[alias]!r}\n" for alias in sorted(blocks)).encode()


def _echo(_argv: Sequence[str], stdin: bytes) -> ExecResult:
    return ExecResult(exit_code=0, stdout_bytes=stdin)
