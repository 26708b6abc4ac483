"""Histories of commands, crashes, lost links and other people's doings, against a model of what must be there.

One machine for two worlds: ``test_lifecycle_properties.py`` beside this file runs it on a fake server, the battery of
faults (``tests/integration/faults``) on real ones. What a world must offer is `World`; the expectations are all here.

After every step everything is compared: containers with their ids, states and ports, volumes with their labels, ssh
entries, pinned keys and the journal. After a crash or a lost link the machine looks at what is left, checks that it is
one of the states in which that command may be left, and goes on from there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal, Protocol

from attrs import define, evolve, field, frozen
from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from l8s_core import files
from l8s_core.client import Client
from l8s_core.contracts import SSHConfigWriter
from l8s_core.errors import L8sError
from l8s_core.known_hosts import KnownHosts, container_name
from l8s_core.model import LABEL_OPERATION, ContainerSpec, Profile
from l8s_core.steps import StepObserver

Verb = Literal["create", "start", "stop", "restart", "remove", "sync"]
ANY_VERB: st.SearchStrategy[Verb] = st.sampled_from(
    ["create", "create", "create", "remove", "remove", "sync", "start", "stop", "restart"]
)
"""Those with many effects more often."""

NAMES = ("a", "a-home")
"""The second one looks like a volume of the first."""

USES = ("home", "hostkeys", "workspace")
KEPT = ("home", "workspace")
NOTES = {"home": "/home/dev/note", "workspace": "/workspace/project/note"}

OUR_LABELS = {"l8s.managed": "true", "l8s.prefix": "dev"}
FOREIGN_LABELS: Sequence[Mapping[str, str]] = ({}, {"keep": "me"}, {"l8s.managed": "true", "l8s.prefix": "prod"})

DONE, REFUSED = 0, 8
"""l8s's exit codes; 8 is what is there already, or is not there."""

Fault = Literal["kill", "lose_link"]
CUT_OFF: Mapping[Fault, Sequence[int]] = {"kill": (-9,), "lose_link": (4, 10)}
"""How a command ends by a fault."""

POINTS = st.integers(0, 47)
"""Moments within a command; each world divides its commands into as many as it can."""


@frozen
class Command:
    """One command on one name ("" for a sync)."""

    verb: Verb
    name: str = ""
    keep: bool = False

    def run(self, client: Client, on_step: StepObserver | None) -> None:
        """Run it; starting and stopping have no steps."""
        if self.verb == "create":
            client.create(ContainerSpec(name=self.name), on_step=on_step)
        elif self.verb == "remove":
            client.remove(self.name, keep_volumes=self.keep, on_step=on_step)
        elif self.verb == "sync":
            client.sync(on_step=on_step)
        else:
            getattr(client, self.verb)(self.name)


@frozen
class Ended:
    """How a command ended, and what it said."""

    code: int
    words: str = ""
    struck: bool = False
    """Whether the fault that was asked for has happened."""


def ended(command: Command, client: Client, *, on_step: StepObserver | None = None) -> Ended:
    """Run a command in this process, to its end."""
    try:
        command.run(client, on_step)
    except L8sError as error:
        return Ended(error.exit_code, f"{type(error).__name__}: {error}")
    return Ended(DONE)


@frozen
class Seen:
    """A container on the server."""

    id: str
    running: bool
    ports: tuple[int, ...]
    """The server's ports that are published."""
    operation: str = ""
    """By its label."""


@frozen
class ServerState:
    """What is on the server."""

    containers: Mapping[str, Seen]
    volumes: Mapping[str, Mapping[str, str]]
    """Names and labels."""
    host_keys: Mapping[str, str]
    """The public half (type and base64) on each volume of host keys that has one, by the volume's name."""


class World(Protocol):
    """One laptop, which is this process's, and one server, with nothing of the machine's on either."""

    profile: Profile

    def client(self) -> Client:
        """A client that works."""

    def kill(self, command: Command, point: int) -> Ended:
        """Run a command in a process that is killed at ``point``."""

    def lose_link(self, command: Command, point: int) -> Ended:
        """Run a command whose connection is lost at ``point``; the next connection works."""

    def writer(self) -> SSHConfigWriter:
        """The laptop's ssh entries."""

    def server(self) -> ServerState:
        """What is on the server."""

    def add_container(self, name: str, labels: Mapping[str, str], port: int) -> None:
        """Somebody else makes a container, and does not start it."""

    def add_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """Somebody else makes a volume."""

    def take_container(self, name: str) -> None:
        """Somebody removes a container, with Podman."""

    def take_volume(self, name: str) -> None:
        """Somebody removes a volume, with Podman."""

    def close(self) -> None:
        """Remove everything from both, whatever it is."""


@define
class Box:
    """What there is of one name, on the server and on the laptop."""

    container: Seen | None = None
    volumes: dict[str, Mapping[str, str]] = field(factory=dict)
    """By `USES`: the labels."""
    key: str | None = None
    """The host key on its volume."""
    entry: int | None = None
    """The port in the ssh entry."""
    pinned: str | None = None
    """The key that is pinned."""
    journal: str | None = None
    """The operation of a create that was cut off. Until it is finished, what its container does is not looked at."""

    def only(self, volumes: Mapping[str, Mapping[str, str]]) -> Box:
        """What is left when these of the volumes are all there is."""
        return Box(volumes=dict(volumes), key=self.key if "hostkeys" in volumes else None)

    def not_made_by(self, operation: str | None) -> dict[str, Mapping[str, str]]:
        """The volumes that an operation did not make."""
        made = {use for use in self.volumes if operation and self.volumes[use].get(LABEL_OPERATION) == operation}
        return {use: labels for use, labels in self.volumes.items() if use not in made}


@frozen
class Expected:
    """How a command must end, and what must be there then."""

    code: int
    boxes: Mapping[str, Box]
    made: str = ""
    """The name whose container is a new one: its id, its key and its operation are for the server to say."""


class Lifecycle(RuleBasedStateMachine):
    """The machine; a subclass says in which world it lives."""

    simplest_too: ClassVar[bool] = True
    """Whether to run Hypothesis's first example, in which every command is the same."""

    def make_world(self) -> World:
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.world = self.make_world()
        self.prefix = self.world.profile.container_prefix
        self.boxes = {name: Box() for name in NAMES}
        self.foreign_containers: dict[str, Seen] = {}
        self.foreign_volumes: dict[str, Mapping[str, str]] = {}
        self.other_prefixes: set[str] = set()
        """Those of the foreign containers that l8s made, for another prefix."""
        self.notes: dict[tuple[str, str], str] = {}
        """What was written into a volume, by name and use."""
        self.written = 0

    def teardown(self) -> None:
        self.world.close()

    # What there is

    def alias(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def look(self) -> dict[str, Box]:
        """All that is ours, by name; checks that there is nothing else, and that nobody else lost anything."""
        server = self.world.server()
        theirs = {name: seen for name, seen in server.containers.items() if name in self.foreign_containers}
        assert theirs == self.foreign_containers, "somebody else's containers"
        kept = {name: labels for name, labels in server.volumes.items() if name in self.foreign_volumes}
        assert kept == self.foreign_volumes, "somebody else's volumes"
        aliases = {self.alias(name) for name in NAMES}
        volumes = {f"{alias}-{use}" for alias in aliases for use in USES}
        blocks = {block.alias: block for block in self.world.writer().blocks()}
        journal = sorted((files.state_dir() / "journal").glob("*.json"))
        assert set(server.containers) <= aliases | set(self.foreign_containers), "containers"
        assert set(server.volumes) <= volumes | set(self.foreign_volumes), "volumes"
        assert set(blocks) <= aliases, "ssh entries"
        assert [path.name for path in files.state_dir().rglob(".*.l8s-*")] == [], "temporary files"
        found = {}
        for name in NAMES:
            alias = self.alias(name)
            (noted,) = [path for path in journal if _journals_alias(path) == alias] or [None]
            box = Box(
                container=None if alias in self.foreign_containers else server.containers.get(alias),
                volumes={
                    use: server.volumes[f"{alias}-{use}"]
                    for use in USES
                    if f"{alias}-{use}" in server.volumes.keys() - self.foreign_volumes.keys()
                },
                key=server.host_keys.get(f"{alias}-hostkeys"),
                entry=blocks[alias].port if alias in blocks else None,
                pinned=_pinned(alias),
                journal=json.loads(noted.read_text())["operation"] if noted is not None else None,
            )
            if box.container is not None and box.entry is not None:
                assert (box.entry,) == box.container.ports, f"the entry of {name} leads elsewhere"
                assert box.pinned == box.key is not None, f"another key than that of {name} is pinned"
            assert all(OUR_LABELS.items() <= labels.items() for labels in box.volumes.values()), "labels"
            if box.journal is not None:
                box.key = None
                box.container = box.container and evolve(box.container, running=False)
            found[name] = box
        assert len(journal) == sum(box.journal is not None for box in found.values()), "journal"
        return found

    def settle(self, expected: Expected) -> None:
        """Look, compare with what must be there, and go on from it."""
        now = self.look()
        for name in NAMES:
            assert self.fits(name, now[name], expected), (
                f"{name}:\n  is        {now[name]}\n  should be {expected.boxes[name]}\n  was       {self.boxes[name]}"
            )
        self.become(now)

    def become(self, now: Mapping[str, Box]) -> None:
        for name, use in list(self.notes):
            if now[name].volumes.get(use) != self.boxes[name].volumes.get(use):
                del self.notes[name, use]
        self.boxes = dict(now)

    def fits(self, name: str, now: Box, expected: Expected) -> bool:
        box, before = expected.boxes[name], self.boxes[name]
        if expected.made == name:
            operations = {labels[LABEL_OPERATION] for use, labels in now.volumes.items() if use not in box.volumes}
            return (
                now.container is not None
                and now.container.id not in {other.container.id for other in self.boxes.values() if other.container}
                and operations <= {now.container.operation}
                and set(now.volumes) == set(USES)
                and now.key is not None
                and now
                == evolve(
                    box,
                    container=Seen(now.container.id, True, (self.free_port(name),), now.container.operation),
                    volumes={**now.volumes, **box.volumes},
                    key=now.key,
                    entry=self.free_port(name),
                    pinned=now.key,
                )
            )
        if before.journal is not None:  # what the key is was not known
            box = evolve(box, key=now.key, pinned=box.pinned and now.pinned)
        return now == box

    def free_port(self, name: str) -> int:
        """The port that a new container of that name gets."""
        others = [box.container for other, box in self.boxes.items() if other != name and box.container is not None]
        used = {port for container in (*others, *self.foreign_containers.values()) for port in container.ports}
        return next(port for port in range(self.world.profile.ssh_start_port, 65536) if port not in used)

    # What a command must do

    def expected(self, command: Command) -> Expected:
        if command.verb == "sync":
            return Expected(DONE, {name: self.synced(name) for name in NAMES})
        act = {"create": self.created, "remove": self.removed}.get(command.verb, self.switched)
        code, box, made = act(command)
        return Expected(code, {**self.boxes, command.name: box}, command.name if made else "")

    def created(self, command: Command) -> tuple[int, Box, bool]:
        box, alias = self.boxes[command.name], self.alias(command.name)
        if alias in self.foreign_containers:
            # a create that was cut off is over when it has left nothing
            left = box.not_made_by(box.journal) != box.volumes
            return REFUSED, box if left else evolve(box, journal=None), False
        if box.container is not None and box.journal is None:
            return REFUSED, box, False
        if box.container is not None and box.entry is not None:  # only its last step was missing
            return DONE, evolve(box, container=evolve(box.container, running=True), journal=None), False
        left = box.only(box.not_made_by(box.journal))
        if "hostkeys" in left.volumes or any(f"{alias}-{use}" in self.foreign_volumes for use in USES):
            return REFUSED, left, False
        return DONE, left, True

    def removed(self, command: Command) -> tuple[int, Box, bool]:
        box = self.boxes[command.name]
        kept = {use: labels for use, labels in box.volumes.items() if command.keep and use in KEPT}
        if self.alias(command.name) in self.foreign_containers:
            return REFUSED, box, False
        if box.container is None and box.entry is None and box.volumes == kept:
            return REFUSED, evolve(box, journal=None), False
        return DONE, box.only(kept), False

    def switched(self, command: Command) -> tuple[int, Box, bool]:
        box = self.boxes[command.name]
        if box.container is None:
            return REFUSED, box, False
        running = command.verb != "stop" and box.journal is None
        return DONE, evolve(box, container=evolve(box.container, running=running)), False

    def synced(self, name: str) -> Box:
        box, alias = self.boxes[name], self.alias(name)
        if box.journal is not None:
            return box
        if box.container is not None:
            return evolve(box, entry=box.container.ports[0], pinned=box.key)
        if box.entry is not None and alias not in self.other_prefixes:
            return evolve(box, entry=None, pinned=None)
        return box

    def command(self, verb: Verb, name: str, keep: bool) -> Command:
        if verb in ("start", "restart") and self.boxes[name].journal is not None:
            verb = "stop"  # what a create left half way may lack all that a start needs
        return Command(verb, "" if verb == "sync" else name, keep and verb == "remove")

    # Commands that run to their end

    def run(self, command: Command) -> None:
        expected = self.expected(command)
        done = ended(command, self.world.client())
        assert done.code == expected.code, f"{command}: {done}, and not {expected.code}"
        self.settle(expected)

    @rule(name=st.sampled_from(NAMES))
    def create(self, name: str) -> None:
        self.run(self.command("create", name, False))

    @rule(name=st.sampled_from(NAMES), keep=st.booleans())
    def remove(self, name: str, keep: bool) -> None:
        self.run(self.command("remove", name, keep))

    @rule(verb=st.sampled_from(["start", "stop", "restart"]), name=st.sampled_from(NAMES))
    def switch(self, verb: Verb, name: str) -> None:
        self.run(self.command(verb, name, False))

    @rule()
    def sync(self) -> None:
        self.run(self.command("sync", "", False))

    # Work in the containers

    @rule(name=st.sampled_from(NAMES), use=st.sampled_from(KEPT))
    def work(self, name: str, use: str) -> None:
        """Find what was written before, and write something new."""
        if not self.usable(name):
            return
        if (name, use) in self.notes:
            assert self.shell(name, f"cat {NOTES[use]}") == self.notes[name, use]
        self.written += 1
        self.notes[name, use] = f"note {self.written}"
        self.shell(name, f"printf '{self.notes[name, use]}' > {NOTES[use]}")

    def usable(self, name: str) -> bool:
        box = self.boxes[name]
        return box.journal is None and box.container is not None and box.container.running

    def shell(self, name: str, script: str) -> str:
        done = self.world.client().exec(name, ["/bin/sh", "-c", script], timeout=30)
        assert done.exit_code == 0, done.stderr
        return done.stdout

    # Commands that are cut off

    @initialize(number=st.integers(0, 2**20), name=st.sampled_from(NAMES), point=POINTS)
    def a_create_is_killed_first(self, number: int, name: str, point: int) -> None:
        if number == 0 and not self.simplest_too:
            reject()
        self.strike("kill", self.command("create", name, False), point)

    @rule(verb=ANY_VERB, name=st.sampled_from(NAMES), keep=st.booleans(), point=POINTS, again=st.booleans())
    def killed(self, verb: Verb, name: str, keep: bool, point: int, again: bool) -> None:
        command = self.command(verb, name, keep)
        self.strike("kill", command, point)
        if again:
            self.run(self.command(command.verb, name, keep))
            if verb in ("create", "remove"):
                assert self.boxes[name].journal is None or self.alias(name) in self.foreign_containers

    @rule(verb=ANY_VERB, name=st.sampled_from(NAMES), keep=st.booleans(), point=POINTS)
    def link_lost(self, verb: Verb, name: str, keep: bool, point: int) -> None:
        self.strike("lose_link", self.command(verb, name, keep), point)

    def strike(self, fault: Fault, command: Command, point: int) -> None:
        """Run a command that is cut off, and check that it was left in a state in which it may be."""
        expected = self.expected(command)
        done = getattr(self.world, fault)(command, point)
        whole = done.code == expected.code
        assert whole or (done.struck and done.code in CUT_OFF[fault]), f"{command}: {done}, and not {expected.code}"
        if whole and not done.struck:
            self.settle(expected)
            return
        now = self.look()
        for name in NAMES:
            before = self.boxes[name]
            allowed = self.fits(name, now[name], expected) or (
                not (whole and expected.code == DONE)
                and (now[name] == before or self.cut_off(fault, command, name, before, now[name], expected.boxes[name]))
            )
            assert allowed, f"{fault} in {command}, {done}:\n  left  {now[name]}\n  was   {before}\n  {expected}"
        self.become(now)

    def cut_off(self, fault: Fault, command: Command, name: str, before: Box, now: Box, after: Box) -> bool:
        """Whether a command that is neither not begun nor done may have left a name so."""
        if command.verb == "sync":
            return (
                now.entry in (before.entry, after.entry)
                and now.pinned in (before.pinned, after.pinned)
                and evolve(now, entry=before.entry, pinned=before.pinned) == before
            )
        if command.name != name:
            return False
        if command.verb == "remove":
            return _half_removed(before, now, after)
        if command.verb != "create":
            return bool(before.container and now.container) and now == evolve(
                before, container=evolve(before.container, running=now.container.running)
            )
        if now.journal is None:
            return fault == "lose_link" and now == before.only(before.not_made_by(before.journal))
        return _half_created(before, now) and (fault == "kill" or now.journal == before.journal)

    # Other people, and accidents

    @rule(
        name=st.sampled_from(NAMES),
        aside=st.sampled_from([False, False, True]),
        labels=st.sampled_from(FOREIGN_LABELS),
        offset=st.integers(0, 2),
    )
    def somebody_makes_a_container(self, name: str, aside: bool, labels: Mapping[str, str], offset: int) -> None:
        container = f"other-{name}" if aside else self.alias(name)
        if container in self.foreign_containers or (not aside and self.boxes[name].container is not None):
            return
        self.world.add_container(container, labels, self.world.profile.ssh_start_port + offset)
        self.foreign_containers[container] = self.world.server().containers[container]
        if "l8s.managed" in labels:
            self.other_prefixes.add(container)
        self.settle(Expected(DONE, self.boxes))

    @rule(name=st.sampled_from(NAMES), use=st.sampled_from(USES), labels=st.sampled_from(FOREIGN_LABELS))
    def somebody_makes_a_volume(self, name: str, use: str, labels: Mapping[str, str]) -> None:
        volume = f"{self.alias(name)}-{use}"
        if use in self.boxes[name].volumes or volume in self.foreign_volumes:
            return
        self.world.add_volume(volume, labels)
        self.foreign_volumes[volume] = labels
        self.settle(Expected(DONE, self.boxes))

    @rule()
    def somebody_tidies_up(self) -> None:
        for container in self.foreign_containers:
            self.world.take_container(container)
        for volume in self.foreign_volumes:
            self.world.take_volume(volume)
        self.foreign_containers, self.foreign_volumes, self.other_prefixes = {}, {}, set()
        self.settle(Expected(DONE, self.boxes))

    @rule(name=st.sampled_from(NAMES), volumes=st.booleans())
    def somebody_removes_our_container(self, name: str, volumes: bool) -> None:
        """Alone, by hand; or with its volumes, as ``l8s rm`` on another laptop does."""
        box = self.boxes[name]
        if box.container is not None:
            self.world.take_container(self.alias(name))
        if volumes:
            for use in box.volumes:
                self.world.take_volume(f"{self.alias(name)}-{use}")
            box = evolve(box, volumes={}, key=None)
        self.settle(Expected(DONE, {**self.boxes, name: evolve(box, container=None)}))

    @rule()
    def the_laptops_files_are_lost(self) -> None:
        (files.state_dir() / "ssh_config").unlink(missing_ok=True)
        for name in NAMES:
            KnownHosts().forget(container_name(self.alias(name)))
        self.settle(Expected(DONE, {name: evolve(box, entry=None, pinned=None) for name, box in self.boxes.items()}))


def _half_removed(before: Box, now: Box, after: Box) -> bool:
    """The entry goes first, then the pin, the container, the volumes, and the journal last."""
    steps = [
        (before.entry is not None, now.entry == before.entry, now.entry is None),
        (before.pinned is not None, now.pinned == before.pinned, now.pinned is None),
        (before.container is not None, now.container == before.container, now.container is None),
        (before.volumes != after.volumes, now.volumes == before.volumes, now.volumes == after.volumes),
        (before.journal is not None, now.journal == before.journal, now.journal is None),
    ]
    between = after.volumes.items() <= now.volumes.items() <= before.volumes.items()
    done = [gone for counts, _, gone in steps if counts]
    untouched = [still for counts, still, _ in steps if counts]
    return between and all(
        # what comes before a step that was begun is done
        untouched[index] or all(done[:index])
        for index in range(len(done))
    )


def _half_created(before: Box, now: Box) -> bool:
    """Nothing that was there before is gone, and what is new carries the operation that the journal names."""
    kept = before.not_made_by(before.journal)
    operations = {before.journal, now.journal}
    new = {labels[LABEL_OPERATION] for use, labels in now.volumes.items() if use not in kept}
    if not (kept.items() <= now.volumes.items() and new <= operations):
        return False
    if now.journal == before.journal:  # it had not got further than clearing away what an earlier one left
        return now.container in (before.container, None) and now.volumes.items() <= before.volumes.items()
    if now.container is None:
        return now.entry in (before.entry, None)
    return now.container.operation == now.journal and set(now.volumes) == set(USES)


def _journals_alias(path: Path) -> str:
    """The alias in the name of a journal's file; the twelve digits after it stand for the server."""
    return path.stem.rpartition("-")[0]


def _pinned(alias: str) -> str | None:
    (key,) = KnownHosts().keys(container_name(alias)) or [None]
    return key.line if key is not None else None
