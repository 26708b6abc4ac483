"""The process that keeps the connection is killed, frozen, outdated, cut off: every command ends right, or says why."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest
from backends import at_laptop
from battery import Battery, crowd, fault, full
from installation import CURRENT, NEXT, Installation
from lab import Run
from test_link_faults import DEADLINE, black_hole

from l8s_core.multiplex import starting
from l8s_core.multiplex.place import all_places

TIMES = list(range(50))


def holder(battery: Battery) -> int:
    """The process that keeps this laptop's connection: there is never a second one."""
    deadline = time.monotonic() + 10
    while len(found := battery.laptop.holders()) != 1:  # between its fork and its exec, a child looks the same
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found[0]


def warm(battery: Battery) -> int:
    """See to it that there is one."""
    battery.l8s("list")
    return holder(battery)


@fault("kept connection: its process killed, between commands", points=TIMES, quick=1)
def test_killed(battery: Battery, point: int) -> None:
    pid = warm(battery)
    os.kill(pid, signal.SIGKILL)
    battery.injected(f"killed process {pid}, and its socket stayed")
    battery.l8s("list")
    assert holder(battery) != pid


@fault("kept connection: its process killed, in the middle of a command", points=TIMES, quick=1)
def test_killed_in_a_call(battery: Battery, point: int) -> None:
    battery.l8s("create", "x")
    battery.containers = {"x"}
    running = battery.start("exec", "x", "--", "sh", "-c", "echo begun; sleep 60")
    running.wait_for(b"begun\n")
    pid = holder(battery)
    os.kill(pid, signal.SIGKILL)
    ran = battery.finish(running, codes=(10,), within=time.monotonic() - running.began + 5)
    assert "went away" in ran.text
    battery.injected(f"killed process {pid}; the command said {ran.code}")
    battery.l8s("exec", "x", "--", "true")


@fault("kept connection: its process killed, in the middle of a create", points=TIMES, quick=1)
def test_killed_in_a_create(battery: Battery, point: int) -> None:
    running = battery.start("-v", "create", "x")
    running.wait_for(("volumes", "container", "upload", "start", "provision")[point % 5].encode())
    pid = holder(battery)
    os.kill(pid, signal.SIGKILL)
    ran = battery.finish(running, codes=(0, 4, 10), timeout=60)
    battery.injected(f"killed process {pid}; the command said {ran.code}")
    if ran.code != 0:
        battery.l8s("create", "x")
    battery.containers = {"x"}
    battery.laptop.ssh("dev-x", "true")


@fault("kept connection: its process frozen, between commands", points=TIMES, quick=1)
def test_frozen(battery: Battery, point: int) -> None:
    pid = warm(battery)
    os.kill(pid, signal.SIGSTOP)
    battery.injected(f"stopped process {pid}")
    battery.l8s("list", within=DEADLINE)
    assert holder(battery) != pid


@fault("kept connection: its process frozen, in the middle of a command", points=TIMES, quick=1)
def test_frozen_in_a_call(battery: Battery, point: int) -> None:
    battery.l8s("create", "x")
    battery.containers = {"x"}
    running = battery.start("exec", "x", "--", "sh", "-c", "echo begun; sleep 600")
    running.wait_for(b"begun\n")
    pid = holder(battery)
    os.kill(pid, signal.SIGSTOP)
    battery.injected(f"stopped process {pid}")
    battery.finish(running, codes=(10,), within=time.monotonic() - running.began + DEADLINE)
    battery.l8s("exec", "x", "--", "true", within=DEADLINE)
    assert holder(battery) != pid


def other_plugins(battery: Battery) -> None:
    """What is loaded is not what it was."""
    battery.laptop.env["L8S_BLOCK_PLUGINS"] = "none-of-that-name"


def trusted_anew(battery: Battery) -> None:
    """The pinned keys of servers are others."""
    pins = battery.laptop.home / ".l8s" / "known_hosts"
    pins.write_text(f"{pins.read_text()}another.example.com {battery.server.host_key.line}\n")


def another_key(battery: Battery) -> None:
    """The profile's key has another comment."""
    path = battery.laptop.home / ".ssh" / "id_ed25519.pub"
    path.write_text(" ".join(path.read_text().split()[:2]) + " renamed\n")


CHANGES: dict[str, Callable[[Battery], None]] = {
    "other plugins": other_plugins,
    "other trusted keys": trusted_anew,
    "another key": another_key,
}


@fault("kept connection: what it depends on has changed", points=list(CHANGES), quick=1)
def test_outdated(battery: Battery, point: str) -> None:
    pid = warm(battery)
    CHANGES[point](battery)
    battery.injected(f"process {pid} was made by another state of things")
    battery.l8s("list")
    deadline = time.monotonic() + 10
    while pid in battery.laptop.holders():
        assert time.monotonic() < deadline, "the outdated one stays"
        time.sleep(0.05)
    assert holder(battery) != pid


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """One for all that replace it in turn."""
    made = Installation(tmp_path_factory.mktemp("installed"))
    made.install(CURRENT)
    return made


@fault("kept connection: l8s is upgraded, or downgraded", points=TIMES, quick=1)
def test_upgraded(battery: Battery, installation: Installation, point: int) -> None:
    old = installation.version
    new = NEXT if old == CURRENT else CURRENT
    battery.laptop.env["PATH"] = f"{installation.programs}{os.pathsep}{battery.laptop.env['PATH']}"
    pid = warm(battery)
    assert version_of_holder(battery) == old
    running = None
    if point % 2:
        battery.l8s("create", "x")
        battery.containers = {"x"}
        script = "echo begun; until test -e /tmp/go; do sleep 0.1; done; echo ended"
        running = battery.start("exec", "x", "--", "sh", "-c", script)
        running.wait_for(b"begun\n")
        assert holder(battery) == pid

    installation.install(new)
    battery.injected(f"process {pid} is one of {old}, what is installed is {new}")
    battery.l8s("list")
    if running is not None:
        battery.l8s("exec", "x", "--", "touch", "/tmp/go")
        assert battery.finish(running, codes=(0,), timeout=30).stdout == b"begun\nended\n"
    deadline = time.monotonic() + 10
    while pid in battery.laptop.holders():
        assert time.monotonic() < deadline, "the old one stays"
        time.sleep(0.05)
    battery.l8s("list")
    assert holder(battery) != pid
    assert version_of_holder(battery) == new


def version_of_holder(battery: Battery) -> str:
    """The version of l8s that keeps the connection, in its own words."""
    with at_laptop(battery.laptop):
        [said] = [starting.ask(place, {"status": True}) for place in all_places() if place.is_held()]
    assert said is not None, "it does not answer"
    return str(said["version"])


@fault("kept connection: 20 commands start it at once", points=TIMES, quick=1)
def test_many_start_it(battery: Battery, point: int) -> None:
    racing = [battery.start("list") for _ in range(20)]
    for running in racing:
        battery.finish(running, codes=(0,), timeout=120)
    battery.injected(f"20 at once, one process {holder(battery)}")


@fault("kept connection: one command is killed beside another", points=["KILL", "INT"], quick=1)
def test_neighbours(battery: Battery, point: str) -> None:
    battery.l8s("create", "x")
    battery.containers = {"x"}
    script = "trap '' TERM; echo begun; i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo $i; sleep 0.1; done"
    doomed = battery.start("exec", "x", "--", "sh", "-c", "echo begun; sleep 600")
    other = battery.start("exec", "x", "--", "sh", "-c", script)
    doomed.wait_for(b"begun\n")
    other.wait_for(b"begun\n")
    number = signal.SIGKILL if point == "KILL" else signal.SIGINT
    os.kill(doomed.pid, number)
    battery.finish(doomed, codes=(-signal.SIGKILL, 130), timeout=30)
    ran = battery.finish(other, codes=(0,), timeout=30)
    assert ran.stdout == b"begun\n" + b"".join(b"%d\n" % number for number in range(1, 31))
    battery.injected(f"SIG{point}")
    deadline = time.monotonic() + 20
    while "sleep 600" in (seen := battery.server.run("ps -eo args").stdout):
        assert time.monotonic() < deadline, f"what the ended command ran goes on:\n{seen}"
        time.sleep(0.2)


@fault("kept connection: the server loses its power", points=TIMES, quick=1)
def test_power(battery: Battery, point: int) -> None:
    pid = warm(battery)
    try:
        battery.server.power_off(cut=True)
        battery.l8s("list", codes=(4,), within=DEADLINE + 5)
    finally:
        battery.server.power_on()
    battery.injected(f"the plug was pulled behind process {pid}")
    battery.l8s("list")
    assert holder(battery) != pid


@pytest.mark.timeout(600)
@fault("kept connection: the network is cut for a while", points=range(5), quick=1)
def test_cut(battery: Battery, run: Run, point: int) -> None:
    seconds, laptops = (120, 10) if full() else (5, 2)
    with crowd(battery, run, laptops) as machines:
        pids = [warm(which) for which in machines]
        with black_hole(battery):
            time.sleep(seconds)
            for which, running in [(which, which.start("list")) for which in machines]:
                which.finish(running, codes=(4,), within=DEADLINE)
        battery.injected(f"{seconds} s, {laptops} laptops")
        for which, running in [(which, which.start("list")) for which in machines]:
            which.finish(running, codes=(0,), within=DEADLINE)
        for which, pid in zip(machines, pids, strict=True):
            assert holder(which) != pid
            # The laptop gave the connection up without being able to say so. The server learns it when it sends once
            # more, and the pauses before that double: the last one began before the cut ended, and is no longer than
            # the cut was then.
            which.sessions_settle_in += seconds + DEADLINE
        for other in machines[1:]:
            other.check()


@fault("kept connection: unused, it ends", points=["1s"], quick=1)
def test_idle(battery: Battery, point: str) -> None:
    battery.laptop.configure(battery.server, multiplex=point)
    pid = warm(battery)
    deadline = time.monotonic() + 15
    while pid in battery.laptop.holders():
        assert time.monotonic() < deadline, "it stays"
        time.sleep(0.1)
    battery.injected(f"process {pid} ended by itself")
    assert list((battery.laptop.home / ".l8s" / "multiplex").iterdir()) == []
