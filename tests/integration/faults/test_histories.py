"""Whatever happens in whatever order, on real servers: the machine of ``tests/property/lifecycle.py``.

A point is a history, drawn by the run's seed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import hypothesis
import pytest
from attrs import define, evolve, field
from backends import at_laptop, profile_for
from battery import BYSTANDER, SEED_VARIABLE, Battery, fault, full
from hypothesis.stateful import run_state_machine_as_test
from lifecycle import NAMES, Command, Ended, Lifecycle, Seen, ServerState, ended
from wire import PORT, Line

import l8s_core as l8s
from l8s_core import files, ssh_tools
from l8s_core.client import Client, Session
from l8s_core.known_hosts import KnownHosts, container_name
from l8s_core.model import LABEL_OPERATION, Profile
from l8s_openssh.writer import OpenSSHWriter

DRIVER = Path(__file__).parents[1] / "dies.py"
STEPS = {
    "create": ("check", "volumes", "container", "upload", "start", "provision", "ssh config", "login"),
    "remove": ("check", "ssh config", "container", "volumes"),
    "sync": ("containers", "host keys", "ssh config"),
}
STRIDE = 150
"""Bytes on the line between two points at which a command without steps is cut off."""

QUIET = 30.0
"""Seconds within which a server must have ended what it was doing for a connection that is gone."""

LOOK = """
podman ps --all --no-trunc --format json && echo --- && podman volume ls --format json && echo --- &&
cd /var/lib/containers/storage/volumes && { grep -Hs . */_data/ssh_host_ed25519_key.pub || true; }
"""


@define
class RealWorld:
    """A server of the lab at the end of a line that can be cut, and a laptop that this process is on."""

    battery: Battery
    line: Line
    profile: Profile = field(init=False)
    killed: int = 0
    cut: int = 0
    _client: Client | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.profile = profile_for(self.battery.server, remote_port=PORT)

    def client(self) -> Client:
        if self._client is None:
            session = Session.load(third_party=False)
            self._client = session.client(session.profile())
        return self._client

    def kill(self, command: Command, point: int) -> Ended:
        step, state = _place(command, point)
        signalled = (command.verb, command.name, str(int(signal.SIGKILL)), step, state)
        keep = ["keep"] if command.keep else []
        running = self.battery.start(DRIVER, *signalled, *keep, program=sys.executable)
        ran = self.battery.finish(running, codes=(-signal.SIGKILL, 0, 8))
        self.killed += ran.code == -signal.SIGKILL
        return Ended(ran.code, ran.text, struck=ran.code == -signal.SIGKILL)

    def lose_link(self, command: Command, point: int) -> Ended:
        self.hang_up()
        left = [_place(command, point)]

        def cut(step: l8s.Step) -> None:
            if (step.name, step.state) in left:
                self.line.arm(1)
                left.clear()

        try:
            with self.client() as client:
                if command.verb not in STEPS:
                    self.line.arm(1 + point * STRIDE)
                done = ended(command, client, on_step=cut)
        finally:
            struck = self.line.disarm()
            self.hang_up()
        self.cut += struck
        if struck:
            self._wait_until_quiet()
        return evolve(done, struck=struck)

    def _wait_until_quiet(self) -> None:
        """Wait until Podman serves nobody: it goes on with a request whose sender is gone."""
        deadline = time.monotonic() + QUIET
        count = "ss -Hx state established src /run/podman/podman.sock | wc -l"
        while (left := self.battery.server.exec("sh", "-c", count, check=True).stdout.strip()) != "0":
            assert time.monotonic() < deadline, f"Podman still serves {left} connections"
            time.sleep(0.1)

    def hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def writer(self) -> OpenSSHWriter:
        return OpenSSHWriter()

    def server(self) -> ServerState:
        containers, volumes, keys = self.battery.server.exec("sh", "-c", LOOK, check=True).stdout.split("---\n")
        rows = {row["Names"][0]: row for row in json.loads(containers or "null") or []}
        return ServerState(
            containers={
                name: Seen(
                    row["Id"],
                    row["State"] == "running",
                    tuple(port["host_port"] for port in row["Ports"] or []),
                    (row["Labels"] or {}).get(LABEL_OPERATION, ""),
                )
                for name, row in rows.items()
                if name != BYSTANDER
            },
            volumes={
                row["Name"]: row["Labels"] or {}
                for row in json.loads(volumes or "null") or []
                if row["Name"] != BYSTANDER
            },
            host_keys={
                path.partition("/")[0]: " ".join(key.split()[:2])
                for path, _, key in (line.partition(":") for line in keys.splitlines())
            },
        )

    def add_container(self, name: str, labels: Mapping[str, str], port: int) -> None:
        image = self.battery.server.image
        self._podman("create", "--name", name, *_flags(labels), "--publish", f"{port}:80", image, "true")

    def add_volume(self, name: str, labels: Mapping[str, str]) -> None:
        self._podman("volume", "create", *_flags(labels), name)

    def take_container(self, name: str) -> None:
        self._podman("rm", "--force", "--time", "0", name)

    def take_volume(self, name: str) -> None:
        self._podman("volume", "rm", name)

    def _podman(self, *arguments: str) -> None:
        self.battery.server.exec("podman", *arguments, check=True)

    def close(self) -> None:
        self.hang_up()
        state = self.server()
        for name in state.containers:
            self.take_container(name)
        for name in state.volumes:
            self.take_volume(name)
        for name in NAMES:
            alias = f"{self.profile.container_prefix}-{name}"
            ssh_tools.stop_multiplexing(alias)
            KnownHosts().forget(container_name(alias))
        (files.state_dir() / "ssh_config").unlink(missing_ok=True)
        for left in (files.state_dir() / "journal").glob("*.json"):
            left.unlink()


def _place(command: Command, point: int) -> tuple[str, str]:
    """The step and its state that a point stands for."""
    steps = STEPS.get(command.verb, (command.verb,))
    return steps[point // 2 % len(steps)], "done" if point % 2 else "started"


def _flags(labels: Mapping[str, str]) -> list[str]:
    return [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]


@fault("any history of commands, kills and cut lines", points=range(1, 21), quick=1)
@pytest.mark.timeout(900)
def test_history(battery: Battery, point: int) -> None:
    battery.laptop.configure(battery.server, remote_port=PORT)
    pins = battery.laptop.home / ".l8s" / "known_hosts"
    pins.write_text(f"{pins.read_text()}[{battery.server.host}]:{PORT} {battery.server.host_key.line}\n")
    worlds: list[RealWorld] = []

    class OnAServer(Lifecycle):
        simplest_too = False

        def make_world(self) -> RealWorld:
            worlds.append(RealWorld(battery, line))
            return worlds[-1]

    settings = hypothesis.settings(
        max_examples=1,
        stateful_step_count=25 if full() else 10,
        # no smaller example is looked for: each takes half a minute
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    seed = random.Random(f"{os.environ[SEED_VARIABLE]}:{battery.server.suite}:{point}").getrandbits(32)
    line = Line(battery)
    with at_laptop(battery.laptop), line.open():
        run_state_machine_as_test(hypothesis.seed(seed)(OnAServer), settings=settings)
    killed, cut = sum(world.killed for world in worlds), sum(world.cut for world in worlds)
    if killed + cut:
        battery.injected(f"{killed} kills and {cut} cut lines in a history")
