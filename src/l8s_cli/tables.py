"""Tables and amounts as people read them. Pure: text in, text out; cells are escaped here.

Not here: choosing between a table and JSON, and colours (`l8s_cli.output`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from attrs import field, frozen

from l8s_core import names

CLOCK_TOLERANCE = 60.0
"""Seconds: a clock that is being adjusted goes back by less."""


def _escaped_rows(rows: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(names.printable(cell) for cell in row) for row in rows)


@frozen(kw_only=True)
class Table:
    """Column titles and rows of text; what a server put into a cell is escaped on the way in."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...] = field(converter=_escaped_rows)


def plain(table: Table) -> str:
    """The table with aligned columns and no frame, for pipes and files; no line ends in spaces."""
    lines = [table.columns, *table.rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(table.columns))]
    rendered = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
    return "\n".join(rendered) + "\n"


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """``Name:`` and value on one line each, values in one column, escaped, indented by two."""
    width = max((len(name) for name, _ in pairs), default=0) + 1
    width = max(width, len("SSH Command:") + 3)
    return "".join(f"  {f'{name}:':<{width}} {names.printable(value)}".rstrip() + "\n" for name, value in pairs)


def duration(seconds: float) -> str:
    """``12 ms``, ``1.2 s``, ``2 min 3 s``."""
    if seconds < 0.9995:
        return f"{round(seconds * 1000)} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def age(created: datetime | None, now: datetime) -> str:
    """How long ago: ``3 hours ago``; ``-`` when unknown. ``now`` is by the clock that ``created`` was taken from.

    What lies ahead of that clock, which was set back since, has no age: it gives the date, ``2036-05-01``.
    """
    if created is None:
        return "-"
    seconds = (now - created).total_seconds()
    if seconds < -CLOCK_TOLERANCE:
        return f"{created:%Y-%m-%d}"
    for unit, size in (
        ("year", 365 * 86400),
        ("month", 30 * 86400),
        ("day", 86400),
        ("hour", 3600),
        ("minute", 60),
    ):
        count = int(seconds // size)
        if count >= 1:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def size(count: int) -> str:
    """Bytes in units of 1024: ``512 MiB``, ``1.5 GiB``."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024 or unit == "TiB":
            return f"{amount:.1f}".removesuffix(".0") + f" {unit}"
        amount /= 1024
    raise AssertionError("the last unit has no limit")
