"""The picture is well-formed, has a bar for each figure, and bars are as long as what they stand for."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from bench.measure import Sample, Series
from bench.plot import scale, svg
from bench.rows import ROWS

SVG = "{http://www.w3.org/2000/svg}"


def series(who: str, delay: int, seconds: float | None, server: str = "s") -> Series:
    samples = [] if seconds is None else [Sample(seconds=seconds)]
    return Series(row="list", server=server, delay_ms=delay, contestant=who, samples=samples)


def test_a_bar_for_each_figure_as_long_as_it_is() -> None:
    found = [
        series("a & b", 0, 1.0),
        series("a & b", 50, 2.0),
        series("c", 0, 0.5),
        series("d", 0, None),
        series("c", 0, 9.0, server="another"),
    ]
    tree = ET.fromstring(svg(ROWS, "s", found))
    assert tree.tag == f"{SVG}svg"
    bars = [float(one.get("height", "0")) for one in tree.iter(f"{SVG}rect") if one.get("height") not in ("10", "300")]
    assert len(bars) == 3
    assert sorted(bars) == pytest.approx([min(bars), 2 * min(bars), 4 * min(bars)], abs=0.2)
    assert "a & b" in {one.text for one in tree.iter(f"{SVG}text")}


def test_nothing_measured_is_an_empty_picture() -> None:
    assert ET.fromstring(svg(ROWS, "s", [])).tag == f"{SVG}svg"


@pytest.mark.parametrize(
    ("longest", "end"), [(0.9, 1), (1.0, 1), (1.1, 2), (2.1, 5), (5.1, 10), (0.03, 0.05), (120, 200)]
)
def test_an_axis_ends_at_a_round_number_beyond_the_longest_bar(longest: float, end: float) -> None:
    assert scale(longest)[0] == pytest.approx(end)
