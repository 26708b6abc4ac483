"""The one line that l8s puts into the user's ``~/.ssh/config``; pure, on bytes, since that file may hold any.

Not here: where the file is and whether it may be written (`writer`).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator

from l8s_core.errors import SSHConfigError

_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_WORD = re.compile(rb'"([^"]*)"|([^\s"]+)')


def add_include(data: bytes, line: bytes, spellings: Collection[bytes]) -> bytes:
    """``data`` with ``line`` as its first line, and every other byte as it was.

    Unchanged when it includes one of ``spellings`` already. The new line ends as the file's first line ends.

    Raises:
        SSHConfigError: ssh itself would not read the file (byte order mark), or not all of it (NUL).
    """
    if has_include(data, spellings):
        return data
    if data.startswith(_BOMS):
        raise SSHConfigError("it starts with a byte order mark, which ssh does not accept; save it without one")
    if b"\0" in data:
        raise SSHConfigError("it holds a NUL byte, at which ssh stops reading the line; remove it")
    first = data.partition(b"\n")[0]
    return line + (b"\r\n" if first.endswith(b"\r") and b"\n" in data else b"\n") + data


def has_include(data: bytes, spellings: Collection[bytes]) -> bool:
    """Whether one of ``spellings`` is included for every host, that is above the first Host or Match."""
    for keyword, words, _ in _directives(data):
        if keyword in (b"host", b"match"):
            return False
        if keyword == b"include" and any(word in spellings for word in words):
            return True
    return False


def host_line(data: bytes, alias: str) -> int | None:
    """The line, counted from 1, that begins an entry for exactly this alias (patterns do not count)."""
    wanted = alias.encode("utf-8", "surrogateescape")
    if wanted not in data:  # as good as always, and a file may have ten thousand hosts
        return None
    for keyword, words, number in _directives(data):
        if keyword == b"host" and wanted in words:
            return number
    return None


def _directives(data: bytes) -> Iterator[tuple[bytes, list[bytes], int]]:
    """Each directive's keyword in lower case, its words unquoted, and its line number."""
    for number, raw in enumerate(data.split(b"\n"), start=1):
        line = raw.strip()
        if not line or line.startswith(b"#"):
            continue
        keyword = re.match(rb'"?([A-Za-z0-9]+)"?\s*=?\s*', line)
        if keyword is None:
            continue
        found = _WORD.findall(line[keyword.end() :])
        # a word that starts with # begins a comment (OpenSSH 8.7 and later)
        words = itertools.takewhile(lambda word: not word[1].startswith(b"#"), found)
        yield keyword[1].lower(), [quoted or bare for quoted, bare in words], number
