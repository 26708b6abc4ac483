"""Addresses behind which the lab's servers are far away: a network namespace, and `bench.delay` listening in it.

l8s talks to no address of its own machine, and the namespace's addresses are none. Each link has an address of its own,
so that no kept connection of one delay serves another.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.delay import Link

CACHE = Path(os.environ.get("LAB_CACHE", "/var/cache/l8s-lab"))
NAME = "l8sbench-"
"""What the namespaces are called, before the pid of who made them."""

PORTS = (22, *range(2200, 2250))
"""sshd's, and those of containers."""


@contextmanager
def far(wanted: Mapping[str, tuple[str, float]]) -> Iterator[dict[str, str]]:
    """For each name the address that is a server (its address, a round trip in seconds) far away.

    Raises:
        RuntimeError: it could not be set up.
    """
    _sweep()
    name = f"{NAME}{os.getpid()}"
    interface = f"lb-{os.getpid()}"
    try:
        net = _connected(name, interface)
        addresses = {key: f"{net}.{number}" for number, key in enumerate(wanted, start=10)}
        for address in addresses.values():
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        links = [Link(addresses[key], *target) for key, target in wanted.items()]
        with _proxy(name, links):
            yield addresses
    finally:
        _gone(name, interface)


def _connected(name: str, interface: str) -> str:
    """Make the namespace and the interface to it; return the first three numbers of its net."""
    # the lab chooses its nets under this lock, from the low end, and passes over those that have a route
    with (CACHE / "nets.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        routes = _ip("route", "show")
        taken = {path.read_text().strip() for path in CACHE.glob("instance-*/net")}
        free = (f"10.213.{number}" for number in range(249, 60, -1))
        net = next(net for net in free if net not in taken and f"{net}.0/24" not in routes)
        _ip("netns", "add", name)
        _ip("link", "add", interface, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("addr", "add", f"{net}.1/24", "dev", interface)
        _ip("link", "set", interface, "up")
    _ip("-n", name, "link", "set", "eth0", "up")
    return net


@contextmanager
def _proxy(name: str, links: Sequence[Link]) -> Iterator[None]:
    argv = [sys.executable, "-m", "bench.delay", name, *map(str, links), "--", *map(str, PORTS)]
    # a session of its own: Ctrl-C is for the runs under way, and they end before their line does
    process = subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_root(), start_new_session=True
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"the delaying proxy did not start: exit code {process.wait()}")
        yield
    finally:
        process.stdin.close()
        process.wait(timeout=10)
        process.stdout.close()


def _root() -> Path:
    return Path(__file__).resolve().parents[1]


def _gone(name: str, interface: str) -> None:
    for argv in (["link", "del", interface], ["netns", "del", name]):
        subprocess.run(["ip", *argv], check=False, capture_output=True)


def _sweep() -> None:
    """Remove what a bench that was killed has left."""
    for path in Path("/run/netns").glob(f"{NAME}*"):
        pid = path.name.removeprefix(NAME)
        if not Path(f"/proc/{pid}").exists():
            _gone(path.name, f"lb-{pid}")


def _ip(*arguments: str) -> str:
    ran = subprocess.run(["ip", *arguments], check=False, capture_output=True, text=True)
    if ran.returncode != 0:
        raise RuntimeError(f"ip {' '.join(arguments)}: {ran.stderr.strip()}")
    return ran.stdout
