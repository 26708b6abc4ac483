from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from l8s_core import processes
from l8s_core.errors import CommandFailed, CommandNotFound, CommandTimedOut


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_keeps_the_streams_apart_and_the_exit_code() -> None:
    completed = processes.run(["sh", "-c", "cat; echo problem >&2; exit 7"], timeout=10, stdin=b"in\xff")
    assert (completed.exit_code, completed.ok) == (7, False)
    assert (completed.stdout, completed.stderr) == (b"in\xff", b"problem\n")
    assert (completed.output, completed.complaint) == ("in\ufffd", "problem")


def test_a_signal_is_a_negative_exit_code() -> None:
    assert processes.run(["sh", "-c", "kill -TERM $$"], timeout=10).exit_code == -15


def test_arguments_reach_the_program_as_they_are() -> None:
    words = ["a b", "$HOME", "`id`", "*", "'\"", "\\", "\n", ""]
    completed = processes.run(["printf", "%s\\0", *words], timeout=10)
    assert completed.output.split("\0")[:-1] == words


def test_environment_and_directory(tmp_path: Path) -> None:
    completed = processes.run(["/bin/sh", "-c", "pwd; echo $A$HOME"], timeout=10, env={"A": "1"}, cwd=tmp_path)
    assert completed.output == f"{os.path.realpath(tmp_path)}\n1\n"


def test_much_input_and_output_at_once() -> None:
    data = os.urandom(2_000_000)
    assert processes.run(["cat"], timeout=20, stdin=data).stdout == data


def test_input_that_nobody_reads_is_no_error() -> None:
    assert processes.run(["true"], timeout=10, stdin=b"x" * 1_000_000).ok


def test_has_no_terminal_to_ask_on() -> None:
    assert not processes.run(["sh", "-c", ": < /dev/tty"], timeout=10).ok


def test_a_missing_program_says_what_to_install() -> None:
    with pytest.raises(CommandNotFound, match="ssh-nothing is needed") as caught:
        processes.run(["ssh-nothing"], timeout=10)
    assert "openssh-client" in caught.value.hints[0]


def test_a_missing_directory_is_not_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed) as caught:
        processes.run(["true"], timeout=10, cwd=tmp_path / "no")
    assert not isinstance(caught.value, CommandNotFound)


def test_what_cannot_be_executed_fails_as_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(CommandFailed, match="Permission denied"):
        processes.run([str(tmp_path / "x")], timeout=10)
    with pytest.raises(CommandFailed, match="null byte"):
        processes.run(["true", "a\0b"], timeout=10)


def test_the_deadline_ends_the_whole_group(tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! > {tmp_path}/pid; wait"
    start = time.monotonic()
    with pytest.raises(CommandTimedOut, match=r"sh did not finish within 0\.3 s"):
        processes.run(["sh", "-c", script], timeout=0.3)
    assert time.monotonic() - start < 5
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 5
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(child)


def test_the_deadline_holds_for_one_that_closed_its_output() -> None:
    with pytest.raises(CommandTimedOut):
        processes.run(["sh", "-c", "exec >&- 2>&-; sleep 60"], timeout=0.3)


def test_a_background_process_with_the_pipe_is_not_waited_for(tmp_path: Path) -> None:
    start = time.monotonic()
    completed = processes.run(["sh", "-c", f"sleep 60 & echo $! > {tmp_path}/pid; echo done"], timeout=30)
    child = int((tmp_path / "pid").read_text())
    try:
        assert completed.output == "done\n"
        assert time.monotonic() - start < 5
        assert alive(child)
    finally:
        os.kill(child, 9)


def test_endless_output_is_stopped() -> None:
    with pytest.raises(CommandFailed, match="more than 4 MiB"):
        processes.run(["yes"], timeout=20)


def replaced(code: str) -> subprocess.CompletedProcess[str]:
    script = f"import sys\nfrom l8s_core import processes\n{code}"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False)


def test_replace_becomes_the_program_and_loses_no_output() -> None:
    completed = replaced("print('before'); processes.replace(['sh', '-c', 'echo after; exit 9'])")
    assert (completed.stdout, completed.returncode) == ("before\nafter\n", 9)


def test_replace_gives_sigpipe_back() -> None:
    completed = replaced("processes.replace(['sh', '-c', 'kill -PIPE $$; echo survived'])")
    assert (completed.stdout, completed.returncode) == ("", -13)


def test_replace_with_a_missing_program_raises_and_the_process_goes_on() -> None:
    completed = replaced(
        "from l8s_core.errors import CommandNotFound\n"
        "import signal\n"
        "try:\n    processes.replace(['no-such-program'])\n"
        "except CommandNotFound as error:\n"
        "    print(error, signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN)"
    )
    assert completed.stdout == "no-such-program is needed on this machine and was not found True\n"
