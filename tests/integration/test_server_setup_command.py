"""``l8s server setup`` on machines without Podman: made into servers, cut off half way, and run again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from lab import SUITES, Laptop, Server, script

PURGE = "DEBIAN_FRONTEND=noninteractive apt-get purge -y -q podman"
UNITS = "systemctl is-active podman.socket; systemctl is-enabled podman.socket podman-restart.service"
STATE = """
find /etc/systemd/system /etc/ssh /etc/containers -printf '%p %T@ %l\\n' | sort; ls -A /run/l8s-setup
systemctl show -p ActiveEnterTimestampMonotonic podman.socket podman-restart.service ssh.service
dpkg-query -W
"""


@pytest.fixture
def bare(extra_server: Callable[..., Server]) -> Callable[[str], Server]:
    """Makes a server without Podman that reaches its packages."""

    def make(suite: str) -> Server:
        server = extra_server(suite, podman_socket=False)
        script("nat", server.name)
        server.run(PURGE, timeout=120)
        assert server.run("command -v podman", check=False).returncode != 0
        return server

    return make


def trust(server: Server) -> tuple[str, ...]:
    return ("--trust-host-key", server.host_key.fingerprint)


@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
def test_a_bare_machine_becomes_a_server(bare: Callable[[str], Server], laptop: Laptop, suite: str) -> None:
    server = bare(suite)
    asked = laptop.l8s("server", "setup", server.host, *trust(server), check=False)
    assert asked.returncode == 2
    assert "podman" in asked.stderr
    assert server.run("command -v podman", check=False).returncode != 0

    done = laptop.l8s("server", "setup", server.host, "--yes", *trust(server), timeout=300)
    assert "Installing: podman" in done.stderr
    assert "API version" in done.stderr
    assert f"l8s init --host {server.host} --user root" in done.stderr
    assert server.run(UNITS).stdout == "active\nenabled\nenabled\n"

    state = server.run(STATE).stdout
    again = laptop.l8s("server", "setup", server.host)
    assert "nothing to do" in again.stderr
    assert server.run(STATE).stdout == state

    laptop.l8s("init", "--host", server.host, "--user", "root", "--yes")
    assert "Podman" in laptop.l8s("test-connection").stdout


def test_cut_off_half_way_and_run_again(bare: Callable[[str], Server], laptop: Laptop) -> None:
    server = bare("trixie")
    with laptop.start("l8s", "server", "setup", server.host, "--yes", *trust(server)) as process:
        assert process.stderr is not None
        assert any("Installing: podman" in line for line in process.stderr)
        os.killpg(process.pid, signal.SIGKILL)
    # the server goes on alone
    assert server.run("pgrep -f 'setup-server.sh --brief'", check=False).stdout
    done = laptop.l8s("server", "setup", server.host, "--yes", timeout=300)
    assert "API version" in done.stderr
    assert server.run(UNITS).stdout == "active\nenabled\nenabled\n"
    assert server.run("dpkg --audit").stdout == ""


def test_a_power_cut_while_dpkg_works(bare: Callable[[str], Server], laptop: Laptop) -> None:
    server = bare("bookworm")
    with laptop.start("l8s", "server", "setup", server.host, "--yes", *trust(server)) as process:
        assert process.stderr is not None
        assert any(line.startswith("Unpacking") for line in process.stderr)
        server.power_off(cut=True)
        process.kill()
    server.power_on()
    script("nat", server.name)
    done = laptop.l8s("server", "setup", server.host, "--yes", timeout=300)
    assert "API version" in done.stderr
    assert server.run(UNITS).stdout == "active\nenabled\nenabled\n"
    assert server.run("dpkg --audit").stdout == ""
