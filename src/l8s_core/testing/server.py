"""A server in memory: images, containers, volumes and files. Several `FakeBackend` objects may share one.

Not here: the calls that a backend makes on it (`l8s_core.testing.fakes`).
"""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath

from attrs import define, field, frozen

from l8s_core.errors import BackendError, ContainerNotFound
from l8s_core.model import DEFAULT_IMAGE, ContainerInfo, ContainerRequest, HostFacts, MachineIdentity
from l8s_core.policy import boot_clock

_DIRECTORIES = (
    "/",
    *(f"/{name}" for name in ("bin", "etc", "home", "root", "run", "tmp", "usr", "var", "workspace")),
)


@frozen
class _Entry:
    """A file, directory or link in a tree: its tar header and its bytes."""

    header: tarfile.TarInfo
    data: bytes = b""


def _directory() -> _Entry:
    header = tarfile.TarInfo()
    header.type, header.mode = tarfile.DIRTYPE, 0o755
    return _Entry(header)


Tree = dict[str, _Entry]
"""Absolute path (below the tree's own root) to what is there."""


def image_reference(name: str) -> str:
    """``name`` with the tag that a missing one stands for."""
    return name if "@" in name or ":" in name.rpartition("/")[2] else f"{name}:latest"


@define
class FakeVolume:
    """A named volume: its labels and its files."""

    labels: dict[str, str] = field(factory=dict)
    tree: Tree = field(factory=lambda: {"/": _directory()})


@define
class FakeContainer:
    """A container: what was asked for, how it is now, and its files outside volumes."""

    id: str
    request: ContainerRequest
    created: datetime
    state: str = "created"
    exit_code: int | None = None
    mounts: dict[str, FakeVolume] = field(factory=dict)
    tree: Tree = field(factory=lambda: {path: _directory() for path in _DIRECTORIES})

    @property
    def info(self) -> ContainerInfo:
        """The container as `RemoteBackend.inspect` shows it."""
        return ContainerInfo(
            id=self.id,
            name=self.request.name,
            image=self.request.image,
            state=self.state,
            labels=self.request.labels,
            ports=self.request.ports,
            created=self.created,
            exit_code=self.exit_code,
        )

    def read(self, path: str) -> bytes | None:
        """The bytes of a file; None when there is no file of that path."""
        tree, key = self._find(path)
        entry = tree.get(key)
        return entry.data if entry is not None and entry.header.isfile() else None

    def exists(self, path: str) -> bool:
        """Whether there is anything at ``path``."""
        tree, key = self._find(path)
        return key in tree

    def is_directory(self, path: str) -> bool:
        """Whether there is a directory at ``path``."""
        tree, key = self._find(path)
        return key in tree and tree[key].header.isdir()

    def make_directory(self, path: str) -> None:
        """Make a directory unless there is something of that name."""
        if not self.exists(path):
            self._put(path, _directory())

    def put(self, path: str, header: tarfile.TarInfo, data: bytes) -> None:
        """Make or replace whatever ``header`` describes, with its mode, time and link."""
        self._put(path, _Entry(header, data))

    def write(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Make or replace a file; missing directories above it are made."""
        header = tarfile.TarInfo()
        header.mode, header.size = mode, len(data)
        self._put(path, _Entry(header, data))

    def unpack(self, directory: str, archive: bytes) -> None:
        """Unpack a tar archive.

        Raises:
            BackendError: the directory is missing, or the bytes are not a tar archive.
        """
        tree, key = self._find(directory)
        if key not in tree or not tree[key].header.isdir():
            raise BackendError(f"There is no directory {directory} in {self.request.name}")
        try:
            with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
                for member in packed:
                    content = packed.extractfile(member) if member.isfile() else None
                    data = content.read() if content is not None else b""
                    self._put(str(PurePosixPath(directory, member.name)), _Entry(member, data))
        except tarfile.TarError as error:
            raise BackendError(f"Not a tar archive: {error}") from error

    def pack(self, path: str) -> bytes:
        """The tar archive of a file or tree, with ``path``'s last part at its root.

        Raises:
            BackendError: there is nothing at ``path``.
        """
        if not self.exists(path):
            raise BackendError(f"There is no {path} in {self.request.name}")
        root = PurePosixPath(path)
        buffer = io.BytesIO()
        # GNU's format, as tar in a container has it: names are any bytes.
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as archive:
            for place, entry in sorted(self._everything().items()):
                if PurePosixPath(place).is_relative_to(root):
                    name = str(PurePosixPath(place).relative_to(root.parent))
                    archive.addfile(entry.header.replace(name=name, deep=True), io.BytesIO(entry.data))
        return buffer.getvalue()

    def _everything(self) -> Tree:
        found = dict(self.tree)
        for mount, volume in self.mounts.items():
            found |= {str(PurePosixPath(mount, key.lstrip("/"))): entry for key, entry in volume.tree.items()}
        return found

    def _find(self, path: str) -> tuple[Tree, str]:
        """The tree that holds ``path``, and its key there: a mounted volume's below its mount point."""
        place = PurePosixPath("/", path)
        for mount in sorted(self.mounts, key=len, reverse=True):
            if place.is_relative_to(mount):
                return self.mounts[mount].tree, str(PurePosixPath("/", place.relative_to(mount)))
        return self.tree, str(place)

    def _put(self, path: str, entry: _Entry) -> None:
        tree, key = self._find(path)
        for parent in PurePosixPath(key).parents:
            tree.setdefault(str(parent), _directory())
        tree[key] = entry


class FakeServer:
    """What a server holds; everything is open to tests.

    ``images`` are the references that containers can be made of, ``listeners`` the ports that other programs hold,
    ``identity`` what `RemoteBackend.machine` reads (by default another machine's), ``clock_offset`` how far its clock
    is ahead of this machine's.
    """

    def __init__(self, *, images: Iterable[str] = (DEFAULT_IMAGE,), listeners: Iterable[int] = (22,)) -> None:
        self.lock = threading.RLock()
        self.images = {image_reference(name) for name in images}
        self.listeners = set(listeners)
        self.containers: dict[str, FakeContainer] = {}
        self.volumes: dict[str, FakeVolume] = {}
        self.identity: MachineIdentity | None = None
        self.clock_offset = timedelta(0)
        self.facts = HostFacts(
            backend="fake",
            version="5.4.2",
            api_version="5.4.2",
            os="Debian GNU/Linux 13 (trixie)",
            kernel="6.12.0-fake",
            cpus=4,
            memory=8 * 1024**3,
        )
        self._made = 0

    def time(self) -> datetime:
        """What time it is there."""
        return datetime.now(tz=UTC) + self.clock_offset

    def machine(self) -> MachineIdentity:
        """Another machine's identity, with the clock of the moment, unless ``identity`` is set."""
        if self.identity is not None:
            return self.identity
        now = boot_clock()
        return MachineIdentity(
            boot_id="00000000-0000-4000-8000-00000000fa4e",
            kernel="6.12.0-fake #1 SMP",
            # Far from anything that this machine's boot clock can show: booted long before it.
            process_start=now + 10**8,
            machine_id="fa4e" * 8,
            sent=now,
            received=boot_clock(),
        )

    def container(self, name: str) -> FakeContainer:
        """The container of that name.

        Raises:
            ContainerNotFound: there is none.
        """
        try:
            return self.containers[name]
        except KeyError:
            raise ContainerNotFound(f"There is no container named {name}") from None

    def add_container(self, request: ContainerRequest) -> FakeContainer:
        """Put a container there, as someone else would; volumes that it names and that are missing are made."""
        with self.lock:
            self._made += 1
            container = FakeContainer(id=f"{self._made:064x}", request=request, created=self.time())
            for volume, mount in request.volumes.items():
                container.mounts[mount] = self.volumes.setdefault(volume, FakeVolume())
            self.containers[request.name] = container
            return container

    def holders(self, port: int) -> tuple[str, ...]:
        """What listens on ``port`` now: running containers' names, and "another program"."""
        running = [
            name
            for name, container in self.containers.items()
            if container.state == "running" and port in container.request.ports
        ]
        return (*running, *(["another program"] if port in self.listeners else []))

    def reboot(self) -> None:
        """Power off and on: what ran and has a restart policy runs again, what else ran has ended."""
        with self.lock:
            for container in self.containers.values():
                if container.state == "running" and not container.request.restart:
                    container.state, container.exit_code = "exited", 137


def with_labels(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether ``labels`` has all of ``wanted``."""
    return all(labels.get(key) == value for key, value in wanted.items())
