"""The seed's four error scenarios, provoked for real: its wording, remote-only named, and the exit codes."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from lab import Laptop, Server, complete

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


def own_addresses() -> list[str]:
    """The addresses of this machine's interfaces, loopback and link-local ones left out."""
    links = json.loads(complete(["ip", "-json", "address"], check=True, timeout=10).stdout)
    return [
        entry["local"]
        for link in links
        for entry in link["addr_info"]
        if entry["scope"] == "global" and not entry.get("tentative")
    ]


def refused_as_local(laptop: Laptop, host: str) -> str:
    config = laptop.home / ".l8s" / "config.yaml"
    config.parent.mkdir(mode=0o700, exist_ok=True)
    config.write_text(f'remote_host: "{host}"\nremote_user: root\n')
    failed = laptop.l8s("list", check=False)
    assert failed.returncode == 3, (host, failed.stderr)
    assert failed.stderr.startswith("Error: Local Podman connections are not supported.\n"), failed.stderr
    assert f"{REMOTE_ONLY}\nPlease configure a remote server in ~/.l8s/config.yaml" in failed.stderr
    return failed.stderr


@contextmanager
def listening(address: str) -> Iterator[Callable[[], int]]:
    """A listener on ``address``, port 22 or whatever is free there; called, it tells how many have connected."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, 22))
        listener.listen()
        listener.setblocking(False)

        def count() -> int:
            seen = 0
            while True:
                try:
                    connection, _ = listener.accept()
                except BlockingIOError:
                    return seen
                connection.close()
                seen += 1

        yield count


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "dev.localhost", "127.1", "0x7f.1", "2130706433", "::1"])
def test_a_local_name_is_refused_before_anything_is_sent(laptop: Laptop, host: str) -> None:
    with listening("127.0.0.1") as count:
        refused_as_local(laptop, host)
        assert count() == 0


def test_this_machines_name_and_addresses_are_refused(laptop: Laptop, server: Server) -> None:
    del server  # brings the lab up, so that there is an address besides loopback
    refused_as_local(laptop, socket.gethostname())
    addresses = own_addresses()
    assert addresses
    for address in addresses:
        with listening(address) as count:
            assert address in refused_as_local(laptop, address)
            assert count() == 0


def test_an_ssh_alias_to_this_machine_is_refused(laptop: Laptop, server: Server) -> None:
    del server
    address = own_addresses()[0]
    laptop.ssh_config.write_text(
        f"Host harmless\n  HostName {address}\nHost loop\n  HostName 127.0.0.1\nHost name\n  HostName localhost\n"
    )
    for alias in ("harmless", "loop", "name"):
        refused_as_local(laptop, alias)


def test_a_container_on_this_kernel_is_refused(extra_server: Callable[..., Server], laptop: Laptop) -> None:
    server = extra_server("bookworm", boot_offset=0)
    laptop.configure(server)
    server.run("systemctl stop podman.service")
    failed = laptop.l8s("list", check=False)
    assert failed.returncode == 3, failed.stderr
    assert failed.stderr.startswith("Error: Local Podman connections are not supported.\n")
    assert "booted at the same moment" in failed.stderr
    assert REMOTE_ONLY in failed.stderr
    state = server.run("systemctl is-active podman.service", check=False).stdout.strip()
    assert state == "inactive", "the API was touched: its socket starts the service"
