from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from l8s_core.errors import SSHConfigError
from l8s_openssh.include import add_include, has_include, host_line

LINE = b"Include ~/.l8s/ssh_config"
SPELLINGS = {b"~/.l8s/ssh_config", b"/home/me/.l8s/ssh_config"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", LINE + b"\n"),
        (b"Host a\n Port 1", LINE + b"\nHost a\n Port 1"),
        (b"Host a\r\n Port 1\r\n", LINE + b"\r\nHost a\r\n Port 1\r\n"),
        (b"# h\xf6st\n", LINE + b"\n# h\xf6st\n"),
        (b"\n\nHost a\n", LINE + b"\n\n\nHost a\n"),
        (b"Host *\n  Include ~/.l8s/ssh_config\n", LINE + b"\nHost *\n  Include ~/.l8s/ssh_config\n"),
        (b"# Include ~/.l8s/ssh_config\n", LINE + b"\n# Include ~/.l8s/ssh_config\n"),
        (b"Include x # ~/.l8s/ssh_config\n", LINE + b"\nInclude x # ~/.l8s/ssh_config\n"),
        (b"Include ~/.l8s/ssh_config2\n", LINE + b"\nInclude ~/.l8s/ssh_config2\n"),
    ],
)
def test_becomes_the_first_line_and_nothing_else_changes(before: bytes, after: bytes) -> None:
    assert add_include(before, LINE, SPELLINGS) == after
    assert add_include(after, LINE, SPELLINGS) == after


@pytest.mark.parametrize(
    "data",
    [
        b"Include ~/.l8s/ssh_config",
        b"include ~/.l8s/ssh_config\r\nHost a\n",
        b"  INCLUDE=~/.l8s/ssh_config # ours\n",
        b'Include "/home/me/.l8s/ssh_config"\n',
        b"Include other ~/.l8s/ssh_config\n",
        b"# first\nUser me\nInclude ~/.l8s/ssh_config\nHost a\n",
    ],
)
def test_is_found_in_every_spelling(data: bytes) -> None:
    assert has_include(data, SPELLINGS)
    assert add_include(data, LINE, SPELLINGS) == data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xef\xbb\xbfHost a\n", "byte order mark"),
        ("Host a\n".encode("utf-16"), "byte order mark"),
        (b"Host a\0\n", "NUL"),
    ],
)
def test_what_ssh_itself_cannot_read_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(SSHConfigError, match=message):
        add_include(data, LINE, SPELLINGS)


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
@pytest.mark.parametrize("tail", [b"", b"\n", b"\r\n"])
def test_ssh_follows_it_and_reads_the_rest_as_before(tmp_path: Path, ending: bytes, tail: bytes) -> None:
    """The real ssh, with both line endings and without a final newline."""
    (tmp_path / "ours").write_text("Host dev-a\n    Port 2200\n")
    theirs = b"# caf\xe9" + ending + b"User everyone" + ending + b"Host other" + ending + b"  Port 7" + tail
    line = b'Include "' + os.fsencode(tmp_path / "ours") + b'"'

    def ask(data: bytes, host: str) -> str:
        (tmp_path / "config").write_bytes(data)
        argv = ["ssh", "-F", tmp_path / "config", "-G", host]
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20).stdout

    with_ours = add_include(theirs, line, {os.fsencode(tmp_path / "ours")})
    assert "\nport 2200\n" in ask(with_ours, "dev-a")
    for host in ("other", "third"):
        assert ask(with_ours, host) == ask(theirs, host)
    assert "\nport 7\n" in ask(with_ours, "other")


def test_an_entry_of_exactly_that_name_is_found() -> None:
    data = b'# Host dev-a\nHost dev-* !dev-b\n Port 1\n\thost = x "dev-a"\nHost dev-a\n'
    assert host_line(data, "dev-a") == 4
    assert host_line(data, "x") == 4
    assert host_line(data, "dev-b") is None
    assert host_line(data, "dev-c") is None
    assert host_line(b"", "dev-a") is None
    assert host_line(b"Host gate # dev-a\n", "dev-a") is None
    assert host_line(b"Match host dev-a\n HostName dev-a\n", "dev-a") is None
