"""The connection breaks, freezes or falls silent: told within seconds, and a change is made whole by one more run."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from battery import Battery, fault
from lab import SCRIPT

SHARES = [share / 20 for share in range(1, 21)]
CHILDREN = "^sshd(-session)?: root"
DEADLINE = 15.0
"""Seconds within which a dead link must have been told."""


def cut(battery: Battery) -> int:
    """Kill the server's end of every SSH connection; how many processes that were."""
    said = battery.server.exec("sh", "-c", f"pgrep -fc '{CHILDREN}'; pkill -KILL -f '{CHILDREN}'; true").stdout
    return int(said.split()[0])


@contextmanager
def armed(battery: Battery, after: float) -> Iterator[subprocess.Popen[str]]:
    """On the server: the next login's processes are killed ``after`` seconds from its beginning."""
    kill = (
        f"while pgrep -f '{CHILDREN}' >/dev/null; do sleep 0.01; done; echo armed; "
        f"until pgrep -f '{CHILDREN}' >/dev/null; do :; done; sleep {after:.3f}; pkill -KILL -f '{CHILDREN}' && echo killed"
    )
    with subprocess.Popen(
        [str(SCRIPT), "exec", battery.server.name, "--", "timeout", "30", "sh", "-c", kill],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as killer:
        assert killer.stdout is not None
        assert killer.stdout.readline() == "armed\n"
        yield killer


@fault("sshd's child killed in a read", points=SHARES, quick=2)
def test_read(battery: Battery, point: float) -> None:
    battery.l8s("create", "x")
    battery.containers = {"x"}
    # most of a command's time is before the login, which begins the session, and after its end
    after = battery.l8s("info", "x").seconds * 0.5 * point
    for _ in range(20):
        with armed(battery, after) as killer:
            ran = battery.l8s("info", "x", codes=(0, 4), within=DEADLINE)
            if ran.code == 4:
                assert killer.communicate(timeout=30)[0] == "killed\n"
                break
            killer.communicate(timeout=40)
        after *= 0.7  # it had its answer already
    assert ran.code == 4
    battery.injected(f"killed {after:.3f} s after the login")
    battery.l8s("info", "x")


@fault("sshd's child killed in a write", points=SHARES, quick=2)
def test_write(battery: Battery, point: float) -> None:
    whole = battery.l8s("create", "x").seconds
    battery.l8s("rm", "x", "--yes")
    after = 0.35 + (whole - 0.35) * point * 0.9
    while True:
        running = battery.start("create", "x")
        time.sleep(after)
        processes = cut(battery)
        # taken back over a new connection, or told to be unknown
        ran = battery.finish(running, codes=(0, 4, 7, 10), within=after + 60)
        if processes and ran.code != 0:
            break
        battery.l8s("rm", "x", "--yes", codes=(0, 8))
        after *= 0.9
    battery.injected(f"killed {processes} processes after {after:.2f} s, and it said {ran.code}")
    battery.l8s("create", "x")
    battery.containers = {"x"}
    battery.laptop.ssh("dev-x", "true")


@contextmanager
def black_hole(battery: Battery) -> Iterator[None]:
    rule = ["-s", battery.server.host, "-p", "tcp", "--sport", "22", "-j", "DROP"]
    battery.laptop.run("iptables", "-I", "INPUT", *rule)
    try:
        yield
        shown = battery.laptop.run("iptables", "-nvxL", "INPUT", "1").stdout.split()
        assert int(shown[0]) > 0, "nothing was dropped"
        battery.injected(f"dropped {shown[0]} packets")
    finally:
        battery.laptop.run("iptables", "-D", "INPUT", *rule)


@contextmanager
def frozen(battery: Battery) -> Iterator[None]:
    stopped = battery.server.exec("sh", "-c", "pkill -STOP sshd; pgrep -c sshd").stdout.strip()
    try:
        assert int(stopped) > 0
        yield
        battery.injected(f"stopped {stopped} processes")
    finally:
        battery.server.exec("pkill", "-CONT", "sshd")


@fault("black hole, frozen sshd: before a call", points=["black hole", "frozen"], quick=1)
def test_before(battery: Battery, point: str) -> None:
    with black_hole(battery) if point == "black hole" else frozen(battery):
        battery.l8s("list", codes=(4,), within=DEADLINE)
    battery.l8s("list")


@fault("black hole, frozen sshd: during a call", points=["black hole", "frozen"], quick=1)
def test_during(battery: Battery, point: str) -> None:
    battery.l8s("create", "x")
    battery.containers = {"x"}
    running = battery.start("exec", "x", "--", "sh", "-c", "echo begun; sleep 40")
    running.wait_for(b"begun\n")
    with black_hole(battery) if point == "black hole" else frozen(battery):
        began = time.monotonic()
        battery.finish(running, codes=(4, 10), within=began - running.began + DEADLINE)
    battery.l8s("exec", "x", "--", "true")


@fault("the server loses its power in a create", points=["volumes", "container", "start", "provision"], quick=1)
def test_power(battery: Battery, point: str) -> None:
    running = battery.start("-v", "create", "x")
    running.wait_for(f"{point}".encode())
    battery.server.power_off(cut=True)
    try:
        ran = battery.finish(running, codes=(4, 10), timeout=90)
        battery.injected(f"the plug was pulled, and it said {ran.code}")
    finally:
        battery.server.power_on()
    battery.l8s("create", "x")
    battery.containers = {"x"}
    battery.laptop.ssh("dev-x", "true")


SSHD = "/etc/ssh/sshd_config.d/10-fault.conf"


@fault("MaxSessions 1, no forwarding", points=["MaxSessions 1", "AllowStreamLocalForwarding no"], quick=1)
def test_settings(battery: Battery, point: str) -> None:
    battery.server.exec("sh", "-ec", f"echo {point} > {SSHD}; systemctl reload ssh", check=True)
    try:
        shown = battery.server.exec("sshd", "-T", check=True).stdout
        assert point.lower() in shown.lower()
        battery.injected(f"sshd -T says {point}")
        battery.l8s("create", "x")
        battery.containers = {"x"}
        battery.l8s("exec", "x", "--", "true")
        battery.l8s("list")
    finally:
        battery.server.exec("sh", "-ec", f"rm {SSHD}; systemctl reload ssh", check=True)
