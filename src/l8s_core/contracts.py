"""What a backend, a config store and an ssh-config writer must do.

The Protocols here never grow: a new ability is a new capability Protocol (`ImageBuilder` is the first), found with
`isinstance`. A plugin need not import or subclass them; `l8s_core.testing` has the suites that check one.

Everything that is passed in has been through `l8s_core.names`. Everything that is raised is an `L8sError`: a plugin
translates its libraries' exceptions at its own edge. Nothing waits without a deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Protocol, runtime_checkable

from attrs import field, frozen

if TYPE_CHECKING:
    from datetime import datetime

    from l8s_core.model import (
        ChangePlan,
        ContainerInfo,
        ContainerRequest,
        Endpoint,
        ExecResult,
        HostBlock,
        HostFacts,
        MachineIdentity,
        OutputSink,
        VolumeInfo,
    )
    from l8s_core.steps import Steps


@runtime_checkable
class RemoteBackend(Protocol):
    """Primitives on one server. What makes a container an l8s container is `l8s_core.provision`'s business.

    A backend is constructed without I/O, opened, and closed; after that it may be opened again. Containers and volumes
    are named by their full names on the server. The methods may be called from one thread at a time.
    """

    def open(self, steps: Steps) -> Endpoint:
        """Connect and authenticate, reporting each step, and say what was connected to.

        No API call is made yet: the caller proves first, with `machine`, that this is another machine.

        Raises:
            RemoteOnlyError: the address is this laptop's.
            ConnectionFailed: with the subclass that says why.
        """
        ...

    def machine(self) -> MachineIdentity:
        """Read the machine's identity, afresh, over the same connection that the API will use."""
        ...

    def facts(self, steps: Steps) -> HostFacts:
        """Reach the API and describe the server, reporting the steps.

        Raises:
            SocketUnavailable: the API's socket is not usable.
            BackendError: the server's version is too old.
        """
        ...

    def list(self, labels: Mapping[str, str]) -> Sequence[ContainerInfo]:
        """Every container, in whatever state, that carries all of ``labels``; one request however many there are."""
        ...

    def inspect(self, name: str) -> ContainerInfo:
        """One container, with its exit code.

        Raises:
            ContainerNotFound: there is none of that name.
        """
        ...

    def ports_in_use(self) -> frozenset[int]:
        """Every TCP port on the server that something holds: listeners, and containers of anyone's in any state."""
        ...

    def create(self, request: ContainerRequest) -> str:
        """Create a container, not started, and return its id.

        Raises:
            ContainerExists: the name is taken.
            ImageNotFound: the server does not have the image (it is never pulled behind the caller's back).
            OutcomeUnknown: the connection died before the answer came.
        """
        ...

    def start(self, name: str) -> None:
        """Start a container; starting a running one succeeds.

        Raises:
            ContainerNotFound: there is none of that name.
            PortInUse: a published port was taken meanwhile.
        """
        ...

    def stop(self, name: str, *, grace: float = 10.0) -> None:
        """Stop a container, killing it after ``grace`` seconds; stopping a stopped one succeeds."""
        ...

    def remove(self, name: str) -> bool:
        """Remove a container, running or not, but none of its named volumes. Whether there was one."""
        ...

    def volumes(self, labels: Mapping[str, str]) -> Sequence[VolumeInfo]:
        """Every named volume that carries all of ``labels``; an empty mapping means every one on the server."""
        ...

    def create_volume(self, name: str, labels: Mapping[str, str]) -> bool:
        """Create a named volume. False, and nothing changed, when the name was taken: of two racers one gets True."""
        ...

    def remove_volume(self, name: str) -> bool:
        """Remove a named volume that no container uses. Whether there was one.

        Raises:
            BackendError: it is in use.
        """
        ...

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
        """Run ``argv`` in a running container, without a shell and without a terminal, and wait for its end.

        ``user`` None means the container's own; ``stdin`` None means end-of-file at once. With ``on_output`` the output
        is handed over as it comes and the result holds none; without it the result holds all of it.
        After ``timeout`` seconds, and when interrupted, the process and its descendants are stopped on the server too.

        Raises:
            ContainerNotFound, ContainerNotRunning: as they say.
            ExecTimeout: the deadline passed.
            OutcomeUnknown: the connection died while it ran.
        """
        ...

    def upload(self, name: str, directory: str, archive: bytes) -> None:
        """Unpack a tar archive (POSIX ustar or pax) into an existing directory of a container, running or not."""
        ...

    def download(self, name: str, path: str) -> Iterator[bytes]:
        """The tar archive of a file or tree in a container, in chunks."""
        ...

    def close(self) -> None:
        """Close the connection and end every thread and process behind it. Closing twice is fine."""
        ...


@runtime_checkable
class ImageBuilder(Protocol):
    """Capability: builds images on the server."""

    def build(
        self,
        tag: str,
        *,
        containerfile: str,
        context: bytes,
        build_args: Mapping[str, str],
        on_output: Callable[[str], None],
    ) -> str:
        """Build ``context`` (a tar archive) by the file named ``containerfile`` in it, tag it, and return the image id.

        ``on_output`` gets the build log, piece by piece, exactly as the server sends it.

        Raises:
            BackendError: the build failed; the message holds the server's last words.
        """
        ...


@runtime_checkable
class ServerCommands(Protocol):
    """Capability: runs commands on the server itself, as the login user."""

    def run_on_server(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float,
        on_output: OutputSink | None = None,
    ) -> ExecResult:
        """Run ``argv`` on the server, over the verified connection, and wait at most ``timeout`` seconds for its end.

        ``on_output`` gets the output as it comes; the result holds it all the same, up to 1 MiB a stream.

        Raises:
            ConnectionFailed: the connection died or the time is up; the command may have run, and may run on.
        """
        ...


@runtime_checkable
class CountsRoundTrips(Protocol):
    """Capability: knows how often the server's answer had to be waited for."""

    @property
    def round_trips(self) -> int:
        """Round trips since it was opened, without those of connecting."""
        ...


class BackendSession(RemoteBackend, Protocol):
    """One caller's face of a connection that others use too: a backend that is open already.

    ``open`` only says what it is connected to, and ``close`` leaves the connection to the others.
    """

    @property
    def round_trips(self) -> int:
        """See `CountsRoundTrips`; this caller's own."""
        ...

    def interrupt(self) -> None:
        """From another thread: make the call that runs now end as Ctrl-C would.

        A command, a build or a transfer is stopped, and its call raises KeyboardInterrupt; every other call is seen to
        its answer. A call that begins later is not affected.
        """
        ...


@runtime_checkable
class Sessions(Protocol):
    """Capability: serves several callers at once, each through a session of its own."""

    def session(self) -> BackendSession:
        """A session, for use by one thread at a time; sessions may be used side by side."""
        ...


@runtime_checkable
class SharedConnection(Sessions, Protocol):
    """Capability: one connection serves many callers at once.

    Backends that have it can be kept open between commands (`l8s_core.multiplex`). The connection may depend on the
    profile's ``backend``, ``remote_host``, ``remote_user``, ``remote_port``, ``remote_socket``, ``ssh_key_path`` and
    ``options``, and on nothing else of it: profiles that agree in these share one.
    """

    def alive(self, *, within: float) -> bool:
        """Whether the connection works. A server that was silent lately is asked, for at most ``within`` seconds.

        With 0 it is not asked: then this is whether the connection has not ended.
        """
        ...


@runtime_checkable
class ServerClock(Protocol):
    """Capability: knows what time the server thinks it is. Times in a `ContainerInfo` are by that clock."""

    def server_time(self) -> datetime | None:
        """The server's time now, with its zone, from what it has said anyway; nothing is asked. None: it said none."""
        ...


@frozen(kw_only=True)
class ConfigDocument:
    """A config as its store reads it: plain mappings, lists and scalars, and where each key stands.

    ``location`` is what messages call it (``~/.l8s/config.yaml``); ``exists`` False means there is nothing there yet;
    ``lines`` maps a key's path (``("profiles", "dev", "remote_host")``) to its line, counted from 1.
    """

    location: str
    exists: bool
    data: Mapping[str, object] = field(factory=dict)
    lines: Mapping[tuple[str, ...], int] = field(factory=dict, repr=False)

    def where(self, path: Sequence[str]) -> str:
        """``~/.l8s/config.yaml:7`` for the key at ``path``, or of its nearest parent that has a line."""
        parts = tuple(path)
        while parts:
            line = self.lines.get(parts)
            if line is not None:
                return f"{self.location}:{line}"
            parts = parts[:-1]
        return self.location


@runtime_checkable
class ConfigStore(Protocol):
    """Keeps the configuration. It knows nothing of what the keys mean."""

    def load(self) -> ConfigDocument:
        """Read it all; a store with nothing in it yet answers an empty document.

        Raises:
            ConfigError: it cannot be read as plain data; the message names the file and line.
            LocalFileError: the file cannot be opened.
        """
        ...

    def edit(self, change: Callable[[dict[str, object]], Mapping[str, object]]) -> None:
        """Change it as one step that no other writer can come between.

        ``change`` gets a copy of the present data and returns the new data. What it leaves alone keeps its place,
        comments and quoting. When it raises, nothing is written.
        """
        ...


@runtime_checkable
class SSHConfigWriter(Protocol):
    """Makes ``ssh ALIAS`` work on the laptop."""

    def blocks(self) -> Sequence[HostBlock]:
        """The aliases that are ours now."""
        ...

    def plan(self, *, add: Sequence[HostBlock] = (), remove: Sequence[str] = ()) -> ChangePlan:
        """What adding (or replacing) blocks and removing aliases would change; nothing is written.

        Raises:
            SSHConfigError: a file could not be changed; the message has the line to add by hand.
        """
        ...

    def apply(self, plan: ChangePlan) -> None:
        """Carry out a plan. A file that changed since is planned for again, under the same lock."""
        ...
