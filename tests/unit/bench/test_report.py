"""Medians, ratios and verdicts, and what is printed of them."""

from __future__ import annotations

import json

import pytest

from bench import report
from bench.measure import Sample, Series
from bench.rows import CLAIMS, ROWS, Claim, chosen


def series(
    who: str, *seconds: float, peak: float = 0, kept: float | None = None, problem: str = "", **at: object
) -> Series:
    place = {"row": "r", "server": "s", "delay_ms": 50} | at
    samples = [Sample(seconds=value, peak_mb=peak, background_mb=kept) for value in seconds]
    return Series(contestant=who, samples=samples, problem=problem, **place)  # type: ignore[arg-type]


def claim(**values: object) -> Claim:
    plain = {"what": "w", "row": "r", "delay_ms": 50, "ours": "l8s", "rival": ("other",), "must": 1.0, "aim": 0.5}
    return Claim(**(plain | values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ours", "state"), [((0.1, 0.5, 9), "aim"), ((0.51, 0.1, 9), "must"), ((1, 1, 1), "must"), ((1.01,), "MISSED")]
)
def test_time_is_the_ratio_of_medians(ours: tuple[float, ...], state: str) -> None:
    verdict = report.judge(claim(), "s", [series("l8s", *ours), series("other", 0.2, 1, 100)])
    assert verdict is not None
    assert (verdict.state, verdict.rival, verdict.held) == (state, 1, state != "MISSED")


@pytest.mark.parametrize(("ours", "state"), [(1.0, "aim"), (1.26, "must"), (2.1, "MISSED")])
def test_throughput_is_the_other_way_round(ours: float, state: str) -> None:
    verdict = report.judge(
        claim(must=0.5, aim=0.8, measure="throughput"), "s", [series("l8s", ours), series("other", 1)]
    )
    assert verdict is not None
    assert verdict.state == state
    assert verdict.value == pytest.approx(1 / ours)


def test_memory_is_the_worst_run_and_needs_no_rival() -> None:
    found = [series("l8s", 1, peak=40, kept=90), series("other", problem="failed: x")]
    memory = claim(must=60, aim=45, measure="memory")
    verdict = report.judge(memory, "s", found)
    assert verdict is not None
    assert (verdict.state, verdict.value) == ("aim", 40)
    with_kept = report.judge(claim(must=60, aim=45, measure="memory", background=True), "s", found)
    assert with_kept is not None
    assert (with_kept.state, with_kept.value) == ("MISSED", 90)


def test_of_several_rivals_the_slowest_counts() -> None:
    found = [series("l8s", 2), series("a", 1), series("b", 4)]
    verdict = report.judge(claim(rival=("a", "b")), "s", found)
    assert verdict is not None
    assert verdict.value == 0.5


@pytest.mark.parametrize(
    ("found", "state"),
    [
        ([series("l8s", problem="no `cp`"), series("other", 1)], "not available"),
        ([series("l8s", 1, problem="failed: x"), series("other", 1)], "failed"),
        ([series("l8s", 1), series("other", problem="failed: y")], "failed"),
        ([series("l8s", 1)], "failed"),
    ],
)
def test_what_was_not_measured_does_not_hold(found: list[Series], state: str) -> None:
    verdict = report.judge(claim(), "s", found)
    assert verdict is not None
    assert (verdict.state, verdict.held) == (state, False)
    assert verdict.reason
    assert state in report.verdict_cells(verdict)[-1]


@pytest.mark.parametrize("elsewhere", [{"row": "q"}, {"server": "t"}, {"delay_ms": 0}])
def test_what_was_not_to_be_measured_has_no_verdict(elsewhere: dict[str, object]) -> None:
    assert report.judge(claim(), "s", [series("l8s", 1, **elsewhere), series("other", 1, **elsewhere)]) is None


def test_every_server_is_judged_by_itself() -> None:
    found = [
        series(who, value, server=at)
        for at, value in (("s", 0.1), ("t", 2))
        for who, value in (("l8s", value), ("other", 1.0))
    ]
    assert {verdict.server: verdict.held for verdict in report.verdicts([claim()], found)} == {"s": True, "t": False}


def test_lines_have_a_cell_for_each_column() -> None:
    verdict = report.judge(claim(), "s", [series("l8s", 1), series("other", 1)])
    assert verdict is not None
    assert len(report.verdict_cells(verdict)) == len(report.VERDICT_HEAD)
    for one in (series("l8s", 1, peak=10, kept=20), series("l8s", problem="not there")):
        assert len(report.series_cells(one, {})) == len(report.SERIES_HEAD)


def test_a_page_table_stays_a_table_whatever_is_in_it() -> None:
    lines = report.markdown(("a", "b"), [("tar | ssh", "two\nlines")]).splitlines()
    assert lines == ["| a | b |", "| --- | --- |", "| tar \\| ssh | two lines |"]


def test_a_terminal_table_is_aligned() -> None:
    assert report.plain(("a", "b"), [("long", "x")]) == "a     b\nlong  x\n"


def test_only_what_is_between_the_markers_changes() -> None:
    page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    renewed = report.between_markers(page, "new")
    assert renewed == f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n"
    assert report.between_markers(renewed, "new") == renewed
    for broken in ("no markers", report.BEGIN, page + page):
        with pytest.raises(ValueError, match="once each"):
            report.between_markers(broken, "new")


def test_samples_survive_the_file() -> None:
    found = [series("l8s", 1, 2, peak=3, kept=4), series("other", problem="failed: x")]
    assert report.from_json(json.loads(json.dumps(report.to_json(found)))) == found


def test_every_claim_is_about_a_row_that_is_run_at_its_delay() -> None:
    rows = {row.key: row for row in ROWS}
    assert [one.what for one in CLAIMS if one.delay_ms not in rows[one.row].delays] == []
    assert [one.what for one in CLAIMS if (one.aim > one.must) != (one.measure == "throughput")] == []


def test_rows_are_chosen_by_key_in_their_own_order() -> None:
    assert chosen([]) == ROWS
    assert [row.key for row in chosen(["exec", "list"])] == ["list", "exec"]
    with pytest.raises(ValueError, match="start-up, list"):
        chosen(["lists"])
