"""Every error that l8s raises on purpose, with its exit code.

Not here: translating other libraries' exceptions (each plugin does that once, at its own edge).

    L8sError                          1   failed
    ├── ConfigError                   2   usage or config
    │   └── InvalidValue              2   a name, host, path, label ... that l8s_core.names refused
    ├── RemoteOnlyError               3   the endpoint is this machine
    ├── ConnectionFailed              4   network
    │   ├── HostUnreachable           4
    │   ├── HostKeyRejected           5   unknown or changed host key
    │   ├── AgentUnavailable          6   no ssh-agent, or no usable key in it
    │   ├── AuthenticationFailed      6
    │   └── SocketUnavailable         7   SSH works, the Podman socket does not
    ├── BackendError                  7   Podman
    │   ├── ContainerNotFound         8
    │   ├── ContainerExists           8
    │   ├── ContainerNotRunning       7
    │   ├── ImageNotFound             8
    │   ├── PortInUse                 7
    │   └── UnsupportedOperation      7   the backend lacks a capability
    ├── ExecTimeout                   1   the command was stopped at its deadline
    ├── ProvisionFailed               1   a container's inside could not be set up
    ├── SetupFailed                   1   a server could not be set up
    ├── GitError                      1
    ├── CommandFailed                 1   a program on the laptop could not be run to its end
    │   ├── CommandNotFound           1
    │   └── CommandTimedOut           1
    ├── SSHConfigError                9   local files
    │   └── LocalFileError            9
    │       └── FileBusy              9   another l8s holds its lock
    ├── PluginError                   2
    ├── OperationVetoed               1   a plugin said no
    ├── OutcomeUnknown               10   a write was sent and its answer never came
    └── Interrupted                 130
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

REMOTE_ONLY_NOTE = "l8s ONLY supports remote container management for security isolation."
"""The sentence that every refusal of a local endpoint ends with (the wording of the project's seed)."""


class L8sError(Exception):
    """The root of every error of l8s.

    ``message`` says what happened and where, over one or more lines; ``hints`` are the next things to do, most
    likely first; ``profile`` names the profile in use; ``step`` names the step of a longer job at which it happened.
    Text that came from a server is escaped by whoever prints it, not here: the values stay exact.
    """

    exit_code: ClassVar[int] = 1
    hints_title: ClassVar[str] = "Next:"
    remote_only: ClassVar[bool] = False
    """Whether the printed error ends with `REMOTE_ONLY_NOTE`."""

    def __init__(
        self,
        message: str,
        *,
        hints: Sequence[str] = (),
        profile: str | None = None,
        step: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hints = tuple(hints)
        self.profile = profile
        self.step = step

    @property
    def kind(self) -> str:
        """Its class here, by name: a section of ``docs/errors.md``. Of a plugin's class, the one that it extends."""
        return next(cls.__name__ for cls in type(self).__mro__ if cls.__module__ == __name__)


class ConfigError(L8sError):
    """The configuration, or the command line, is not usable as it is."""

    exit_code = 2


class InvalidValue(ConfigError):
    """A value was refused by `l8s_core.names` before it could reach a shell, a URL, an ssh config or a terminal."""


class RemoteOnlyError(L8sError):
    """The endpoint is this machine, or could not be shown to be another one."""

    exit_code = 3
    remote_only = True


class ConnectionFailed(L8sError):
    """There is no usable connection to the server."""

    exit_code = 4
    hints_title = "Troubleshooting:"
    remote_only = True


class HostUnreachable(ConnectionFailed):
    """No address of the server answered as an SSH server in time."""


class HostKeyRejected(ConnectionFailed):
    """The server's host key is not the one that l8s knows.

    ``host`` is the name that known_hosts uses, ``key_type`` and ``key_base64`` the offered key, ``reason`` tells an
    unknown key from a changed one, and ``expected`` lists the fingerprints that were trusted.
    """

    exit_code = 5

    def __init__(
        self,
        message: str,
        *,
        host: str,
        key_type: str,
        key_base64: str,
        reason: Literal["unknown", "changed"],
        expected: Sequence[str] = (),
        hints: Sequence[str] = (),
        profile: str | None = None,
    ) -> None:
        super().__init__(message, hints=hints, profile=profile)
        self.host = host
        self.key_type = key_type
        self.key_base64 = key_base64
        self.reason = reason
        self.expected = tuple(expected)


class AgentUnavailable(ConnectionFailed):
    """The ssh-agent is absent, silent or empty, or lacks the profile's key."""

    exit_code = 6
    hints_title = "Next:"


class AuthenticationFailed(ConnectionFailed):
    """The server refused the user and key."""

    exit_code = 6


class SocketUnavailable(ConnectionFailed):
    """SSH works, but the Podman socket on the server does not."""

    exit_code = 7


class BackendError(L8sError):
    """The backend (Podman) refused or failed."""

    exit_code = 7


class ContainerNotFound(BackendError):
    """There is no such container, or it is not one of ours."""

    exit_code = 8


class ContainerExists(BackendError):
    """The name is taken on the server."""

    exit_code = 8


class ContainerNotRunning(BackendError):
    """The container must run for this, and does not."""


class ImageNotFound(BackendError):
    """The server does not have the image."""

    exit_code = 8


class PortInUse(BackendError):
    """The published port was taken on the server at the moment of starting."""


class UnsupportedOperation(BackendError):
    """The backend lacks the capability that this needs."""


class ExecTimeout(L8sError):
    """A command in a container ran past its deadline and was stopped there.

    ``stdout_bytes`` and ``stderr_bytes`` hold what it printed until then (empty when it was streamed);
    ``stopped`` tells whether the processes on the server were seen to be gone.
    """

    def __init__(
        self,
        message: str,
        *,
        stdout_bytes: bytes = b"",
        stderr_bytes: bytes = b"",
        stopped: bool = True,
        hints: Sequence[str] = (),
    ) -> None:
        super().__init__(message, hints=hints)
        self.stdout_bytes = stdout_bytes
        self.stderr_bytes = stderr_bytes
        self.stopped = stopped


class ProvisionFailed(L8sError):
    """What makes a container an l8s container (sshd, user, keys, repository) could not be set up."""


class SetupFailed(L8sError):
    """A server could not be set up; what was done until then stays, and running it again is safe."""


class GitError(L8sError):
    """git on the laptop, or a clone in the container, failed."""


class CommandFailed(L8sError):
    """A program on the laptop (ssh, ssh-add, git ...) could not be run to its end."""


class CommandNotFound(CommandFailed):
    """The program is not installed, or not on PATH."""


class CommandTimedOut(CommandFailed):
    """The program ran past its deadline and was killed."""


class SSHConfigError(L8sError):
    """The ssh configuration could not be read or changed; it is as it was."""

    exit_code = 9


class LocalFileError(SSHConfigError):
    """One of l8s's own files could not be read or written; it is as it was."""


class FileBusy(LocalFileError):
    """Another l8s process holds the lock of a file, or another program writes it all the time."""


class PluginError(L8sError):
    """A plugin is missing, broken, or clashes with another."""

    exit_code = 2


class OperationVetoed(L8sError):
    """A plugin's ``l8s_before_operation`` stopped the operation; nothing was done."""


class OutcomeUnknown(L8sError):
    """A change was sent and the connection died before its answer came."""

    exit_code = 10


class Interrupted(L8sError):
    """The person pressed Ctrl-C; what had been made was taken back."""

    exit_code = 130


def no_configuration(location: str) -> ConfigError:
    """The seed's first scenario: there is no server in the configuration at ``location``."""
    return ConfigError(
        "l8s requires remote server configuration.\n"
        "\n"
        f"Please configure your remote server in {location}:\n"
        "  remote_host: your-server.example.com\n"
        "  remote_user: your-username\n"
        "\n"
        "Or run 'l8s init' to set up your configuration.\n"
        "\n"
        f"Note: {REMOTE_ONLY_NOTE}"
    )


def ssh_connection_failed(
    user: str, host: str, port: int, reason: str, *, cls: type[ConnectionFailed] = HostUnreachable
) -> ConnectionFailed:
    """The seed's second scenario: ``user@host`` on ``port`` was not reached, for ``reason``."""
    target = f"{user}@{host}"
    option = "" if port == 22 else f"-p {port} "
    return cls(
        f"Cannot establish SSH connection to server.\n\nFailed to connect to: {target}\nReason: {reason}",
        hints=(
            f"Test SSH manually: ssh {option}{target}",
            f"Add SSH key: ssh-copy-id {option}{target}",
            "Check server is accessible and SSH is running",
        ),
    )


def socket_unavailable(socket: str, reason: str, *, setup_doc: str = "docs/REMOTE_SETUP.md") -> SocketUnavailable:
    """The seed's third scenario, with the system socket first because Podman runs as root on the server."""
    return SocketUnavailable(
        "Podman socket not accessible on remote server.\n"
        "\n"
        f"The Podman socket at {socket} is not available.\n"
        f"Reason: {reason}\n"
        "\n"
        "On the remote server, run:\n"
        "  sudo systemctl enable --now podman.socket\n"
        "\n"
        "Or if using user Podman:\n"
        "  systemctl --user enable --now podman.socket\n"
        "\n"
        f"The whole setup of a server is in {setup_doc}."
    )


def local_connection(reason: str, location: str = "~/.l8s/config.yaml") -> RemoteOnlyError:
    """The seed's fourth scenario: the endpoint is this machine; ``reason`` says how that was found."""
    return RemoteOnlyError(
        "Local Podman connections are not supported.\n"
        "\n"
        f"{reason}\n"
        "\n"
        f"{REMOTE_ONLY_NOTE}\n"
        f"Please configure a remote server in {location}"
    )
