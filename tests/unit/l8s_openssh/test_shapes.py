"""The user's own ssh configuration in fifty shapes: one line more at its top, and every host means what it did."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from shapes import SHAPES, Shape

from l8s_core.model import HostBlock
from l8s_openssh.writer import OpenSSHWriter

ROUNDS = 100
UNHEARD_OF = ("nobody", "nobody.example.com", "192.0.2.77")
SAMPLE = 40
"""Hosts to ask ssh about in the file of ten thousand, which it needs a while to read."""


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    # short enough for sockets, see test_writer
    with tempfile.TemporaryDirectory(prefix="l8s-") as directory:
        monkeypatch.setenv("HOME", directory)
        yield Path(directory)


def block(alias: str) -> HostBlock:
    return HostBlock(
        alias=alias,
        hostname="server.example.com",
        port=2200,
        user="dev",
        host_key_alias=f"{alias}.l8s",
        known_hosts_file=str(Path.home() / ".l8s" / "known_hosts"),
    )


def meant(config: Path, hosts: list[str]) -> dict[str, str]:
    """All that ``ssh -G`` says of each host; it must accept the configuration."""
    found = {}
    for host in hosts:
        argv = ["ssh", "-F", config, "-G", "--", host]
        done = subprocess.run(argv, capture_output=True, check=False, timeout=20, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, (host, done.stderr)
        found[host] = done.stdout.decode("latin-1")
    return found


def asked(shape: Shape) -> list[str]:
    hosts = shape.hosts()
    return [*hosts[:: max(1, len(hosts) // SAMPLE)], *UNHEARD_OF]


@pytest.mark.parametrize("name", SHAPES)
def test_a_hundred_rounds_leave_one_line_and_every_host_as_it_was(name: str, home: Path) -> None:
    shape = SHAPES[name]
    config = home / ".ssh" / "config"
    before = shape.write(config.parent)
    others = {path: path.read_bytes() for path in config.parent.rglob("*") if path.is_file() and path != config}
    hosts = asked(shape)
    as_it_was = meant(config, hosts)
    end = b"\r\n" if b"\r\n" in before.partition(b"\n")[0] + b"\n" else b"\n"
    after = f'Include "{home}/.l8s/ssh_config"'.encode() + end + before

    writer = OpenSSHWriter()
    for number in range(ROUNDS):
        added = [block("dev-l8s"), block(f"lab-l8s{number}")][: 1 + number % 2]
        writer.apply(writer.plan(add=added))
        assert config.read_bytes() == after
        if number == 0:
            # with an entry in
            assert meant(config, hosts) == as_it_was
            assert "\nhostname server.example.com\nport 2200\n" in meant(config, ["dev-l8s"])["dev-l8s"]
        writer.apply(writer.plan(remove=[one.alias for one in added]))
        assert config.read_bytes() == after
    assert writer.blocks() == ()
    assert meant(config, hosts) == as_it_was
    assert {path: path.read_bytes() for path in others} == others
    assert sorted(path for path in config.parent.rglob("*") if path.is_file()) == sorted([config, *others])


def test_there_are_fifty_and_no_two_are_alike() -> None:
    assert len(SHAPES) == 50
    assert len({(shape.config, *shape.others.values()) for shape in SHAPES.values()}) == 50
    assert sum(len(shape.hosts()) for shape in SHAPES.values()) > 10_100
