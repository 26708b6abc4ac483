"""Tar archives in memory."""

from __future__ import annotations

import io
import tarfile

from l8s_core.archives import Member, tar_archive


def test_members_keep_their_bytes_modes_and_order() -> None:
    archive = tar_archive(
        {"etc/l8s/start": Member(b"#!/bin/sh\n", 0o755), "etc/l8s/empty": Member(b""), "a": Member(b"\0\xff" * 9000)},
        {"etc/l8s": 0o750},
    )
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = tar.getmembers()
        assert [(member.name, member.mode, member.isdir()) for member in members] == [
            ("etc/l8s", 0o750, True),
            ("etc/l8s/start", 0o755, False),
            ("etc/l8s/empty", 0o644, False),
            ("a", 0o644, False),
        ]
        assert {(member.uid, member.gid, member.mtime) for member in members} == {(0, 0, 0)}
        contents = [content.read() for member in members if (content := tar.extractfile(member)) is not None]
        assert contents == [b"#!/bin/sh\n", b"", b"\0\xff" * 9000]


def test_equal_content_gives_equal_bytes() -> None:
    def make() -> bytes:
        return tar_archive({"x" * 200: Member(b"1"), "caf\u00e9": Member(b"2")}, {"d": 0o700})

    assert make() == make()
    assert make() != tar_archive({"x" * 200: Member(b"1"), "caf\u00e9": Member(b"3")}, {"d": 0o700})
    with tarfile.open(fileobj=io.BytesIO(make())) as tar:
        assert tar.getnames() == ["d", "x" * 200, "caf\u00e9"]
