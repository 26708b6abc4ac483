"""What people call: `connect`, `Client` and `Container`; and `Session`, which needs no network.

    with l8s.connect(profile="staging") as client:
        container = client.create(l8s.ContainerSpec(name="myapp"))
        print(container.exec(["python3", "--version"], timeout=30).stdout)

Not here: how a container is put together (`l8s_core.provision`), or reached (a backend). What only some of the
methods need is imported in them: a command starts with this module and waits for what it imports.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from l8s_core import layout, names
from l8s_core.config import Choice, Config, choose, parse
from l8s_core.contracts import CountsRoundTrips, ImageBuilder, ServerClock, ServerCommands
from l8s_core.errors import BackendError, ContainerNotFound, InvalidValue, L8sError, UnsupportedOperation
from l8s_core.model import LABEL_USER, Operation, Outcome, Profile
from l8s_core.options import check_options
from l8s_core.plugins import PluginHost
from l8s_core.steps import Steps

if TYPE_CHECKING:
    from types import TracebackType

    from l8s_core import connecting, provision
    from l8s_core.contracts import ConfigStore, RemoteBackend, SSHConfigWriter
    from l8s_core.known_hosts import KnownHosts
    from l8s_core.model import (
        ContainerInfo,
        ContainerSpec,
        Copied,
        CopyProgress,
        Endpoint,
        ExecResult,
        HostBlock,
        HostFacts,
        Image,
        OperationKind,
        OutputSink,
        Removal,
    )
    from l8s_core.multiplex.held import HeldBackend
    from l8s_core.steps import StepObserver
    from l8s_core.sync import SyncResult

DEFAULT_CONFIG_STORE = "yaml"
STORE_VARIABLE = "L8S_CONFIG_STORE"

LocalPath = str | os.PathLike[str]
"""A path on this machine. As text a final slash or ``/.`` has its meaning."""


class Session:
    """The plugins and the configuration, read when they are first needed; no network.

    ``environ`` is consulted for L8S_CONFIG, L8S_CONFIG_STORE and L8S_PROFILE.
    """

    def __init__(self, plugins: PluginHost, *, environ: Mapping[str, str] | None = None) -> None:
        self.plugins = plugins
        self._environ = os.environ if environ is None else environ

        self._third_party = True

    @classmethod
    def load(cls, *, third_party: bool = True, environ: Mapping[str, str] | None = None) -> Session:
        """A session with the installed plugins; without ``third_party`` only the built-in ones."""
        environment = os.environ if environ is None else environ
        session = cls(PluginHost.load(third_party=third_party, environ=environment), environ=environment)
        session._third_party = third_party
        return session

    @cached_property
    def known_hosts(self) -> KnownHosts:
        """The host keys that l8s trusts."""
        from l8s_core.known_hosts import KnownHosts

        return KnownHosts()

    @cached_property
    def store(self) -> ConfigStore:
        """The config store in use.

        Raises:
            PluginError: L8S_CONFIG_STORE names none.
        """
        location = self._environ.get("L8S_CONFIG")
        name = self._environ.get(STORE_VARIABLE)
        provider = self.plugins.config_store(name or DEFAULT_CONFIG_STORE, place=STORE_VARIABLE if name else "")
        return provider.factory(Path(location).expanduser() if location else None)

    @cached_property
    def config(self) -> Config:
        """The configuration as it was when it was first asked for.

        Raises:
            ConfigError: it is not acceptable; the message has file and line.
        """
        return parse(self.store.load(), self.plugins.profiles())

    def choose(self, flag: str | None = None) -> Choice:
        """Which profile is in use, and why. ``flag`` is an explicit wish.

        Raises:
            ConfigError: none can be chosen.
        """
        return choose(self.config, flag=flag, environ=self._environ)

    def profile(self, flag: str | None = None) -> Profile:
        """The profile in use.

        Raises:
            ConfigError: there is none, or it lacks a server.
        """
        return self.config.profile(self.choose(flag).name)

    def client(self, profile: Profile, *, multiplex: float = 0.0) -> Client:
        """A client for a profile, not connected yet.

        With ``multiplex``, and a backend that can share its connection, a process of its own keeps the connection
        open, for so many seconds after its last use, and serves whoever comes next.

        Raises:
            PluginError: no plugin has the profile's backend, or the ssh-config writer that was asked for.
            ConfigError: the profile's ``options`` are not the backend's.
        """
        if _place(profile, "ssh_config_writer"):
            self.ssh_config_writer(profile)  # used late, in a create that must not fail there for a name
        provider = self.plugins.backend(profile.backend, place=_place(profile, "backend"))
        check_options(profile, provider.options_type)
        if multiplex <= 0 or not provider.shared:
            return Client(self, profile, provider.factory(profile))
        from l8s_core.multiplex.held import HeldBackend

        held = HeldBackend(profile, idle=multiplex, third_party=self._third_party, environ=self._environ)
        return Client(self, profile, held, otherwise=partial(provider.factory, profile))

    def ssh_config_writer(self, profile: Profile) -> SSHConfigWriter:
        """The writer of a profile's ssh entries.

        Raises:
            PluginError: no plugin has it.
        """
        key = "ssh_config_writer"
        return self.plugins.ssh_config_writer(profile.ssh_config_writer, place=_place(profile, key)).factory()


def _place(profile: Profile, key: str) -> str:
    """``backend in ~/.l8s/config.yaml:3``; "" where nobody wrote it."""
    source = profile.sources.get(key, "default")
    return "" if source == "default" else f"{key} in {source}"


def connect(
    profile: str | Profile | None = None,
    *,
    third_party: bool = True,
    on_step: StepObserver | None = None,
    multiplex: float = 0.0,
) -> Client:
    """A connected client for the profile of that name, for a `Profile` value, or for the profile in use.

    Its connection ends with it. With ``multiplex``, in seconds, it shares one that the ``l8s`` command uses too, which
    a process of its own keeps for so long after its last use (`Profile.multiplex` is what the configuration says).

    Raises:
        ConfigError: there is no such profile, or no server in it.
        RemoteOnlyError: the server is this machine.
        ConnectionFailed: it cannot be reached; the subclass says why.
    """
    session = Session.load(third_party=third_party)
    chosen = profile if isinstance(profile, Profile) else session.profile(profile)
    client = session.client(chosen, multiplex=multiplex)
    client.open(on_step)
    return client


class Client:
    """One profile's server. A context manager: it connects on entry, unless it is connected, and closes on exit.

    ``otherwise`` comes with a backend that another process keeps open, and makes the one to use when there is no such
    process to be had.
    """

    def __init__(
        self,
        session: Session,
        profile: Profile,
        backend: RemoteBackend | HeldBackend,
        *,
        otherwise: Callable[[], RemoteBackend] | None = None,
    ) -> None:
        self.profile = profile
        self.warnings: tuple[str, ...] = ()
        """What was odd about the server, found while connecting."""
        self._session = session
        self._backend: RemoteBackend = backend
        self._otherwise = otherwise
        self._endpoint: Endpoint | None = None

    # The connection

    def open(self, on_step: StepObserver | None = None) -> None:
        """Connect, authenticate, and prove that the server is another machine; being connected already is fine.

        Raises:
            RemoteOnlyError: it is this machine.
            ConnectionFailed: the subclass says why.
        """
        if self._endpoint is not None:
            return
        steps = Steps(on_step)
        with self._errors():
            connected = self._kept(steps) or self._connected(steps)
        self.warnings = connected.warnings
        self._endpoint = connected.endpoint

    def _connected(self, steps: Steps) -> connecting.Connected:
        """A connection of this client's own."""
        from l8s_core.connecting import connect

        return connect(self._backend, steps, where=self.profile.remote_host)

    def _kept(self, steps: Steps) -> connecting.Connected | None:
        """The connection that another process keeps; None when there is to be none, or can be none."""
        if self._otherwise is None:
            return None
        from l8s_core.multiplex.held import HeldBackend, Unusable

        assert isinstance(self._backend, HeldBackend)
        try:
            return self._backend.connect(steps)
        except Unusable as error:
            # as it would be without: slower, and nothing that anybody has to mend now
            from l8s_core.log import logger

            logger().info("connecting without multiplexing: %s", error)
            self._backend, self._otherwise = self._otherwise(), None
            return None

    @property
    def round_trips(self) -> int | None:
        """How often an answer of the server had to be waited for, connecting aside; None where nobody counts."""
        backend = self._backend
        return backend.round_trips if isinstance(backend, CountsRoundTrips) else None

    def close(self) -> None:
        """Close the connection, or leave it to the process that keeps it; closing twice is fine."""
        self._endpoint = None
        self._backend.close()

    def __enter__(self) -> Client:
        """Connect, if need be."""
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    @property
    def endpoint(self) -> Endpoint:
        """What the client is connected to; connects if need be."""
        self.open()
        assert self._endpoint is not None
        return self._endpoint

    def facts(self, on_step: StepObserver | None = None) -> HostFacts:
        """The server, as its API describes it.

        Raises:
            SocketUnavailable: the API cannot be reached.
        """
        self.open()
        with self._errors():
            return self._backend.facts(Steps(on_step))

    # Containers

    def list(self) -> tuple[ContainerInfo, ...]:
        """The profile's containers in whatever state, by name."""
        with self._operation("list"):
            found = self._backend.list(layout.own_labels(self.profile))
            return tuple(sorted(found, key=lambda info: info.name))

    def get(self, name: str) -> Container:
        """The container of that name.

        Raises:
            ContainerNotFound: there is none, or it is not ours.
        """
        with self._operation("show", name):
            return Container(self, self._info(name))

    def create(
        self,
        spec: ContainerSpec,
        *,
        on_step: StepObserver | None = None,
        on_output: OutputSink | None = None,
    ) -> Container:
        """Create a container; when this returns, ``ssh ALIAS`` works. ``on_output`` gets the clone's progress.

        Raises:
            InvalidValue: something in the spec is not acceptable; nothing was sent.
            ContainerExists: the name is taken.
            L8sError: a step failed (``error.step``); nothing is left behind, or the message says what is.
        """
        from l8s_core import provision

        wish = provision.validated(spec, self.profile)
        with self._operation("create", wish.name, spec=spec):
            context = self._context(on_step)
            return Container(self, provision.create(context, wish, on_output=on_output))

    def start(self, name: str) -> Container:
        """Start a container and wait until its sshd listens; starting a running one is fine."""
        with self._operation("start", name):
            return self._started(self._info(name))

    def stop(self, name: str, *, grace: float = 10.0) -> Container:
        """Stop a container, killing it after ``grace`` seconds; stopping a stopped one is fine."""
        with self._operation("stop", name):
            self._backend.stop(self._info(name).name, grace=grace)
            return Container(self, self._info(name))

    def restart(self, name: str, *, grace: float = 10.0) -> Container:
        """Stop and start a container."""
        with self._operation("restart", name):
            info = self._info(name)
            self._backend.stop(info.name, grace=grace)
            return self._started(info)

    def remove(self, name: str, *, keep_volumes: bool = False, on_step: StepObserver | None = None) -> Removal:
        """Remove a container with its volumes and its ssh entry; an interrupted removal can be run again.

        Raises:
            ContainerNotFound: there is nothing of that name.
        """
        from l8s_core import removal

        with self._operation("remove", name):
            return removal.remove(self._context(on_step), name, keep_volumes=keep_volumes)

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
        """Run a command in a container: no shell, no terminal. See `RemoteBackend.exec` for the details.

        ``user`` defaults to the container's own, ``workdir`` to the project's directory, ``timeout`` (seconds) to none.

        Raises:
            InvalidValue: a word, the user, the directory or a variable is not acceptable; nothing was sent.
            ContainerNotFound, ContainerNotRunning: as they say.
            ExecTimeout: the deadline passed; the command was stopped on the server too.
        """
        if not argv:
            raise InvalidValue("There is no command to run.", hints=("l8s exec NAME -- COMMAND ...",))
        for word in argv:
            names.argument(word)
        if user is not None:
            names.container_account(user)
        if workdir is not None:
            names.container_directory(workdir)
        for key, value in (env or {}).items():
            names.environment_name(key)
            names.argument(value)
        with self._operation("exec", name):
            info = self._info(name)
            return self._backend.exec(
                info.name,
                list(argv),
                user=self._user(info, user),
                workdir=layout.PROJECT_DIRECTORY if workdir is None else workdir,
                env=env,
                stdin=stdin,
                timeout=timeout,
                on_output=on_output,
            )

    def copy_in(
        self,
        name: str,
        sources: LocalPath | Sequence[LocalPath],
        destination: str = "",
        *,
        user: str | None = None,
        on_progress: CopyProgress | None = None,
    ) -> Copied:
        """Copy local files and trees into a running container, as cp -a would; see ``docs/copying.md``.

        ``destination`` starts from the project's directory unless it is absolute or begins with ``~/``; what is copied
        belongs to ``user``, who defaults to the container's own. Nothing has its name there before it is whole.

        Raises:
            LocalFileError: a source cannot be read; one that is not there is noticed before anything is sent.
            ContainerNotFound, ContainerNotRunning: as they say.
            BackendError: the container refuses it: there is no such directory, no permission, no space.
        """
        from l8s_core import copying

        found = copying.local_sources(_local_paths(sources))
        names.container_path(destination)
        with self._operation("copy_in", name):
            info = self._info(name)
            return copying.copy_in(
                self._backend, info, found, destination, user=self._user(info, user), on_progress=on_progress
            )

    def copy_out(
        self,
        name: str,
        source: str,
        destination: LocalPath,
        *,
        user: str | None = None,
        on_progress: CopyProgress | None = None,
    ) -> Copied:
        """Copy a file or tree out of a container, as cp -a would; see ``docs/copying.md``.

        It is read as ``user``, who defaults to the container's own; in a container that does not run, as root. What
        comes is not trusted: nothing is written outside ``destination``, and no link is followed.

        Raises:
            LocalFileError: it cannot be written here.
            ContainerNotFound: as it says.
            BackendError: there is no such thing in the container, or what came is not acceptable.
        """
        from l8s_core import copying

        names.container_path(source)
        (target,) = _local_paths(destination)
        with self._operation("copy_out", name):
            info = self._info(name)
            return copying.copy_out(
                self._backend, info, source, target, user=self._user(info, user), on_progress=on_progress
            )

    def _user(self, info: ContainerInfo, user: str | None) -> str:
        return info.labels.get(LABEL_USER, self.profile.container_user) if user is None else user

    # Images

    def build(
        self,
        *,
        flavor: str | None = None,
        containerfile: Path | None = None,
        base: str | None = None,
        tag: str | None = None,
        on_output: Callable[[str], None],
        on_step: StepObserver | None = None,
    ) -> Image:
        """Build an image on the server; see `l8s_core.images.plan_build`. ``on_output`` gets the log, exactly.

        Raises:
            UnsupportedOperation: the backend cannot build.
            BackendError: the build failed.
        """
        from l8s_core import images
        from l8s_core.model import Image

        plan = images.plan_build(self.profile, flavor=flavor, file=containerfile, base=base, tag=tag)
        with self._operation("build", plan.tag), Steps(on_step).step("build") as step:
            if not isinstance(self._backend, ImageBuilder):
                raise UnsupportedOperation(f"The backend {self.profile.backend} cannot build images.")
            step.detail = f"{plan.tag} from {plan.source}"
            image = self._backend.build(
                plan.tag,
                containerfile=plan.containerfile,
                context=plan.context,
                build_args=plan.build_args,
                on_output=on_output,
            )
            return Image(reference=plan.tag, id=image)

    def run_on_server(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float = 30.0,
        on_output: OutputSink | None = None,
    ) -> ExecResult:
        """Run a command on the server itself, as the login user, to check it or set it up; see `ServerCommands`.

        Raises:
            UnsupportedOperation: the backend cannot.
        """
        self.open()
        with self._errors():
            if not isinstance(self._backend, ServerCommands):
                raise UnsupportedOperation(f"The backend {self.profile.backend} runs no commands on the server itself.")
            return self._backend.run_on_server(argv, stdin=stdin, timeout=timeout, on_output=on_output)

    def server_time(self) -> datetime:
        """The time by the server's clock, as far as its last answer told it, else this machine's. Asks nothing.

        An age is the difference to this: both clocks may be wrong, and by different amounts.
        """
        told = self._backend.server_time() if isinstance(self._backend, ServerClock) else None
        return told or datetime.now(UTC)

    # The laptop's files

    def sync(self, *, dry_run: bool = False, on_step: StepObserver | None = None) -> SyncResult:
        """Make the laptop's ssh entries and pinned container keys fit the server's containers; see `l8s_core.sync`.

        With ``dry_run`` nothing is written.

        Raises:
            SSHConfigError: a local file cannot be read or changed.
        """
        from l8s_core import sync

        with self._operation("sync"):
            return sync.sync(self._context(on_step), other_prefixes=self._other_prefixes(), dry_run=dry_run)

    def _other_prefixes(self) -> tuple[str, ...]:
        """The container prefixes of the other profiles in the configuration; of broken profiles, none."""
        found = []
        for name in self._session.config.names():
            with suppress(L8sError):
                found.append(self._session.config.profile(name).container_prefix)
        return tuple(prefix for prefix in found if prefix != self.profile.container_prefix)

    def host_block(self, info: ContainerInfo) -> HostBlock:
        """The ssh alias that leads to a container."""
        return layout.host_block(info, self.profile, self.endpoint)

    # Inside

    def _started(self, info: ContainerInfo) -> Container:
        from l8s_core import provision
        from l8s_core.side_by_side import beside

        self._backend.start(info.name)
        with beside(self._backend, lambda backend: backend.inspect(info.name)) as looking:
            provision.wait_until_ready(self._backend, info)
        return Container(self, looking.result)

    def _info(self, name: str) -> ContainerInfo:
        """One of our containers by its short name."""
        alias = self.profile.alias(names.container_name(name))
        info = self._backend.inspect(alias)
        if not layout.is_ours(info.labels, self.profile):
            raise ContainerNotFound(f"The container {alias} on the server was not made by l8s.")
        return info

    def _context(self, on_step: StepObserver | None) -> provision.Context:
        from l8s_core import provision

        return provision.Context(
            backend=self._backend,
            profile=self.profile,
            endpoint=self.endpoint,
            writer=self._session.ssh_config_writer(self.profile),
            known_hosts=self._session.known_hosts,
            steps=Steps(on_step),
            reconnect=self._reconnect,
        )

    def _reconnect(self) -> None:
        self.close()
        self.open()

    @contextmanager
    def _operation(self, kind: OperationKind, target: str = "", *, spec: ContainerSpec | None = None) -> Iterator[None]:
        """Run the hooks around what happens inside; connects if need be, after the veto.

        Raises:
            InvalidValue: ``target`` cannot be a container's name; no hook is called and nothing is sent.
        """
        if kind not in ("list", "build", "sync"):
            names.container_name(target)
        operation = Operation(kind=kind, profile=self.profile, target=target, id=os.urandom(8).hex(), spec=spec)
        start = time.monotonic()
        error: BaseException | None = None
        try:
            with self._errors():
                self._session.plugins.before(operation)
                self.open()
                yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._session.plugins.after(operation, Outcome(error=error, seconds=time.monotonic() - start))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Give errors the profile's name, and make one of ours of what a backend lets through."""
        try:
            yield
        except L8sError as error:
            if error.profile is None:
                error.profile = self.profile.name
            raise
        except Exception as error:
            raise BackendError(
                f"The backend {self.profile.backend} failed: {type(error).__name__}: {error}",
                hints=("This is a bug in the backend's plugin; see which it is: l8s plugins",),
                profile=self.profile.name,
            ) from error


class Container:
    """One container of a client, as it was when it was last looked at (``info``)."""

    def __init__(self, client: Client, info: ContainerInfo) -> None:
        self.info = info
        self._client = client

    @property
    def name(self) -> str:
        """The name that was given to ``create``."""
        return self.info.short_name

    @property
    def alias(self) -> str:
        """The name on the server, which is also the ssh alias."""
        return self.info.name

    def show(self) -> ContainerInfo:
        """Look again."""
        self.info = self._client.get(self.name).info
        return self.info

    def exec(
        self,
        argv: Sequence[str],
        *,
        user: str | None = None,
        workdir: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes | IO[bytes] | None = None,
        timeout: float | None = None,
        on_output: OutputSink | None = None,
    ) -> ExecResult:
        """Run a command; see `Client.exec`."""
        return self._client.exec(
            self.name,
            argv,
            user=user,
            workdir=workdir,
            env=env,
            stdin=stdin,
            timeout=timeout,
            on_output=on_output,
        )

    def copy_in(
        self,
        sources: LocalPath | Sequence[LocalPath],
        destination: str = "",
        *,
        user: str | None = None,
        on_progress: CopyProgress | None = None,
    ) -> Copied:
        """Copy local files and trees into it; see `Client.copy_in`."""
        return self._client.copy_in(self.name, sources, destination, user=user, on_progress=on_progress)

    def copy_out(
        self,
        source: str,
        destination: LocalPath,
        *,
        user: str | None = None,
        on_progress: CopyProgress | None = None,
    ) -> Copied:
        """Copy a file or tree out of it; see `Client.copy_out`."""
        return self._client.copy_out(self.name, source, destination, user=user, on_progress=on_progress)

    def start(self) -> None:
        """Start it."""
        self.info = self._client.start(self.name).info

    def stop(self, *, grace: float = 10.0) -> None:
        """Stop it."""
        self.info = self._client.stop(self.name, grace=grace).info

    def restart(self, *, grace: float = 10.0) -> None:
        """Stop and start it."""
        self.info = self._client.restart(self.name, grace=grace).info

    def remove(self, *, keep_volumes: bool = False) -> Removal:
        """Remove it; see `Client.remove`."""
        return self._client.remove(self.name, keep_volumes=keep_volumes)


def _local_paths(paths: LocalPath | Sequence[LocalPath]) -> list[str]:
    if isinstance(paths, str | os.PathLike):
        return [os.fspath(paths)]
    return [os.fspath(path) for path in paths]
