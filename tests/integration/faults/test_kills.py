"""l8s itself is ended at any moment, by kill -9 and by Ctrl-C: at most one more run makes it whole."""

from __future__ import annotations

import os
import signal
import sys
import time
from functools import cache
from pathlib import Path

from battery import Battery, Running, fault

DRIVER = Path(__file__).parents[1] / "create_and_die.py"
SHARES = [share / 100 for share in range(1, 101)]
"""Moments within a command, as shares of how long it takes."""

STEPS = ("volumes", "container", "upload", "start", "provision", "ssh config", "login")
MOMENTS = [f"{step} {state}" for step in STEPS for state in ("started", "done")]


@cache
def _durations(server: str) -> dict[str, float]:
    """Filled by `took`; by server, since one is slower than the other."""
    return {}


def took(battery: Battery, what: str) -> float:
    """How many seconds ``create`` or ``rm`` takes on this server, measured once."""
    known = _durations(battery.server.name)
    if what not in known:
        known["create"] = battery.l8s("create", "measured").seconds
        known["rm"] = battery.l8s("rm", "measured", "--yes").seconds
    return known[what]


def killed(running: Running, after: float) -> bool:
    """Kill it ``after`` seconds from its start; whether it still ran."""
    while time.monotonic() < running.began + after:
        if os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return False
        time.sleep(0.001)
    os.kill(running.pid, signal.SIGKILL)
    return True


@fault("kill -9 at any moment of a create", points=SHARES, quick=1)
def test_create(battery: Battery, point: float) -> None:
    after = took(battery, "create") * point
    while True:
        running = battery.start("create", "x")
        caught = killed(running, after)
        ran = battery.finish(running, codes=(-signal.SIGKILL, 0))
        if caught and ran.code == -signal.SIGKILL:
            break
        battery.l8s("rm", "x", "--yes")  # it was quicker than before
        after *= 0.8
    battery.injected(f"killed after {after:.2f} s")
    # 8: it had been finished, and only its last words were cut off
    battery.l8s("create", "x", codes=(0, 8))
    battery.containers = {"x"}
    battery.laptop.ssh("dev-x", "true")


@fault("kill -9 at any moment of a rm", points=SHARES, quick=1)
def test_rm(battery: Battery, point: float) -> None:
    after = took(battery, "rm") * point
    while True:
        battery.l8s("create", "x")
        running = battery.start("rm", "x", "--yes")
        caught = killed(running, after)
        if battery.finish(running, codes=(-signal.SIGKILL, 0)).code == -signal.SIGKILL and caught:
            break
        after *= 0.8
    battery.injected(f"killed after {after:.2f} s")
    battery.l8s("rm", "x", "--yes", codes=(0, 8))


@fault("SIGINT at each step of a create", points=MOMENTS, quick=2)
def test_interrupt(battery: Battery, point: str) -> None:
    step, _, state = point.rpartition(" ")
    running = battery.start(DRIVER, "x", str(int(signal.SIGINT)), step, state, program=sys.executable)
    battery.finish(running, codes=(130,))
    battery.injected("it ended with 130")


@fault("kill -9 at each step of a create", points=MOMENTS, quick=1)
def test_kill_at_a_step(battery: Battery, point: str) -> None:
    step, _, state = point.rpartition(" ")
    running = battery.start(DRIVER, "x", str(int(signal.SIGKILL)), step, state, program=sys.executable)
    battery.finish(running, codes=(-signal.SIGKILL,))
    battery.injected("it ended by SIGKILL")
    battery.l8s("create", "x", codes=(0, 8) if step == "login" else (0,))
    battery.containers = {"x"}
    battery.laptop.ssh("dev-x", "true")
