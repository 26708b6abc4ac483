"""Running contestants in turn, and what each run cost.

Not here: who the contestants are (`bench.contestants`), and what the figures mean (`bench.report`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from attrs import define, field, frozen

LAUNCHER = Path(__file__).with_name("programs") / "launcher.py"


class RunFailed(Exception):
    """A contestant did not do what it was asked to do."""


@frozen(kw_only=True)
class Sample:
    """One run. ``peak_mb`` is the largest resident set of the command or of one child that it waited for."""

    seconds: float
    cpu_seconds: float | None = None
    peak_mb: float | None = None
    background_mb: float | None = None
    """The largest resident set so far of what l8s leaves running between commands."""


def nothing() -> None:
    """Neither before nor after a run."""


@frozen(kw_only=True)
class Contestant:
    """One of those that are run in turn. ``before`` and ``after`` are not measured."""

    name: str
    run: Callable[[], Sample]
    before: Callable[[], object] = nothing
    after: Callable[[], object] = nothing
    unavailable: str = ""
    """Why it cannot take part; it is then listed and not run."""


@define(kw_only=True)
class Series:
    """What one contestant did in one row, at one server and delay."""

    row: str
    server: str
    delay_ms: int
    contestant: str
    samples: list[Sample] = field(factory=list)
    problem: str = ""
    """Why there are no samples, or no more of them."""


def in_turn(
    contestants: Sequence[Contestant],
    rounds: int,
    *,
    row: str,
    server: str,
    delay_ms: int,
    warm_up: bool = True,
    tell: Callable[[str], object] = lambda _: None,
) -> list[Series]:
    """Run each contestant once a round, a different one first each time.

    With ``warm_up`` there is a round before that does not count. One that fails takes no further part.
    """
    series = {
        contestant.name: Series(
            row=row, server=server, delay_ms=delay_ms, contestant=contestant.name, problem=contestant.unavailable
        )
        for contestant in contestants
    }
    for number in range(-1 if warm_up else 0, rounds):
        first = max(number, 0) % len(contestants)
        for contestant in (*contestants[first:], *contestants[:first]):
            its = series[contestant.name]
            if its.problem:
                continue
            try:
                contestant.before()
                sample = contestant.run()
                contestant.after()
            except RunFailed as error:
                its.problem = f"failed: {error}"
                tell(f"{row}, {server}, {delay_ms} ms: {contestant.name} {its.problem}")
                continue
            if number >= 0:
                its.samples.append(sample)
    return list(series.values())


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    cwd: Path,
    expect: str = "",
    timeout: float = 600,
) -> Sample:
    """Run a command and measure it; its output goes to a file, or nowhere when nothing is expected of it.

    Raises:
        RunFailed: it did not end with 0, not in time, or printed no ``expect``.
    """
    words = [str(word) for word in argv]
    with (
        tempfile.NamedTemporaryFile(mode="r") as report,
        tempfile.TemporaryFile() as stdout,
        tempfile.TemporaryFile() as stderr,
    ):
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(LAUNCHER), report.name, *words],
            stdin=subprocess.DEVNULL,
            stdout=stdout if expect else subprocess.DEVNULL,
            stderr=stderr,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
        try:
            process.wait(timeout)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise RunFailed(f"{words[:6]} took longer than {timeout} s") from None
            raise

        def end_of(file: Iterable[bytes]) -> str:
            return " ".join(b"".join(list(file)[-8:]).decode("utf-8", "backslashreplace").split())

        fields = report.read().split()
        stderr.seek(0)
        if len(fields) != 4:
            raise RunFailed(f"{words[:6]} could not be started: {end_of(stderr)}")
        code = os.waitstatus_to_exitcode(int(fields[3]))
        if code != 0:
            raise RunFailed(f"{words[:6]} ended with {code}: {end_of(stderr)}")
        stdout.seek(0)
        if expect and expect.encode() not in stdout.read():
            raise RunFailed(f"{words[:6]} printed nothing with {expect!r} in it")
    return Sample(seconds=float(fields[0]), cpu_seconds=float(fields[1]), peak_mb=int(fields[2]) / 1024)
