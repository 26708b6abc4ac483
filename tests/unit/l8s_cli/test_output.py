"""What goes to stdout and stderr, on terminals and pipes, in narrow encodings, and when nobody reads."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import pytest

from l8s_cli import output
from l8s_cli.output import Output
from l8s_cli.problems import OutputClosed, OutputLost
from l8s_cli.progress import StepDisplay
from l8s_cli.tables import Table, plain
from l8s_core.model import Step


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Closed(io.StringIO):
    encoding = "utf-8"

    def write(self, text: str) -> int:
        raise BrokenPipeError

    @property
    def buffer(self) -> Any:
        return self


class Full(Closed):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Terminal]:
    """Called in the test itself: pytest puts its own streams back between a fixture and the test."""
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "80")

    def switch_on() -> Terminal:
        fake = Terminal()
        monkeypatch.setattr(sys, "stdout", fake)
        monkeypatch.setattr(sys, "stderr", fake)
        return fake

    return switch_on


def test_table_on_a_terminal_has_the_same_words(terminal: Callable[[], Terminal]) -> None:
    shown = terminal()
    Output().data("x", [], Table(columns=("NAME", "STATE"), rows=[("[red]a[/]", "\x1b[31mup")]))
    words = [line.split() for line in shown.getvalue().splitlines()]
    assert words == [["NAME", "STATE"], ["[red]a[/]", "\\x1b[31mup"]]


NARROW = Table(columns=("NAME", "STATE"), rows=[("a", "running"), ("bb", "exited")])


def test_a_table_that_fits_has_a_bold_header(terminal: Callable[[], Terminal], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    shown = terminal()
    Output().data("x", [], NARROW)
    assert shown.getvalue() == "\x1b[1mNAME  STATE\x1b[0m\na     running\nbb    exited\n"


def test_a_dumb_terminal_gets_no_escapes(terminal: Callable[[], Terminal]) -> None:
    shown = terminal()
    Output().data("x", [], NARROW)
    assert shown.getvalue() == plain(NARROW)


@pytest.mark.parametrize("cell", ["word" * 30, "\u6f22" * 45], ids=["ascii", "wide"])
def test_a_cell_that_does_not_fit_is_folded(terminal: Callable[[], Terminal], cell: str) -> None:
    shown = terminal()
    Output().data("x", [], Table(columns=("NAME", "STATE"), rows=[(cell, "running")]))
    lines = shown.getvalue().splitlines()
    assert len(lines) > 2
    assert all(sum(2 if ord(letter) > 0x2000 else 1 for letter in line) <= 80 for line in lines)
    assert "".join(line.split()[0] for line in lines[1:]).replace("running", "") == cell
    assert lines[1].endswith("running")


def test_text_is_escaped_and_json_is_exact(capsys: pytest.CaptureFixture[str]) -> None:
    Output().data("x", None, "a\x1bb\n")
    Output("json").data("x", {"text": "a\x1b\x9b\u202e\udcff"}, "")
    text, _, document = capsys.readouterr().out.partition("\n")
    assert text == "a\\x1bb"
    assert document.isascii()
    assert "\x1b" not in document
    assert json.loads(document)["data"]["text"] == "a\x1b\x9b\u202e\udcff"


def test_programs_get_no_notes(capsys: pytest.CaptureFixture[str]) -> None:
    Output("json").note("hello")
    Output("json").log("hello\n")
    assert capsys.readouterr() == ("", "")


def test_log_takes_carriage_returns_for_line_breaks(capsys: pytest.CaptureFixture[str]) -> None:
    Output().log("10%\r20%\r\nnext\x1b[2K")
    assert capsys.readouterr().err == "10%\n20%\nnext\\x1b[2K"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_nobody_reads(monkeypatch: pytest.MonkeyPatch, stream: Any) -> None:
    monkeypatch.setattr(sys, stream, Closed())
    with pytest.raises(OutputClosed):
        output.write("x", err=stream == "stderr")
    with pytest.raises(OutputClosed):
        Output().raw(stream, b"x")
    assert not issubclass(OutputClosed, Exception)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, stream: Any) -> None:
    monkeypatch.setattr(sys, stream, Full())
    with pytest.raises(OutputLost, match="No space left"):
        output.write("x", err=stream == "stderr")
    with pytest.raises(OutputLost, match="No space left"):
        Output().raw(stream, b"x")


def test_narrow_encoding_escapes_instead_of_failing(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    output.write("café ✓\n")
    assert narrow.buffer.getvalue() == b"caf\\xe9 \\u2713\n"  # type: ignore[attr-defined]


def steps(display: StepDisplay) -> None:
    display(Step(name="TCP", state="started"))
    display(Step(name="TCP", state="done", detail="192.0.2.1\x1b[31m", seconds=0.012))
    display(Step(name="agent", state="started"))
    display(Step(name="agent", state="failed", seconds=1.5))


def test_steps_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    steps(StepDisplay())
    assert capsys.readouterr() == ("", "  ✓ TCP  192.0.2.1\\x1b[31m  (12 ms)\n  ✗ agent  (1.5 s)\n")


def test_steps_in_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stderr", narrow)
    steps(StepDisplay())
    narrow.flush()
    assert narrow.buffer.getvalue().startswith(b"  ok TCP")  # type: ignore[attr-defined]
    assert b"FAILED agent" in narrow.buffer.getvalue()  # type: ignore[attr-defined]


def test_running_step_is_shown_and_rewritten_on_a_terminal(terminal: Callable[[], Terminal]) -> None:
    shown = terminal()
    steps(StepDisplay())
    assert shown.getvalue().startswith("  TCP ...\r\x1b[K")
    assert shown.getvalue().count("\n") == 2
