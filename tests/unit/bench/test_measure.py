"""Runs in turn, and what is said of one run."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.measure import Contestant, RunFailed, Sample, Series, in_turn, run


def contestant(name: str, log: list[str], fail_at: int = 0) -> Contestant:
    runs: list[str] = []

    def one() -> Sample:
        log.append(name)
        runs.append(name)
        if len(runs) == fail_at:
            raise RunFailed("broken")
        return Sample(seconds=float(len(runs)))

    return Contestant(name=name, run=one)


def measured(*contestants: Contestant, rounds: int, warm_up: bool = False) -> dict[str, Series]:
    found = in_turn(contestants, rounds, row="r", server="s", delay_ms=5, warm_up=warm_up)
    return {series.contestant: series for series in found}


def test_contestants_take_turns_and_each_begins_a_round() -> None:
    log: list[str] = []
    found = measured(*(contestant(name, log) for name in "abc"), rounds=3)
    assert "".join(log) == "abcbcacab"
    assert {name: len(series.samples) for name, series in found.items()} == {"a": 3, "b": 3, "c": 3}


def test_the_round_of_warming_up_does_not_count() -> None:
    found = measured(contestant("a", []), rounds=2, warm_up=True)
    assert [sample.seconds for sample in found["a"].samples] == [2.0, 3.0]


def test_one_that_fails_is_out_and_keeps_its_samples() -> None:
    log: list[str] = []
    found = measured(contestant("a", log, fail_at=2), contestant("b", log), rounds=3)
    assert found["a"].problem == "failed: broken"
    assert len(found["a"].samples) == 1
    assert len(found["b"].samples) == 3
    assert log.count("a") == 2


def test_one_that_is_not_available_is_listed_and_not_run() -> None:
    def never() -> Sample:
        raise AssertionError

    found = measured(Contestant(name="a", run=never, unavailable="no such command"), rounds=2)
    assert (found["a"].problem, found["a"].samples) == ("no such command", [])


def test_before_and_after_surround_each_run() -> None:
    log: list[str] = []

    def note(word: str) -> Callable[[], None]:
        return lambda: log.append(word)

    def one() -> Sample:
        log.append("run")
        return Sample(seconds=0)

    measured(Contestant(name="a", run=one, before=note("before"), after=note("after")), rounds=2)
    assert log == ["before", "run", "after"] * 2


def python(script: str, tmp_path: Path, *, expect: str = "", timeout: float = 30) -> Sample:
    return run(
        [sys.executable, "-I", "-S", "-c", script], env=dict(os.environ), cwd=tmp_path, expect=expect, timeout=timeout
    )


def test_wall_processor_and_memory_are_those_of_the_command(tmp_path: Path) -> None:
    idle = python("import time; time.sleep(0.3)", tmp_path)
    assert 0.3 <= idle.seconds < 5
    assert idle.cpu_seconds is not None and idle.cpu_seconds < 0.3
    big = python("b'x' * 200_000_000", tmp_path)
    assert big.peak_mb is not None and idle.peak_mb is not None
    assert 190 < big.peak_mb < 260
    # and not those of this process, which is larger than an empty Python
    assert idle.peak_mb < 20


@pytest.mark.parametrize(
    ("script", "expect", "said"),
    [
        ("import sys; print('no luck', file=sys.stderr); sys.exit(3)", "", "ended with 3: no luck"),
        ("import os; os.kill(os.getpid(), 9)", "", "ended with -9"),
        ("print('something')", "else", "'else'"),
    ],
)
def test_a_run_that_did_not_do_its_work_is_no_sample(tmp_path: Path, script: str, expect: str, said: str) -> None:
    with pytest.raises(RunFailed, match=said):
        python(script, tmp_path, expect=expect)


def test_what_is_expected_is_enough(tmp_path: Path) -> None:
    assert python("print('a word')", tmp_path, expect="word").seconds > 0


def test_a_run_that_does_not_end_is_ended_with_its_children(tmp_path: Path) -> None:
    script = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    with pytest.raises(RunFailed, match="longer than 1 s"):
        python(script, tmp_path, timeout=1)
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while (state := process_state(pid)) not in ("gone", "Z"):
        assert time.monotonic() < deadline, state
        time.sleep(0.01)


def process_state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "gone"


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="could not be started"):
        run(["no-such-program"], env=dict(os.environ), cwd=tmp_path)
