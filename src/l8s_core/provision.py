"""Creating an l8s container as a transaction, over the primitives of any RemoteBackend.

The order of a create: the journal on the laptop, the host-key volume on the server (creating it is the reservation of
the name: of two racers one succeeds), the other volumes, the container, its content, its start, the repository; the
local files last. Whatever fails is taken back by the operation id that everything carries as a label; what was there
before is never touched.

Not here: removing (`l8s_core.removal`); connecting, hooks, and which profile (`l8s_core.client`).
"""

from __future__ import annotations

import re
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from attrs import define, field, frozen

from l8s_core import agent, inside, names, ssh_tools
from l8s_core.contracts import RemoteBackend, SSHConfigWriter
from l8s_core.errors import (
    BackendError,
    CommandTimedOut,
    ConfigError,
    ConnectionFailed,
    ContainerExists,
    ContainerNotFound,
    GitError,
    Interrupted,
    InvalidValue,
    L8sError,
    OutcomeUnknown,
    PortInUse,
    ProvisionFailed,
)
from l8s_core.journal import Journal
from l8s_core.known_hosts import KnownHosts, container_name, parse_public_key
from l8s_core.layout import (
    PROJECT_DIRECTORY,
    SSHD_PORT,
    alias_block,
    choose_port,
    home_of,
    host_block,
    is_ours,
    own_labels,
    volume_names,
)
from l8s_core.model import (
    LABEL_BRANCH,
    LABEL_NAME,
    LABEL_OPERATION,
    LABEL_PROFILE,
    LABEL_REPOSITORY,
    LABEL_SSH_PORT,
    LABEL_USER,
    ContainerInfo,
    ContainerRequest,
    ContainerSpec,
    Endpoint,
    HostBlock,
    OutputSink,
    Profile,
    PublicKey,
    Repository,
)
from l8s_core.side_by_side import beside
from l8s_core.steps import Steps

PORT_ATTEMPTS = 20
"""Lost races for a port after which something else must be wrong."""

PROVISION_TIMEOUT = 1800.0
"""Seconds for the first start and the clone; a big repository over a slow line takes long."""

READY_TIMEOUT = 60.0
"""Seconds for sshd in a container to listen after a start."""

LOGIN_TIMEOUT = 15.0
"""Seconds for one login through ssh; a person may have to touch a security key."""

LOGIN_PATIENCE = 20.0
"""Seconds in which a login that could not work yet is tried again."""

NOT_YET = ("Connection refused", "No route to host", "timed out")
"""What ssh says while the server is still arranging the way to a new container; beside others it takes a moment.

A connection that comes in between stays on the way that was there when its first packet came (the kernel's connection
tracking), and ends in nothing; the next one does not."""

LATE_ANSWER = 3.0
"""Seconds in which something may still appear whose creation was asked for and never answered."""

_HOST_KEY_LINE = "l8s-host-key "

_DISK_FULL = re.compile("no space left on device|disk quota exceeded", re.IGNORECASE)
"""In the words of a program in the container (strerror(3), ENOSPC and EDQUOT)."""

_REASONS = {
    70: "sshd",
    71: "user",
    72: "volumes",
    73: "host key",
    74: "start",
}


@frozen(kw_only=True)
class Context:
    """What creating and removing work with."""

    backend: RemoteBackend
    profile: Profile
    endpoint: Endpoint
    writer: SSHConfigWriter
    known_hosts: KnownHosts
    steps: Steps
    reconnect: Callable[[], None]
    """Replaces a broken connection of the backend by a new one, with all that belongs to connecting."""


@frozen(kw_only=True)
class Wish:
    """A validated `ContainerSpec`, with what the profile adds."""

    name: str
    alias: str
    image: str
    repository: Repository | None
    branch: str
    labels: Mapping[str, str]
    memory: int | None
    cpus: float | None
    pids: int | None


def validated(spec: ContainerSpec, profile: Profile) -> Wish:
    """Check every value of a spec, before any network.

    Raises:
        InvalidValue: one of them is not acceptable.
        ConfigError: they contradict each other.
    """
    if spec.branch and not spec.repository:
        raise ConfigError("A branch was given without a repository.", hints=("l8s create NAME GIT_URL BRANCH",))
    name = names.container_name(spec.name)
    return Wish(
        name=name,
        alias=profile.alias(name),
        image=names.image(profile.base_image if spec.image is None else spec.image),
        repository=names.repository(spec.repository) if spec.repository else None,
        branch=names.branch(spec.branch) if spec.branch else "",
        labels={**names.labels(profile.labels), **names.labels(spec.labels)},
        memory=None if spec.memory is None else names.memory(spec.memory),
        cpus=None if spec.cpus is None else names.cpus(spec.cpus),
        pids=None if spec.pids is None else names.pids(spec.pids),
    )


# Creating


def create(context: Context, wish: Wish, *, on_output: OutputSink | None = None) -> ContainerInfo:
    """Make a container, done only when ``ssh ALIAS true`` has worked from this laptop.

    Raises:
        ContainerExists: the name is taken on the server, or being taken.
        L8sError: as the step that failed says; nothing is left behind, or the message says what is.
        Interrupted: Ctrl-C; nothing is left behind.
    """
    journal = Journal.of(context.endpoint, wish.alias)
    with journal.held():
        return _Creation(context, wish, journal, on_output).run()


@define
class _Creation:
    """One create, from the check to the login."""

    context: Context
    wish: Wish
    journal: Journal
    on_output: OutputSink | None
    operation: str = field(factory=lambda: secrets.token_hex(8))
    key: PublicKey = field(init=False)
    identity_file: str = field(init=False, default="")
    _pending: bool = field(init=False, default=False)
    """Whether a request that makes something is out without an answer."""

    def run(self) -> ContainerInfo:
        steps = self.context.steps
        with steps.step("check") as step:
            existing = self._check()
            step.detail = self.wish.alias
        if existing is not None:
            # An earlier create got as far as the local files: the container is whole, and may have been used.
            info = self._publish(*self._provision())
            self.journal.end()
            return info
        self.journal.begin(self.operation)
        try:
            # An entry for a container that is gone: without it, an entry always means that this create got so far.
            self._retract_entry()
            self._make()
            info = self._publish(*self._provision())
        except BaseException as error:
            raise self._taken_back(error) from error
        self.journal.end()
        return info

    # Steps

    def _check(self) -> ContainerInfo | None:
        """Make sure that it can be made; a container of this laptop's that only lacks its local files, if so."""
        context, wish = self.context, self.wish
        self.key = agent.select_key(context.profile)
        self.identity_file = str(agent.public_key_file(self.key))
        # The local files come last, but whether they can be written is found out first.
        context.writer.plan(add=[self._entry(context.profile.ssh_start_port)])
        interrupted = self.journal.operation()
        info = self._find()
        if info is None:
            if interrupted is not None:
                self._clear(interrupted)
            return None
        if interrupted is None or info.labels.get(LABEL_OPERATION) != interrupted:
            if interrupted is not None and self._superseded(info, interrupted):
                self.journal.end()  # or sync and doctor would speak of a create that nothing can finish
            raise self._exists(info)
        if any(block.alias == wish.alias for block in context.writer.blocks()):
            if info.labels.get(LABEL_REPOSITORY, "") != (wish.repository.url if wish.repository else ""):
                raise ContainerExists(
                    f"An unfinished {wish.alias} with another repository is on the server.",
                    hints=(f"Finish it with the same arguments as before, or remove it: l8s rm {wish.name}",),
                )
            context.backend.start(info.name)
            return info
        self._clear(interrupted)
        return None

    def _find(self) -> ContainerInfo | None:
        try:
            return self.context.backend.inspect(self.wish.alias)
        except ContainerNotFound:
            return None

    def _superseded(self, info: ContainerInfo, interrupted: str) -> bool:
        """Whether nothing is left of a create that was cut off, now that another's container has the name.

        One of l8s's had to reserve the name first: what the other create made is in it, or gone.
        """
        return is_ours(info.labels, self.context.profile) or not self._leftovers(interrupted)

    def _leftovers(self, operation: str) -> list[str]:
        """The volumes that an operation made for this container."""
        found = self.context.backend.volumes({LABEL_OPERATION: operation, LABEL_NAME: self.wish.name})
        return [volume.name for volume in found if volume.name in volume_names(self.wish.alias).values()]

    def _exists(self, info: ContainerInfo) -> ContainerExists:
        if not is_ours(info.labels, self.context.profile):
            return ContainerExists(
                f"The server has a container named {info.name} that l8s did not make.",
                hints=("Choose another name, or another container_prefix in the profile",),
            )
        return ContainerExists(
            f"The container {info.short_name} exists already ({info.name}, {info.state}).",
            hints=(f"Use it: l8s info {info.short_name}", f"Or remove it: l8s rm {info.short_name}"),
        )

    def _make(self) -> None:
        """Volumes, container, content, start."""
        context, wish = self.context, self.wish
        with context.steps.step("volumes") as step:
            self._pending = True
            volumes, used = self._volumes()
            self._pending = False
            step.detail = ", ".join(volumes)
        archive = inside.archive(
            user=context.profile.container_user,
            home=home_of(context.profile.container_user),
            key=self.key,
            repository=wish.repository.url if wish.repository else "",
            branch=wish.branch,
        )
        refused: set[int] = set()
        for _ in range(PORT_ATTEMPTS):
            with context.steps.step("container") as step:
                if refused:
                    context.backend.remove(wish.alias)  # somebody was faster: take the next port
                    used = context.backend.ports_in_use()
                port = choose_port(context.profile.ssh_start_port, used | refused)
                self._pending = True
                self._create_container(port, volumes)
                self._pending = False
                step.detail = f"{wish.image}, ssh port {port}"
            with context.steps.step("upload"):
                context.backend.upload(wish.alias, "/", archive)
            try:
                with context.steps.step("start"):
                    context.backend.start(wish.alias)
                    return
            except PortInUse:
                refused.add(port)
        raise BackendError(f"No port could be had for {wish.alias} in {PORT_ATTEMPTS} attempts.")

    def _volumes(self) -> tuple[dict[str, str], frozenset[int]]:
        """Create what is missing; volume name to mount point, and the server's ports in use.

        Kept volumes of an earlier container are used again.
        """
        backend, wish = self.context.backend, self.wish
        mounts = {
            "hostkeys": "/var/lib/l8s",
            "home": home_of(self.context.profile.container_user),
            "workspace": "/workspace",
        }
        volumes = volume_names(wish.alias)
        # first and alone: it reserves the name
        if not backend.create_volume(volumes["hostkeys"], self._volume_labels()):
            raise ContainerExists(
                f"{wish.alias} is being created by another l8s, or an unfinished one is on the server "
                f"(the volume {volumes['hostkeys']} exists).",
                hints=("If nobody is creating it now, clear it away: l8s rm " + wish.name,),
            )
        with (
            beside(backend, lambda other: self._volume(other, volumes["home"])),
            beside(backend, lambda other: self._volume(other, volumes["workspace"])),
        ):
            used = backend.ports_in_use()
        return {volumes[use]: mounts[use] for use in volumes}, used

    def _volume(self, backend: RemoteBackend, name: str) -> None:
        """Make sure that there is a volume, and that it is ours."""
        if backend.create_volume(name, self._volume_labels()):
            return
        found = {volume.name: volume for volume in backend.volumes({})}.get(name)
        if found is not None and not is_ours(found.labels, self.context.profile):
            raise ContainerExists(
                f"The server has a volume named {name} that l8s did not make.",
                hints=("Choose another name, or another container_prefix in the profile",),
            )

    def _volume_labels(self) -> dict[str, str]:
        return {**self._labels(), **self.wish.labels}

    def _create_container(self, port: int, volumes: Mapping[str, str]) -> None:
        wish = self.wish
        labels = {**wish.labels, **self._labels(), LABEL_SSH_PORT: str(port)}
        self.context.backend.create(
            ContainerRequest(
                name=wish.alias,
                image=wish.image,
                hostname=wish.name,
                command=("/bin/sh", "/etc/l8s/start"),
                labels=labels,
                ports={port: SSHD_PORT},
                volumes=volumes,
                memory=wish.memory,
                cpus=wish.cpus,
                pids=wish.pids,
            )
        )

    def _labels(self) -> dict[str, str]:
        profile, wish = self.context.profile, self.wish
        labels = {
            **own_labels(profile),
            LABEL_NAME: wish.name,
            LABEL_PROFILE: profile.name,
            LABEL_OPERATION: self.operation,
            LABEL_USER: profile.container_user,
        }
        if wish.repository is not None:
            labels[LABEL_REPOSITORY] = wish.repository.url
        if wish.branch:
            labels[LABEL_BRANCH] = wish.branch
        return labels

    def _provision(self) -> tuple[ContainerInfo, PublicKey]:
        """Wait for sshd, clone the repository, and learn the container's host key over the verified connection."""
        backend = self.context.backend
        repository = self.wish.repository
        secret = ""
        if repository is not None:
            secret = f"{repository.username or ''}\n{repository.password or ''}\n"
        said: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}

        def listen(stream: str, data: bytes) -> None:
            room = 64 * 1024 - len(said[stream])
            said[stream] += data[: max(0, room)]
            if stream == "stderr" and self.on_output is not None:
                self.on_output("stderr", data)

        def look(other: RemoteBackend) -> ContainerInfo:
            return other.inspect(self.wish.alias)

        with self.context.steps.step("provision") as step:
            with beside(backend, look) as looking:
                result = backend.exec(
                    self.wish.alias,
                    ["/bin/sh", "/etc/l8s/provision"],
                    user="0",
                    workdir="/",
                    stdin=secret.encode("utf-8"),
                    timeout=PROVISION_TIMEOUT,
                    on_output=listen,
                )
            if result.exit_code != 0:
                raise self._provision_error(result.exit_code, said["stderr"].decode("utf-8", "replace"))
            step.detail = repository.url if repository is not None else PROJECT_DIRECTORY
            return looking.result, self._host_key(said["stdout"].decode("utf-8", "replace"))

    def _provision_error(self, code: int, words: str) -> L8sError:
        lines = words.strip().splitlines()
        last = "\n".join(lines[-5:]) or f"exit code {code}"
        image = self.wish.image
        if _DISK_FULL.search(words):
            return BackendError(
                f"The server's disk is full: {last}",
                hints=("See how full it is: l8s doctor", "Remove what is not needed: l8s list, then l8s rm NAME"),
            )
        if code == 70:
            return ProvisionFailed(
                f"The image {image} cannot run an SSH server: {last}",
                hints=(
                    f"Build one on top of it: l8s build --base {image} --tag localhost/l8s-custom:latest",
                    "Or use the default image: l8s build, then create without --image",
                ),
            )
        if code == 75:
            return ProvisionFailed(
                f"The image {image} has no git, which cloning needs.",
                hints=(
                    "Use an image with git: l8s build",
                    "Or create without a repository, and copy files in with scp",
                ),
            )
        if code == 76:
            return GitError(
                f"The repository could not be cloned in the container:\n{last}",
                hints=(
                    "Check the URL and the branch",
                    "For a private repository: https://USER:TOKEN@host/... (the token is never stored)",
                    "Or create without a URL, then: l8s remote add NAME, git push",
                ),
            )
        return ProvisionFailed(f"The container could not be set up ({_REASONS.get(code, 'inside')}): {last}")

    def _host_key(self, output: str) -> PublicKey:
        for line in output.splitlines():
            if line.startswith(_HOST_KEY_LINE):
                try:
                    return parse_public_key(line.removeprefix(_HOST_KEY_LINE).strip())
                except InvalidValue as error:
                    raise ProvisionFailed(f"The container's host key is no key: {error.message}") from error
        raise ProvisionFailed("The container did not say its host key.")

    def _publish(self, info: ContainerInfo, host_key: PublicKey) -> ContainerInfo:
        """The local files, and the proof that they work."""
        context, alias = self.context, self.wish.alias
        with context.steps.step("ssh config") as step:
            ssh_tools.stop_multiplexing(alias)  # of an earlier container of this name
            context.known_hosts.pin(container_name(alias), [host_key])
            block = host_block(info, context.profile, context.endpoint, identity_file=self.identity_file)
            context.writer.apply(context.writer.plan(add=[block]))
            step.detail = f"{host_key.type} {host_key.fingerprint}"
        with context.steps.step("login") as step:
            self._login()
            step.detail = f"ssh {alias}"
        return info

    def _login(self) -> None:
        """See ``ssh ALIAS true`` work, with strict host key checking."""
        deadline = time.monotonic() + LOGIN_PATIENCE
        while True:
            try:
                completed = ssh_tools.login_works(self.wish.alias, timeout=LOGIN_TIMEOUT)
            except CommandTimedOut as error:
                complaint, again = error.message, True
            else:
                if completed.exit_code == 0:
                    return
                complaint = completed.complaint
                again = any(words in complaint for words in NOT_YET)
            if not again or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        port = self.context.profile.ssh_start_port
        raise ProvisionFailed(
            f"The container runs, but ssh {self.wish.alias} does not work from this laptop:\n{complaint}",
            hints=(
                f"Open the server's firewall for this laptop on TCP ports from {port} upward (docs/REMOTE_SETUP.md)",
                "Check that the agent still holds the key: ssh-add -l",
            ),
        )

    def _entry(self, port: int) -> HostBlock:
        context = self.context
        return alias_block(
            self.wish.alias,
            port,
            context.profile.container_user,
            context.profile,
            context.endpoint,
            self.identity_file,
        )

    # Taking back

    def _taken_back(self, error: BaseException) -> BaseException:
        """Undo everything of this operation; the error to raise, which says if something was left."""
        with _shielded():
            try:
                try:
                    self._retract_entry()
                finally:
                    # A BackendError is an answer; an interrupt or a lost connection is none.
                    self._clear_surely(wait=self._pending and not isinstance(error, BackendError))
            except Exception as failure:  # noqa: BLE001 - the first error is the one to report
                return self._left_behind(error, failure)
            self.journal.end()
        if isinstance(error, KeyboardInterrupt):
            return Interrupted(f"Interrupted: {self.wish.alias} was not created, and nothing of it was left.")
        return error

    def _left_behind(self, error: BaseException, failure: Exception) -> BaseException:
        reason = failure.message if isinstance(failure, L8sError) else str(failure)
        hints = (
            f"Run the same l8s create again: it clears what was left of {self.wish.alias}",
            f"Or clear it away: l8s rm {self.wish.name}",
        )
        if isinstance(error, L8sError):
            first = error.message
        else:
            first = "Interrupted." if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"
        result = OutcomeUnknown(
            f"{first}\n\nTaking back what was made so far failed too: {reason.splitlines()[0] if reason else ''}",
            hints=hints,
        )
        result.step = getattr(error, "step", None)
        return result

    def _retract_entry(self) -> None:
        context, alias = self.context, self.wish.alias
        if any(block.alias == alias for block in context.writer.blocks()):
            context.writer.apply(context.writer.plan(remove=[alias]))
        context.known_hosts.forget(container_name(alias))

    def _clear_surely(self, *, wait: bool) -> None:
        """Remove what this operation made, over a new connection if the old one is broken."""
        try:
            self._clear(self.operation, wait=wait)
        except (ConnectionFailed, OutcomeUnknown):
            self.context.reconnect()
            self._clear(self.operation, wait=wait)

    def _clear(self, operation: str, *, wait: bool = False) -> None:
        """Remove what carries the operation's id from the server. With ``wait``, something may still appear."""
        backend = self.context.backend
        deadline = time.monotonic() + (LATE_ANSWER if wait else 0)
        while True:
            info = self._find()
            if info is not None and info.labels.get(LABEL_OPERATION) == operation:
                backend.remove(info.name)
                break
            if info is not None or time.monotonic() >= deadline:
                break
            time.sleep(0.2)
        for volume in self._leftovers(operation):
            backend.remove_volume(volume)


@contextmanager
def _shielded() -> Iterator[None]:
    """Let a second Ctrl-C wait until things are taken back (only the main thread can arrange that)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


# Starting again


def wait_until_ready(backend: RemoteBackend, info: ContainerInfo) -> None:
    """Wait until a started container's sshd listens.

    Raises:
        ProvisionFailed: it did not come up.
    """
    result = backend.exec(info.name, ["/bin/sh", "/etc/l8s/ready"], user="0", workdir="/", timeout=READY_TIMEOUT)
    if result.exit_code != 0:
        raise ProvisionFailed(
            f"{info.name} runs, but its sshd did not start: {result.stderr.strip()}",
            hints=(f"Look inside: l8s exec --user root {info.short_name} -- ls -la /run/l8s /etc/l8s",),
        )
