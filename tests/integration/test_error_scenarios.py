"""The seed's four error scenarios, provoked for real: its wording, remote-only named, and the exit codes."""

from __future__ import annotations

import json

from lab import Laptop, Server

REMOTE_ONLY = "l8s ONLY supports remote container management for security isolation."


def test_no_configuration(laptop: Laptop) -> None:
    failed = laptop.l8s("list", check=False)
    assert failed.returncode == 2
    assert failed.stderr == (
        "Error: l8s requires remote server configuration.\n"
        "\n"
        "Please configure your remote server in ~/.l8s/config.yaml:\n"
        "  remote_host: your-server.example.com\n"
        "  remote_user: your-username\n"
        "\n"
        "Or run 'l8s init' to set up your configuration.\n"
        "\n"
        f"Note: {REMOTE_ONLY}\n"
    )
    error = json.loads(laptop.l8s("-o", "json", "list", check=False).stderr)["error"]
    assert (error["type"], error["exit_code"]) == ("ConfigError", 2)


def test_sshd_is_stopped(server: Server, laptop: Laptop) -> None:
    laptop.configure(server)
    server.exec("systemctl", "stop", "ssh.service")
    try:
        failed = laptop.l8s("list", check=False)
    finally:
        server.exec("systemctl", "start", "ssh.service")
    assert failed.returncode == 4
    expected = (
        "Error: Cannot establish SSH connection to server.\n"
        "\n"
        f"Failed to connect to: root@{server.host}\n"
        f"Reason: {server.host}: Connection refused\n"
    )
    assert failed.stderr.startswith(expected), failed.stderr
    assert (
        "Troubleshooting:\n"
        f"1. Test SSH manually: ssh root@{server.host}\n"
        f"2. Add SSH key: ssh-copy-id root@{server.host}\n"
        "3. Check server is accessible and SSH is running\n"
    ) in failed.stderr.replace("  1.", "1.").replace("  2.", "2.").replace("  3.", "3.")
    assert REMOTE_ONLY in failed.stderr


def test_the_socket_is_missing(server: Server, laptop: Laptop) -> None:
    laptop.configure(server)
    server.run("systemctl stop podman.socket podman.service; rm -f /run/podman/podman.sock")
    try:
        failed = laptop.l8s("list", check=False)
    finally:
        server.run("systemctl start podman.socket")
    assert failed.returncode == 7
    assert failed.stderr.startswith(
        "Error: Podman socket not accessible on remote server.\n"
        "\n"
        "The Podman socket at /run/podman/podman.sock is not available.\n"
    )
    first, second = "sudo systemctl enable --now podman.socket", "systemctl --user enable --now podman.socket"
    assert "On the remote server, run:\n" in failed.stderr
    assert 0 < failed.stderr.index(first) < failed.stderr.index(second)
    assert REMOTE_ONLY in failed.stderr
    assert laptop.l8s("list").returncode == 0
