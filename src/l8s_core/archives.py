"""Tar archives in memory: what is uploaded into containers and sent to a build."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

from attrs import frozen


@frozen
class Member:
    """A regular file of an archive, owned by root."""

    data: bytes
    mode: int = 0o644


def tar_archive(members: Mapping[str, Member], directories: Mapping[str, int] | None = None) -> bytes:
    """An archive (POSIX pax) of ``directories`` (path to mode) and files, in the given order.

    Times are zero, so that equal content gives equal bytes.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, mode in (directories or {}).items():
            directory = tarfile.TarInfo(path)
            directory.type = tarfile.DIRTYPE
            directory.mode = mode
            archive.addfile(directory)
        for path, member in members.items():
            info = tarfile.TarInfo(path)
            info.size = len(member.data)
            info.mode = member.mode
            archive.addfile(info, io.BytesIO(member.data))
    return buffer.getvalue()
