"""cp: which side is the container, what is passed on, and what is said."""

from __future__ import annotations

from typing import Any

import pytest

from l8s_cli import progress
from l8s_cli.progress import TransferDisplay
from l8s_core.model import Copied


@pytest.fixture(autouse=True)
def _at_home(l8s: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(l8s.home)


@pytest.mark.parametrize(
    ("words", "call"),
    [
        (("a", "myapp:"), ("copy_in", "myapp", ("a",), "", None)),
        (("a", "b/", "myapp:/tmp/x"), ("copy_in", "myapp", ("a", "b/"), "/tmp/x", None)),
        (("./a:b", "myapp:c:d"), ("copy_in", "myapp", ("./a:b",), "c:d", None)),
        (("/a:b", "myapp:~/x", "--user", "root"), ("copy_in", "myapp", ("/a:b",), "~/x", "root")),
        (("myapp:a", "."), ("copy_out", "myapp", "a", ".", None)),
        (("myapp:", "new"), ("copy_out", "myapp", "", "new", None)),
        (("--", "myapp:-x", "-y"), ("copy_out", "myapp", "-x", "-y", None)),
        (("myapp:a\nb", "new"), ("copy_out", "myapp", "a\nb", "new", None)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value[0], str) and value[0][:4] != "copy" else "",
)
def test_a_colon_before_the_first_slash_means_a_container(l8s: Any, words: tuple[str, ...], call: object) -> None:
    result = l8s("cp", *words)
    assert result.exit_code == 0
    assert l8s.server.calls == [call]
    assert result.stdout == ""


def test_several_come_out_one_by_one_into_a_directory(l8s: Any) -> None:
    assert l8s("cp", "myapp:a", "myapp:b", "new").exit_code == 2
    assert l8s.server.calls == []
    (l8s.home / "new").mkdir()
    data = l8s.json("cp", "myapp:a", "myapp:b", "new", kind="copied")
    assert [call[2] for call in l8s.server.calls] == ["a", "b"]
    assert data == {"files": 4, "bytes": 6000, "warnings": ["a\x1b[2Jb was left out: it is a FIFO."] * 2}


@pytest.mark.parametrize(
    "words", [("a", "b"), ("myapp:a", "other:b"), ("myapp:a", "other:b", "c"), ("a", "x:b", "y:c")]
)
def test_one_side_is_here_and_one_there(l8s: Any, words: tuple[str, ...]) -> None:
    result = l8s("cp", *words)
    assert result.exit_code == 2
    assert "l8s cp SRC... NAME:DST" in result.stderr
    assert l8s.server.calls == []


@pytest.mark.parametrize("word", ["MyApp:x", "a b:x", "-a:x", "\x1b:x"])
def test_a_container_has_a_containers_name(l8s: Any, word: str) -> None:
    result = l8s("cp", "--", word, "new")
    assert result.exit_code == 2
    assert "\x1b" not in result.stderr
    assert l8s.server.calls == []


def test_warnings_are_escaped(l8s: Any) -> None:
    assert r"Warning: a\x1b[2Jb was left out" in l8s("cp", "a", "myapp:").stderr


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_progress_is_shown_after_a_second_and_taken_away(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "is_terminal", lambda *, err: True)
    with TransferDisplay() as display:
        clock.now = 0.9
        display.progress(1, 1024)
        assert capsys.readouterr().err == ""
        clock.now = 2.0
        display.progress(1, 4 * 1024**2)
        clock.now = 2.1
        display.progress(2, 5 * 1024**2)
        display.more(Copied(files=2, bytes=5 * 1024**2))
        clock.now = 4.0
        display.progress(1, 3 * 1024**2)
        shown = capsys.readouterr().err.split("\r")  # click takes the rest away: this is no terminal
        assert shown == ["", "  1 file, 4 MiB (2 MiB/s)", "  3 files, 8 MiB (2 MiB/s)"]
    assert capsys.readouterr().err == "\r"


@pytest.mark.parametrize(("silent", "terminal"), [(True, True), (False, False)])
def test_programs_and_files_see_no_progress(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], silent: bool, terminal: bool
) -> None:
    monkeypatch.setattr(progress, "is_terminal", lambda *, err: terminal)
    with TransferDisplay(silent=silent) as display:
        clock.now = 10.0
        display.progress(1, 1)
    assert capsys.readouterr().err == ""
