"""What is at the server's address is no SSH server, or the server's name leads nowhere: told within seconds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from battery import Battery, fault
from wire import PORT, NameServer, Talker

MEMORY = 128 * 1024**2
"""Bytes that a command may take for a server that talks and talks; one that goes well takes about half."""

LATE = "no banner of an SSH server within 3 s"
TALK: dict[str, tuple[Callable[[], Iterator[bytes]], float, str]] = {
    "silent": (lambda: iter(()), 0, LATE),
    "slow letters": (lambda: itertools.repeat(b"S"), 0.5, LATE),
    "slow lines": (lambda: itertools.repeat(b"wait a moment\r\n"), 1.0, LATE),
    "an endless line": (lambda: itertools.repeat(b"x" * 65536), 0, "no banner of an SSH server was among them"),
    "endless lines": (lambda: itertools.repeat(b"\x1b[31mand so on\r\n" * 4096), 0, "protocol version"),
}
"""What is said, with what pauses, and what l8s makes of it."""


@fault("banner: silent, slow, endless", points=list(TALK), quick=2)
def test_banner(battery: Battery, point: str) -> None:
    words, pause, said = TALK[point]
    talker = Talker(words(), pause)
    battery.laptop.configure(battery.server, remote_port=PORT)
    with talker.open(battery.server):
        ran = battery.l8s("list", codes=(4,), within=5.0)
    assert talker.accepted == 1
    assert ran.peak < MEMORY
    assert said in ran.text, ran.text
    battery.injected(f"{talker.said} bytes were said; it took {ran.seconds:.1f} s and {ran.peak // 1024**2} MiB")


NAME = "server.l8s-lab.test"


def by_name(battery: Battery) -> None:
    """Have the laptop know its server by `NAME`."""
    battery.laptop.configure(battery.server, remote_host=NAME)
    pins = battery.laptop.home / ".l8s" / "known_hosts"
    pins.write_text(f"{NAME} {battery.server.host_key.line}\n")


@fault("DNS: no such name, no answer", points=["NXDOMAIN", "hanging"], quick=1)
def test_no_address(battery: Battery, point: str) -> None:
    by_name(battery)
    resolver = NameServer([] if point == "NXDOMAIN" else None)
    program, *rest = resolver.used_by("l8s", "list", directory=battery.laptop.home)
    with resolver.open():
        ran = battery.finish(battery.start(*rest, program=program), codes=(4,), within=10.0)
    assert resolver.asked > 0
    assert ("has no address" if point == "NXDOMAIN" else "was not resolved within") in ran.text
    battery.injected(f"{resolver.asked} questions were asked")


REJECTIONS = {
    "silent": ("DROP",),
    "refusing": ("REJECT", "--reject-with", "tcp-reset"),
    "unreachable": ("REJECT", "--reject-with", "icmp-host-unreachable"),
}


@fault("DNS: the first address is dead, the second alive", points=list(REJECTIONS), quick=1)
def test_second_address(battery: Battery, point: str) -> None:
    by_name(battery)
    network, _, number = battery.server.host.rpartition(".")
    dead = f"{network}.{int(number) + 1}"
    rule = ["-d", dead, "-p", "tcp", "--dport", "22", "-j", *REJECTIONS[point]]
    resolver = NameServer([dead, battery.server.host])
    program, *rest = resolver.used_by("l8s", "list", directory=battery.laptop.home)
    battery.laptop.run("iptables", "-I", "OUTPUT", *rule)
    try:
        with resolver.open():
            battery.finish(battery.start(*rest, program=program), codes=(0,), within=15.0)
        shown = battery.laptop.run("iptables", "-nvxL", "OUTPUT").stdout.splitlines()
    finally:
        battery.laptop.run("iptables", "-D", "OUTPUT", *rule)
    packets = next(line.split()[0] for line in shown if dead in line.split())
    assert int(packets) > 0, "the dead address was never tried"
    battery.injected(f"{packets} packets to the dead address")
