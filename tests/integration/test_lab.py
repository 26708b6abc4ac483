"""The lab itself: what the other tests take for granted."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trap as trap_module
from lab import Laptop, Server, path_without_podman


def test_server_has_podman_and_its_own_identity(server: Server) -> None:
    podman, boot_id, kernel = server.run(
        "podman version --format '{{.Client.Version}}'; cat /proc/sys/kernel/random/boot_id; uname -r"
    ).stdout.split()
    assert podman.startswith({"bookworm": "4.3.", "trixie": "5.4."}[server.suite])
    assert boot_id != Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert kernel == os.uname().release


def test_servers_have_different_host_keys(server: Server, extra_server: Callable[..., Server]) -> None:
    assert extra_server(server.suite).host_key != server.host_key


def test_containers_come_back_after_a_power_cycle(server: Server, image: str) -> None:
    server.clear()
    server.run(f"podman run -d --name survivor --restart always --stop-timeout 0 -p 2200:22 {image} sleep infinity")
    for cut in (False, True):
        server.power_off(cut=cut)
        assert not server.is_on()
        server.power_on()
        server.run("for n in $(seq 60); do podman ps -q | grep -q . && exit; sleep 0.5; done; exit 1")
    server.clear()
    assert server.run("podman ps -aq").stdout == ""


def test_laptop_reaches_a_server_with_its_agent(laptop: Laptop, server: Server) -> None:
    laptop.trust(server)
    laptop.ssh_config.write_text(
        f"Host box\n  HostName {server.host}\n  User root\n  StrictHostKeyChecking yes\n"
        f"  UserKnownHostsFile {laptop.home}/.l8s/known_hosts\n"
    )
    assert laptop.ssh("box", "hostname").stdout == f"{server.name}\n"
    assert not (laptop.home / ".ssh" / "id_ed25519").exists()


def test_laptop_has_no_podman(laptop: Laptop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert laptop.run("sh", "-c", "command -v podman", check=False).returncode != 0
    for name in ("podman", "other"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    links = tmp_path / "links"
    links.mkdir()
    found = Path(path_without_podman(links))
    assert (found / "other").exists()
    assert not (found / "podman").exists()


def test_extra_server_on_the_laptops_own_boot_clock(extra_server: Callable[..., Server]) -> None:
    server = extra_server("trixie", boot_offset=0)
    uptime = float(server.run("cat /proc/uptime").stdout.split()[0])
    own = float(Path("/proc/uptime").read_text().split()[0])
    assert abs(own - uptime) < 60


def test_the_trap_notices_a_connection(tmp_path: Path) -> None:
    path, log = tmp_path / "podman.sock", tmp_path / "log"
    process = subprocess.Popen(
        [sys.executable, trap_module.__file__, str(os.getpid()), str(log), str(path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            assert connection.recv(1) == b""
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 0
    assert f"process {os.getpid()} (" in log.read_text()
    assert not path.exists()
