"""Local trees as archives: read back by tarfile and by the system's tar."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import tarfile
from pathlib import Path

import pytest

from l8s_core import packing
from l8s_core.errors import LocalFileError
from l8s_core.packing import PIECE, Source, Tally, pack

MARKER = b".l8s-end"


def packed(*sources: Source, tally: Tally | None = None) -> bytes:
    return b"".join(pack(sources, tally or Tally(), marker=MARKER))


def tree(path: Path, name: str = "tree") -> Source:
    return Source(os.fsencode(path), os.fsencode(name))


def open_descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def members(archive: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive), errors="surrogateescape") as opened:
        return {member.name: member for member in opened}


def test_everything_that_a_tree_has(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "empty").mkdir(parents=True)
    (source / "empty").chmod(0o555)
    (source / "file").write_bytes(b"data")
    (source / "file").chmod(0o4750)
    os.utime(source / "file", (1, 1_234_567_890))
    (source / "link").symlink_to("../../outside")
    os.link(source / "file", source / "again")
    found = members(packed(tree(source)))
    assert set(found) == {"tree", *(f"tree/{name}" for name in ("empty", "file", "link", "again")), MARKER.decode()}
    assert list(found)[-1] == MARKER.decode()
    assert (found["tree/empty"].isdir(), found["tree/empty"].mode) == (True, 0o555)
    first, second = sorted((found["tree/file"], found["tree/again"]), key=lambda member: member.islnk())
    assert (first.mode, first.mtime, first.size) == (0o4750, 1_234_567_890, 4)
    assert (second.islnk(), second.linkname) == (True, first.name)
    assert found["tree/link"].linkname == "../../outside"
    assert {(member.uid, member.uname) for member in found.values()} == {(0, "")}


@pytest.mark.parametrize("length", [1, 99, 100, 101, 255])
def test_names_are_any_bytes_of_any_length(tmp_path: Path, length: int) -> None:
    name = (b"\xff\n " * 100)[:length]
    os.close(os.open(os.fsencode(tmp_path) + b"/" + name, os.O_CREAT))
    (tmp_path / "link").symlink_to(os.fsdecode(name * 3))
    listed = subprocess.run(
        ["tar", "-tf", "-", "--quoting-style=literal", "--null"],
        input=packed(tree(tmp_path)),
        capture_output=True,
        check=True,
    )
    assert b"tree/" + name + b"\n" in listed.stdout
    assert members(packed(tree(tmp_path)))["tree/link"].linkname == os.fsdecode(name * 3)


def test_a_file_of_many_pieces_and_pieces_of_many_files(tmp_path: Path) -> None:
    big = os.urandom(PIECE * 2 + 1000)
    (tmp_path / "big").write_bytes(big)
    for number in range(300):
        (tmp_path / f"small{number}").write_bytes(b"x" * 1500)
    tally = Tally()
    pieces = list(pack([tree(tmp_path)], tally, marker=MARKER))
    assert max(map(len, pieces)) <= 2 * PIECE
    assert len(pieces) < 12
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as opened:
        content = opened.extractfile("tree/big")
        assert content is not None
        assert content.read() == big
    assert (tally.files, tally.bytes) == (301, len(big) + 300 * 1500)


@pytest.mark.parametrize("pieces", [0, 1, 3, 4, 5, 24, 25, 26, 60])
@pytest.mark.parametrize("ends_in_data", [True, False])
def test_holes_stay_holes(tmp_path: Path, pieces: int, ends_in_data: bool) -> None:
    step = 1024 * 1024
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(20 * 1024**3)
        for number in range(pieces):
            file.seek(number * step)
            file.write(b"%d" % number)
        if ends_in_data:
            file.seek(20 * 1024**3 - 3)
            file.write(b"end")
    tally = Tally()
    archive = packed(Source(os.fsencode(path), b"sparse"), tally=tally)
    assert len(archive) < 1024 * 1024
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xSf", "-", "-C", tmp_path / "out"], input=archive, check=True)
    copy = tmp_path / "out" / "sparse"
    assert copy.stat().st_size == path.stat().st_size
    assert copy.stat().st_blocks * 512 < 1024 * 1024
    with copy.open("rb") as file:
        for number in range(pieces):
            file.seek(number * step)
            assert file.read(10).rstrip(b"\0") == b"%d" % number
        file.seek(-3, os.SEEK_END)
        assert file.read() == (b"end" if ends_in_data else b"\0\0\0")


def test_a_huge_file_says_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(9 * 1024**3)
    monkeypatch.setattr(packing, "HOLES_FROM", 2**62)  # sent whole, as a file without holes is
    first = next(iter(pack([Source(os.fsencode(path), b"huge")], Tally(), marker=MARKER)))
    assert tarfile.TarInfo.frombuf(first[:512], "utf-8", "strict").size == 9 * 1024**3


def test_what_is_no_file_is_left_out_with_a_warning(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        tally = Tally()
        found = members(packed(tree(tmp_path), tally=tally))
    assert set(found) == {"tree", MARKER.decode()}
    assert sorted(warning.rpartition("/")[2] for warning in tally.warnings) == [
        "fifo was left out: it is a FIFO.",
        "socket was left out: it is a socket.",
    ]


def test_a_link_is_a_link_unless_it_is_to_be_looked_through(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "file").touch()
    (tmp_path / "link").symlink_to("dir")
    link = os.fsencode(tmp_path / "link")
    assert members(packed(Source(link, b"x")))["x"].issym()
    assert "x/file" in members(packed(Source(link, b"x", follow=True)))


def test_a_directory_that_became_a_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").mkdir()
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    pieces = pack([tree(source)], Tally(), marker=MARKER)
    real = os.open

    def swapped(path: bytes, flags: int, *rest: int, dir_fd: int | None = None) -> int:
        if path == b"inner":
            (source / "inner").rmdir()
            (source / "inner").symlink_to(tmp_path / "secret")
        return real(path, flags, *rest, dir_fd=dir_fd)

    monkeypatch.setattr(packing.os, "open", swapped)
    with pytest.raises(LocalFileError, match="inner"):
        list(pieces)


def test_a_file_that_shrinks_is_not_sent_as_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * (PIECE * 3))
    pieces = pack([Source(os.fsencode(path), b"log")], Tally(), marker=MARKER)
    next(pieces)
    path.write_bytes(b"x")
    with pytest.raises(LocalFileError, match="shorter"):
        list(pieces)


def test_directories_too_deep_are_an_error_of_ours(tmp_path: Path) -> None:
    where = os.open(tmp_path, os.O_RDONLY)
    for _ in range(600):
        os.mkdir("d", dir_fd=where)
        inner = os.open("d", os.O_RDONLY, dir_fd=where)
        os.close(where)
        where = inner
    os.close(where)
    with pytest.raises(LocalFileError):
        packed(tree(tmp_path))


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_bytes(b"x" * PIECE * 2)
    before = open_descriptors()
    pieces = pack([tree(tmp_path)], Tally(), marker=MARKER)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    packed(tree(tmp_path))
    assert open_descriptors() == before
