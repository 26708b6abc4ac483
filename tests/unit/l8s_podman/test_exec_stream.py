"""The wrapper that reads what a command leaves unread, run by real shells, and the input that ends when told to."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from l8s_podman.exec_stream import CHUNK, Feed, Mark, reading_all

MARK = "0123abcd"
SHELLS = [shell for shell in ("dash", "bash") if shutil.which(shell)]


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    found = shutil.which(request.param)
    assert found is not None
    return found


def ran(shell: str, *argv: str, given: bytes = b"") -> tuple[int, bytes, bytes]:
    """What comes of a command, without the mark, which must be there."""
    words, mark = reading_all(argv, MARK)
    done = subprocess.run([shell, *words[1:]], input=given, capture_output=True, timeout=30, check=False)
    said = mark.without(done.stderr) + mark.rest()
    assert mark.seen
    return done.returncode, done.stdout, said


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -9 $$", 137), ("kill -11 $$", 139), ("kill $$", 143)],
)
def test_it_ends_as_the_command_does_and_says_nothing_of_its_own(shell: str, script: str, code: int) -> None:
    assert ran(shell, "sh", "-c", f"echo out; echo err >&2; {script}") == (code, b"out\n", b"err\n")


@pytest.mark.parametrize(
    "words",
    [[], [""], ["a b", "$(id)", "`id`", "'", '"', "\\", "*", "\n", "-n", "--", "é"]],
    ids=["none", "empty", "odd"],
)
def test_words_arrive_as_they_are(shell: str, words: list[str]) -> None:
    code, said, _ = ran(shell, "sh", "-c", 'for word; do printf "%s|" "$word"; done', "sh", *words)
    assert (code, said.decode()) == (0, "".join(f"{word}|" for word in words))


@pytest.mark.parametrize(("name", "code"), [("l8s-nosuch", 127), ("/etc/passwd", 126), ("exit", 127), ("shift", 127)])
def test_what_is_no_program_is_not_run(shell: str, name: str, code: int) -> None:
    found, _, said = ran(shell, name, "5")
    assert found == code
    assert name in said.decode()
    assert MARK not in said.decode()


@pytest.mark.parametrize("script", ["exit 4", "head -c 10 >/dev/null; exit 4", "cat >/dev/null; exit 4"])
def test_what_is_left_of_the_input_is_read(shell: str, script: str) -> None:
    words, _ = reading_all(["sh", "-c", script], MARK)
    process = subprocess.Popen([shell, *words[1:]], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with process:
        assert process.stdin is not None
        process.stdin.write(b"x" * 1_000_000)  # BrokenPipeError if nobody reads it
        process.stdin.close()
    assert process.returncode == 4


def test_a_path_of_the_commands_own_does_not_keep_it_from_reading(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    words, mark = reading_all(["/bin/sh", "-c", "exit 4"], MARK)
    process = subprocess.Popen([shell, *words[1:]], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        assert process.stdin is not None and process.stderr is not None
        process.stdin.write(b"x" * 1_000_000)
        process.stdin.close()
        assert mark.without(process.stderr.read()) == b""
    assert process.returncode == 4


def test_the_command_has_the_input_and_no_other_open_file(shell: str) -> None:
    assert ran(shell, "sh", "-c", "cat; ls /proc/self/fd | wc -l", given=b"in\n")[1] == b"in\n4\n"


def test_a_signal_ends_the_command_before_the_sh_around_it(shell: str) -> None:
    """TERM goes to both; what the command says of it is still heard."""
    words, mark = reading_all(
        ["sh", "-c", "trap 'echo over; exit 9' TERM; echo on; while :; do sleep 0.05; done"], MARK
    )
    process = subprocess.Popen(
        [shell, *words[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0
    )
    with process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"on\n"
        os.killpg(process.pid, 15)
        assert process.stdout.read() == b"over\n"
        assert mark.without(process.stderr.read()).replace(b"Terminated\n", b"") == b""  # of sleep, by the inner shell
    assert process.returncode == 9


@pytest.mark.parametrize("text", [b"", b"\0", b"\0\0123", b"\x000123abcd", b"\x000123abce\0", b"0123abcd\0"])
def test_what_is_no_mark_is_kept(text: bytes) -> None:
    mark = Mark(MARK)
    assert mark.without(b"a" + text) + mark.without(b"") + mark.rest() == b"a" + text
    assert not mark.seen


class Channel:
    """What `Feed` sends to; ``gate`` holds up what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.ends = 0
        self.gate = threading.Event()
        self.sending = threading.Event()
        self.ended = threading.Event()
        self.gate.set()

    def sendall(self, data: bytes) -> None:
        assert not self.ends, "nothing is sent after the end"
        self.sending.set()
        assert self.gate.wait(20)
        self.sent.append(data)

    def shutdown_write(self) -> None:
        self.ends += 1
        self.ended.set()


class Source:
    """Input of which more comes when ``more`` is set; ``asked`` is when it is waited for."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.asked = threading.Event()
        self.more = threading.Event()

    def read(self, size: int) -> bytes:
        if self.pieces:
            return self.pieces.pop(0)
        self.asked.set()
        assert self.more.wait(20)
        return self.pieces.pop(0) if self.pieces else b""


@pytest.fixture
def channel() -> Iterator[Channel]:
    channel = Channel()
    yield channel
    channel.gate.set()


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "l8s-stdin"]


def fed(channel: Channel, source: Any) -> Feed:
    return Feed(cast(Any, channel), source)


def test_bytes_are_sent_in_pieces_and_then_their_end(channel: Channel) -> None:
    fed(channel, b"x" * (CHUNK + 1))
    assert channel.ended.wait(20)
    assert [len(piece) for piece in channel.sent] == [CHUNK, 1]
    assert channel.ends == 1


def test_told_to_stop_while_it_waits_for_input_it_ends_at_once(channel: Channel) -> None:
    source = Source(b"one")
    feed = fed(channel, source)
    assert source.asked.wait(20)
    feed.stop()
    assert channel.ends == 1
    source.pieces.append(b"late")
    source.more.set()
    for thread in threads():
        thread.join(20)
    assert (channel.sent, channel.ends) == ([b"one"], 1)


def test_told_to_stop_while_it_sends_it_ends_after_that_piece(channel: Channel) -> None:
    channel.gate.clear()
    feed = fed(channel, Source(b"one", b"two"))
    assert channel.sending.wait(20)
    feed.stop()
    assert channel.ends == 0
    channel.gate.set()
    assert channel.ended.wait(20)
    feed.stop()
    for thread in threads():
        thread.join(20)
    assert (channel.sent, channel.ends) == ([b"one"], 1)
