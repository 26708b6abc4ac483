"""How often a command waits for the server: each has a budget, over a connection that is kept open."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from lab import Laptop, Server

ATTEMPTS = 5
"""How often a command is tried: one that comes right after another may find no channel that was opened ahead."""

IDLE = 18.0
"""Seconds: more than the ten after which the service closes a connection, and the five after which it then ends."""

BUDGETS = {
    "list": 1,
    "info": 1,
    "exec": 4,
    "stop": 3,
    "start": 5,
    "create": 11,
    "rm": 3,
}
"""Round trips, without those of requests that are made beside others.

exec: the container, the command, its output, its exit code. start: the container, the start, and the command that waits
for sshd. create: the name, the volume that reserves it, the ports (of containers; and of listeners, by a command, which
are two), the container, one upload, its start, and one command. rm: the container, its end, and a volume."""

ARGUMENTS = {
    "list": (),
    "info": ("x",),
    "exec": ("x", "--", "true"),
    "stop": ("x",),
    "start": ("x",),
    "create": ("x",),
    "rm": ("x", "--yes"),
}

BEFORE = {"stop": ("start", "x"), "start": ("stop", "x"), "create": ("rm", "x", "--yes"), "rm": ("create", "x")}
"""What makes it possible again."""


def round_trips(laptop: Laptop, command: str) -> int:
    told = laptop.l8s("-v", command, *ARGUMENTS[command]).stderr
    found = re.search(r"^(\d+) round trips? to the server$", told, re.M)
    assert found is not None, told
    return int(found[1])


@pytest.fixture
def connected(laptop: Laptop, server: Server, image: str) -> Iterator[Laptop]:
    """A laptop with a container ``x``, and a connection that is kept."""
    del image
    laptop.configure(server)
    laptop.l8s("create", "x")
    yield laptop
    server.clear()


@pytest.mark.parametrize("command", BUDGETS)
def test_a_command_keeps_to_its_budget(connected: Laptop, command: str) -> None:
    needed = []
    for _ in range(ATTEMPTS):
        if command in BEFORE:
            connected.l8s(*BEFORE[command], check=False)  # of "rm" it is so the first time
        needed.append(round_trips(connected, command))
        if needed[-1] <= BUDGETS[command]:
            break
    # exactly: a budget that is larger than what is needed holds nothing
    assert min(needed) == BUDGETS[command], needed


def test_a_command_that_comes_later_costs_no_more(connected: Laptop, server: Server) -> None:
    """Podman's service ends after fifteen seconds without requests, and with it whatever was opened ahead."""

    def service() -> int:
        return int(server.run("systemctl show -P MainPID podman.service").stdout)

    round_trips(connected, "list")
    before = service()
    assert before > 0
    time.sleep(IDLE)
    assert service() == before
    assert round_trips(connected, "list") == 1
    connected.l8s("disconnect")
    deadline = time.monotonic() + 60
    while service() != 0:
        assert time.monotonic() < deadline, "the service is kept up although nobody is connected"
        time.sleep(0.5)


def test_a_list_of_many_is_one_request(connected: Laptop) -> None:
    for name in ("y", "z"):
        connected.l8s("create", name)
    needed = [round_trips(connected, "list") for _ in range(ATTEMPTS)]
    assert min(needed) == 1, needed
