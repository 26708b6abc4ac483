"""The simplest of config files, read without a YAML parser: what most of them are, and what l8s writes itself.

Importing ruamel.yaml takes longer than everything else that a command does with its config. A file of ``key: value``
lines, nested by indentation, with comments between them, needs none. Whatever is not certainly that is left to
`l8s_yaml.reading`, errors included, and what is read here is exactly what is read there: the property tests compare.
"""

from __future__ import annotations

from collections.abc import Iterator

LIMIT = 64 * 1024
"""Bytes of a config file, however it is read."""
MAX_DEPTH = 4
MAX_KEY = 128

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_DIGITS = frozenset("0123456789")
_IN_KEYS = _LETTERS | _DIGITS | frozenset("_-")
_IN_TEXT = _IN_KEYS | frozenset("./@+:")
MAX_DIGITS = 15
"""What is longer, and might be taken for a number, is for the parser's rules."""
_OTHER_WORDS = frozenset(("null", "true", "false"))
"""What is no text in YAML 1.2, in any case (section 10.3.2)."""

Lines = dict[tuple[str, ...], int]


class _NotPlainError(Exception):
    """This is for the parser."""


def read(data: bytes) -> tuple[dict[str, object], Lines] | None:
    """The data in a config file, and each key's line counted from 1; None when it is for the parser to read.

    An empty file is for the parser too.
    """
    try:
        if len(data) > LIMIT or not data.isascii():
            return None
        rows = list(_rows(data.decode("ascii")))
        if not rows or rows[0][1] != 0:
            return None
        lines: Lines = {}
        found, end = _mapping(rows, 0, (), lines)
        return (found, lines) if end == len(rows) else None
    except _NotPlainError:
        return None


def _rows(text: str) -> Iterator[tuple[int, int, str, str]]:
    """Number, indentation, key and value of each line that is neither blank nor a comment."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line and not line.isprintable():
            raise _NotPlainError
        content = line.lstrip(" ")
        if not content or content.startswith("#"):
            continue
        key, colon, rest = content.partition(":")
        value = rest.strip(" ")
        if not (colon and key and key[0] in _LETTERS and _IN_KEYS.issuperset(key)):
            raise _NotPlainError
        if key.lower() in _OTHER_WORDS or len(key) > MAX_KEY:
            raise _NotPlainError
        if value and not rest.startswith(" "):
            raise _NotPlainError
        yield number, len(line) - len(content), key, value


def _mapping(
    rows: list[tuple[int, int, str, str]], start: int, path: tuple[str, ...], lines: Lines
) -> tuple[dict[str, object], int]:
    """The mapping that begins at row ``start``, and the row after it."""
    if len(path) >= MAX_DEPTH:
        raise _NotPlainError
    found: dict[str, object] = {}
    indentation = rows[start][1]
    place = start
    while place < len(rows) and rows[place][1] == indentation:
        number, _, key, value = rows[place]
        if key in found:
            raise _NotPlainError
        lines[(*path, key)] = number
        place += 1
        if value:
            found[key] = _scalar(value)
        elif place < len(rows) and rows[place][1] > indentation:
            found[key], place = _mapping(rows, place, (*path, key), lines)
        else:
            raise _NotPlainError  # a key without a value
    if place < len(rows) and rows[place][1] > indentation:
        raise _NotPlainError
    return found, place


def _scalar(text: str) -> str | int | bool:
    if text in ("true", "false"):
        return text == "true"
    if text[0] == '"':
        inner = text[1:-1]
        if len(text) < 2 or text[-1] != '"' or '"' in inner or "\\" in inner:
            raise _NotPlainError
        return inner
    if text[0] in _DIGITS:
        return _number(text)
    # A path, or a word that no reader takes for anything but text. A colon at its end, or before a space, is a key's.
    rest = text[2:] if text.startswith("~/") else text[1:]
    if not (text.startswith(("~/", "/")) or text[0] in _LETTERS) or not _IN_TEXT.issuperset(rest) or text[-1] == ":":
        raise _NotPlainError
    if text.lower() in _OTHER_WORDS or (text[0] in "eE" and len(text) > MAX_DIGITS):
        raise _NotPlainError
    return text


def _number(text: str) -> str | int:
    """A whole number, or an IPv4 address, which is text: it has more dots than any number."""
    if len(text) > MAX_DIGITS:
        raise _NotPlainError
    if _DIGITS.issuperset(text) and (text == "0" or text[0] != "0"):
        return int(text)
    if text.count(".") == 3 and all(part and _DIGITS.issuperset(part) for part in text.split(".")):
        return text
    raise _NotPlainError
