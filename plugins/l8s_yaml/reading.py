"""From the bytes of a config file to plain data and to where each part of it stands; strict.

The file is read as YAML 1.2, but only what two people would read alike: no anchors, tags, merge keys, dates,
octal numbers or duplicate keys. It works on ruamel's stream of events and looks at each before asking for the
next, so a hostile file costs no more than its size. Not here: changing the text (`l8s_yaml.writing`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Never

from attrs import define, field

from l8s_core import names
from l8s_core.errors import ConfigError
from l8s_yaml.plain import LIMIT

MAX_DEPTH = 8
MAX_DIGITS = 15
"""Every number of so many digits is exact in JSON's readers too (2**53)."""

Scalar = str | int | float | bool | None

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]+")
_CONTROL = re.compile(r"[^\n\r\t\x20-\x7e\xa0-\u2027\u202a-\ufefe\uff00-\U0010ffff]|\r(?!\n)")
"""A byte order mark too, but for the first: ruamel passes over it, wherever it stands."""
_SHOWN = 200
"""Characters of a problem: a tag or an anchor may be as long as the file."""
_UNCLOSED = ("could not find expected ':'", "found unexpected end of stream")
"""What is noticed at the end of the file, or long after the line that is wrong."""
_NUMBER_LIKE = re.compile(
    r"[-+]?(?:0[oO][0-7]+|0[xX][0-9a-fA-F]+|0[bB][01]+|[0-9][0-9_]*|[0-9]+(?::[0-5]?[0-9])+"
    r"|(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)"
)
"""What some reader takes for a number: YAML 1.1 (https://yaml.org/type/int.html) and 1.2, section 10.3.2."""
_LONG = 40
_NUMBER_CHARACTERS = frozenset("0123456789_.+-:eE")
_BEYOND_UNICODE = re.compile(r"\\U(?!000|0010)[0-9A-Fa-f]{8}")
_DATE_LIKE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt \t].*)?")
_WORDS: Mapping[str, Scalar] = {"": None, "~": None} | {
    spelling: value
    for word, value in (("null", None), ("true", True), ("false", False))
    for spelling in (word, word.capitalize(), word.upper())
}


@define(kw_only=True)
class Entry:
    """One key of a mapping and its value.

    Lines and columns count from 0, here and in `Node`; ``end_line`` is the value's last line.
    """

    key: str
    line: int
    column: int
    node: Node
    end_line: int = 0


@define(kw_only=True)
class Node:
    """A value and where it stands: a scalar, a mapping (``entries``) or a list (``items``)."""

    kind: str
    line: int
    column: int
    end_line: int = 0
    end_column: int = 0
    flow: bool = False
    empty: bool = False
    """A scalar that is not there at all, as in ``key:``."""
    value: Scalar = None
    entries: list[Entry] = field(factory=list)
    items: list[Node] = field(factory=list)

    def plain(self) -> object:
        """The data, without the places."""
        if self.kind == "mapping":
            return {entry.key: entry.node.plain() for entry in self.entries}
        if self.kind == "list":
            return [item.plain() for item in self.items]
        return self.value


def check_size(size: int, location: str) -> None:
    """Refuse a file of more than `LIMIT` bytes.

    Raises:
        ConfigError: it is too large.
    """
    if size > LIMIT:
        refuse(
            location,
            None,
            f"the file has {size} bytes, at most {LIMIT} are read",
            "Look at what is in it; a config of a hundred profiles is smaller",
        )


def decode(data: bytes, location: str) -> str:
    """The text of a config file, without a byte order mark.

    Raises:
        ConfigError: it is too large, not UTF-8, or has control characters in it.
    """
    check_size(len(data), location)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        refuse(
            location,
            data.count(b"\n", 0, error.start),
            f"byte {error.start + 1} of the file is not UTF-8",
            "Save the file as UTF-8",
        )
    strange = _CONTROL.search(text)
    if strange is not None:
        refuse(
            location,
            text.count("\n", 0, strange.start()),
            f"there is a control character: {names.printable(strange.group())}",
            "Remove it",
        )
    return text


def read(text: str, location: str) -> Node:
    """The mapping that ``text`` holds, which may be empty.

    Raises:
        ConfigError: the text is not plain data; with the line, what was found and what to write instead.
    """
    from ruamel.yaml.error import YAMLError

    try:
        return _Builder(location, text).build()
    except YAMLError as error:
        problem = str(getattr(error, "problem", None) or "it is not YAML").partition("\n")[0]
        noticed, begun = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
        mark = (begun or noticed) if problem in _UNCLOSED else (noticed or begun)
        hint = "Write one  key: value  a line, and text with special characters in it in quotes"
        if "\\t" in problem or "tab" in problem:
            hint = "Indent with spaces"
        refuse(location, None if mark is None else mark.line, _shown(problem), hint)
    except (ValueError, OverflowError):  # as which ruamel.yaml passes on what chr() says
        beyond = _BEYOND_UNICODE.search(text)
        if beyond is None:
            raise
        line = text.count("\n", 0, beyond.start())
        refuse(location, line, f"{beyond.group()} is no character", "Unicode ends at \\U0010ffff")


def lines(root: Node) -> dict[tuple[str, ...], int]:
    """The line, counted from 1, of every key in ``root``, and of every item of a list by its number from 0."""
    found: dict[tuple[str, ...], int] = {}

    def walk(node: Node, path: tuple[str, ...]) -> None:
        for entry in node.entries:
            found[(*path, entry.key)] = entry.line + 1
            walk(entry.node, (*path, entry.key))
        for number, item in enumerate(node.items):
            found[(*path, str(number))] = item.line + 1
            walk(item, (*path, str(number)))

    walk(root, ())
    return found


def refuse(location: str, line: int | None, problem: str, hint: str) -> Never:
    """Raise the `ConfigError` for a problem; ``line`` counts from 0, None is for the file as a whole."""
    place = location if line is None else f"{location}:{line + 1}"
    raise ConfigError(f"{place}: {problem}\n    {hint}", hints=(f"Correct it in {location}",))


def _shown(problem: str) -> str:
    return names.printable(problem[:_SHOWN]) + ("..." if len(problem) > _SHOWN else "")


def resolve(text: str) -> Scalar:
    """What an unquoted scalar means (YAML 1.2, core schema).

    Raises:
        ValueError: readers of YAML disagree about it, or it is a number that is too long.
    """
    if text in _WORDS:
        return _WORDS[text]
    if len(text.removeprefix("-")) <= MAX_DIGITS:
        if _INTEGER.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
    # Whatever is long is judged by its characters alone: cheap, and nobody writes such numbers.
    if _NUMBER_LIKE.fullmatch(text) if len(text) <= _LONG else _NUMBER_CHARACTERS.issuperset(text):
        raise ValueError("a number that can be misread")
    if _DATE_LIKE.fullmatch(text):
        raise ValueError("a date")
    return text


class _Builder:
    """Takes the events one by one; it goes no deeper than `MAX_DEPTH`, so its recursion is bounded."""

    def __init__(self, location: str, text: str) -> None:
        from ruamel.yaml import YAML

        self._location = location
        self._text = text
        # The pure parser: the C one reads ahead without a bound and does not speak YAML 1.2.
        self._events: Iterator[Any] = iter(YAML(typ="safe", pure=True).parse(text))

    def build(self) -> Node:
        root: Node | None = None
        for event in self._events:
            kind = type(event).__name__
            if kind == "DocumentStartEvent":
                if event.version is not None or event.tags:
                    self._refuse(event, "it has a % directive", "Remove the line; it is read as YAML 1.2")
                if root is not None:
                    self._refuse(event, "a second document starts here", "Keep one, and remove the --- before it")
            elif kind not in ("StreamStartEvent", "StreamEndEvent", "DocumentEndEvent"):
                root = self._value(event, 1)
        if root is None or root.empty:
            return Node(kind="mapping", line=0, column=0, empty=True)
        if root.kind != "mapping":
            self._refuse_at(
                root.line, "the file does not hold keys and values", "Write remote_host: server.example.com"
            )
        return root

    def _value(self, event: Any, depth: int) -> Node:
        kind = type(event).__name__
        start = event.start_mark
        if kind == "AliasEvent":
            self._refuse(event, f"it uses the alias *{event.anchor}", "Write the value out")
        if event.anchor is not None:
            self._refuse(event, f"it has the anchor &{event.anchor}", "Write the value out wherever it is needed")
        if event.tag is not None:
            self._refuse(event, f"it has the tag {event.tag}", "Remove the tag; for text, use quotes")
        if kind == "ScalarEvent":
            return self._scalar(event)
        if depth > MAX_DEPTH:
            self._refuse(event, f"it is nested deeper than {MAX_DEPTH} levels", "Write it flatter")
        node = Node(
            kind="mapping" if kind == "MappingStartEvent" else "list",
            line=start.line,
            column=start.column,
            end_line=start.line,
            flow=bool(event.flow_style),
        )
        seen: dict[str, int] = {}
        for inner in self._events:
            if type(inner).__name__ in ("MappingEndEvent", "SequenceEndEvent"):
                if node.flow:
                    node.end_line, node.end_column = inner.end_mark.line, inner.end_mark.column
                break
            if node.kind == "list":
                node.items.append(self._value(inner, depth + 1))
                node.end_line = node.items[-1].end_line
                continue
            entry = self._key(inner, seen)
            entry.node = self._value(next(self._events), depth + 1)
            # What is not there has no place: ruamel puts it at whatever comes next.
            entry.end_line = entry.line if entry.node.empty else entry.node.end_line
            node.entries.append(entry)
            node.end_line = entry.end_line
        return node

    def _key(self, event: Any, seen: dict[str, int]) -> Entry:
        if type(event).__name__ != "ScalarEvent":
            self._refuse(event, "a key must be one word", "Write key: value")
        node = self._value(event, 1)
        mark = event.start_mark
        if not isinstance(node.value, str):
            self._refuse(event, f"the key {names.shown(node.value)} is not text", "Write it in quotes")
        if event.implicit[0] and node.value == "<<":
            self._refuse(event, "it merges another mapping with <<", "Write the keys out")
        if node.value in seen:
            first = seen[node.value] + 1
            self._refuse(event, f"{names.shown(node.value)} is there twice, first in line {first}", "Keep one of them")
        seen[node.value] = mark.line
        return Entry(key=node.value, line=mark.line, column=mark.column, node=node)

    def _scalar(self, event: Any) -> Node:
        start, end = event.start_mark, event.end_mark
        node = Node(
            kind="scalar",
            line=start.line,
            column=start.column,
            end_line=end.line,
            end_column=end.column,
            value=event.value,
        )
        if event.style in ("|", ">"):
            # Its end mark stands after the line breaks that follow.
            node.end_line = self._text.count("\n", 0, len(self._text[: end.index].rstrip()))
        elif event.implicit[0]:
            try:
                node.value = resolve(event.value)
            except ValueError as error:
                self._refuse(
                    event,
                    f"{names.shown(event.value)} is {error}",
                    f'Write a plain decimal number, or text in quotes: "{names.printable(event.value[:40])}"',
                )
            node.empty = event.value == ""
        return node

    def _refuse(self, event: Any, problem: str, hint: str) -> Never:
        self._refuse_at(event.start_mark.line, _shown(problem), hint)

    def _refuse_at(self, line: int, problem: str, hint: str) -> Never:
        refuse(self._location, line, problem, hint)
