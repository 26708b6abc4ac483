"""Archives of a container that means harm, and of one that does not: what is written, and above all what is not."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from attrs import define, field

from l8s_core import unpacking
from l8s_core.errors import BackendError, L8sError, LocalFileError
from l8s_core.packing import Tally
from l8s_core.unpacking import Unpacker

Entry = tuple[tarfile.TarInfo, bytes]


def entry(name: str, data: bytes = b"", *, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> Entry:
    header = tarfile.TarInfo(name)
    header.type, header.linkname, header.size, header.mode, header.mtime = kind, link, len(data), mode, 1_000_000_000
    return header, data


def directory(name: str, mode: int = 0o755) -> Entry:
    return entry(name, kind=tarfile.DIRTYPE, mode=mode)


def symlink(name: str, target: str) -> Entry:
    return entry(name, kind=tarfile.SYMTYPE, link=target)


def hard_link(name: str, target: str) -> Entry:
    return entry(name, kind=tarfile.LNKTYPE, link=target)


def archive(*entries: Entry, form: int = tarfile.GNU_FORMAT, end: bool = True) -> bytes:
    """As tarfile writes them, whatever it is told to."""
    buffer = io.BytesIO()
    for header, data in entries:
        buffer.write(header.tobuf(form, errors="surrogateescape"))
        buffer.write(data + bytes(-len(data) % 512))
    return buffer.getvalue() + (bytes(1024) if end else b"")


def open_descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


@define
class Place:
    """A home with a secret in it, beside the directory that is copied into."""

    root: Path
    tally: Tally = field(factory=Tally)

    @property
    def into(self) -> Path:
        return self.root / "into"

    def unpack(self, data: bytes, destination: str = "new", *, contents: bool = False, size: int = 100_000) -> None:
        target = os.fsencode(f"{self.into}/{destination}") if destination else os.fsencode(self.into)
        unpacker = Unpacker(target, b"given", contents=contents, tally=self.tally)
        try:
            for start in range(0, len(data), size):
                unpacker.feed(data[start : start + size])
            unpacker.finish()
        finally:
            unpacker.discard()

    def state(self, below: Path | None = None) -> dict[str, tuple[object, ...]]:
        """Everything that is there, with its content."""
        found: dict[str, tuple[object, ...]] = {}
        for path in sorted((below or self.root).rglob("*")):
            status = path.lstat()
            content = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
            found[str(path.relative_to(below or self.root))] = (oct(status.st_mode), content)
        return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "into").mkdir()
    (tmp_path / "secret").write_bytes(b"key")
    (tmp_path / "secret").chmod(0o600)
    (tmp_path / "private").mkdir()
    return Place(tmp_path)


LONG = "n" * 200

HOSTILE: dict[str, Callable[[], bytes]] = {
    "an absolute name": lambda: archive(directory("/"), entry("/etc/evil", b"x")),
    "a name that goes up": lambda: archive(directory("a"), entry("a/../../evil", b"x")),
    "a root that goes up": lambda: archive(entry("../evil", b"x")),
    "a dot in the middle": lambda: archive(directory("a"), entry("a/./b", b"x")),
    "an empty part": lambda: archive(directory("a"), entry("a//b", b"x")),
    "an empty name": lambda: archive(entry("", b"x")),
    "two roots": lambda: archive(directory("a"), entry("b", b"x")),
    "a file twice": lambda: archive(directory("a"), entry("a/b", b"x"), entry("a/b", b"y")),
    "a directory twice": lambda: archive(directory("a"), directory("a/b"), directory("a/b")),
    "the root twice": lambda: archive(directory("a"), directory("a")),
    "writing through a link": lambda: archive(directory("a"), symlink("a/b", ".."), entry("a/b/evil", b"x")),
    "writing through an absolute link": lambda: archive(
        directory("a"), symlink("a/b", "/tmp"), entry("a/b/evil", b"x")
    ),
    "a file over a link": lambda: archive(directory("a"), symlink("a/b", "../../secret"), entry("a/b", b"evil")),
    "a directory over a link": lambda: archive(directory("a"), symlink("a/b", "../.."), directory("a/b")),
    "a root that is a link, and then a tree": lambda: archive(symlink("a", ".."), entry("a/evil", b"x")),
    "below a file": lambda: archive(directory("a"), entry("a/b", b"x"), entry("a/b/c", b"y")),
    "below a root that is a file": lambda: archive(entry("a", b"x"), entry("a/b", b"y")),
    "a hard link out": lambda: archive(directory("a"), hard_link("a/b", "../secret")),
    "an absolute hard link": lambda: archive(directory("a"), hard_link("a/b", "/etc/passwd")),
    "a hard link to another root": lambda: archive(directory("a"), hard_link("a/b", "secret")),
    "a hard link through a link": lambda: archive(
        directory("a"), symlink("a/up", "../.."), hard_link("a/b", "a/up/secret")
    ),
    "a hard link to a link": lambda: archive(
        directory("a"), symlink("a/up", "../../secret"), hard_link("a/b", "a/up"), entry("a/c", b"x")
    ),
    "a hard link to what comes later": lambda: archive(directory("a"), hard_link("a/b", "a/c"), entry("a/c", b"x")),
    "a hard link alone": lambda: archive(hard_link("a", "a")),
    "a device alone": lambda: archive(entry("a", kind=tarfile.CHRTYPE)),
    "an unknown kind": lambda: archive(directory("a"), entry("a/b", b"x", kind=b"Z")),
    "depth": lambda: archive(directory("a"), entry("a/" + "d/" * 201 + "f", b"x")),
    "a name without end": lambda: archive(entry("././@LongLink", b"n" * 70_000, kind=b"L"), entry("x", b"x")),
    "attributes without end": lambda: archive(entry("p", b"9 a=" * 20_000, kind=b"x"), entry("x", b"x")),
    "attributes that lie": lambda: archive(entry("p", b"999 path=/etc/evil\n", kind=b"x"), entry("x", b"x")),
    "attributes of no size": lambda: archive(entry("p", b"12 size=-1x\n", kind=b"x"), entry("x", b"x")),
    "a size below nothing": lambda: archive(entry("p", b"13 size=-512\n", kind=b"x"), entry("x", b"x" * 5000)),
    "a size far below nothing": lambda: archive(entry("p", b"16 size=-999999\n", kind=b"x"), entry("x", b"x")),
    "an absolute name in attributes": lambda: archive(entry("p", b"18 path=/etc/evil\n", kind=b"x"), entry("x", b"x")),
    "a NUL in attributes": lambda: archive(entry("p", b"14 path=a/\0b\n", kind=b"x"), directory("a")),
    "an absolute long name": lambda: archive(entry("././@LongLink", b"/" + LONG.encode(), kind=b"L"), entry("x", b"x")),
    "holes in attributes": lambda: archive(entry("p", b"23 GNU.sparse.major=1\n"[:22] + b"\n", kind=b"x"), entry("x")),
    "no archive": lambda: b"<html>" * 200,
    "after the end": lambda: bytes(512) + archive(entry("a", b"x")),
    "nothing": lambda: bytes(1024),
    "too short": lambda: archive(directory("a"), entry("a/b", b"x" * 5000))[:2000],
    "cut between two entries": lambda: archive(directory("a"), entry("a/b", b"x"), end=False),
    "half an end": lambda: archive(entry("a", b"x"), end=False) + bytes(512),
    "no byte": lambda: b"",
}


@pytest.mark.parametrize("destination", ["new", ""], ids=["a new name", "into a directory"])
@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("size", [100_000, 7])
def test_a_hostile_archive_leaves_nothing(place: Place, kind: str, destination: str, size: int) -> None:
    before = place.state()
    with pytest.raises(BackendError, match="refused"):
        place.unpack(HOSTILE[kind](), destination, size=size)
    assert place.state() == before


@pytest.mark.parametrize("kind", sorted(HOSTILE))
def test_merged_into_a_tree_that_is_there_it_stays_below_it(place: Place, kind: str) -> None:
    """What is there may be replaced by name, as the person asked; nothing else changes, and nothing half is left."""
    (place.into / "sub").mkdir()
    (place.into / "up").symlink_to("..")
    (place.into / "b").symlink_to("../private")
    before = place.state()
    with suppress(L8sError):  # a file may come over what is there
        place.unpack(HOSTILE[kind](), "", contents=True)
    after = place.state()
    outside = {name: what for name, what in after.items() if not name.startswith("into/")}
    assert outside == {name: what for name, what in before.items() if not name.startswith("into/")}
    assert not [name for name in after if ".l8s-" in name]


def test_a_link_that_is_there_is_not_written_through(place: Place) -> None:
    (place.into / "given").mkdir()
    (place.into / "given" / "file").symlink_to("../../secret")
    (place.into / "given" / "dir").symlink_to("../../private")
    place.unpack(archive(directory("x"), entry("x/file", b"new")), "")
    assert (place.root / "secret").read_bytes() == b"key"
    assert (place.into / "given" / "file").read_bytes() == b"new"
    with pytest.raises(LocalFileError):
        place.unpack(archive(directory("x"), directory("x/dir"), entry("x/dir/evil", b"x")), "")
    with pytest.raises(BackendError):  # without saying so first
        place.unpack(archive(directory("x"), entry("x/dir/evil", b"x")), "")
    assert list((place.root / "private").iterdir()) == []


def test_a_destination_that_is_a_link_to_a_file_is_replaced(place: Place) -> None:
    (place.into / "new").symlink_to("../secret")
    place.unpack(archive(entry("x", b"data")))
    assert not (place.into / "new").is_symlink()
    assert (place.root / "secret").read_bytes() == b"key"


def test_set_user_bits_and_devices_do_not_come_out(place: Place) -> None:
    place.unpack(
        archive(
            directory("a", 0o7755),
            entry("a/suid", b"x", mode=0o6755),
            directory("a/sticky", 0o1777),
            *(entry(f"a/{kind.decode()}{number}", kind=kind) for kind in (b"3", b"4", b"6") for number in range(3)),
        )
    )
    modes = {path.name: oct(path.stat().st_mode & 0o7777) for path in (place.into / "new").iterdir()}
    assert modes == {"suid": "0o755", "sticky": "0o777"}
    assert oct((place.into / "new").stat().st_mode & 0o7777) == "0o755"
    assert place.tally.warnings == [
        "a/30 was left out: it is a device.",
        "a/31 was left out: it is a device.",
        "a/32 was left out: it is a device.",
        "a/40 was left out: it is a device.",
        "a/41 was left out: it is a device.",
        "4 more were left out.",
    ]


@pytest.mark.parametrize(
    ("target", "outside"),
    [("b", False), ("./d/../b", False), ("../a/b", True), ("../..", True), ("/etc/passwd", True), ("d/../../b", True)],
)
def test_links_are_kept_and_those_that_lead_out_are_named(place: Place, target: str, outside: bool) -> None:
    place.unpack(archive(directory("a"), symlink("a/link", target)))
    assert os.readlink(place.into / "new" / "link") == target  # noqa: PTH115  Path would tidy it
    assert bool(place.tally.warnings) is outside


def test_a_claim_of_size_costs_nothing(place: Place) -> None:
    header, _ = entry("a")
    header.size = 2**50
    unpacker = Unpacker(os.fsencode(place.into / "new"), b"x", contents=False, tally=place.tally)
    unpacker.feed(header.tobuf(tarfile.GNU_FORMAT) + b"tiny")
    used = sum(path.stat().st_blocks * 512 for path in place.into.iterdir())
    unpacker.discard()
    assert used < 100_000
    header.size = 2**61
    with pytest.raises(BackendError, match="size"):
        place.unpack(header.tobuf(tarfile.GNU_FORMAT))


def sparse(real: int, *parts: tuple[int, int], stored: int | None = None, more: bool = False) -> bytes:
    """A file of GNU's kind with holes, whose table says ``parts``."""
    header, _ = entry("a")
    header.type = b"S"
    header.size = sum(length for _, length in parts) if stored is None else stored
    block = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    for index, (offset, length) in enumerate(parts):
        block[386 + 24 * index : 410 + 24 * index] = b"%011o\0%011o\0" % (offset, length)
    block[482] = more
    block[483:495] = b"\x80" + real.to_bytes(11, "big")
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (sparse(100, (0, 10), (5, 10)), "overlap"),
        (sparse(100, (90, 20)), "overlap"),
        (sparse(2**63, (0, 1)) + b"x".ljust(512, b"\0") + bytes(1024), "out of range"),
        (sparse(100, (0, 10), stored=20) + bytes(512), "not what it says"),
        (sparse(100, (0, 10), stored=5) + bytes(512), "not what it says"),
    ],
)
def test_holes_that_lie(place: Place, data: bytes, words: str) -> None:
    with pytest.raises(L8sError, match=words):
        place.unpack(data)
    assert list(place.into.iterdir()) == []


def test_a_table_of_holes_without_end(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MAX_STRETCHES", 100)
    unpacker = Unpacker(os.fsencode(place.into / "new"), b"x", contents=False, tally=place.tally)
    unpacker.feed(sparse(2**40, (0, 1), stored=1000, more=True))
    row = b"".join(b"%011o\0%011o\0" % (1000 * number, 1) for number in range(1, 22)) + b"\1" + bytes(7)
    with pytest.raises(BackendError):
        for _ in range(20):
            unpacker.feed(row)
    unpacker.discard()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("size", [1, 511, 512, 513, 10_000])
def test_every_form_in_any_pieces(place: Place, form: int, size: int) -> None:
    deep = "d" * 60 + "/" + "e" * 60
    data = archive(
        directory("a"),
        directory("a/" + "d" * 60),
        directory(f"a/{deep}"),
        entry(f"a/{deep}/file", b"content" * 200, mode=0o640),
        entry("a/empty"),
        hard_link("a/again", "a/empty"),
        symlink("a/link", "empty"),
        form=form,
    )
    place.unpack(data, size=size)
    new = place.into / "new"
    assert (new / deep / "file").read_bytes() == b"content" * 200
    assert (new / deep / "file").stat().st_mode & 0o777 == 0o640
    assert (new / deep / "file").stat().st_mtime == 1_000_000_000
    assert (new / deep).stat().st_mtime == new.stat().st_mtime == 1_000_000_000
    assert (new / "again").samefile(new / "empty")
    assert (new / "link").readlink() == Path("empty")
    assert (place.tally.files, place.tally.bytes) == (4, 1400)


def test_what_gnu_tar_makes_with_holes_and_strange_names(place: Place) -> None:
    source = place.root / "source"
    source.mkdir()
    with (source / "sparse").open("wb") as file:
        for number in range(40):
            file.seek(number * 2**30)
            file.write(b"x" * 5000)
    os.close(os.open(os.fsencode(source) + b"/\xff\n" + b"n" * 200, os.O_CREAT))
    made = subprocess.run(
        ["tar", "--format=gnu", "--sparse", "-cf", "-", "-C", source, "."], capture_output=True, check=True
    )
    place.unpack(made.stdout)
    copy = place.into / "new"
    assert {path.name for path in copy.iterdir()} == {path.name for path in source.iterdir()}
    assert (copy / "sparse").stat().st_size == 39 * 2**30 + 5000
    assert (copy / "sparse").stat().st_blocks * 512 < 2**20
    with (copy / "sparse").open("rb") as file:
        file.seek(17 * 2**30)
        assert file.read(5001) == b"x" * 5000 + b"\0"


# Where it goes


TREE = archive(directory("x", 0o750), entry("x/one", b"1"))
FILE = archive(entry("x", b"1"))


def test_a_tree_gets_the_name_or_goes_into_a_directory(place: Place) -> None:
    place.unpack(TREE, "new")
    place.unpack(TREE, "slash/")
    place.unpack(TREE, "")
    place.unpack(TREE, "", contents=True)
    names = sorted(str(path.relative_to(place.into)) for path in place.into.rglob("*"))
    assert names == ["given", "given/one", "new", "new/one", "one", "slash", "slash/one"]
    assert (place.into / "new").stat().st_mode & 0o777 == 0o750


def test_a_directory_that_is_there_keeps_its_mode_and_what_is_in_it(place: Place) -> None:
    (place.into / "given").mkdir(mode=0o700)
    (place.into / "given" / "one").write_bytes(b"old")
    (place.into / "given" / "two").write_bytes(b"2")
    place.unpack(TREE, "")
    assert (place.into / "given" / "one").read_bytes() == b"1"
    assert (place.into / "given" / "two").read_bytes() == b"2"
    assert (place.into / "given").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("data", "destination", "contents"),
    [
        (TREE, "file", False),  # a tree onto a file
        (TREE, "missing/new", False),
        (FILE, "slash/", False),
        (FILE, "", True),  # x/. of what is no directory
        (FILE, "dir", False),  # dir/given is a directory
        (TREE, "dangling", False),
        (TREE, "file/new", False),
    ],
)
def test_what_is_in_the_way_stays(place: Place, data: bytes, destination: str, contents: bool) -> None:
    (place.into / "file").write_bytes(b"mine")
    (place.into / "dir" / "given").mkdir(parents=True)
    (place.into / "dangling").symlink_to("nowhere")
    before = place.state()
    with pytest.raises(LocalFileError):
        place.unpack(data, destination, contents=contents)
    assert place.state() == before


def test_a_full_disk_leaves_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(output: int, data: memoryview) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(unpacking.os, "write", full)
    before = place.state()
    for data, destination in ((TREE, "new"), (FILE, "new"), (TREE, "")):
        with pytest.raises(LocalFileError, match="No space left") as raised:
            place.unpack(data, destination)
        assert "df -h" in raised.value.hints[0]
        assert place.state() == before


def test_until_it_is_whole_it_has_no_name(place: Place) -> None:
    (place.into / "given").mkdir()
    for data, destination in ((TREE, "new"), (FILE, "new"), (TREE, "")):
        unpacker = Unpacker(os.fsencode(place.into / destination), b"given", contents=False, tally=place.tally)
        whole = data.index(b"1" + bytes(511))
        unpacker.feed(data[:whole])
        names = [path.name for path in place.into.rglob("*") if not path.name.startswith(".l8s-")]
        assert set(names) <= {"given", "one"}
        assert not (place.into / "new").exists()
        assert not (place.into / "given" / "one").exists()
        unpacker.discard()
    assert sorted(place.state(place.into)) == ["given"]


def test_a_directory_nobody_may_write_arrives(place: Place) -> None:
    place.unpack(archive(directory("x", 0o555), directory("x/y", 0o500), entry("x/y/z", b"1", mode=0o400)))
    assert oct((place.into / "new" / "y").stat().st_mode & 0o777) == "0o500"
    assert (place.into / "new" / "y" / "z").read_bytes() == b"1"


def test_no_descriptor_stays_open(place: Place) -> None:
    before = open_descriptors()
    place.unpack(TREE)
    for data in (HOSTILE["writing through a link"](), HOSTILE["too short"](), TREE[:700]):
        with pytest.raises(BackendError):
            place.unpack(data, "other")
    assert open_descriptors() == before
