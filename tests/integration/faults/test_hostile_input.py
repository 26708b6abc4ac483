"""Hostile words and hostile config files are refused at the door: exit 2, what is wrong is named, nobody is asked.

The profile's server is a trap: it listens at a server's address, and counts. Every place where a word enters is first
shown to lead there with a word that is in order. ``doors.py`` runs the command lines; its audit hook sees more than the
trap can: the ssh-agent, the name server, programs that are started.
"""

from __future__ import annotations

import base64
import json
import os
import random
import re
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from attrs import define, field
from battery import SEED_VARIABLE, full
from doors import Answer, Knock
from hostile_files import FILES, GOOD_FILES, HOST, MADE_WITH_CARE, NAMES, VALUES
from hostile_words import ANYWHERE, COMMANDS, CONFIGURED, PLACES, STRAY, Place
from lab import Laptop, Server
from wire import PORT, answering

from l8s_core import names

CONFIG = ".l8s/config.yaml"
AT_LEAST = 6
"""How many words each place gets in a quick run."""
BATCH = 500
"""How many command lines one process runs."""
DRAWN = 4
"""How many of the refusals are repeated with the real command."""


@define
class House:
    """A laptop whose server is the trap."""

    laptop: Laptop
    host: str
    connections: int = 0
    files: dict[str, bytes] = field(factory=dict)

    def serve(self, _connection: socket.socket) -> None:
        self.connections += 1

    def knock(self, argv: list[str], environ: Mapping[str, str] | None = None, *, config: bytes | None = None) -> Knock:
        files = self.files if config is None else {**self.files, CONFIG: config}
        encoded = {name: base64.b64encode(data).decode() for name, data in files.items()}
        return Knock(argv=argv, environ=dict(environ or {}), files=encoded)

    def run(self, knocks: list[Knock]) -> list[Answer]:
        doors = Path(__file__).with_name("doors.py")
        answers: list[Answer] = []
        for first in range(0, len(knocks), BATCH):
            some = knocks[first : first + BATCH]
            ran = self.laptop.run("python", doors, input=json.dumps(some), cwd=self.laptop.home, timeout=100)
            answers += json.loads(ran.stdout)
        assert len(answers) == len(knocks)
        return answers


@pytest.fixture
def house(server: Server, laptop: Laptop) -> Iterator[House]:
    laptop.configure(server, profile="dev", remote_port=PORT)
    laptop.configure(server, profile="spare", remote_port=PORT)
    laptop.run("python", "-c", ENTRY, server.host, str(PORT))
    laptop.git("init", "--quiet", cwd=laptop.home)
    (laptop.home / "Containerfile").write_text("FROM scratch\n")
    found = House(laptop, server.host)
    config = (laptop.home / CONFIG).read_bytes().replace(b"active_profile: spare", b"active_profile: dev")
    found.files = {CONFIG: config, ".git/config": (laptop.home / ".git/config").read_bytes()}
    with answering(server, found.serve):
        yield found


ENTRY = """
import sys
from l8s_core.model import HostBlock
from l8s_openssh import l8s_ssh_config_writers
host, port = sys.argv[1:]
block = HostBlock(
    alias="dev-ok", hostname=host, port=int(port), user="dev", host_key_alias="dev-ok.l8s", known_hosts_file="/dev/null"
)
(provider,) = l8s_ssh_config_writers()
writer = provider.factory()
writer.apply(writer.plan(add=[block]))
"""
"""Gives the laptop the ssh entry of a container ``ok`` at the trap."""


def knock(place: Place, word: str, house: House) -> Knock:
    """The command line with ``word`` at that place."""
    words = [part.replace(CONFIGURED, house.host) for part in place.argv]
    if place.variable:
        return house.knock(words, {place.variable: word})
    return house.knock([part.replace("{}", word.replace(CONFIGURED, house.host)) for part in words])


def readable(answer: Answer) -> str:
    """What it said on stderr, which is UTF-8, for a person, and can do nothing to a terminal."""
    said = base64.b64decode(answer["stderr"]).decode()
    assert said.replace("\n", "").isprintable()
    assert "Traceback" not in said
    assert len(said) < 4000
    return said


def refused(answer: Answer) -> str:
    """It was refused with exit 2, having asked nobody, started nothing and written nothing; what it said."""
    said = readable(answer)
    assert answer["code"] == 2, said
    assert answer["events"] == []
    assert answer["changed"] == []
    assert answer["stdout"] == ""
    assert answer["seconds"] < 5
    return said


# Words


CASES = [
    (place, word)
    for place in PLACES
    for word in dict.fromkeys((*(word for key, word in ANYWHERE.items() if key not in place.allowed), *place.words))
]


def drawn_words() -> list[tuple[Place, str]]:
    """Every word at some place, and `AT_LEAST` words at every place; with ``--full`` every word everywhere."""
    if full():
        return CASES
    shuffled = random.Random(os.environ[SEED_VARIABLE]).sample(CASES, len(CASES))
    words: set[str] = set()
    places: Counter[int] = Counter()
    chosen = []
    for place, word in shuffled:
        if word not in words or places[id(place)] < AT_LEAST:
            words.add(word)
            places[id(place)] += 1
            chosen.append((place, word))
    return chosen


BY_PODMAN_5 = pytest.mark.parametrize("server", ["podman-5.4"], indirect=True)
"""Nothing gets as far as a Podman here, so one server is enough."""
BY_PODMAN_4 = pytest.mark.parametrize("server", ["podman-4.3"], indirect=True)


@BY_PODMAN_5
def test_every_word_that_is_in_order_gets_where_it_leads(house: House) -> None:
    """Else the silence after the hostile ones would prove nothing."""
    answers = house.run([knock(place, place.good, house) for place in PLACES])
    for place, answer in zip(PLACES, answers, strict=True):
        said = base64.b64decode(answer["stderr"]).decode()
        assert place.reaches == "nothing" or not said.startswith(f"Error: {place.named}"), said
        seen = " ".join(answer["events"])
        expected = {
            "trap": f"({house.host!r}, {PORT})",
            "ssh": "/ssh', ['ssh'",
            "git": "subprocess.Popen ('git'",
        }
        assert expected.get(place.reaches, "") in seen, (place, said)
        if place.reaches == "file":
            assert str(house.laptop.home / CONFIG) in answer["changed"], (place, said)
    assert house.connections >= sum(place.reaches in ("trap", "ssh") for place in PLACES)


@BY_PODMAN_5
def test_the_name_server_and_the_agent_are_heard_too(house: House) -> None:
    named = house.run([house.knock(["init", "--yes", "--host=trap.invalid"]), house.knock(["doctor"])])
    assert any("getaddrinfo" in event and "trap.invalid" in event for event in named[0]["events"])
    assert any(house.laptop.env["SSH_AUTH_SOCK"] in event for event in named[1]["events"])


@pytest.mark.timeout(600)
@BY_PODMAN_5
def test_hostile_words(house: House) -> None:
    cases = drawn_words()
    assert len(cases) >= 300
    assert len({word for _, word in cases}) >= 300
    answers = house.run([knock(place, word, house) for place, word in cases])
    wrong = []
    for (place, word), answer in zip(cases, answers, strict=True):
        try:
            names_the_word(place, word, refused(answer))
        except AssertionError as error:
            wrong.append((place.argv, word[:80], str(error)[:200]))
    assert wrong == []
    assert house.connections == 0


def names_the_word(place: Place, word: str, said: str) -> None:
    """The first line has the place and what was found there, made visible."""
    first = said.partition("\n")[0]
    assert first.startswith(f"Error: {place.named}")
    if place.is_ours and word in ANYWHERE.values() and not ("=" in word and "=" in place.good):
        assert names.shown(place.typed(word)) in first
    else:
        parts = re.findall(r"[A-Za-z0-9]+", word.partition("=")[0])
        assert any(part[:40] in first for part in parts) or not parts


@BY_PODMAN_5
def test_no_argument_becomes_an_option(house: House) -> None:
    cases = [(command, option, named) for command in COMMANDS for option, named in STRAY.items()]
    answers = house.run([house.knock([*command, option]) for command, option, _ in cases])
    for (command, option, named), answer in zip(cases, answers, strict=True):
        assert named in refused(answer).partition("\n")[0], (command, option)
    assert house.connections == 0


@BY_PODMAN_5
def test_the_command_itself_says_the_same(house: House) -> None:
    cases = random.Random(os.environ[SEED_VARIABLE]).sample(CASES, DRAWN)
    knocks = [knock(place, word, house) for place, word in cases]
    for said, one in zip(house.run(knocks), knocks, strict=True):
        ran = house.laptop.l8s(*one["argv"], check=False, cwd=house.laptop.home, **one["environ"])
        assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", refused(said))
    assert house.connections == 0


# Files


WRITING = ["profile", "add", "fresh", "--host=h.example"]


def test_every_file_has_a_name_of_its_own_and_there_are_enough() -> None:
    assert len(FILES) >= 100
    assert len({file.data for file in FILES}) == len(FILES)


@BY_PODMAN_4
def test_a_file_that_is_in_order_leads_to_the_trap(house: House) -> None:
    answers = house.run([house.knock(["list"], config=file.replace(HOST, house.host.encode())) for file in GOOD_FILES])
    for file, answer in zip(GOOD_FILES, answers, strict=True):
        assert answer["code"] == 4, (file, readable(answer))
        assert f"({house.host!r}, {PORT})" in " ".join(answer["events"])
    assert house.connections >= len(GOOD_FILES)


@pytest.mark.timeout(600)
@BY_PODMAN_4
def test_hostile_files(house: House) -> None:
    """Read by a command that would connect, and some by one that would write."""
    draw = random.Random(os.environ[SEED_VARIABLE])
    files = FILES if full() else (*MADE_WITH_CARE, *draw.sample((*VALUES, *NAMES), 60))
    written = [file for file in files if not file.only_used]
    cases = [(file, ["list"]) for file in files]
    cases += [(file, WRITING) for file in (written if full() else draw.sample(written, 30))]
    answers = house.run(
        [house.knock(argv, config=file.data.replace(HOST, house.host.encode())) for file, argv in cases]
    )
    wrong = []
    for (file, command), answer in zip(cases, answers, strict=True):
        try:
            said = refused(answer)
            place = f"~/{CONFIG}" if file.line is None else f"~/{CONFIG}:{file.line}"
            assert re.search(re.escape(place) + r"(?![0-9])", said), f"{place} is not in: {said}"
            assert file.words in said, f"{file.words} is not in: {said}"
        except AssertionError as error:
            wrong.append((file.name, command, str(error)[:400]))
    assert wrong == []
    assert house.connections == 0
