"""Tables and amounts, as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from l8s_cli import tables


def test_plain_aligns_and_leaves_no_trailing_space() -> None:
    table = tables.Table(columns=("NAME", "X"), rows=[("longer-name", ""), ("a", "1")])
    assert tables.plain(table) == "NAME         X\nlonger-name\na            1\n"


def test_cells_are_escaped() -> None:
    table = tables.Table(columns=("A",), rows=[("\x1b[31m\nx\u202e",)])
    assert tables.plain(table) == "A\n\\x1b[31m\\x0ax\\u202e\n"


def test_facts_have_the_seeds_columns() -> None:
    text = tables.facts([("SSH Command", "ssh dev-myapp"), ("Direct SSH", "ssh -p 2200 dev@h")])
    assert text == "  SSH Command:    ssh dev-myapp\n  Direct SSH:     ssh -p 2200 dev@h\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 ms"), (0.0124, "12 ms"), (0.9996, "1.0 s"), (1.25, "1.2 s"), (59.96, "1 min 0 s"), (123, "2 min 3 s")],
)
def test_duration(seconds: float, text: str) -> None:
    assert tables.duration(seconds) == text


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (timedelta(seconds=-5), "just now"),
        (timedelta(seconds=59), "just now"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(hours=3, minutes=59), "3 hours ago"),
        (timedelta(days=2), "2 days ago"),
        (timedelta(days=400), "1 year ago"),
    ],
)
def test_age(ago: timedelta, text: str) -> None:
    now = datetime(2024, 5, 1, tzinfo=UTC)
    assert tables.age(now - ago, now) == text


def test_age_unknown() -> None:
    assert tables.age(None, datetime(2024, 5, 1, tzinfo=UTC)) == "-"


def test_what_lies_ahead_has_a_date_and_no_age() -> None:
    now = datetime(2024, 5, 1, tzinfo=UTC)
    assert tables.age(now + timedelta(days=3653), now) == "2034-05-02"
    assert tables.age(now + timedelta(minutes=2), now) == "2024-05-01"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (512 * 1024**2, "512 MiB"), (3 * 1024**3 // 2, "1.5 GiB"), (2**60, "1048576 TiB")]
)
def test_size(count: int, text: str) -> None:
    assert tables.size(count) == text
