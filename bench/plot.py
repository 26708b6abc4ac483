"""Bars as SVG, written by hand: a panel for each row, in it a group for each delay, and a bar for each contestant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from bench.measure import Series
from bench.report import seconds
from bench.rows import Row

WIDTH, PANEL, MARGIN, HEAD = 900, 300, 60, 70
COLOURS = ("#0b6e4f", "#63b995", "#c1440e", "#4a6fa5", "#94b0da", "#8a7090", "#c9a227")
"""l8s green, its rivals other colours; told apart by brightness as well."""


def scale(longest: float) -> tuple[float, float]:
    """The end of an axis that holds ``longest``, and its step: 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(longest))
    end = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= longest)
    return end, end / 5


def svg(rows: Sequence[Row], server: str, found: Sequence[Series]) -> str:
    """The whole picture of one server; rows and contestants without samples are left out."""
    panels: list[str] = []
    for row in rows:
        here = [series for series in found if series.row == row.key and series.server == server and series.samples]
        if here:
            panels.append(_panel(row.title.replace("`", ""), here, top=len(panels) * PANEL))
    height = max(len(panels), 1) * PANEL
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"'
        ' font-size="11">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>\n{"".join(panels)}</svg>\n'
    )


def _panel(title: str, here: Sequence[Series], *, top: int) -> str:
    names = list(dict.fromkeys(series.contestant for series in here))
    delays = sorted({series.delay_ms for series in here})
    end, step = scale(max(map(seconds, here)))
    floor, tall = top + PANEL - 30, PANEL - HEAD - 30
    parts = [f'<text x="{MARGIN}" y="{top + 20}" font-size="15" font-weight="bold">{escape(title)}, seconds</text>\n']
    # one legend for each panel, in two lines where one would not hold it
    for number, name in enumerate(names):
        left, line = MARGIN + (number % 4) * 205, top + 38 + (number // 4) * 15
        parts.append(
            f'<rect x="{left}" y="{line - 9}" width="10" height="10" fill="{COLOURS[number % len(COLOURS)]}"/>'
            f'<text x="{left + 14}" y="{line}">{escape(name)}</text>\n'
        )
    for number in range(6):
        y = floor - tall * number / 5
        parts.append(
            f'<line x1="{MARGIN}" y1="{y:.1f}" x2="{WIDTH - 20}" y2="{y:.1f}" stroke="#ddd"/>'
            f'<text x="{MARGIN - 6}" y="{y + 4:.1f}" text-anchor="end">{step * number:.3g}</text>\n'
        )
    group = (WIDTH - MARGIN - 20) / len(delays)
    bar = min(group * 0.85 / len(names), 60)
    for place, delay in enumerate(delays):
        middle = MARGIN + group * (place + 0.5)
        parts.append(f'<text x="{middle:.1f}" y="{floor + 16}" text-anchor="middle">{delay} ms</text>\n')
        for number, name in enumerate(names):
            for series in here:
                if (series.contestant, series.delay_ms) == (name, delay):
                    value = seconds(series)
                    x, high = middle + bar * (number - len(names) / 2), tall * value / end
                    parts.append(
                        f'<rect x="{x:.1f}" y="{floor - high:.1f}" width="{bar * 0.9:.1f}" height="{high:.1f}"'
                        f' fill="{COLOURS[number % len(COLOURS)]}"/>'
                        f'<text x="{x + bar * 0.45:.1f}" y="{floor - high - 3:.1f}" text-anchor="middle" font-size="9">'
                        f"{value:.2g}</text>\n"
                    )
    return "".join(parts)
