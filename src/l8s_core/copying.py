"""Copying files and trees into and out of a container: what goes where, and how the two ends work together.

The archive travels through a command in the container, which is tar and a few lines of sh around it
(``inside/receive.sh`` and ``inside/send.sh``): so it is read and written there as the container's user, appears under
its name only when it is whole, and is cleared away there when the line is cut. Not here: what is in an archive
(`l8s_core.packing`, `l8s_core.unpacking`).
"""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, cast

from attrs import frozen

from l8s_core import inside, layout, names
from l8s_core.contracts import RemoteBackend
from l8s_core.errors import BackendError, ContainerNotRunning, InvalidValue, L8sError
from l8s_core.model import ContainerInfo, Copied, CopyProgress, StreamName
from l8s_core.packing import Source, Tally, failed, pack
from l8s_core.unpacking import Unpacker

CUT_OFF, REFUSED, CHANGED, NO_TAR = 65, 66, 67, 127
"""Exit codes of the scripts."""

OWN_WORDS = "l8s: "
"""How the scripts begin a line of their own: Podman complains on the same stream of input that nobody reads."""

WORDS_LIMIT = 8 * 1024
"""Bytes of what the commands in the container complain that are kept."""

WORDS_SHOWN = 3
"""Lines of that which a message shows: the first ones, since what follows is mostly their consequence."""

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-+,=@:")


@frozen
class _Split:
    """What a path says: ``name`` is its last part, "" where that is no name (``.``, ``..``, ``/``)."""

    name: bytes
    directory: bool
    """Whether it can only mean a directory: it ends with a slash, ``.`` or ``..``."""

    @classmethod
    def of(cls, path: bytes) -> _Split:
        last = path.rstrip(b"/").rpartition(b"/")[2]
        if last in (b"", b".", b".."):
            return cls(b"", True)
        return cls(last, path.endswith(b"/"))


def local_sources(paths: Sequence[str]) -> tuple[Source, ...]:
    """The local files and trees to copy, looked at but not read.

    Raises:
        LocalFileError: one is not there.
        InvalidValue: two would have the same name, or ``DIR/.`` is not the only one.
    """
    found = []
    for path in paths:
        raw = os.fsencode(path)
        split = _Split.of(raw)
        if not split.name and len(paths) > 1:
            raise InvalidValue(
                f"{names.shown(path)} cannot be copied together with others.",
                hints=("Copy it with a command of its own",),
            )
        try:
            Path(path).stat(follow_symlinks=split.directory)
            if split.directory and not Path(path).is_dir():
                raise NotADirectoryError(20, "it is no directory")
        except (OSError, ValueError) as error:
            raise failed("read", raw, error if isinstance(error, OSError) else OSError(0, str(error))) from error
        found.append(Source(raw, split.name or b"contents", follow=split.directory))
    twice = {source.name for source in found if [other.name for other in found].count(source.name) > 1}
    if twice:
        raise InvalidValue(f"More than one of the files is named {names.shown(os.fsdecode(min(twice)))}.")
    if not found:
        raise InvalidValue("There is nothing to copy.")
    return tuple(found)


def copy_in(
    backend: RemoteBackend,
    info: ContainerInfo,
    sources: Sequence[Source],
    destination: str,
    *,
    user: str,
    on_progress: CopyProgress | None = None,
) -> Copied:
    """Copy ``sources`` into the container, as ``user`` of it.

    Raises:
        BackendError: the container refuses it; nothing has its name that is not whole.
        LocalFileError: a source cannot be read.
    """
    path, workdir = _in_container(destination, user)
    single = _Split.of(sources[0].path)
    what = "several" if len(sources) > 1 else "itself" if single.name else "contents"
    token = secrets.token_hex(8)
    tally = Tally()
    feed = _Feed(pack(sources, tally, marker=b".l8s-" + token.encode()), tally, on_progress)
    complaint = bytearray()

    def listen(stream: StreamName, data: bytes) -> None:
        if stream == "stderr":
            complaint.extend(data[: max(0, WORDS_LIMIT - len(complaint))])

    try:
        result = backend.exec(
            info.name,
            _script("receive.sh", token, what, _escaped(path), _escaped(sources[0].name)),
            user=user,
            workdir=workdir,
            stdin=cast(IO[bytes], feed),
            on_output=listen,
        )
    finally:
        feed.stop()
    if feed.error is not None:
        raise feed.error
    if result.exit_code:
        raise _unable(f"to {info.name}:{destination}", result.exit_code, bytes(complaint))
    return Copied(files=tally.files, bytes=tally.bytes, warnings=tuple(tally.warnings))


def copy_out(
    backend: RemoteBackend,
    info: ContainerInfo,
    source: str,
    destination: str,
    *,
    user: str,
    on_progress: CopyProgress | None = None,
) -> Copied:
    """Copy ``source`` out of the container, read as ``user`` of it; when it does not run, as root.

    Raises:
        BackendError: there is no such thing, it cannot be read, or what came is not acceptable.
        LocalFileError: it cannot be written here.
    """
    path, workdir = _in_container(source, user)
    split = _Split.of(path)
    tally = Tally()
    unpacker = Unpacker(os.fsencode(destination), split.name, contents=not split.name, tally=tally)

    def take(data: bytes) -> None:
        unpacker.feed(data)
        if on_progress is not None:
            on_progress(tally.files, tally.bytes)

    try:
        if info.running:
            tally.warnings += _received(backend, info, path, source, workdir, user, take)
        else:
            for piece in backend.download(info.name, _for_download(info, path, workdir)):
                take(piece)
        unpacker.finish()
    finally:
        unpacker.discard()
    return Copied(files=tally.files, bytes=tally.bytes, warnings=tuple(tally.warnings))


class _SinkFailed(Exception):
    """What came cannot be taken: the command that sends it is to be stopped."""


def _received(
    backend: RemoteBackend,
    info: ContainerInfo,
    path: bytes,
    shown: str,
    workdir: str,
    user: str,
    take: Callable[[bytes], None],
) -> list[str]:
    """Let the container send; its complaints where it could do it all the same."""
    complaint = bytearray()
    failure: list[L8sError] = []

    def sink(stream: StreamName, data: bytes) -> None:
        if stream == "stderr":
            complaint.extend(data[: max(0, WORDS_LIMIT - len(complaint))])
            return
        try:
            take(data)
        except L8sError as error:
            failure.append(error)
            raise _SinkFailed from error

    try:
        result = backend.exec(info.name, _script("send.sh", _escaped(path)), user=user, workdir=workdir, on_output=sink)
    except _SinkFailed:
        raise failure[0] from None
    if result.exit_code not in (0, CHANGED):
        raise _unable(f"{info.name}:{shown}", result.exit_code, bytes(complaint))
    return [f"In the container: {line}" for line in _lines(bytes(complaint))]


class _Feed(io.BufferedIOBase):
    """An archive as the input of a command. When making it fails it ends without its last member, and says why."""

    def __init__(self, archive: Iterator[bytes], tally: Tally, on_progress: CopyProgress | None) -> None:
        self._archive = archive
        self._tally = tally
        self._on_progress = on_progress
        self._rest = b""
        self._stopped = False
        self.error: BaseException | None = None

    def readable(self) -> bool:
        return True

    def read1(self, size: int = -1) -> bytes:
        """The next piece; the backend calls it in a thread of its own."""
        data = self._rest or self._next()
        if 0 <= size < len(data):
            data, self._rest = data[:size], data[size:]
        else:
            self._rest = b""
        return data

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size >= 0:
            return self.read1(size)
        return b"".join(iter(self.read1, b""))

    def stop(self) -> None:
        """Nobody reads any more."""
        self._stopped = True

    def _next(self) -> bytes:
        if self._stopped or self.error is not None:
            return b""
        try:
            data = next(self._archive, b"")
            if self._on_progress is not None:
                self._on_progress(self._tally.files, self._tally.bytes)
        except BaseException as error:  # noqa: BLE001 - it is raised where the copy is waited for
            self.error = error
            return b""
        return data


def _in_container(path: str, user: str) -> tuple[bytes, str]:
    """A path for the scripts, and the directory that it starts from; ``~/`` means the user's home there."""
    names.container_path(path)
    home, slash, rest = path.partition("/")
    if home == "~":
        path = f"{layout.home_of(user)}{slash}{rest}"
    return os.fsencode(path or "."), "/" if path.startswith("/") else layout.PROJECT_DIRECTORY


def _for_download(info: ContainerInfo, path: bytes, workdir: str) -> str:
    whole = os.fsdecode(path if path.startswith(b"/") else os.fsencode(workdir) + b"/" + path)
    if not whole.isprintable():
        raise ContainerNotRunning(
            f"The container {info.name} is not running (state: {info.state}), and only a running one can be asked for "
            f"{names.shown(whole)}.",
            hints=(f"Start it: l8s start {info.short_name}",),
        )
    while whole != "/" and whole.endswith(("/", "/.")):
        whole = whole.rstrip("/").removesuffix("/.") or "/"
    return whole


def _script(name: str, *arguments: str) -> list[str]:
    return ["/bin/sh", "-c", inside.script(name), name.removesuffix(".sh"), *arguments]


def _escaped(path: bytes) -> str:
    """``path`` for printf's ``%b``: command lines of a container are UTF-8, and names of files are any bytes."""
    return "".join(chr(byte) if byte in _PLAIN else f"\\0{byte:03o}" for byte in path)


def _lines(complaint: bytes) -> list[str]:
    """What was complained of: the script's own words where there are any, and else the first of anyone's."""
    lines = [line for line in complaint.decode("utf-8", "replace").splitlines() if line.strip()]
    own = [line.removeprefix(OWN_WORDS) for line in lines if line.startswith(OWN_WORDS)]
    return (own or lines)[:WORDS_SHOWN]


def _unable(what: str, code: int, complaint: bytes) -> BackendError:
    words = "what was sent ended too early" if code == CUT_OFF else "; ".join(_lines(complaint))
    hints = {
        REFUSED: (),
        NO_TAR: ("Install tar in the container's image",),
    }.get(code, ("Nothing has its name that is not whole",))
    return BackendError(f"Cannot copy {names.printable(what)}: {words or f'exit code {code}'}", hints=hints)
