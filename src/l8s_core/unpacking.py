"""A tar archive from an untrusted machine as local files: what ``l8s cp`` takes out of a container.

Whatever the archive says, nothing is written outside the place that the person named, no symbolic link is followed,
no file appears under its name before it is whole, and what is kept in memory is bounded. tarfile's ``data`` filter
looks at names and then lets the kernel follow what is on the disk; here every directory is opened by descriptor, one
name at a time, and never through a link.

Understood are ustar, GNU's format with its long names and holes, and pax's path, linkpath, size and mtime: what GNU
tar, busybox and Podman write. Not here: where the archive comes from (`l8s_core.copying`).
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from attrs import define

from l8s_core import names
from l8s_core.errors import BackendError, LocalFileError
from l8s_core.packing import BLOCK, Stretch, Tally, failed

T = TypeVar("T")

MAX_DEPTH = 200
"""Directories in each other: each is an open descriptor, and a process has 1024."""

MAX_NAME = 64 * 1024
"""Bytes of a name or of pax's attributes of one file; the kernel takes 4096 (PATH_MAX)."""

MAX_STRETCHES = 500_000
"""Parts of one file with holes."""

MAX_SIZE = 2**60
"""Bytes of a file, holes counted; no file system has larger ones."""

NAMED = 5
"""How many of the things that were left out are named in the warnings."""

PREFIX = b".l8s-"
"""What is not whole yet is named so."""

_LAYOUT = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x")
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SPECIAL = {b"3": "a device", b"4": "a device", b"6": "a FIFO"}


@define
class _Member:
    """What a header, and those before it that add to it, say of one entry. ``path`` is split at the slashes."""

    path: list[bytes]
    kind: bytes
    mode: int
    size: int
    mtime: int
    link: bytes
    real_size: int = 0
    stretches: list[Stretch] | None = None


@define
class _LateDirectory:
    """A directory that was made here, whose mode and time are set when everything is in it."""

    path: tuple[bytes, ...]
    mode: int
    mtime: int


class Unpacker:
    """Unpacks what is `feed` to it; then `finish`, or `discard` at any time.

    The archive holds one file or tree, whatever that is called in there. ``destination`` is a local path as cp takes
    it: an existing directory gets it under the name ``name`` (with ``contents``: gets what is in it), and anything
    else is what it will be called. In a directory that exists already files replace files, each at once.

    Raises (every method):
        LocalFileError: something cannot be written, or what is there is in the way.
        BackendError: the archive is none, or breaks the rules above.
    """

    def __init__(self, destination: bytes, name: bytes, *, contents: bool, tally: Tally) -> None:
        self._tally = tally
        self._contents = contents
        self._shown = destination
        with self._local("write to"):
            inside = Path(os.fsdecode(destination)).is_dir()
            if inside and contents:
                parent, self._final = destination, b""
            elif inside:
                parent, self._final = destination, name
            else:
                above, slash, self._final = destination.rstrip(b"/").rpartition(b"/")
                parent = above + slash
                if self._final in (b"", b".", b".."):
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            self._only_directory = destination.endswith(b"/") and not inside
            self._base = os.open(parent or b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._temporary = PREFIX + secrets.token_hex(8).encode()
        self._root: str | None = None  # "directory" or "file" once it came
        self._root_name: bytes | None = None
        self._merging = False
        self._mode = self._mtime = 0
        # The directory that is being filled: its names from the root, and a descriptor for each.
        self._names: list[bytes] = []
        self._opened: list[int] = []
        self._parent: bytes | None = None
        self._late: list[_LateDirectory] = []
        self._left_out = 0
        self._outside = 0
        # The state of the parser.
        self._partial = bytearray()
        self._wanted = BLOCK
        self._collecting: bytes = b""
        self._long: dict[bytes, bytes] = {}
        self._member: _Member | None = None
        self._output: int | None = None
        self._output_name = b""
        self._payload = 0
        self._skip = 0
        self._part = 0
        self._part_left = 0
        self._zeros = 0

    # The archive

    def feed(self, data: bytes) -> None:
        """The next piece of the archive, of any size."""
        view = memoryview(data)
        place, end = 0, len(view)
        while place < end:
            if self._payload:
                taken = min(self._payload, end - place)
                self._write(view[place : place + taken])
                place += taken
                self._payload -= taken
                if not self._payload:
                    self._complete()
            elif self._skip:
                taken = min(self._skip, end - place)
                place += taken
                self._skip -= taken
            elif self._zeros >= 2:
                return  # what comes after the end is padding
            else:
                missing = self._wanted - len(self._partial)
                if not self._partial and missing <= end - place:
                    block = bytes(view[place : place + missing])
                    place += missing
                else:
                    self._partial += view[place : place + missing]
                    place += min(missing, end - place)
                    if len(self._partial) < self._wanted:
                        return
                    block = bytes(self._partial)
                    self._partial.clear()
                self._wanted = BLOCK
                self._block(block)

    def _block(self, block: bytes) -> None:
        if self._collecting:
            self._collected(block)
        elif not any(block):
            self._zeros += 1
        elif self._zeros:
            raise _refused("it goes on after its end")
        else:
            self._header(block)

    def _header(self, block: bytes) -> None:
        (name, mode, _, _, size, mtime, check, kind, link, magic, version, _, _, _, _, prefix) = _LAYOUT.unpack(block)
        if _number(check) != sum(block) - sum(check) + 256:
            raise _refused("it is no tar archive")
        length = _number(size)
        if not 0 <= length <= MAX_SIZE:
            raise _refused("a size is out of range")
        if kind in b"LKxg":
            if length > MAX_NAME:
                raise _refused("a name is too long")
            self._collecting = kind
            self._wanted = length + -length % BLOCK
            if not length:
                raise _refused("a name is empty")
            self._long[b"size" + kind] = str(length).encode()
            return
        name, link = name.partition(b"\0")[0], link.partition(b"\0")[0]
        if magic == b"ustar\0" and version == b"00" and prefix[:1] != b"\0":
            name = prefix.partition(b"\0")[0] + b"/" + name
        name, link = self._long.get(b"L", name), self._long.get(b"K", link)
        if b"size" in self._long:
            length = self._pax_number(b"size")
        when = self._pax_number(b"mtime") if b"mtime" in self._long else _number(mtime)
        self._long = {}
        member = _Member(
            path=_split(name), kind=kind, mode=_number(mode), size=length, mtime=_possible_time(when), link=link
        )
        if kind == b"S":
            member.stretches = []
            member.real_size = _number(block[483:495])
            if not 0 <= member.real_size <= MAX_SIZE:
                raise _refused("a size is out of range")
            self._stretches(member, block[386:482])
            if block[482]:
                self._member, self._collecting = member, b"S"
                return
        self._begin(member)

    def _collected(self, block: bytes) -> None:
        kind, self._collecting = self._collecting, b""
        if kind == b"S":
            member = self._member
            assert member is not None
            self._stretches(member, block[:504])
            if block[504]:
                self._collecting = b"S"
            else:
                self._begin(member)
            return
        data = block[: int(self._long.pop(b"size" + kind))]
        if kind == b"x":
            self._pax(data)
        elif kind != b"g":
            self._long[kind] = data.partition(b"\0")[0]

    def _pax(self, data: bytes) -> None:
        """Attributes: ``LENGTH KEY=VALUE`` and a line feed each (POSIX, pax, "pax Extended Header")."""
        while data:
            text, _, _ = data.partition(b" ")
            length = int(text) if text.isdigit() and len(text) < 8 else 0
            record = data[len(text) + 1 : length]
            if length <= len(text) + 1 or record[-1:] != b"\n":
                raise _refused("its attributes are broken")
            key, _, value = record[:-1].partition(b"=")
            if key.startswith(b"GNU.sparse"):
                raise _refused("it has holes in a form that is not understood")
            wanted = {b"path": b"L", b"linkpath": b"K", b"size": b"size", b"mtime": b"mtime"}.get(key)
            if wanted is not None:
                self._long[wanted] = value
            data = data[length:]

    def _pax_number(self, key: bytes) -> int:
        whole = self._long[key].partition(b".")[0]
        digits = whole.removeprefix(b"-")
        if not digits.isdigit() or len(digits) > 19 or (key == b"size" and not 0 <= int(whole) <= MAX_SIZE):
            raise _refused("its attributes are broken")
        return int(whole)

    def _stretches(self, member: _Member, table: bytes) -> None:
        assert member.stretches is not None
        for place in range(0, len(table), 24):
            if table[place] == 0 and table[place + 12] == 0:
                continue  # an empty slot; a number is never written so
            offset, length = _number(table[place : place + 12]), _number(table[place + 12 : place + 24])
            before = sum(member.stretches[-1]) if member.stretches else 0
            if offset < before or length < 0 or offset + length > member.real_size:
                raise _refused("the parts of a file overlap")
            member.stretches.append((offset, length))
            if len(member.stretches) > MAX_STRETCHES:
                raise _refused("a file has too many holes")

    # Entries

    def _begin(self, member: _Member) -> None:
        """Make an entry; the bytes of a file are written as they come."""
        kind = member.kind
        root, *path = member.path
        if self._root_name is None:
            self._root_name = root
        elif root != self._root_name:
            raise _refused("it holds more than was asked for", member)
        if not path and self._root is not None:
            raise _refused("a name comes twice", member)
        if path and self._root is None:
            self._begin_tree(0o755, 0)
        if path and self._root != "directory":
            raise _refused("there is something below a file", member)
        padded = member.size + -member.size % BLOCK
        if kind == b"5":
            self._skip = padded
            if path:
                self._directory(path, member)
            else:
                self._begin_tree(member.mode, member.mtime)
        elif kind in _SPECIAL:
            self._skip = padded
            if not path:
                raise _refused(f"it is {_SPECIAL[kind]}, which is not copied")
            self._leave_out(member, _SPECIAL[kind])
        elif kind in b"0\0007S":
            self._file(path, member)
        elif kind == b"2":
            self._skip = padded
            self._symlink(path, member)
        elif kind == b"1":
            self._skip = padded
            self._hard_link(path, member)
        else:
            raise _refused("it holds something of an unknown kind", member)

    def _begin_tree(self, mode: int, mtime: int) -> None:
        self._root = "directory"
        self._mode, self._mtime = mode, mtime
        with self._local("write to"):
            if not self._final:
                self._merging = True
                top = os.dup(self._base)
            else:
                try:
                    there = os.lstat(self._final, dir_fd=self._base)
                except FileNotFoundError:
                    os.mkdir(self._temporary, 0o700, dir_fd=self._base)
                    top = os.open(self._temporary, _DIRECTORY, dir_fd=self._base)
                else:
                    if not stat.S_ISDIR(there.st_mode):
                        raise FileExistsError(errno.EEXIST, "there is something that is no directory")
                    self._merging = True
                    top = os.open(self._final, _DIRECTORY, dir_fd=self._base)
        self._opened.append(top)

    def _place(self, path: list[bytes], member: _Member) -> tuple[int, bytes]:
        """The open directory that an entry belongs into, and its name there."""
        if not path:  # the only entry there is
            self._root = "file"
            if self._only_directory or not self._final:
                where = names.printable(os.fsdecode(self._shown))
                raise LocalFileError(
                    f"cannot write to {where}: what is copied is no directory, and that must be one",
                    hints=("Leave out the slash, or make the directory first",),
                )
            return self._base, self._final
        *parents, leaf = path
        if parents != self._names:
            self._walk(parents, member)
        return self._opened[-1], leaf

    def _walk(self, parents: list[bytes], member: _Member) -> None:
        """Open the directory ``parents``, from the nearest one that is open already."""
        if len(parents) > MAX_DEPTH:
            raise _refused(f"its directories are nested more than {MAX_DEPTH} deep", member)
        same = 0
        for mine, wanted in zip(self._names, parents, strict=False):
            if mine != wanted:
                break
            same += 1
        while len(self._names) > same:
            self._names.pop()
            os.close(self._opened.pop())
        for part in parents[same:]:
            try:
                opened = os.open(part, _DIRECTORY, dir_fd=self._opened[-1])
            except FileNotFoundError:
                opened = self._make_directory(part, 0o755, 0)
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENOTDIR):
                    raise _refused("a name leads through something that is no directory", member) from error
                raise
            self._names.append(part)
            self._opened.append(opened)

    def _make_directory(self, name: bytes, mode: int, mtime: int) -> int:
        os.mkdir(name, 0o700, dir_fd=self._opened[-1])
        self._late.append(_LateDirectory((*self._names, name), mode, mtime))
        return os.open(name, _DIRECTORY, dir_fd=self._opened[-1])

    def _directory(self, path: list[bytes], member: _Member) -> None:
        with self._local("write to", member):
            parent, leaf = self._place(path, member)
            if len(path) > MAX_DEPTH:
                raise _refused(f"its directories are nested more than {MAX_DEPTH} deep", member)
            try:
                opened = self._make_directory(leaf, member.mode, member.mtime)
            except FileExistsError:
                there = os.lstat(leaf, dir_fd=parent)
                if not self._merging:
                    raise _refused("a name comes twice", member) from None
                if not stat.S_ISDIR(there.st_mode):
                    raise
                return
            self._names.append(leaf)
            self._opened.append(opened)

    def _file(self, path: list[bytes], member: _Member) -> None:
        if member.stretches is not None and sum(length for _, length in member.stretches) != member.size:
            raise _refused("the parts of a file are not what it says", member)
        with self._local("write", member):
            parent, leaf = self._place(path, member)
            self._output_name = leaf
            name = self._temporary if self._atomically() else leaf
            self._output = self._new(lambda: os.open(name, _NEW_FILE, 0o600, dir_fd=parent), member)
        self._member = member
        self._part, self._part_left = 0, 0
        self._payload = member.size
        if not member.size:
            self._complete()

    def _new(self, make: Callable[[], T], member: _Member) -> T:
        try:
            return make()
        except FileExistsError:
            if self._atomically():
                raise
            # In a directory of our own nothing else makes names: the archive has it twice, or a disk for which two
            # names are one, as on macOS.
            raise _refused("a name comes twice, or differs from another only in case", member) from None

    def _atomically(self) -> bool:
        """Whether the entry gets a temporary name: all but those in a tree that has one itself."""
        return self._merging or self._root == "file"

    def _write(self, data: memoryview) -> None:
        """A part of a file's bytes."""
        member, output = self._member, self._output
        assert member is not None
        assert output is not None
        with self._local("write", member):
            self._tally.bytes += len(data)
            if member.stretches is None:
                _write_all(output, data)
                return
            while data:
                if not self._part_left:
                    offset, self._part_left = member.stretches[self._part]
                    self._part += 1
                    os.lseek(output, offset, os.SEEK_SET)
                    continue
                now = data[: self._part_left]
                _write_all(output, now)
                self._part_left -= len(now)
                data = data[len(now) :]

    def _complete(self) -> None:
        """A file has all of its bytes."""
        member, output = self._member, self._output
        assert member is not None
        assert output is not None
        with self._local("write", member):
            if member.stretches is not None:
                os.ftruncate(output, member.real_size)
            os.fchmod(output, member.mode & 0o777)
            os.utime(output, (member.mtime, member.mtime))
            self._output = None
            os.close(output)  # where some file systems say that the disk is full
            if self._merging:
                self._rename(self._output_name)
        self._member = None
        self._skip = -member.size % BLOCK
        self._tally.files += 1

    def _rename(self, leaf: bytes) -> None:
        os.rename(self._temporary, leaf, src_dir_fd=self._opened[-1], dst_dir_fd=self._opened[-1])

    def _symlink(self, path: list[bytes], member: _Member) -> None:
        if not member.link or b"\0" in member.link:
            raise _refused("a link leads nowhere", member)
        with self._local("write", member):
            parent, leaf = self._place(path, member)
            name = self._temporary if self._atomically() else leaf
            self._new(lambda: os.symlink(member.link, name, dir_fd=parent), member)
            with suppress(OSError, NotImplementedError):  # not every file system has times for links
                os.utime(name, (member.mtime, member.mtime), dir_fd=parent, follow_symlinks=False)
            if self._merging:
                self._rename(leaf)
        self._tally.files += 1
        if _leads_outside(path, member.link):
            self._outside += 1
            if self._outside <= NAMED:
                self._warn(member, f"is a symbolic link that leads out of what was copied: {os.fsdecode(member.link)}")

    def _hard_link(self, path: list[bytes], member: _Member) -> None:
        """A further name of a file that came before."""
        root, *target = _split(member.link)
        if root != self._root_name or not target or not path:
            raise _refused("a link leads out of it", member)
        with self._local("write", member):
            parent, leaf = self._place(path, member)
            name = self._temporary if self._atomically() else leaf
            first = self._find(target, member)
            try:
                if not stat.S_ISREG(os.lstat(target[-1], dir_fd=first).st_mode):
                    raise _refused("a link leads to something that is no file", member)
                self._new(
                    lambda: os.link(target[-1], name, src_dir_fd=first, dst_dir_fd=parent, follow_symlinks=False),
                    member,
                )
            except FileNotFoundError as error:
                raise _refused("a link leads to something that did not come before it", member) from error
            finally:
                os.close(first)
            if self._merging:
                self._rename(leaf)
                with suppress(FileNotFoundError):  # renaming to another name of the same file does nothing
                    os.unlink(name, dir_fd=parent)
        self._tally.files += 1

    def _find(self, path: list[bytes], member: _Member) -> int:
        """A new descriptor of the directory that holds ``path``."""
        found = os.dup(self._opened[0])
        for part in path[:-1]:
            try:
                inner = os.open(part, _DIRECTORY, dir_fd=found)
            except OSError as error:
                raise _refused("a link leads to something that did not come before it", member) from error
            finally:
                os.close(found)
            found = inner
        return found

    def _leave_out(self, member: _Member, kind: str) -> None:
        self._left_out += 1
        if self._left_out <= NAMED:
            self._warn(member, f"was left out: it is {kind}")

    def _warn(self, member: _Member, what: str) -> None:
        self._tally.warnings.append(f"{os.fsdecode(b'/'.join(member.path))} {what}.")

    # The end

    def finish(self) -> None:
        """Give what came its name.

        Raises:
            BackendError: the archive ended before its end.
        """
        if self._zeros < 2 or self._root is None:
            raise _refused("it ended too early")
        for count, what in ((self._left_out, "were left out"), (self._outside, "lead out of what was copied")):
            if count > NAMED:
                self._tally.warnings.append(f"{count - NAMED} more {what}.")
        with self._local("write to"):
            if self._root == "directory":
                self._finish_tree()
            else:
                os.rename(self._temporary, self._final, src_dir_fd=self._base, dst_dir_fd=self._base)
        self._close()

    def _finish_tree(self) -> None:
        for late in reversed(self._late):  # what is deeper comes later
            *parents, leaf = late.path
            self._walk(parents, _Member(list(late.path), b"5", 0, 0, 0, b""))
            opened = os.open(leaf, _DIRECTORY, dir_fd=self._opened[-1])
            try:
                os.utime(opened, (late.mtime, late.mtime))
                os.fchmod(opened, late.mode & 0o777)
            finally:
                os.close(opened)
        if not self._merging:
            # A directory that its owner may not write cannot be renamed: its mode comes last.
            os.utime(self._opened[0], (self._mtime, self._mtime))
            os.rename(self._temporary, self._final, src_dir_fd=self._base, dst_dir_fd=self._base)
            os.fchmod(self._opened[0], self._mode & 0o777)

    def discard(self) -> None:
        """Take away what is not whole; nothing, after `finish`."""
        if self._base < 0:
            return
        with suppress(OSError):
            if self._output is not None:
                os.close(self._output)
        parent = self._opened[-1] if self._merging and self._opened else self._base
        with suppress(FileNotFoundError):
            if self._root == "directory" and not self._merging:
                shutil.rmtree(self._temporary, ignore_errors=True, dir_fd=self._base)
            elif self._root is not None:
                os.unlink(self._temporary, dir_fd=parent)
        self._close()

    def _close(self) -> None:
        for opened in (*self._opened, self._base):
            os.close(opened)
        self._opened.clear()
        self._base = -1

    @contextmanager
    def _local(self, what: str, member: _Member | None = None) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            below = member.path[1:] if member is not None and self._root == "directory" else []
            raise failed(what, b"/".join([self._shown.rstrip(b"/"), *below]), error) from error


def _refused(why: str, member: _Member | None = None) -> BackendError:
    what = f" ({names.shown(os.fsdecode(b'/'.join(member.path)))})" if member is not None else ""
    return BackendError(
        f"What the container sent was refused: {why}{what}.",
        hints=("Nothing was kept of it that is not whole; what is in a container may be hostile",),
    )


def _split(name: bytes) -> list[bytes]:
    """The parts of a name: its root in the archive (``.`` for the tree's own), and those below.

    Raises:
        BackendError: it is absolute, empty, or goes up.
    """
    parts = name.rstrip(b"/").split(b"/")
    if b"" in parts or b".." in parts or b"." in parts[1:] or b"\0" in name:
        raise _refused(f"a name in it leads elsewhere: {names.shown(os.fsdecode(name))}")
    return parts


def _leads_outside(path: list[bytes], link: bytes) -> bool:
    """Whether a symbolic link at ``path`` in the tree leads out of the tree, as far as its text says."""
    if link.startswith(b"/"):
        return True
    depth = len(path) - 1
    for part in link.split(b"/"):
        if part == b"..":
            depth -= 1
        elif part not in (b"", b"."):
            depth += 1
        if depth < 0:
            return True
    return False


def _number(field: bytes) -> int:
    """A number in a header: octal, or GNU's base-256.

    Raises:
        BackendError: it is neither.
    """
    if field[0] in (0x80, 0xFF):
        value = int.from_bytes(field[1:], "big")
        return value if field[0] == 0x80 else value - 256 ** (len(field) - 1)
    text = field.partition(b"\0")[0].strip(b" ")
    try:
        return int(text, 8) if text else 0
    except ValueError:
        raise _refused("it is no tar archive") from None


def _possible_time(seconds: int) -> int:
    """A time that every file system takes: 1970 to 2106."""
    return min(max(seconds, 0), 2**32 - 1)


def _write_all(output: int, data: memoryview) -> None:
    while data:
        data = data[os.write(output, data) :]
