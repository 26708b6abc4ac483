"""The connection against real SSH servers on the loopback: strict about keys, and finished in time."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import paramiko
import pytest
from attrs import evolve
from loopback_server import LoopbackServer, exit_with, never, raw_server, settled

from l8s_core.errors import (
    AgentUnavailable,
    AuthenticationFailed,
    ConnectionFailed,
    HostKeyRejected,
    HostUnreachable,
)
from l8s_core.known_hosts import KnownHosts, parse_public_key
from l8s_core.model import Profile, PublicKey, Step
from l8s_core.steps import Steps
from l8s_podman import arrival, transport
from l8s_podman import link as module
from l8s_podman.link import Link
from l8s_podman.route import Hop

HOST = "box.example"
PROFILE = Profile(name="dev", remote_host=HOST, remote_user="root")


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[PublicKey]]]:
    """The socket of an ssh-agent, and the two keys in it."""
    directory = tmp_path_factory.mktemp("agent")
    path = directory / "socket"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    try:
        assert settled(path.is_socket)
        keys = []
        for name in ("one", "two"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
            subprocess.run(
                ["ssh-add", "-q", directory / name],
                check=True,
                env={**os.environ, "SSH_AUTH_SOCK": str(path)},
            )
            keys.append(parse_public_key((directory / f"{name}.pub").read_text()))
        yield str(path), keys
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def keys(agent: tuple[str, list[PublicKey]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[PublicKey]:
    """The agent's keys; the second one is the profile's."""
    path, keys = agent
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSH_AUTH_SOCK", path)
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_ed25519.pub").write_text(keys[1].line + "\n")
    return keys


@pytest.fixture
def make_server(keys: list[PublicKey]) -> Iterator[Callable[..., LoopbackServer]]:
    servers: list[LoopbackServer] = []

    def make(**options: object) -> LoopbackServer:
        servers.append(LoopbackServer(**{"accepts": keys[1], **options}))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def lead_to(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Makes the profile lead to a port of the loopback, as if it had been judged; its name in known_hosts."""

    def lead(port: int, *addresses: str) -> str:
        hop = Hop(user="root", host=HOST, port=port, addresses=addresses or ("127.0.0.1",))
        monkeypatch.setattr(arrival, "find_route", lambda profile: (hop,))
        return f"[{HOST}]:{port}"

    return lead


def test_the_pinned_key_and_the_profiles_own_key_open_it(
    keys: list[PublicKey], make_server: Callable[..., LoopbackServer], lead_to: Callable[..., str]
) -> None:
    server = make_server()
    KnownHosts().pin(lead_to(server.port), [server.public_key])
    seen: list[Step] = []
    with closing(Link(PROFILE)) as link:
        endpoint = link.open(Steps(seen.append))
        assert not link.dead
    assert link.dead
    assert (endpoint.user, endpoint.host, endpoint.port) == ("root", HOST, server.port)
    assert (endpoint.address, endpoint.jump) == ("127.0.0.1", "")
    done = {step.name: step.detail for step in seen if step.state == "done"}
    assert list(done) == ["address", "agent", "TCP", "host key", "authentication"]
    assert done["agent"] == f"ssh-ed25519 {keys[1].fingerprint}"
    assert done["host key"] == server.public_key.fingerprint
    assert server.offered  # paramiko asks first, then signs
    assert set(server.offered) == {keys[1].base64}


def test_a_connection_that_ends_in_the_login_says_nothing_about_the_key(
    keys: list[PublicKey],
    make_server: Callable[..., LoopbackServer],
    lead_to: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = make_server(accepts=keys[1])

    def hang_up(self: LoopbackServer, username: str, key: paramiko.PKey) -> int:
        self.close()
        return paramiko.AUTH_SUCCESSFUL

    monkeypatch.setattr(LoopbackServer, "check_auth_publickey", hang_up)
    KnownHosts().pin(lead_to(server.port), [server.public_key])
    with pytest.raises(HostUnreachable, match="the connection ended in the login") as raised:
        Link(PROFILE).open(Steps())
    assert raised.value.step == "authentication"


def test_a_server_that_falls_silent_in_the_login_is_given_up(
    keys: list[PublicKey],
    make_server: Callable[..., LoopbackServer],
    lead_to: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, ended = make_server(accepts=keys[1]), threading.Event()

    def fall_silent(self: LoopbackServer, username: str, key: paramiko.PKey) -> int:
        ended.wait(20)
        return paramiko.AUTH_SUCCESSFUL

    monkeypatch.setattr(LoopbackServer, "check_auth_publickey", fall_silent)
    monkeypatch.setattr(transport, "DEAD_AFTER", 1.0)
    KnownHosts().pin(lead_to(server.port), [server.public_key])
    began = time.monotonic()
    try:
        with pytest.raises(HostUnreachable, match="the server stopped answering in the login"):
            Link(PROFILE).open(Steps())
    finally:
        ended.set()
    assert time.monotonic() - began < 10


def test_a_refused_key_is_not_followed_by_another_one(
    keys: list[PublicKey], make_server: Callable[..., LoopbackServer], lead_to: Callable[..., str]
) -> None:
    server = make_server(accepts=keys[0])
    KnownHosts().pin(lead_to(server.port), [server.public_key])
    with pytest.raises(AuthenticationFailed, match="did not accept the key") as raised:
        Link(PROFILE).open(Steps())
    assert set(server.offered) == {keys[1].base64}
    assert raised.value.step == "authentication"
    assert raised.value.exit_code == 6


def test_an_unknown_server_is_told_nothing(
    make_server: Callable[..., LoopbackServer], lead_to: Callable[..., str]
) -> None:
    server = make_server()
    name = lead_to(server.port)
    with pytest.raises(HostKeyRejected) as raised:
        Link(PROFILE).open(Steps())
    error = raised.value
    assert (error.reason, error.host, error.step, error.exit_code) == ("unknown", name, "host key", 5)
    assert PublicKey(error.key_type, error.key_base64) == server.public_key
    assert server.public_key.fingerprint in error.message
    assert server.offered == []
    assert KnownHosts().keys(name) == ()


def test_a_changed_key_is_told_nothing(make_server: Callable[..., LoopbackServer], lead_to: Callable[..., str]) -> None:
    server, other = make_server(), make_server()
    KnownHosts().pin(lead_to(server.port), [other.public_key])
    with pytest.raises(HostKeyRejected) as raised:
        Link(PROFILE).open(Steps())
    error = raised.value
    assert (error.reason, error.expected) == ("changed", (other.public_key.fingerprint,))
    assert server.public_key.fingerprint in error.message
    assert server.offered == []
    assert KnownHosts().keys(error.host) == (other.public_key,)


def test_a_key_of_another_kind_than_the_pinned_one_is_no_warrant(
    keys: list[PublicKey], make_server: Callable[..., LoopbackServer], lead_to: Callable[..., str]
) -> None:
    server = make_server()
    KnownHosts().pin(lead_to(server.port), [keys[0]])  # ed25519 is trusted, ECDSA is offered
    with pytest.raises(ConnectionFailed):
        Link(PROFILE).open(Steps())
    assert server.offered == []


def test_the_key_of_another_port_is_no_warrant(
    make_server: Callable[..., LoopbackServer], lead_to: Callable[..., str]
) -> None:
    server = make_server()
    lead_to(server.port)
    KnownHosts().pin(HOST, [server.public_key])
    with pytest.raises(HostKeyRejected, match="not known yet"):
        Link(PROFILE).open(Steps())
    assert server.offered == []


def test_a_key_that_left_the_agent(
    keys: list[PublicKey],
    make_server: Callable[..., LoopbackServer],
    lead_to: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lead_to(make_server().port)
    gone = evolve(keys[0], base64="AAAA" + keys[0].base64[4:-8] + "AAAAAAAA")
    monkeypatch.setattr(arrival.agent, "select_key", lambda profile: gone)
    with pytest.raises(AgentUnavailable, match="no longer holds"):
        Link(PROFILE).open(Steps())


# Servers that are none


HOSTILE = b"\x1b]0;owned\x07\x1b[2J"


@pytest.mark.parametrize(
    "talk",
    [
        HOSTILE + b"\r\n" + HOSTILE + b"\r\nHTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-1.5-" + HOSTILE + b"\r\n",
        b"SSH-2.0-" + HOSTILE + b"\r\n" + HOSTILE * 100,
        b"\xff\xfe\x00" * 50 + b"\r\n",
        b"",
    ],
    ids=["http", "ssh1", "not a packet", "binary", "nothing"],
)
@pytest.mark.usefixtures("keys")
def test_what_is_no_ssh_server_prints_nothing(
    lead_to: Callable[..., str], talk: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    def say(connection: socket.socket) -> None:
        connection.sendall(talk)
        connection.shutdown(socket.SHUT_WR)

    with raw_server(say) as port:
        lead_to(port)
        with pytest.raises(HostUnreachable) as raised:
            Link(PROFILE).open(Steps())
    assert capfd.readouterr() == ("", "")
    assert raised.value.message.startswith("Cannot establish SSH connection to server.")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", raised.value.message)


@pytest.mark.usefixtures("keys")
def test_a_server_that_says_nothing_is_given_up(lead_to: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BANNER_TIMEOUT", 0.3)
    threads = threading.active_count()
    with raw_server(lambda connection: None) as port:
        lead_to(port)
        began = time.monotonic()
        with pytest.raises(HostUnreachable):
            Link(PROFILE).open(Steps())
        assert time.monotonic() - began < 3
    assert settled(lambda: threading.active_count() <= threads)


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(
    ("word", "pause", "complaint"),
    [
        (b"S", 0.05, "within 0.5 s"),
        (b"one moment\r\n", 0.05, "within 0.5 s"),
        (b"x" * 4096, 0.0, "bytes, and no banner"),
    ],
    ids=["slow letters", "slow lines", "an endless line"],
)
def test_a_server_that_never_comes_to_the_point_is_given_up(
    lead_to: Callable[..., str], monkeypatch: pytest.MonkeyPatch, word: bytes, pause: float, complaint: str
) -> None:
    monkeypatch.setattr(module, "BANNER_TIMEOUT", 0.5)
    said = 0

    def talk(connection: socket.socket) -> None:
        nonlocal said
        with suppress(OSError):  # until it is hung up on
            while said < 64 * 1024 * 1024:
                connection.sendall(word)
                said += len(word)
                time.sleep(pause)

    with raw_server(talk) as port:
        lead_to(port)
        began = time.monotonic()
        with pytest.raises(HostUnreachable, match=complaint):
            Link(PROFILE).open(Steps())
        assert time.monotonic() - began < 3
    assert said < 64 * 1024 * 1024


@pytest.mark.usefixtures("keys")
def test_a_server_that_stops_in_the_key_exchange_is_given_up(
    lead_to: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HANDSHAKE_TIMEOUT", 1.0)  # Fabric counts in whole seconds
    with raw_server(lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")) as port:
        lead_to(port)
        began = time.monotonic()
        with pytest.raises(HostUnreachable):
            Link(PROFILE).open(Steps())
        assert time.monotonic() - began < 5


@pytest.mark.usefixtures("keys")
def test_every_address_is_tried_and_each_failure_told(lead_to: Callable[..., str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    lead_to(port, "127.0.0.1", "127.0.0.2")
    with pytest.raises(HostUnreachable) as raised:
        Link(PROFILE).open(Steps())
    assert "127.0.0.1: Connection refused; 127.0.0.2: Connection refused" in raised.value.message
    assert raised.value.step == "TCP"


def test_the_next_address_is_used(make_server: Callable[..., LoopbackServer], lead_to: Callable[..., str]) -> None:
    server = make_server()
    KnownHosts().pin(lead_to(server.port, "127.0.0.3", "127.0.0.1"), [server.public_key])
    with closing(Link(PROFILE)) as link:
        assert link.open(Steps()).address == "127.0.0.1"


@pytest.mark.usefixtures("keys")
def test_a_name_without_address_is_the_seeds_second_scenario(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(profile: Profile) -> None:
        raise HostUnreachable("The name box.example has no address.")

    monkeypatch.setattr(arrival, "find_route", fail)
    with pytest.raises(HostUnreachable, match=r"Failed to connect to: root@box\.example") as raised:
        Link(PROFILE).open(Steps())
    assert raised.value.step == "address"


# Commands


@pytest.fixture
def open_link(
    make_server: Callable[..., LoopbackServer], lead_to: Callable[..., str]
) -> Iterator[Callable[..., tuple[Link, LoopbackServer]]]:
    links: list[Link] = []

    def make(answer: object) -> tuple[Link, LoopbackServer]:
        server = make_server(answer=answer)
        KnownHosts().pin(lead_to(server.port), [server.public_key])
        links.append(Link(PROFILE))
        links[-1].open(Steps())
        return links[-1], server

    yield make
    for link in links:
        link.close()


OpenLink = Callable[..., tuple[Link, LoopbackServer]]


def test_a_command_runs_word_for_word(open_link: OpenLink) -> None:
    link, server = open_link(exit_with(3, b"out" * 1000, b"err" * 1000))
    ran = link.run(["printf", "a b", "$(id)", "'"])
    assert (ran.exit_code, ran.stdout, ran.stderr) == (3, b"out" * 1000, b"err" * 1000)
    assert server.commands == ["""printf 'a b' '$(id)' ''"'"''"""]


def test_output_beyond_the_limit_is_dropped(open_link: OpenLink) -> None:
    link, _ = open_link(exit_with(0, b"x" * 500_000))
    assert link.run(["yes"], limit=1000).stdout == b"x" * 1000


def test_a_command_that_does_not_end_is_given_up(open_link: OpenLink) -> None:
    link, _ = open_link(never)
    began = time.monotonic()
    with pytest.raises(ConnectionFailed, match="no answer in time"):
        link.run(["sleep", "600"], timeout=0.5)
    assert time.monotonic() - began < 3


def test_a_connection_that_ends_in_a_command_is_an_error(open_link: OpenLink) -> None:
    link, server = open_link(lambda channel, command: server_of[0].close())
    server_of = [server]
    with pytest.raises(ConnectionFailed, match="was lost"):
        link.run(["true"])
    assert settled(lambda: link.dead)
    with pytest.raises(ConnectionFailed, match="is closed"):
        link.run(["true"])


def test_closing_leaves_no_thread(make_server: Callable[..., LoopbackServer], lead_to: Callable[..., str]) -> None:
    def ours() -> set[str]:
        return {thread.name for thread in threading.enumerate() if thread.name.startswith("l8s-")}

    server = make_server()
    KnownHosts().pin(lead_to(server.port), [server.public_key])
    link = Link(PROFILE)
    link.open(Steps())
    assert ours()
    link.close()
    link.close()
    assert settled(lambda: not ours()), ours()
