"""Any tree survives the way into a container and back; any bytes that a container sends leave what is here alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import pytest
from attrs import frozen
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from l8s_core import names
from l8s_core.copying import copy_in, copy_out, local_sources
from l8s_core.errors import L8sError
from l8s_core.model import ContainerRequest, Profile
from l8s_core.packing import PIECE, Source, Tally, pack
from l8s_core.steps import Steps
from l8s_core.testing import FakeBackend
from l8s_core.unpacking import Unpacker

# A busy machine is no reason to fail.
patient = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

NAMES = st.one_of(
    st.binary(min_size=1, max_size=12),
    st.binary(min_size=90, max_size=255),
    st.text(min_size=1, max_size=8).map(lambda text: text.encode("utf-8", "replace")),
).filter(lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..") and len(name) < 256)
MODES = st.integers(0, 0o777).map(lambda mode: mode | 0o700)
TIMES = st.integers(0, 2**32 - 1)


@frozen
class File:
    pattern: bytes
    mode: int
    time: int
    times: int = 1
    """How often the pattern is in the file."""
    hole: int = 0
    """Bytes that are missing before that."""


@frozen
class Link:
    target: bytes


Tree = Mapping[bytes, object]
FILES = st.builds(
    File,
    st.binary(max_size=2000),
    MODES,
    TIMES,
    st.sampled_from([1, 1, 1, 512, 700]),
    st.sampled_from([0, 0, 4096, 200_000, 10 * 1024**2]),
)
LINKS = st.builds(Link, st.binary(min_size=1, max_size=200).filter(lambda target: b"\0" not in target))
TREES = st.recursive(
    st.dictionaries(NAMES, st.one_of(FILES, LINKS), max_size=4),
    lambda inner: st.dictionaries(NAMES, st.one_of(FILES, LINKS, inner), max_size=4),
    max_leaves=12,
)


def make(tree: Tree, path: bytes) -> None:
    os.mkdir(path, 0o755)  # noqa: PTH102  names are bytes
    for name, what in tree.items():
        place = path + b"/" + name
        if isinstance(what, File):
            with open(place, "wb") as file:  # noqa: PTH123
                file.seek(what.hole)
                file.write(what.pattern * what.times)
            os.chmod(place, what.mode)  # noqa: PTH101
            os.utime(place, (what.time, what.time))
        elif isinstance(what, Link):
            os.symlink(what.target, place)  # noqa: PTH211
        else:
            assert isinstance(what, Mapping)
            make(what, place)


def read(path: bytes) -> object:
    if os.path.islink(path):  # noqa: PTH114
        return Link(os.readlink(path))  # noqa: PTH115
    if os.path.isdir(path):  # noqa: PTH112
        return {name: read(path + b"/" + name) for name in os.listdir(path)}  # noqa: PTH208
    status = os.stat(path)  # noqa: PTH116
    with open(path, "rb") as file:  # noqa: PTH123
        return (file.read(), status.st_mode & 0o777, int(status.st_mtime))


@contextmanager
def folder() -> Iterator[bytes]:
    with tempfile.TemporaryDirectory() as made:
        yield os.fsencode(made)


def backend() -> FakeBackend:
    made = FakeBackend(Profile(name="dev", remote_host="build.example.com", remote_user="root"))
    made.open(Steps())
    made.create(
        ContainerRequest(
            name="dev-x",
            image="localhost/l8s-dev:latest",
            hostname="x",
            command=("x",),
            labels={},
            ports={},
            volumes={},
        )
    )
    made.start("dev-x")
    made.server.container("dev-x").make_directory("/workspace/project")
    return made


@patient
@given(TREES, NAMES)
@example({b"-": {}, b"\n": File(b"", 0o700, 0), b"\xff": Link(b"\xff")}, b"a" * 255)
def test_any_tree_survives_there_and_back(tree: Tree, name: bytes) -> None:
    with folder() as here:
        make(tree, here + b"/" + name)
        fake = backend()
        info = fake.inspect("dev-x")
        copy_in(fake, info, local_sources([os.fsdecode(here + b"/" + name)]), "", user="dev")
        copy_out(fake, info, os.fsdecode(b"./" + name), os.fsdecode(here) + "/back", user="dev")
        assert read(here + b"/back") == read(here + b"/" + name)


@patient
@given(TREES, st.lists(st.integers(1, 3000), min_size=1, max_size=8))
def test_any_pieces_give_the_same_tree(tree: Tree, sizes: list[int]) -> None:
    with folder() as here:
        make(tree, here + b"/tree")
        archive = b"".join(pack([Source(here + b"/tree", b"tree")], Tally(), marker=b"tree/.l8s-end"))
        unpacker = Unpacker(here + b"/back", b"", contents=False, tally=Tally())
        turn = place = 0
        while place < len(archive):
            size = sizes[turn % len(sizes)] if turn < 2000 else PIECE
            unpacker.feed(archive[place : place + size])
            turn, place = turn + 1, place + size
        unpacker.finish()
        found = read(here + b"/back")
        assert isinstance(found, dict)
        assert found.pop(b".l8s-end") == (b"", 0o600, 0)
        assert found == read(here + b"/tree")


@patient
@given(TREES, st.data())
def test_a_broken_archive_leaves_nothing_half(tree: Tree, data: st.DataObject) -> None:
    """Some bytes of it are others, or missing: what is outside stays, and what comes is whole or not there at all."""
    with folder() as here:
        make(tree, here + b"/tree")
        os.mkdir(here + b"/into")  # noqa: PTH102
        before = read(here + b"/tree")
        archive = bytearray(b"".join(pack([Source(here + b"/tree", b"tree")], Tally(), marker=b"tree/.l8s-end")))
        for _ in range(data.draw(st.integers(0, 3))):
            place = data.draw(st.integers(0, min(len(archive), 20_000) - 1))
            archive[place] = data.draw(st.integers(0, 255))
            header = place - place % 512
            if data.draw(st.booleans()):  # with a checksum that is right
                archive[header + 148 : header + 156] = b"        "
                archive[header + 148 : header + 156] = b"%06o\0 " % sum(archive[header : header + 512])
        del archive[data.draw(st.integers(0, len(archive))) :]
        unpacker = Unpacker(here + b"/into/new", b"", contents=False, tally=Tally())
        whole = False
        with suppress(L8sError):
            unpacker.feed(bytes(archive))
            unpacker.finish()
            whole = True
        unpacker.discard()
        assert os.listdir(here + b"/into") == ([b"new"] if whole else [])  # noqa: PTH208
        assert set(os.listdir(here)) == {b"tree", b"into"}  # noqa: PTH208
        assert read(here + b"/tree") == before


@given(st.binary(max_size=3000))
def test_garbage_is_refused(garbage: bytes) -> None:
    with folder() as here:
        unpacker = Unpacker(here + b"/new", b"", contents=False, tally=Tally())
        with pytest.raises(L8sError):
            unpacker.feed(garbage)
            unpacker.finish()
        unpacker.discard()
        assert os.listdir(here) == []  # noqa: PTH208


@given(st.text(max_size=50))
def test_a_path_in_a_container_is_text_without_nul(text: str) -> None:
    if "\0" in text:
        with pytest.raises(L8sError):
            names.container_path(text)
    else:
        assert names.container_path(text) == text
