"""l8s itself is ended at any moment, by kill -9 and by Ctrl-C: at most one more run makes it whole."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from battery import Battery, Ran, Running, ended, fault

DRIVER = Path(__file__).parents[1] / "dies.py"
SHARES = [share / 100 for share in range(1, 101)]
"""Moments within a command, as shares of how long it takes."""

STEPS = {
    "create": ("check", "volumes", "container", "upload", "start", "provision", "ssh config", "login"),
    "rm": ("check", "ssh config", "container", "volumes"),
}
MOMENTS = {
    command: [f"{step} {state} of {command}" for step in steps for state in ("started", "done")]
    for command, steps in STEPS.items()
}


@cache
def _durations(server: str) -> dict[str, float]:
    """Filled by `took`; by server, since one is slower than the other."""
    return {}


def took(battery: Battery, command: str, run: Callable[[], Ran]) -> float:
    """How many seconds a command takes on this server; ``run`` is called for it once."""
    known = _durations(battery.server.name)
    if command not in known:
        known[command] = run().seconds
    return known[command]


def signalled(running: Running, after: float, number: signal.Signals) -> bool:
    """Send a signal to it and its children, ``after`` seconds from its start; whether it still ran."""
    while time.monotonic() < running.began + after:
        if ended(running):
            return False
        time.sleep(0.001)
    os.killpg(running.pid, number)
    return True


def killed(
    battery: Battery, point: float, *words: str, prepare: Callable[[], object], undo: Callable[[], object]
) -> None:
    """Run a command and kill it at a share of its time; where it was quicker than before, again and a little sooner."""

    def whole() -> Ran:
        prepare()
        ran = battery.l8s(*words)
        undo()
        return ran

    after = took(battery, words[0], whole) * point
    while True:
        prepare()
        running = battery.start(*words)
        caught = signalled(running, after, signal.SIGKILL)
        if battery.finish(running, codes=(-signal.SIGKILL, 0)).code and caught:
            break
        undo()
        after *= 0.8
    battery.injected(f"killed after {after:.2f} s")


@fault("kill -9 at any moment of a create", points=SHARES, quick=1)
def test_create(battery: Battery, point: float) -> None:
    killed(battery, point, "create", "x", prepare=lambda: None, undo=lambda: battery.l8s("rm", "x", "--yes"))
    # 8: it had been finished, and only its last words were cut off
    battery.l8s("create", "x", codes=(0, 8))
    battery.containers = {"x"}
    battery.laptop.ssh("dev-x", "true")


@fault("kill -9 at any moment of a rm", points=SHARES, quick=1)
def test_rm(battery: Battery, point: float) -> None:
    killed(battery, point, "rm", "x", "--yes", prepare=lambda: battery.l8s("create", "x"), undo=lambda: None)
    # 8: nothing was left to remove
    battery.l8s("rm", "x", "--yes", codes=(0, 8))


def die(battery: Battery, point: str, number: signal.Signals, code: int) -> str:
    """Have a command end itself by a signal at one of `MOMENTS`; which command."""
    moment, _, command = point.partition(" of ")
    step, _, state = moment.rpartition(" ")
    if command == "rm":
        battery.l8s("create", "x")
    verb = "remove" if command == "rm" else command
    running = battery.start(DRIVER, verb, "x", str(int(number)), step, state, program=sys.executable)
    battery.finish(running, codes=(code,))
    battery.injected(f"it ended with {code}")
    return command


@fault("SIGINT at each step of create and rm", points=[*MOMENTS["create"], *MOMENTS["rm"]], quick=3)
def test_interrupt(battery: Battery, point: str) -> None:
    command = die(battery, point, signal.SIGINT, 130)
    if command == "create":
        return  # the invariant: nothing is left
    # what was removed cannot come back; whatever is left goes, and only after the last step is that nothing
    battery.l8s("rm", "x", "--yes", codes=(8,) if point == "volumes done of rm" else (0,))


@fault("kill -9 at each step of create and rm", points=[*MOMENTS["create"], *MOMENTS["rm"]], quick=2)
def test_kill_at_a_step(battery: Battery, point: str) -> None:
    command = die(battery, point, signal.SIGKILL, -signal.SIGKILL)
    if command == "rm":
        # "done" of the volumes and nothing said: all was gone but the journal's entry
        battery.l8s("rm", "x", "--yes", codes=(8,) if point == "volumes done of rm" else (0,))
        return
    whole = point.startswith("login")
    if whole:  # it may have been used, and is never made anew
        battery.laptop.ssh("dev-x", "echo precious > ~/note")
    battery.l8s("create", "x")
    battery.containers = {"x"}
    assert battery.laptop.ssh("dev-x", "cat ~/note 2>/dev/null || true").stdout == ("precious\n" if whole else "")
    battery.l8s("create", "x", codes=(8,))


COMMANDS: dict[str, tuple[str, ...]] = {
    "create": ("create", "x"),
    "rm": ("rm", "x", "--yes"),
    "start": ("start", "x"),
    "stop": ("stop", "x"),
    "exec": ("exec", "x", "--", "sleep", "1.5"),
    "build": ("build", "--file", "Containerfile", "--tag", "localhost/l8s-interrupted:latest"),
}
INTERRUPTS = [f"{share:.2f} of {command}" for share in (0.1, 0.3, 0.5, 0.7, 0.9) for command in COMMANDS]
STARTING = 0.06
"""Seconds of a process before l8s can do anything about Ctrl-C, on an idle machine: Python, before its first line."""


@pytest.fixture
def containerfile(battery: Battery) -> Iterator[Path]:
    """What `COMMANDS` builds."""
    yield battery.laptop.home / "Containerfile"
    battery.server.run("podman image rm --force localhost/l8s-interrupted:latest; podman image prune --force")


@fault("SIGINT at any moment of create, rm, start, stop, exec, build", points=INTERRUPTS, quick=2)
def test_interrupt_anywhere(battery: Battery, containerfile: Path, point: str) -> None:
    share, _, command = point.partition(" of ")

    def prepare() -> None:
        if command == "build":  # Podman must not know the layer from before
            step = f"echo {time.monotonic()} > /made && sleep 1.5"
            containerfile.write_text(f"FROM {battery.server.image}\nRUN {step}\n")
        elif command == "create":
            battery.l8s("rm", "x", "--yes", codes=(0, 8))
        else:
            battery.l8s("create", "x", codes=(0, 8))
            if command in ("start", "stop"):
                battery.l8s("stop" if command == "start" else "start", "x")

    def whole() -> Ran:
        prepare()
        return battery.l8s(*COMMANDS[command])

    after = max(took(battery, f"interrupted {command}", whole) * float(share), STARTING)
    while True:
        prepare()
        running = battery.start(*COMMANDS[command])
        caught = signalled(running, after, signal.SIGINT)
        ran = battery.finish(running, codes=(0, 130, -signal.SIGINT), timeout=after + 20)
        if caught and ran.code == 130:
            break
        after = after * 1.3 if ran.code == -signal.SIGINT else max(after * 0.8, STARTING)
    battery.injected(f"SIGINT after {after:.2f} s")
    assert "Interrupted" in ran.text
    if command == "exec":
        assert "sleep" not in battery.server.run("podman top dev-x args").stdout
    again = battery.l8s(*COMMANDS[command], codes=(0, 8) if command in ("create", "rm") else (0,))
    if "nothing of it was left" in ran.text:
        assert again.code == 0
    battery.containers = set() if command in ("rm", "build") else {"x"}
