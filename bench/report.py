"""From samples to what is said about them: medians, verdicts, a table for a terminal and one for the page. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any, Literal

import attrs
from attrs import frozen

from bench.measure import Sample, Series
from bench.rows import Claim, Row

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


@frozen(kw_only=True)
class Verdict:
    """What became of a claim. ``value`` is the ratio, or MB; ``unit`` that of ``ours`` and ``rival``."""

    claim: Claim
    server: str
    state: Literal["aim", "must", "MISSED", "not available", "failed"]
    ours: float | None = None
    rival: float | None = None
    value: float | None = None
    reason: str = ""

    @property
    def held(self) -> bool:
        """Whether the must holds; what could not be measured does not."""
        return self.state in ("aim", "must")


def seconds(series: Series) -> float:
    """The median of its samples."""
    return median(sample.seconds for sample in series.samples)


def peak(series: Series, *, background: bool = False) -> float:
    """The most memory of any run in MB; with ``background`` what is kept running counts when that is more."""
    return max(max(sample.peak_mb or 0.0, (background and sample.background_mb) or 0.0) for sample in series.samples)


def judge(claim: Claim, server: str, found: Sequence[Series]) -> Verdict | None:
    """The verdict on a claim at a server; None when it was not to be measured."""
    here = {
        series.contestant: series
        for series in found
        if (series.row, series.server, series.delay_ms) == (claim.row, server, claim.delay_ms)
    }
    if claim.ours not in here:
        return None
    wanted = [here[name] for name in (claim.ours, *claim.rival) if name in here]
    lacking = [f"{series.contestant}: {series.problem}" for series in wanted if series.problem]
    ours = here[claim.ours]
    if ours.problem and not ours.problem.startswith("failed"):
        return Verdict(claim=claim, server=server, state="not available", reason=ours.problem)
    rivals = [here[name] for name in claim.rival if name in here and here[name].samples]
    measured = ours.samples and (claim.measure == "memory" or len(rivals) == len(claim.rival))
    if (lacking and (claim.measure != "memory" or ours.problem)) or not measured:
        return Verdict(claim=claim, server=server, state="failed", reason="; ".join(lacking) or "no samples")
    if claim.measure == "memory":
        own, other = peak(ours, background=claim.background), max(map(peak, rivals), default=None)
        value = own
    else:
        own, other = seconds(ours), max(map(seconds, rivals))
        value = own / other if claim.measure == "time" else other / own
    return Verdict(claim=claim, server=server, state=state(claim, value), ours=own, rival=other, value=value)


def state(claim: Claim, value: float) -> Literal["aim", "must", "MISSED"]:
    """How far a value gets."""
    if claim.measure == "throughput":
        return "aim" if value >= claim.aim else "must" if value >= claim.must else "MISSED"
    return "aim" if value <= claim.aim else "must" if value <= claim.must else "MISSED"


def verdicts(claims: Iterable[Claim], found: Sequence[Series]) -> list[Verdict]:
    """One for each claim and server that was measured."""
    servers = sorted({series.server for series in found}, reverse=True)
    judged = [judge(claim, server, found) for claim in claims for server in servers]
    return [verdict for verdict in judged if verdict is not None]


VERDICT_HEAD = ("what", "server", "round trip", "l8s", "rival", "which", "ratio", "must", "aim", "verdict")


def verdict_cells(verdict: Verdict) -> tuple[str, ...]:
    """A line of the table of claims."""
    claim = verdict.claim
    sign = "≥" if claim.measure == "throughput" else "≤"
    memory = claim.measure == "memory"
    unit = _mb if memory else _seconds
    which = claim.rival[0] if len(claim.rival) == 1 else "the slowest of " + str(len(claim.rival))
    return (
        claim.what,
        verdict.server or "-",
        f"{claim.delay_ms} ms" if verdict.server else "-",
        unit(verdict.ours),
        unit(verdict.rival),
        which,
        "-" if memory or verdict.value is None else f"{verdict.value:.2f}",
        f"{sign} {claim.must:g}{' MB' if memory else ''}",
        f"{sign} {claim.aim:g}{' MB' if memory else ''}",
        {"aim": "holds, and the aim", "must": "holds", "MISSED": "MISSED"}.get(
            verdict.state, f"{verdict.state}: {verdict.reason}"
        ),
    )


SERIES_HEAD = ("what", "server", "round trip", "who", "median", "least", "most", "runs", "peak memory")


def series_cells(series: Series, rows: Mapping[str, Row]) -> tuple[str, ...]:
    """A line of the table of everything that was measured."""
    title = rows[series.row].title if series.row in rows else series.row
    head = (
        title,
        series.server or "-",
        f"{series.delay_ms} ms" if series.server else "-",
        series.contestant,
    )
    if not series.samples:
        return (*head, series.problem, "", "", "0", "")
    taken = [sample.seconds for sample in series.samples]
    memory = _mb(peak(series)) if peak(series) else "-"
    kept = max((sample.background_mb or 0.0 for sample in series.samples), default=0.0)
    if kept:
        memory += f", kept running {_mb(kept)}"
    mark = f" ({series.problem})" if series.problem else ""
    return (*head, _seconds(median(taken)), _seconds(min(taken)), _seconds(max(taken)), f"{len(taken)}{mark}", memory)


def plain(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table for a terminal."""
    widths = [max(len(line[column]) for line in (head, *lines)) for column in range(len(head))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n"
        for line in (head, *lines)
    )


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table for a page."""

    def row(cells: Iterable[str]) -> str:
        return "| " + " | ".join(re.sub(r"\s+", " ", cell).replace("|", "\\|") for cell in cells) + " |\n"

    return row(head) + row("---" for _ in head) + "".join(map(row, lines))


def between_markers(page: str, text: str) -> str:
    """The page with ``text`` in place of what is between its markers.

    Raises:
        ValueError: it has not exactly one pair of them.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in after:
        raise ValueError(f"the page needs {BEGIN} and {END}, once each and in this order")
    return f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}"


def to_json(found: Sequence[Series]) -> list[dict[str, Any]]:
    """As `from_json` reads it."""
    return [attrs.asdict(series) for series in found]


def from_json(data: Sequence[Mapping[str, Any]]) -> list[Series]:
    """What `to_json` wrote."""
    return [Series(**{**one, "samples": [Sample(**sample) for sample in one["samples"]]}) for one in data]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value * 1000:.1f} ms" if value < 0.1 else f"{value:.2f} s"


def _mb(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} MB"
