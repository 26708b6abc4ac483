"""The error tree, its exit codes, and the four scenarios in their own words."""

from __future__ import annotations

import inspect
import re

import pytest

from l8s_core import errors
from l8s_core.errors import HostKeyRejected, L8sError

EXIT_CODES = {
    "L8sError": 1,
    "ConfigError": 2,
    "InvalidValue": 2,
    "RemoteOnlyError": 3,
    "ConnectionFailed": 4,
    "HostUnreachable": 4,
    "HostKeyRejected": 5,
    "AgentUnavailable": 6,
    "AuthenticationFailed": 6,
    "SocketUnavailable": 7,
    "BackendError": 7,
    "ContainerNotFound": 8,
    "ContainerExists": 8,
    "ContainerNotRunning": 7,
    "ImageNotFound": 8,
    "PortInUse": 7,
    "UnsupportedOperation": 7,
    "ExecTimeout": 1,
    "ProvisionFailed": 1,
    "SetupFailed": 1,
    "GitError": 1,
    "CommandFailed": 1,
    "CommandNotFound": 1,
    "CommandTimedOut": 1,
    "SSHConfigError": 9,
    "LocalFileError": 9,
    "FileBusy": 9,
    "PluginError": 2,
    "OperationVetoed": 1,
    "OutcomeUnknown": 10,
    "Interrupted": 130,
}


def _classes() -> dict[str, type[L8sError]]:
    return {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, BaseException)
    }


def test_every_class_has_the_designed_exit_code() -> None:
    assert {name: kind.exit_code for name, kind in _classes().items()} == EXIT_CODES


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn: dict[str, tuple[str, int]] = {}
    above: list[tuple[int, str]] = []
    for line in inspect.getdoc(errors).splitlines():  # type: ignore[union-attr]
        match = re.fullmatch(r"( *[│├└─ ]*)([A-Z]\w+) +(\d+)(  .*)?", line)
        if match is None:
            continue
        depth, name, code = len(match[1]), match[2], int(match[3])
        while above and above[-1][0] >= depth:
            above.pop()
        drawn[name] = (above[-1][1] if above else "Exception", code)
        above.append((depth, name))
    assert drawn == {name: (kind.__bases__[0].__name__, kind.exit_code) for name, kind in _classes().items()}


def test_errors_about_the_connection_say_why_remote_only() -> None:
    always = {name for name, kind in _classes().items() if kind.remote_only}
    assert always == {
        "RemoteOnlyError",
        "ConnectionFailed",
        "HostUnreachable",
        "HostKeyRejected",
        "AgentUnavailable",
        "AuthenticationFailed",
        "SocketUnavailable",
    }


@pytest.mark.parametrize("name", sorted(EXIT_CODES))
def test_every_error_carries_its_parts(name: str) -> None:
    kind = _classes()[name]
    if kind is HostKeyRejected:
        error: L8sError = HostKeyRejected(
            "text", host="h", key_type="ssh-ed25519", key_base64="AAAA", reason="changed", expected=["SHA256:x"]
        )
        assert error.expected == ("SHA256:x",)  # type: ignore[attr-defined]
    else:
        error = kind("text", hints=["do this"])
        assert error.hints == ("do this",)
    assert str(error) == error.message == "text"
    assert error.kind == name
    assert (error.profile, error.step) == (None, None)
    assert kind.__doc__


def test_no_configuration() -> None:
    assert errors.no_configuration("~/.l8s/config.yaml").message == (
        "l8s requires remote server configuration.\n"
        "\n"
        "Please configure your remote server in ~/.l8s/config.yaml:\n"
        "  remote_host: your-server.example.com\n"
        "  remote_user: your-username\n"
        "\n"
        "Or run 'l8s init' to set up your configuration.\n"
        "\n"
        "Note: l8s ONLY supports remote container management for security isolation."
    )
    assert errors.no_configuration("x").exit_code == 2


def test_ssh_connection_failed() -> None:
    error = errors.ssh_connection_failed("user", "server.example.com", 22, "no route")
    assert error.message.startswith(
        "Cannot establish SSH connection to server.\n\nFailed to connect to: user@server.example.com\n"
    )
    assert "no route" in error.message
    assert error.hints_title == "Troubleshooting:"
    assert error.hints == (
        "Test SSH manually: ssh user@server.example.com",
        "Add SSH key: ssh-copy-id user@server.example.com",
        "Check server is accessible and SSH is running",
    )
    assert error.exit_code == 4


def test_ssh_connection_failed_on_another_port_and_for_another_reason() -> None:
    error = errors.ssh_connection_failed("me", "h", 2222, "denied", cls=errors.AuthenticationFailed)
    assert error.hints[:2] == ("Test SSH manually: ssh -p 2222 me@h", "Add SSH key: ssh-copy-id -p 2222 me@h")
    assert error.exit_code == 6


def test_socket_unavailable_names_the_system_socket_first() -> None:
    error = errors.socket_unavailable("/run/podman/podman.sock", "there is no such file")
    head, _, tail = error.message.partition("Reason: there is no such file\n")
    assert head == (
        "Podman socket not accessible on remote server.\n"
        "\n"
        "The Podman socket at /run/podman/podman.sock is not available.\n"
    )
    assert tail.startswith(
        "\n"
        "On the remote server, run:\n"
        "  sudo systemctl enable --now podman.socket\n"
        "\n"
        "Or if using user Podman:\n"
        "  systemctl --user enable --now podman.socket\n"
    )
    assert "docs/REMOTE_SETUP.md" in tail
    assert error.exit_code == 7


def test_local_connection() -> None:
    error = errors.local_connection("127.0.0.1 is a loopback address.")
    assert error.message == (
        "Local Podman connections are not supported.\n"
        "\n"
        "127.0.0.1 is a loopback address.\n"
        "\n"
        "l8s ONLY supports remote container management for security isolation.\n"
        "Please configure a remote server in ~/.l8s/config.yaml"
    )
    assert error.exit_code == 3


def test_a_plugins_own_error_is_known_by_what_it_extends() -> None:
    class StorageFailed(errors.BackendError):
        pass

    assert StorageFailed("no").kind == "BackendError"
    assert errors.ImageNotFound("no").kind == "ImageNotFound"
