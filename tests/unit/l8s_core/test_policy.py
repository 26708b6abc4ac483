"""The remote-only rule: spellings, addresses, this machine's own ones, and the proof on the machine itself."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve

from l8s_core import policy
from l8s_core.errors import REMOTE_ONLY_NOTE, HostUnreachable, RemoteOnlyError
from l8s_core.model import MachineIdentity
from l8s_core.policy import LocalMachine

OWN = ("laptop", "laptop.example.com", "laptop.local")

LOCAL_SPELLINGS = [
    "",
    ".",
    "[]",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "LocalHost.",
    " localhost ",
    "foo.localhost",
    "a.b.LocalHost.",
    "localhost.localdomain",
    "localhost4",
    "localhost6.localdomain6",
    "ip6-localhost",
    "ip6-loopback",
    "loopback",
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.255.255.254",
    "0177.0.0.1",
    "0177.1",
    "0x7f.1",
    "0x7f000001",
    "0X7F000001",
    "2130706433",
    "017700000001",
    "0",
    "0.0.0.0",
    "0.1.2.3",
    "0x0",
    "::",
    "::1",
    "[::1]",
    "[::]",
    "::1%lo",
    "0:0:0:0:0:0:0:1",
    "0000:0000:0000:0000:0000:0000:0000:0001",
    "::ffff:127.0.0.1",
    "::FFFF:7F00:1",
    "[::ffff:7f00:1]",
    "::ffff:0.0.0.0",
    "::127.0.0.1",
    "::7f00:1",
    "2002:7f00:1::",
    "2002:7f00:0001::1",
    "64:ff9b::7f00:1",
    "64:ff9b::127.0.0.1",
    "224.0.0.1",
    "ff02::1",
    "laptop",
    "Laptop.",
    "laptop.local",
    "LAPTOP.example.com",
]

REMOTE_SPELLINGS = [
    "8.8.8.8",
    "10.0.0.5",
    "10.1",
    "0x08080808",
    "172.16.3.4",
    "192.168.1.10",
    "100.64.0.1",
    "169.254.10.1",
    "2001:db8::1",
    "[2001:db8::1]",
    "fd00::1",
    "fe80::1",
    "fe80::1%eth0",
    "::ffff:10.0.0.5",
    "::10.0.0.5",
    "2002:0a00:0005::1",
    "64:ff9b::808:808",
    "example.com",
    "example.com.",
    "127.example.com",
    "localhost.example.com",
    "notlocalhost",
    "mylocalhost",
    "laptop2",
    "laptop.example.org",
    "128.0.0.1",
    "126.255.255.255",
]


@pytest.mark.parametrize("host", LOCAL_SPELLINGS)
def test_every_spelling_of_this_machine_is_refused(host: str) -> None:
    assert policy.local_name_reason(host, OWN)
    with pytest.raises(RemoteOnlyError) as caught:
        policy.refuse_local_name(host, own_names=OWN, origin="$.profiles['dev'].remote_host")
    assert caught.value.exit_code == 3
    assert REMOTE_ONLY_NOTE in caught.value.message
    assert "$.profiles['dev'].remote_host" in caught.value.message


@pytest.mark.parametrize("host", REMOTE_SPELLINGS)
def test_other_machines_are_accepted(host: str) -> None:
    assert policy.local_name_reason(host, OWN) is None
    policy.refuse_local_name(host, own_names=OWN)


def test_without_names_this_machines_own_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Box.Example.COM.")
    assert policy.this_machines_names() == {"box.example.com", "box", "box.local", "box.localdomain"}
    for host in ("box", "BOX.local", "box.example.com."):
        with pytest.raises(RemoteOnlyError, match="own name"):
            policy.refuse_local_name(host)
    policy.refuse_local_name("box.example.org")


def test_a_machine_without_a_name_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "")
    assert policy.this_machines_names() == frozenset()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.1", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("10.1.2", "10.1.0.2"),
        ("::ffff:7f00:1", "::ffff:127.0.0.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("example.com", None),
        ("", None),
        ("1.2.3.4.5", None),
        ("\uff11\uff12\uff17.0.0.1", None),
    ],
)
def test_addresses_are_read_as_connect_would_read_them(text: str, expected: str | None) -> None:
    assert policy.parse_address(text) == (None if expected is None else ipaddress.ip_address(expected))


# Addresses


def test_addresses_of_other_machines_are_returned_in_their_order() -> None:
    addresses = ("2001:db8::2", "192.0.2.7", "198.51.100.1")
    assert policy.checked_addresses("build", addresses, is_own=lambda text: False) == addresses


@pytest.mark.parametrize("local", ["127.0.0.1", "::1", "0.0.0.0", "::ffff:127.0.0.1", "fe80::1%lo", "192.0.2.9"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_local_address_among_several_is_enough(local: str, place: int) -> None:
    addresses = ["192.0.2.7", "2001:db8::2"]
    addresses.insert(place, local)
    own = {"192.0.2.9", "fe80::1%lo"}
    with pytest.raises(RemoteOnlyError) as caught:
        policy.checked_addresses("build", addresses, is_own=own.__contains__, origin="ssh alias")
    assert "ssh alias: build" in caught.value.message


def test_the_machines_own_interfaces_are_found_out() -> None:
    assert policy.is_own_address("127.0.0.1")
    for address in _own_addresses():
        assert policy.is_own_address(address), address
        with pytest.raises(RemoteOnlyError, match="not remote"):
            policy.checked_addresses("build", [address])


def test_addresses_that_are_nobodys_are_not_own() -> None:
    for address in ("192.0.2.1", "198.51.100.77", "2001:db8::77", "not an address"):
        assert not policy.is_own_address(address)


def _own_addresses() -> list[str]:
    """What this machine's routing table says it would send from; empty on a machine without a network."""
    found = []
    for family, target in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((target, 9))
                found.append(str(probe.getsockname()[0]))
        except OSError:
            continue
    return found


# Resolving


def test_an_address_resolves_to_itself_once() -> None:
    assert policy.resolve("192.0.2.1", 22) == ("192.0.2.1",)


def test_each_address_is_named_once_in_the_resolvers_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(host: str, port: int, **settings: object) -> list[tuple[object, ...]]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in ("192.0.2.2", "192.0.2.1", "192.0.2.2")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    assert policy.resolve("build.example.com", 22) == ("192.0.2.2", "192.0.2.1")


def test_a_link_local_address_keeps_its_zone() -> None:
    (address,) = policy.resolve("fe80::1%1", 22)
    assert address == "fe80::1%1"
    assert policy.parse_address(address) == policy.parse_address("fe80::1")


@pytest.mark.parametrize(
    "error", [socket.gaierror(socket.EAI_NONAME, "Name or service not known"), UnicodeError("label too long")]
)
def test_a_name_without_an_address_is_unreachable(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(*arguments: object, **settings: object) -> None:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(HostUnreachable, match=r"nowhere\.example has no address") as caught:
        policy.resolve("nowhere.example", 22)
    assert any("getent hosts nowhere.example" in hint for hint in caught.value.hints)


def test_a_resolver_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def hang(*arguments: object, **settings: object) -> list[object]:
        release.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    start = time.monotonic()
    try:
        with pytest.raises(HostUnreachable, match=r"not resolved within 0\.1 s"):
            policy.resolve("slow.example.com", 22, timeout=0.1)
    finally:
        release.set()
    assert time.monotonic() - start < 2


# The machine

HERE = LocalMachine(boot_id="0a1b", kernel="6.12.1 #1 SMP", machine_id="feed")
ELSEWHERE = MachineIdentity(
    boot_id="9f8e", kernel="6.1.0 #2 SMP", process_start=500.0, machine_id="beef", sent=1000.0, received=1000.2
)
CONTAINER_HERE = evolve(ELSEWHERE, kernel=HERE.kernel, process_start=1000.1)


def _reader(*identities: MachineIdentity) -> tuple[Callable[[], MachineIdentity], list[MachineIdentity]]:
    """Something that reads ``identities``, one after another, and what it has read."""
    rest: Iterator[MachineIdentity] = iter(identities)
    seen: list[MachineIdentity] = []

    def read() -> MachineIdentity:
        identity = next(rest)
        seen.append(identity)
        return identity

    return read, seen


def test_the_same_boot_id_is_the_same_machine() -> None:
    reason = policy.same_machine_reason(HERE, evolve(ELSEWHERE, boot_id=HERE.boot_id))
    assert reason is not None
    assert "boot id" in reason


@pytest.mark.parametrize("start", [1000.0 - 0.049, 1000.0, 1000.1, 1000.2, 1000.2 + 0.049])
def test_the_same_kernel_booted_at_the_same_moment_is_the_same_machine(start: float) -> None:
    assert policy.same_machine_reason(HERE, evolve(CONTAINER_HERE, process_start=start)) is not None


@pytest.mark.parametrize("start", [0.0, 999.9, 1000.0 - 0.06, 1000.2 + 0.06, 5000.0, None])
def test_the_same_kernel_booted_at_another_moment_is_another_machine(start: float | None) -> None:
    assert policy.same_machine_reason(HERE, evolve(CONTAINER_HERE, process_start=start)) is None


def test_another_kernel_is_another_machine_whatever_its_clock_says() -> None:
    assert policy.same_machine_reason(HERE, evolve(CONTAINER_HERE, kernel="6.12.1 #2 SMP")) is None


@pytest.mark.parametrize(
    ("identity", "what"),
    [
        (evolve(ELSEWHERE, boot_id=""), "boot id"),
        (evolve(ELSEWHERE, kernel=""), "kernel version"),
        (evolve(ELSEWHERE, process_start=None), "boot clock"),
    ],
)
def test_what_cannot_be_read_is_refused(identity: MachineIdentity, what: str) -> None:
    read, _ = _reader(identity)
    with pytest.raises(RemoteOnlyError, match=what) as caught:
        policy.prove_remote(read, local=HERE, where="build.example.com")
    assert "build.example.com" in caught.value.message
    assert caught.value.hints


def test_another_machine_is_read_once() -> None:
    read, seen = _reader(ELSEWHERE, ELSEWHERE)
    proof = policy.prove_remote(read, local=HERE)
    assert len(seen) == 1
    assert proof.detail == "another kernel"
    assert proof.warnings == ()


def test_another_boot_of_the_same_kernel_is_said_to_be_one() -> None:
    read, _ = _reader(evolve(CONTAINER_HERE, process_start=3.0))
    assert policy.prove_remote(read, local=HERE).detail == "another boot of the same kernel version"


@pytest.mark.parametrize("suspect", [CONTAINER_HERE, evolve(ELSEWHERE, boot_id=HERE.boot_id)])
def test_a_suspicion_is_confirmed_by_a_second_reading(suspect: MachineIdentity) -> None:
    read, seen = _reader(suspect, suspect)
    with pytest.raises(RemoteOnlyError, match="is this one") as caught:
        policy.prove_remote(read, local=HERE, where="build.example.com")
    assert len(seen) == 2
    assert REMOTE_ONLY_NOTE in caught.value.message


def test_a_coincidence_does_not_happen_twice() -> None:
    read, seen = _reader(CONTAINER_HERE, evolve(CONTAINER_HERE, sent=1001.0, received=1001.2, process_start=1009.0))
    assert policy.prove_remote(read, local=HERE).warnings == ()
    assert len(seen) == 2


def test_a_second_reading_that_fails_confirms_nothing_and_is_refused() -> None:
    read, _ = _reader(CONTAINER_HERE, evolve(CONTAINER_HERE, process_start=None))
    with pytest.raises(RemoteOnlyError, match="boot clock"):
        policy.prove_remote(read, local=HERE)


def test_an_equal_machine_id_alone_warns() -> None:
    read, seen = _reader(evolve(ELSEWHERE, machine_id=HERE.machine_id))
    proof = policy.prove_remote(read, local=HERE, where="build.example.com")
    assert len(seen) == 1
    assert len(proof.warnings) == 1
    assert "build.example.com has the same /etc/machine-id" in proof.warnings[0]


def test_two_machines_without_a_machine_id_do_not_warn() -> None:
    read, _ = _reader(evolve(ELSEWHERE, machine_id=""))
    assert policy.prove_remote(read, local=evolve(HERE, machine_id="")).warnings == ()


def test_elsewhere_than_linux_the_address_rules_alone_apply() -> None:
    read, seen = _reader()
    assert "not Linux" in policy.prove_remote(read, local=None).detail
    assert seen == []


def test_this_very_machine_refuses_itself() -> None:
    """With the real boot id, kernel and boot clock of wherever the tests run."""
    local = policy.this_machine()
    if local is None:
        assert policy.sys.platform != "linux"
        return

    def read() -> MachineIdentity:
        sent = policy.boot_clock()
        process_start = _fresh_process_start()
        return MachineIdentity(
            boot_id="another", kernel=local.kernel, process_start=process_start, machine_id="", sent=sent,
            received=policy.boot_clock(),
        )  # fmt: skip

    with pytest.raises(RemoteOnlyError, match="booted at the same moment"):
        policy.prove_remote(read, local=local)


def _fresh_process_start() -> float:
    import os
    import subprocess

    stat = subprocess.run(["cat", "/proc/self/stat"], capture_output=True, check=True).stdout
    return int(stat.rpartition(b")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")


def test_a_linux_that_cannot_tell_its_own_boot_id_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(path: Path, *arguments: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(policy.sys, "platform", "linux")
    monkeypatch.setattr(Path, "read_text", unreadable)
    with pytest.raises(RemoteOnlyError, match="boot_id: Permission denied"):
        policy.this_machine()


def test_another_system_has_no_kernel_to_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy.sys, "platform", "darwin")
    assert policy.this_machine() is None
