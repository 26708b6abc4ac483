"""``l8s server setup`` on machines without Podman: made into servers, cut off half way, and run again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from lab import SUITES, Laptop, Server, script

pytestmark = pytest.mark.timeout(900)
"""Seconds: packages are installed on a server that is made for it, hundreds of them where an image is built."""

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

    works(server, laptop, "root", "--flavor", "debian")
    assert "nothing to do" in laptop.l8s("server", "setup", server.host).stderr


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


# The demo's flow, and a user who is not root

USER = "builder"
SOCKET_STATE = """
getent group l8s; stat -c '%n %a %U %G' /run/podman /run/podman/podman.sock
cat /etc/systemd/system/podman.socket.d/*
systemctl show -p ActiveEnterTimestampMonotonic podman.socket; ls -A /etc/systemd/system/podman.socket.d
"""


def works(server: Server, laptop: Laptop, user: str, *flavor: str) -> None:
    """From nothing to a container, used and removed, as ``scripts/demo`` shows it.

    A ``flavor`` is built whole, which takes a server of two processors more than a minute.
    """
    base = server.import_image()
    laptop.l8s("init", "--host", server.host, "--user", user, "--yes")
    laptop.l8s("test-connection")
    laptop.l8s("build", *flavor, "--base", base, timeout=600)
    laptop.l8s("create", "x")
    assert "dev-x" in laptop.l8s("list").stdout
    assert laptop.l8s("exec", "x", "--", "id", "-un").stdout == "dev\n"
    assert laptop.ssh("dev-x", "echo hello from $(uname -n)").stdout == "hello from x\n"
    laptop.l8s("rm", "x", "--yes")
    assert server.run("podman ps -aq; podman volume ls -q").stdout == ""
    laptop.ssh("-O", "exit", "dev-x", check=False)


@pytest.fixture
def user_server(extra_server: Callable[..., Server]) -> Callable[[str], Server]:
    """Makes a server whose Podman is not enabled, with a login user who may use sudo."""

    def make(suite: str) -> Server:
        server = extra_server(suite, podman_socket=False)
        script("nat", server.name)
        server.run("apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q sudo", timeout=180)
        server.run(
            f"useradd -m -s /bin/bash {USER} && cp -r /root/.ssh /home/{USER}/ && chown -R {USER}: /home/{USER} &&"
            f" echo '{USER} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/{USER}"
        )
        return server

    return make


@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
def test_a_user_who_is_not_root(user_server: Callable[[str], Server], laptop: Laptop, suite: str) -> None:
    server = user_server(suite)
    words = ("server", "setup", server.host, "--user", USER)
    refused = laptop.l8s(*words, "--yes", *trust(server), check=False)
    assert refused.returncode != 0
    assert f"l8s server setup {server.host} --user {USER} --group l8s" in refused.stderr
    asked = laptop.l8s(*words, "--group", "l8s", *trust(server), check=False)
    assert asked.returncode == 2
    assert "make the group l8s" in asked.stderr
    assert f"add to the group l8s, whose members are root on this server: {USER}" in asked.stderr
    assert "which makes each member root on this server" in asked.stderr
    assert server.run("getent group l8s", check=False).stdout == ""
    assert server.run("systemctl is-active podman.socket", check=False).stdout == "inactive\n"

    done = laptop.l8s(*words, "--group", "l8s", "--yes", *trust(server), timeout=300)
    assert "are root on the server" in done.stderr
    assert "API version" in done.stderr, "reached as the user, through the group"
    assert server.run(UNITS).stdout == "active\nenabled\nenabled\n"
    state = server.run(SOCKET_STATE).stdout
    assert "/run/podman 710 root l8s\n/run/podman/podman.sock 660 root l8s\n" in state
    assert "nothing to do" in laptop.l8s(*words, "--group", "l8s").stderr
    assert "nothing to do" in laptop.l8s(*words).stderr
    assert server.run(SOCKET_STATE).stdout == state

    works(server, laptop, USER)
    # others stay outside
    server.run("useradd -m stranger")
    assert server.run("runuser -u stranger -- test -w /run/podman/podman.sock", check=False).returncode == 1
    assert "0 wrong" in laptop.l8s("doctor").stdout

    # and it lasts
    server.power_off()
    server.power_on()
    assert "/run/podman 710 root l8s\n/run/podman/podman.sock 660 root l8s\n" in server.run(SOCKET_STATE).stdout
    laptop.l8s("list")


def test_root_gives_the_socket_to_others(user_server: Callable[[str], Server], laptop: Laptop) -> None:
    server = user_server("trixie")
    words = ("server", "setup", server.host, "--group", "l8s", "--yes", *trust(server))
    unknown = laptop.l8s(*words, "--group-member", "nobody-here", check=False)
    assert unknown.returncode != 0
    assert f"There is no user nobody-here on {server.host}" in unknown.stderr
    assert server.run("getent group l8s", check=False).stdout == ""

    # cut off between any two steps, and run again: the group is made, and nothing else
    server.run("groupadd --system l8s && mkdir -p /etc/systemd/system/podman.socket.d &&"
               " echo half > /etc/systemd/system/podman.socket.d/l8s-group.conf.new")  # fmt: skip
    done = laptop.l8s(*words, "--group-member", USER, timeout=300)
    assert f"l8s init --host {server.host} --user {USER}" in done.stderr
    assert server.run("ls /etc/systemd/system/podman.socket.d").stdout == "l8s-group.conf\n"

    # what doctor says to a user whom the socket is closed to, followed
    server.run(
        "useradd -m -s /bin/bash outsider && cp -r /root/.ssh /home/outsider/ && chown -R outsider: /home/outsider"
    )
    laptop.configure(server, remote_user="outsider")
    found = laptop.l8s("doctor", check=False)
    assert found.returncode == 1
    repair = f"l8s server setup {server.host} --user root --group l8s --group-member outsider"
    assert "outsider may not use /run/podman/podman.sock" in found.stdout
    assert repair in found.stdout
    laptop.run(*repair.split(), "--yes")
    laptop.l8s("list")
    server.run("gpasswd -d outsider l8s")

    # the socket was closed by hand: only that is mended, and nobody who uses Podman is cut off
    server.run("chmod 0700 /run/podman")
    active = server.run("systemctl show -p ActiveEnterTimestampMonotonic podman.socket").stdout
    again = laptop.l8s(*words, "--group-member", USER)
    assert "let the group l8s (members already: builder) use Podman's socket" in again.stderr
    assert "make the group" not in again.stderr
    assert server.run("systemctl show -p ActiveEnterTimestampMonotonic podman.socket").stdout == active
    laptop.l8s("init", "--host", server.host, "--user", USER, "--yes")
    laptop.l8s("list")
