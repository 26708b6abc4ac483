"""``scripts/setup-server.sh`` on machines that are not servers yet."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from lab import REPOSITORY, SUITES, Server, script

pytestmark = pytest.mark.timeout(400)
"""Seconds: packages are installed on a server that is made and deleted for it."""

SETUP = (REPOSITORY / "scripts" / "setup-server.sh").read_text()
ASK = "podman --url unix:///run/podman/podman.sock"
# everything that the script may not touch, and what it sets up; file times included
STATE = """
sha256sum /etc/ssh/sshd_config /etc/containers/* /etc/containers/*/* 2>/dev/null
find /etc/systemd/system /etc/ssh /etc/containers -printf '%p %T@ %l\\n' | sort
systemctl show -p ActiveEnterTimestampMonotonic podman.socket podman-restart.service ssh.service
"""


@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
def test_sets_up_and_changes_nothing_the_second_time(extra_server: Callable[..., Server], suite: str) -> None:
    server = extra_server(suite, podman_socket=False)
    policy = "cat /etc/containers/policy.json /etc/containers/registries.conf; cat /etc/ssh/sshd_config"
    before = server.run(policy, check=False).stdout
    assert server.run("test -e /run/podman/podman.sock", check=False).returncode != 0
    assert server.run("systemctl is-enabled podman-restart.service", check=False).stdout == "disabled\n"

    first = server.run("bash -s", input=SETUP, timeout=120).stdout

    assert "Setup complete" in first
    assert f"ssh-copy-id root@{server.host}" in first
    assert server.host_key.fingerprint in first
    assert server.run(f"{ASK} info --format '{{{{.Host.Arch}}}}'").stdout.strip()
    assert server.run("systemctl is-enabled podman.socket podman-restart").stdout == "enabled\nenabled\n"
    assert server.run(policy, check=False).stdout == before

    state = server.run(STATE).stdout
    second = server.run("bash -s", input=SETUP, timeout=120)
    assert second.stdout.count("enabled already") == 2
    assert server.run(STATE).stdout == state

    # and it lasts
    server.power_off()
    server.power_on()
    server.run(f"{ASK} version")


def test_installs_podman_where_there_is_none(extra_server: Callable[..., Server]) -> None:
    server = extra_server("trixie", podman_socket=False)
    script("nat", server.name)
    server.run("DEBIAN_FRONTEND=noninteractive apt-get purge -y -q podman netavark aardvark-dns", timeout=120)
    assert server.run("command -v podman", check=False).returncode != 0
    output = server.run("bash -s", input=SETUP, timeout=300).stdout
    assert "Installing: podman netavark aardvark-dns" in output
    assert "answers at /run/podman/podman.sock" in output


def test_a_socket_that_lost_its_listener_is_mended(extra_server: Callable[..., Server]) -> None:
    server = extra_server("trixie")
    server.run("systemctl stop podman.service")
    # what a package's removal and return leaves behind: the unit is "active" and nothing listens
    server.run(
        "unit=/usr/lib/systemd/system/podman.socket; mv $unit /root/; systemctl daemon-reload;"
        " mv /root/podman.socket $unit; systemctl daemon-reload"
    )
    assert server.run(f"{ASK} version", check=False).returncode != 0
    assert "restarting it" in server.run("bash -s", input=SETUP, timeout=120).stdout
    server.run(f"{ASK} version")


def test_needs_root_and_warns_about_sshd(extra_server: Callable[..., Server]) -> None:
    server = extra_server("bookworm")
    refused = server.run("setpriv --reuid 65534 --clear-groups bash -s", input=SETUP, check=False)
    assert refused.returncode == 1
    assert "must run as root" in refused.stderr

    # sshd takes the first value that it reads
    server.run(r"sed -i '1i AllowStreamLocalForwarding no\nAllowTcpForwarding no' /etc/ssh/sshd_config")
    warned = server.run("bash -s", input=SETUP, timeout=120)
    assert "AllowStreamLocalForwarding" in warned.stderr
    assert "AllowTcpForwarding" in warned.stderr
