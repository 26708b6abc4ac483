"""The one SSH connection on real servers: what it refuses, the ways around, and how it ends."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from backends import at_laptop, idle_container, opened, profile_for
from lab import Laptop, Run, Server
from sshds import SSHD, MakeSSHD, sshds

from l8s_core.errors import (
    AgentUnavailable,
    AuthenticationFailed,
    ConnectionFailed,
    HostKeyRejected,
    OutcomeUnknown,
)
from l8s_core.known_hosts import KnownHosts, server_name
from l8s_core.model import Step, StreamName
from l8s_core.steps import Steps
from l8s_podman.backend import PodmanBackend
from l8s_podman.link import Link

INNER = "10.213.255.1"
"""An address that only the server itself has."""


@pytest.fixture
def here(laptop: Laptop, server: Server) -> Iterator[Laptop]:
    """This process on the laptop, which trusts the server."""
    laptop.trust(server)
    with at_laptop(laptop):
        yield laptop


@pytest.fixture
def make_sshd(server: Server) -> Iterator[MakeSSHD]:
    with sshds(server) as make:
        yield make


def trust(sshd: SSHD) -> None:
    KnownHosts().pin(server_name(sshd.address, sshd.port), [sshd.host_key])


def settled(count: Callable[[], int], wanted: int) -> int:
    """What ``count`` says once it is ``wanted``, or after five seconds."""
    deadline = time.monotonic() + 5
    while count() != wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    return count()


# Ways to the socket


@pytest.mark.parametrize("setting", ["AllowStreamLocalForwarding no", "DisableForwarding yes"])
def test_a_server_that_forbids_forwarding(
    here: Laptop, server: Server, image: str, make_sshd: MakeSSHD, setting: str
) -> None:
    sshd = make_sshd(2022, setting)
    trust(sshd)
    seen: list[Step] = []
    with opened(profile_for(server, remote_port=2022)) as backend:
        backend.facts(Steps(seen.append))
        assert "podman system dial-stdio" in next(step.detail for step in seen if step.state == "done")
        with idle_container(backend, image) as name:
            assert name in [info.name for info in backend.list({"l8s-test": name})]
            data = bytes(range(256)) * 4000
            result = backend.exec(name, ["sh", "-c", "cat; printf err >&2; exit 3"], stdin=data, timeout=30)
            assert (result.exit_code, result.stderr_bytes) == (3, b"err")
            assert result.stdout_bytes == data


def test_a_server_that_allows_one_session(here: Laptop, server: Server, image: str, make_sshd: MakeSSHD) -> None:
    trust(make_sshd(2022, "MaxSessions 1"))
    with opened(profile_for(server, remote_port=2022)) as backend, idle_container(backend, image) as name:
        for _ in range(3):
            assert backend.machine().boot_id
            assert backend.exec(name, ["echo", "fine"], timeout=30).stdout == "fine\n"
            assert 22 in backend.ports_in_use()


def test_the_machine_is_read_past_a_talkative_login(here: Laptop, server: Server, user: str) -> None:
    boot_id, kernel = server.run("cat /proc/sys/kernel/random/boot_id; uname -rv").stdout.splitlines()
    with opened(profile_for(server, remote_user=user)) as backend:
        machine = backend.machine()
    assert (machine.boot_id, machine.kernel) == (boot_id, kernel)
    assert machine.process_start is not None


# Who the server is


def test_a_user_who_may_not_log_in(here: Laptop, server: Server) -> None:
    with pytest.raises(AuthenticationFailed) as raised:
        PodmanBackend(profile_for(server, remote_user="nosuchuser")).open(Steps())
    assert raised.value.exit_code == 6
    assert raised.value.step == "authentication"


# Jump hosts


def test_a_server_behind_a_jump_host(here: Laptop, server: Server, image: str, make_sshd: MakeSSHD) -> None:
    server.run(f"ip addr add {INNER}/32 dev lo")
    try:
        inner = make_sshd(2022, address=INNER)
        here.ssh_config.write_text(
            f"Host inner\n  HostName {INNER}\n  Port 2022\n  ProxyJump outer\n"
            f"Host outer\n  HostName {server.host}\n  User root\n"
        )
        profile = profile_for(server, remote_host="inner")

        with pytest.raises(HostKeyRejected) as raised:  # the jump host's key is no warrant for the server's
            PodmanBackend(profile).open(Steps())
        assert raised.value.host == f"[{INNER}]:2022"

        trust(inner)
        backend = PodmanBackend(profile)
        try:
            endpoint = backend.open(Steps())
            assert (endpoint.host, endpoint.port, endpoint.address) == (INNER, 2022, "")
            assert endpoint.jump == f"root@{server.host}"
            with idle_container(backend, image) as name:
                assert [info.name for info in backend.list({"l8s-test": name})] == [name]
                data = bytes(range(256)) * 4000
                assert backend.exec(name, ["cat"], stdin=data, timeout=30).stdout_bytes == data
        finally:
            backend.close()

        KnownHosts().pin(server.host, [inner.host_key])
        with pytest.raises(HostKeyRejected) as raised:
            PodmanBackend(profile).open(Steps())
        assert (raised.value.host, raised.value.reason) == (server.host, "changed")
        assert raised.value.step == f"host key of jump host {server.host}"
    finally:
        server.run(f"ip addr del {INNER}/32 dev lo")


def test_a_jump_host_that_leads_nowhere(here: Laptop, server: Server) -> None:
    here.ssh_config.write_text(f"Host inner\n  HostName {INNER}\n  ProxyJump root@{server.host}\n")
    began = time.monotonic()
    with pytest.raises(ConnectionFailed, match="the jump host says") as raised:
        PodmanBackend(profile_for(server, remote_host="inner")).open(Steps())
    assert raised.value.exit_code == 4
    assert time.monotonic() - began < 20


def test_a_proxy_command_is_refused_and_not_run(here: Laptop, server: Server) -> None:
    mark = here.home / "it-ran"
    here.ssh_config.write_text(f"Host box\n  HostName {server.host}\n  ProxyCommand touch {mark}\n")
    with pytest.raises(ConnectionFailed, match="ProxyCommand"):
        PodmanBackend(profile_for(server, remote_host="box")).open(Steps())
    assert not mark.exists()


# How it ends


def test_a_server_that_falls_silent_is_noticed(here: Laptop, server: Server, image: str, make_sshd: MakeSSHD) -> None:
    frozen_sshd, dropped = make_sshd(2022), make_sshd(2023)
    for sshd in (frozen_sshd, dropped):
        trust(sshd)
    rule = "-p tcp --dport 2023 -j DROP"
    with (
        opened(profile_for(server)) as third,
        idle_container(third, image) as name,
        opened(profile_for(server, remote_port=2022)) as first,
        opened(profile_for(server, remote_port=2023)) as second,
        ThreadPoolExecutor(2) as pool,
    ):
        running = threading.Barrier(3)

        def tell(stream: StreamName, data: bytes) -> None:
            running.wait(30)

        def wait_for_the_end(backend: PodmanBackend) -> tuple[OutcomeUnknown, float]:
            with pytest.raises(OutcomeUnknown) as raised:
                backend.exec(name, ["sh", "-c", "echo running; sleep 600"], on_output=tell)
            return raised.value, time.monotonic()

        futures = [pool.submit(wait_for_the_end, backend) for backend in (first, second)]
        running.wait(30)
        frozen_sshd.signal("STOP")
        server.run(f"iptables -I INPUT {rule}")
        began = time.monotonic()
        try:
            for future in futures:
                error, ended = future.result(timeout=60)
                assert ended - began < 20
                assert server.host in error.message
            # and from now on nothing waits
            for backend in (first, second):
                asked = time.monotonic()
                with pytest.raises(ConnectionFailed):
                    backend.list({})
                with pytest.raises(ConnectionFailed):
                    backend.remove("l8s-test-nobody")  # nothing was sent, so nothing is unknown
                assert time.monotonic() - asked < 1
        finally:
            server.run(f"iptables -D INPUT {rule}")


def test_a_connection_that_is_closed_is_noticed_at_once(
    here: Laptop, server: Server, image: str, make_sshd: MakeSSHD
) -> None:
    sshd = make_sshd(2022)
    trust(sshd)
    with (
        opened(profile_for(server)) as other,
        idle_container(other, image) as name,
        opened(profile_for(server, remote_port=2022)) as backend,
    ):
        threading.Timer(1.0, sshd.signal, ("KILL",)).start()
        began = time.monotonic()
        with pytest.raises(OutcomeUnknown, match="l8s-test-"):
            backend.exec(name, ["sleep", "600"])
        assert time.monotonic() - began < 5


def test_many_lists_are_one_channel_and_leave_nothing(here: Laptop, server: Server) -> None:
    def files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    threads, open_files = threading.active_count(), files()
    with opened(profile_for(server)) as backend:
        for _ in range(25):
            backend.list({})
        assert backend.round_trips == 1 + 25
        assert files() <= open_files + 4
    assert settled(threading.active_count, threads) == threads
    assert settled(files, open_files) == open_files


def test_a_refused_connection_leaves_nothing(here: Laptop, server: Server) -> None:
    threads = threading.active_count()
    KnownHosts().forget(server.host)
    for _ in range(5):
        with pytest.raises(HostKeyRejected):
            PodmanBackend(profile_for(server)).open(Steps())
    assert settled(threading.active_count, threads) == threads


def test_commands_that_end_at_once_never_end_the_connection(here: Laptop, server: Server) -> None:
    """Both sides close such a command's channel at the same time."""
    link = Link(profile_for(server))
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        link.open(Steps())
        assert [link.run(["true"]).exit_code for _ in range(800)] == [0] * 800
    finally:
        for process in busy:
            process.kill()
            process.wait()
        link.close()


def test_an_agent_that_refuses_to_sign(here: Laptop, server: Server, run: Run) -> None:
    here.run("ssh-add", "-q", "-D")
    here.run("ssh-add", "-q", "-c", run.key_file)  # it would ask for a yes, and there is nobody to ask
    with pytest.raises(AgentUnavailable, match="did not sign") as caught:
        PodmanBackend(profile_for(server)).open(Steps())
    assert caught.value.exit_code == 6
    assert caught.value.step == "authentication"
