"""From a config file's text and the data that it shall hold to the new text; pure.

Only the lines that must change are touched, by the places that `l8s_yaml.reading` found; every other byte stays,
and so does every comment on a line of its own, wherever it is. (Loading and dumping through ruamel's round trip
loses the comments around a key that is removed, and evens out indentation.) The result is read again and
compared with what was wanted: a text that does not say exactly that is never returned.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

from attrs import frozen

from l8s_core import names
from l8s_core.errors import ConfigError
from l8s_yaml.reading import Entry, Node, read, resolve

_STEP = 2
_FLAT_STEP = 4
"""Into how many columns a flat file moves, two levels down, under ``profiles:`` and a profile's name."""
_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./~@+-:= ")


_YAML_1_1_WORDS = frozenset({"y", "n", "yes", "no", "on", "off"})


def rewrite(text: str, wanted: Mapping[str, object], location: str) -> str:
    """``text`` changed so that it holds ``wanted``; ``text`` itself when it does already.

    Raises:
        ConfigError: ``text`` is not readable, or the change cannot be made in it safely.
    """
    target = _data(wanted)
    assert isinstance(target, dict)
    root = read(text, location)
    if same(root.plain(), target):
        return text
    result = _indented(text, root, target, location)
    result = _edited(result, read(result, location), target)
    try:
        fits = same(read(result, location).plain(), target)
    except ConfigError:
        fits = False
    if not fits:
        raise ConfigError(
            f"{location}: it is written in a way that cannot be changed without harm, so it is as it was",
            hints=("Write it with one  key: value  a line, or make the change by hand in " + location,),
        )
    return result


def same(left: object, right: object) -> bool:
    """Whether both are equal, with equal types: 1, 1.0 and True differ here."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


def scalar(value: object) -> str:
    """One scalar as YAML, on one line: text in quotes unless no reader could take it for anything else."""
    if isinstance(value, str):
        return value if _needs_no_quotes(value) else quoted(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def quoted(text: str) -> str:
    """``text`` in double quotes; the escapes of `names.printable` are those of YAML 1.2, section 5.7."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{names.printable(escaped)}"'


def _needs_no_quotes(text: str) -> bool:
    if not text or not set(text) <= _SAFE or text != text.strip() or text.lower() in _YAML_1_1_WORDS:
        return False
    if text[0] in "-:=@" or ": " in text or text.endswith(":") or text.startswith("~ ") or text == "~":
        return False
    try:
        return resolve(text) == text
    except ValueError:
        return False


def _data(value: object) -> object:
    """``value`` as plain dicts, lists and scalars.

    Raises:
        ConfigError: it holds something else.
    """
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ConfigError(f"the key {names.shown(key)} cannot be written: it is not text")
        return {str(key): _data(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_data(item) for item in value]
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        with contextlib.suppress(ValueError):  # too long, not finite, or with an exponent
            if same(resolve(str(value)), value):
                return value
    raise ConfigError(f"{names.shown(value)} cannot be written in a config")


def _flow(value: object) -> str:
    """A value on one line, as JSON writes it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return quoted(value) if isinstance(value, str) else scalar(value)


def _block(key: str, value: object, indent: int, step: int) -> list[str]:
    """The lines of one key and its value."""
    start = " " * indent + scalar(key) + ":"
    if isinstance(value, dict) and value:
        return [
            start,
            *(line for name, item in value.items() for line in _block(name, item, indent + step, step)),
        ]
    return [f"{start} {_flow(value) if isinstance(value, dict | list) else scalar(value)}"]


@frozen
class _Edit:
    """The lines from ``first`` up to but without ``end`` become ``new``; ``depth`` orders edits at one place."""

    first: int
    end: int
    new: tuple[str, ...]
    depth: int


def _edited(text: str, root: Node, target: dict[str, object]) -> str:
    end_of_line = "\r" if "\r\n" in text else ""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    elif end_of_line:
        lines[-1] += end_of_line
    unfinished = text != "" and not text.endswith("\n")
    step = _indentation(root)
    if root.entries and not root.flow:
        edits = list(_mapping_edits(lines, root, target, 0, step))
    else:
        new = [line for key, value in target.items() for line in _block(key, value, 0, step)]
        first, end = (root.line, root.end_line + 1) if root.flow else (len(lines), len(lines))
        edits = [_Edit(first, end, (*_comments(lines[first:end]), *new), 0)]
    # From the bottom up, so that line numbers hold. At one place an outer edit goes before an inner insertion, which
    # so ends up above it, inside its own mapping.
    for edit in sorted(edits, key=lambda edit: (-edit.first, edit.depth)):
        lines[edit.first : edit.end] = [line.removesuffix("\r") + end_of_line for line in edit.new]
    result = "".join(f"{line}\n" for line in lines)
    return result.removesuffix(f"{end_of_line}\n") if unfinished else result


def _mapping_edits(
    lines: list[str], node: Node, target: Mapping[str, object], depth: int, step: int
) -> Iterable[_Edit]:
    """The edits that make a block mapping with at least one key hold ``target``."""
    column = node.entries[0].column
    present = {entry.key for entry in node.entries}
    for entry in node.entries:
        if entry.key not in target:
            yield _replaced(lines, entry, [], depth)
        elif not same(entry.node.plain(), target[entry.key]):
            yield from _entry_edits(lines, entry, target[entry.key], depth, step)
    order = list(target)
    kept = [number for number, key in enumerate(order) if key in present]
    leading = order[: kept[0]] if kept else []
    following = [key for key in order if key not in present and key not in leading]
    for keys, place in (
        (leading, _above(lines, node.entries[0].line)),
        (following, node.entries[-1].end_line + 1),
    ):
        new = [line for key in keys for line in _block(key, target[key], column, step)]
        if new:
            yield _Edit(place, place, tuple(new), depth)


def _entry_edits(lines: list[str], entry: Entry, value: object, depth: int, step: int) -> Iterable[_Edit]:
    node = entry.node
    if isinstance(value, dict) and value and node.entries and not node.flow:
        return _mapping_edits(lines, node, value, depth + 1, step)
    one_line = entry.line == node.line == node.end_line and not node.empty
    if node.kind == "scalar" and one_line and node.end_column and not isinstance(value, dict | list):
        line = lines[node.line]
        new = scalar(value)
        if line[node.column] in "\"'" and isinstance(value, str):
            new = _in_quotes(value, line[node.column])
        return [_Edit(node.line, node.line + 1, (line[: node.column] + new + line[node.end_column :],), depth)]
    return [_replaced(lines, entry, _block(entry.key, value, entry.column, step), depth)]


def _in_quotes(text: str, quote: str) -> str:
    if quote == "'" and text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    return quoted(text)


def _replaced(lines: list[str], entry: Entry, new: list[str], depth: int) -> _Edit:
    first, end = entry.line, entry.end_line + 1
    return _Edit(first, end, (*new, *_comments(lines[first:end])), depth)


def _comments(lines: Iterable[str]) -> list[str]:
    return [line for line in lines if line.lstrip().startswith("#")]


def _above(lines: list[str], line: int) -> int:
    """Where to put something before ``line`` and before the comments that belong to it."""
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
    return line


def _indentation(root: Node) -> int:
    """By how many columns this file indents."""
    for entry in root.entries:
        if entry.node.entries and not entry.node.flow:
            return max(1, entry.node.entries[0].column - entry.column)
    return _STEP


def _indented(text: str, root: Node, target: dict[str, object], location: str) -> str:
    """``text`` of a flat file moved under ``profiles:`` and a name, when that is what ``target`` asks for.

    Moved as it is, line by line, it keeps its comments and quoting.
    """
    profiles = target.get("profiles")
    old = {key: value for key, value in _entries(root) if key != "active_profile"}
    if not old or "profiles" in old or not isinstance(profiles, dict) or root.flow:
        return text
    name = next((name for name, value in profiles.items() if same(value, old)), None)
    if name is None or any(line.startswith(("---", "...")) for line in text.split("\n")):
        return text
    if len(root.entries) > len(old):
        text = _edited(text, root, old)
    end_of_line = "\r\n" if "\r\n" in text else "\n"
    header = f"profiles:{end_of_line}{' ' * _STEP}{scalar(name)}:{end_of_line}"
    moved = (f"{' ' * _FLAT_STEP}{line}" if line.strip() else line for line in text.splitlines(keepends=True))
    result = header + "".join(moved)
    try:
        fits = same(read(result, location).plain(), {"profiles": {name: old}})
    except ConfigError:
        fits = False
    return result if fits else text


def _entries(node: Node) -> Iterable[tuple[str, object]]:
    return ((entry.key, entry.node.plain()) for entry in node.entries)
