"""What a fake container answers to the commands of `l8s_core.copying`, on its own files instead of with tar and sh.

The real programs are ``inside/receive.sh`` and ``inside/send.sh``; what they promise is promised here too, but for
hard links, which become files of their own.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Sequence
from pathlib import PurePosixPath

from l8s_core import inside
from l8s_core.model import ExecResult
from l8s_core.testing.server import FakeContainer

_ESCAPE = re.compile(r"\\0([0-7]{3})")


def answer(container: FakeContainer, argv: Sequence[str], *, workdir: str, stdin: bytes) -> ExecResult | None:
    """Do what a copying command does; None when ``argv`` is none."""
    if len(argv) < 5 or tuple(argv[:2]) != ("/bin/sh", "-c"):
        return None
    if argv[2] == inside.script("receive.sh"):
        token, what, destination, name = argv[4:8]
        return _receive(container, token, what, _path(destination, workdir), _unescaped(name), stdin)
    if argv[2] == inside.script("send.sh"):
        return _send(container, _path(argv[4], workdir), _unescaped(argv[4]))
    return None


def _unescaped(text: str) -> str:
    raw = b"".join(
        bytes([int(part, 8)]) if index % 2 else part.encode() for index, part in enumerate(_ESCAPE.split(text))
    )
    return raw.decode("utf-8", "surrogateescape")


def _path(text: str, workdir: str) -> str:
    return str(PurePosixPath(workdir, _unescaped(text)))


def _refuse(reason: str) -> ExecResult:
    return ExecResult(exit_code=66, stderr_bytes=f"l8s: {reason}\n".encode("utf-8", "surrogateescape"))


def _receive(container: FakeContainer, token: str, what: str, destination: str, name: str, stdin: bytes) -> ExecResult:
    try:
        with tarfile.open(fileobj=io.BytesIO(stdin), errors="surrogateescape") as archive:
            members = [
                (member, content.read() if (content := _content(archive, member)) is not None else b"")
                for member in archive
            ]
    except tarfile.TarError as error:
        return ExecResult(exit_code=64, stderr_bytes=f"tar: {error}\n".encode())
    if not members or members.pop()[0].name != f".l8s-{token}":
        return ExecResult(exit_code=65)
    inside_it = container.is_directory(destination)
    if not inside_it and what == "several":
        return _refuse(f"{destination} is not a directory")
    if not inside_it and not container.is_directory(str(PurePosixPath(destination).parent)):
        return _refuse(f"there is no directory {PurePosixPath(destination).parent}")
    for member, data in members:
        place = PurePosixPath(member.name)
        if not inside_it or what == "contents":
            place = place.relative_to(name)
        target = str(PurePosixPath(destination, place))
        if container.is_directory(target):
            if not member.isdir():
                return _refuse(f"{target} is a directory")
            continue
        if member.isdir() and container.exists(target):
            return _refuse(f"{target} is no directory")
        if member.islnk() or member.issparse():
            member.type, member.size, member.sparse = tarfile.REGTYPE, len(data), None
        container.put(target, member, data)
    return ExecResult(exit_code=0)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> io.BufferedIOBase | None:
    found = archive.extractfile(member) if member.isreg() or member.islnk() else None
    return None if found is None else found  # type: ignore[return-value]


def _send(container: FakeContainer, path: str, given: str) -> ExecResult:
    if not container.exists(path):
        return _refuse(f"there is no {given}")
    return ExecResult(exit_code=0, stdout_bytes=container.pack(path))
