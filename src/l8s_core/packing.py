"""Local files and trees as a tar archive that is made while it is sent: what ``l8s cp`` puts into a container.

The format is GNU's (https://www.gnu.org/software/tar/manual/html_node/Standard.html): names are any bytes, sizes any
number, holes stay holes. tarfile would do as well, at four times the cost for each small file. Not here: what is done
with the archive (`l8s_core.copying`), and the way back (`l8s_core.unpacking`).
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import define, field, frozen

from l8s_core import names
from l8s_core.errors import LocalFileError

BLOCK = 512
PIECE = 256 * 1024
"""Bytes that are handed on at once: small files are collected up to this, large ones are cut."""

HOLES_FROM = 64 * 1024
"""Bytes that a file must lack on the disk to be sent as one with holes, which only GNU tar understands."""

_IN_HEADER, _IN_EXTENSION = 4, 21
"""How many pieces of a file with holes a header, and each block after it, describe."""

_NAME_LIMIT = 100
_OCTAL_LIMIT = 8**11
_PREFIX_OF_SPARSE = 386 - 345
"""Where in the last 167 bytes of a header the pieces of a file with holes are (GNU's oldgnu_header)."""

_KINDS = {stat.S_IFSOCK: "a socket", stat.S_IFIFO: "a FIFO", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}

Stretch = tuple[int, int]
"""Offset and length of a part of a file that is not a hole."""


@frozen
class Source:
    """A local file or tree, and its name at the root of the archive; ``follow`` looks through a symbolic link."""

    path: bytes
    name: bytes
    follow: bool = False


@define
class Tally:
    """What has gone through so far."""

    files: int = 0
    bytes: int = 0
    warnings: list[str] = field(factory=list)


def pack(sources: Sequence[Source], tally: Tally, *, marker: bytes) -> Iterator[bytes]:
    """The archive, piece by piece; its last member is an empty file named ``marker``.

    Symbolic links are sent as links. What is no file, directory or link is left out, with a warning in ``tally``.

    Raises:
        LocalFileError: something cannot be read, or became shorter while it was.
    """
    packer = _Packer(tally)
    for source in sources:
        yield from packer.source(source)
    packer.header(marker, b"0", 0o600, 0, 0)
    packer.buffer += bytes(2 * BLOCK)
    yield bytes(packer.buffer)


class _Packer:
    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._links: dict[tuple[int, int], bytes] = {}
        self.buffer = bytearray()

    def source(self, source: Source) -> Iterator[bytes]:
        try:
            status = Path(os.fsdecode(source.path)).stat(follow_symlinks=source.follow)
            yield from self._entry(source.path, source.name, status, None, source.path)
        except OSError as error:
            raise failed("read", source.path, error) from error
        except RecursionError as error:
            raise failed("read", source.path, OSError(0, "its directories are nested too deeply")) from error

    def _entry(
        self, path: bytes, name: bytes, status: os.stat_result, directory: int | None, shown: bytes
    ) -> Iterator[bytes]:
        """One entry: ``path`` is how to open it from ``directory``, ``shown`` how messages call it."""
        mode = status.st_mode
        if stat.S_ISREG(mode):
            yield from self._file(path, name, directory, shown)
        elif stat.S_ISDIR(mode):
            yield from self._directory(path, name, directory, shown)
        elif stat.S_ISLNK(mode):
            target = os.readlink(path, dir_fd=directory)
            self.header(name, b"2", 0o777, 0, status.st_mtime, target)
            self._tally.files += 1
        else:
            kind = _KINDS.get(stat.S_IFMT(mode), "neither file nor directory")
            self._tally.warnings.append(f"{os.fsdecode(shown)} was left out: it is {kind}.")

    def _directory(self, path: bytes, name: bytes, directory: int | None, shown: bytes) -> Iterator[bytes]:
        # The way down is by open directories: what is swapped for a link meanwhile is not followed.
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if directory is None else os.O_NOFOLLOW)
        opened = self._open(path, flags, directory, shown)
        try:
            status = os.fstat(opened)
            self.header(name + b"/", b"5", status.st_mode, 0, status.st_mtime)
            with os.scandir(opened) as found:
                entries = [(os.fsencode(entry.name), entry) for entry in found]
            for leaf, entry in entries:
                try:
                    inner = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # it was there a moment ago
                yield from self._entry(leaf, name + b"/" + leaf, inner, opened, shown + b"/" + leaf)
                if len(self.buffer) >= PIECE:
                    yield bytes(self.buffer)
                    self.buffer.clear()
        finally:
            os.close(opened)

    def _open(self, path: bytes, flags: int, directory: int | None, shown: bytes) -> int:
        try:
            return os.open(path, flags, dir_fd=directory)
        except OSError as error:
            raise failed("read", shown, error) from error

    def _file(self, path: bytes, name: bytes, directory: int | None, shown: bytes) -> Iterator[bytes]:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if directory is None else os.O_NOFOLLOW)
        opened = self._open(path, flags, directory, shown)
        try:
            status = os.fstat(opened)
            if not stat.S_ISREG(status.st_mode):
                raise failed("read", shown, OSError(0, "it was a file, and is none any more"))
            self._tally.files += 1
            if status.st_nlink > 1:
                identity = (status.st_dev, status.st_ino)
                first = self._links.setdefault(identity, name)
                if first is not name:
                    self.header(name, b"1", status.st_mode, 0, status.st_mtime, first)
                    return
            size = status.st_size
            if status.st_blocks * 512 + HOLES_FROM <= size:
                stretches = _stretches(opened, size)
                if sum(length for _, length in stretches) + HOLES_FROM <= size:
                    self._sparse_header(name, status, stretches)
                    for offset, length in stretches:
                        os.lseek(opened, offset, os.SEEK_SET)
                        yield from self._data(opened, length, shown)
                    self._pad(sum(length for _, length in stretches))
                    return
                os.lseek(opened, 0, os.SEEK_SET)
            self.header(name, b"0", status.st_mode, size, status.st_mtime)
            yield from self._data(opened, size, shown)
            self._pad(size)
        finally:
            os.close(opened)

    def _data(self, opened: int, size: int, shown: bytes) -> Iterator[bytes]:
        left = size
        while left:
            data = os.read(opened, min(left, PIECE))
            if not data:
                raise failed("copy", shown, OSError(0, "it became shorter while it was read"))
            left -= len(data)
            self._tally.bytes += len(data)
            if len(data) < PIECE:
                self.buffer += data
            else:
                if self.buffer:
                    yield bytes(self.buffer)
                    self.buffer.clear()
                yield data
            if len(self.buffer) >= PIECE:
                yield bytes(self.buffer)
                self.buffer.clear()

    def _pad(self, size: int) -> None:
        self.buffer += bytes(-size % BLOCK)

    def header(self, name: bytes, kind: bytes, mode: int, size: int, mtime: float, link: bytes = b"") -> None:
        if len(link) > _NAME_LIMIT:
            self._long(b"K", link)
        if len(name) > _NAME_LIMIT:
            self._long(b"L", name)
        self.buffer += _header(name, kind, mode, size, mtime, link)

    def _long(self, kind: bytes, text: bytes) -> None:
        data = text + b"\0"
        self.buffer += _header(b"././@LongLink", kind, 0o644, len(data), 0, b"") + data
        self._pad(len(data))

    def _sparse_header(self, name: bytes, status: os.stat_result, stretches: Sequence[Stretch]) -> None:
        if len(name) > _NAME_LIMIT:
            self._long(b"L", name)
        stored = sum(length for _, length in stretches)
        # A stretch without length at the end says how long the file is, as GNU tar itself writes it.
        rest = [*stretches, (status.st_size, 0)]
        first, rest = rest[:_IN_HEADER], rest[_IN_HEADER:]
        extra = bytes(_PREFIX_OF_SPARSE) + _described(first, _IN_HEADER) + bytes([bool(rest)])
        extra += _number(status.st_size, 12)
        self.buffer += _header(name, b"S", status.st_mode, stored, status.st_mtime, b"", extra)
        while rest:
            some, rest = rest[:_IN_EXTENSION], rest[_IN_EXTENSION:]
            self.buffer += (_described(some, _IN_EXTENSION) + bytes([bool(rest)])).ljust(BLOCK, b"\0")


def _described(stretches: Sequence[Stretch], slots: int) -> bytes:
    text = b"".join(_number(offset, 12) + _number(length, 12) for offset, length in stretches)
    return text.ljust(24 * slots, b"\0")


def _stretches(opened: int, size: int) -> list[Stretch]:
    """Where the data of a file is (SEEK_DATA and SEEK_HOLE, lseek(2)); all of it where the file system cannot say."""
    found: list[Stretch] = []
    place = 0
    while place < size:
        try:
            begin = os.lseek(opened, place, os.SEEK_DATA)
            end = min(os.lseek(opened, begin, os.SEEK_HOLE), size)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole up to the end
                break
            return [(0, size)]
        if begin >= size:
            break
        found.append((begin, end - begin))
        place = end
    return found


def _number(value: int, width: int) -> bytes:
    """Octal, or base-256 where that does not fit or the number is negative (GNU's extension)."""
    if 0 <= value < 8 ** (width - 1):
        return f"{value:0{width - 1}o}\0".encode()
    rest: int = value % 256 ** (width - 1)
    return bytes([0x80 if value >= 0 else 0xFF]) + rest.to_bytes(width - 1, "big")


_LAYOUT = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s16s167s")


def _header(name: bytes, kind: bytes, mode: int, size: int, mtime: float, link: bytes, extra: bytes = b"") -> bytes:
    block: bytes = _LAYOUT.pack(
        name,
        b"%07o\0" % (mode & 0o7777),
        b"0000000\0",
        b"0000000\0",
        b"%011o\0" % size if size < _OCTAL_LIMIT else _number(size, 12),
        b"%011o\0" % int(mtime) if 0 <= mtime < _OCTAL_LIMIT else _number(int(mtime), 12),
        b"        ",
        kind,
        link,
        b"ustar  \0",
        b"",
        b"",
        b"",
        extra,
    )
    check: bytes = b"%06o\0 " % sum(block)
    return block[:148] + check + block[156:]


def failed(what: str, path: bytes, error: OSError) -> LocalFileError:
    """The error for a local file that cannot be read or written."""
    where = names.printable(os.fsdecode(path))
    hint = (
        f"Free some space: df -h {Path(where).parent}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT)
        else f"Look at it: ls -ld {where}"
    )
    return LocalFileError(f"cannot {what} {where}: {error.strerror or error}", hints=(hint,))
