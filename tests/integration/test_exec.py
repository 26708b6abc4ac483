"""Commands in containers: exact bytes, true exit codes, bounded memory, and nothing left running on the server."""

from __future__ import annotations

import io
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from backends import fresh_laptop, idle_container, opened, profile_for
from lab import Run, Server

from l8s_core.errors import BackendError, ContainerNotFound, ContainerNotRunning, ExecTimeout
from l8s_core.model import StreamName
from l8s_podman.backend import PodmanBackend

STUBBORN = """
trap '' TERM INT HUP
sh -c 'trap "" TERM; sleep 6543; :' &
setsid sh -c 'trap "" TERM; sleep 6544; :' &
env -i sleep 6545 &
echo ready
wait
"""
"""Prints a line and runs on, with children that ignore TERM, left the session, and lost their environment."""


@pytest.fixture(scope="module")
def backend(run: Run, server: Server) -> Iterator[PodmanBackend]:
    with fresh_laptop(run) as laptop:
        laptop.trust(server)
        with opened(profile_for(server)) as backend:
            yield backend


@pytest.fixture(scope="module")
def container(backend: PodmanBackend, image: str) -> Iterator[str]:
    with idle_container(backend, image) as name:
        yield name


class Endless(io.RawIOBase):
    """Input without an end."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        buffer[:] = bytes(len(buffer))
        return len(buffer)


def processes(server: Server, container: str) -> str:
    """The command lines in the container, as the server's own podman sees them."""
    return server.run(f"podman top {container} args").stdout


def resident() -> int:
    """Bytes of this process that are in memory."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) * 1024


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 3"], 3),
        (["sh", "-c", "exit 255"], 255),
        (["sh", "-c", "kill -KILL $$"], 137),
        (["/etc/passwd"], 126),
        (["l8s-no-such-program"], 127),
        (["/l8s/no/such/program"], 127),
    ],
)
def test_exit_codes_are_those_of_a_shell(backend: PodmanBackend, container: str, argv: list[str], code: int) -> None:
    assert backend.exec(container, argv, timeout=30).exit_code == code


def test_a_program_that_is_not_there_is_named_on_stderr(backend: PodmanBackend, container: str) -> None:
    result = backend.exec(container, ["l8s-no-such-program"])
    assert "l8s-no-such-program" in result.stderr
    assert result.stdout == ""


def test_a_very_long_complaint_is_no_lost_connection(backend: PodmanBackend, container: str) -> None:
    began = time.monotonic()
    result = backend.exec(container, ["x" * 6000], timeout=60)
    assert result.exit_code in (126, 127)  # ENAMETOOLONG is neither of the shell's reasons
    assert time.monotonic() - began < 15


def test_large_output_on_both_streams_stays_apart(backend: PodmanBackend, container: str) -> None:
    script = "head -c 5000000 /dev/zero | tr '\\0' o; head -c 3000000 /dev/zero | tr '\\0' e >&2"
    result = backend.exec(container, ["sh", "-c", script], timeout=60)
    assert result.stdout_bytes == b"o" * 5_000_000
    assert result.stderr_bytes == b"e" * 3_000_000


def test_bytes_that_are_no_text_are_exact(backend: PodmanBackend, container: str) -> None:
    every = bytes(range(256))
    result = backend.exec(container, ["sh", "-c", "cat; printf '\\377\\376' >&2"], stdin=every, timeout=30)
    assert result.stdout_bytes == every
    assert result.stderr_bytes == b"\xff\xfe"


@pytest.mark.parametrize("kind", ["bytes", "stream"])
def test_three_megabytes_go_in_and_come_back(backend: PodmanBackend, container: str, kind: str) -> None:
    data = bytes(range(251)) * 12_000
    result = backend.exec(container, ["cat"], stdin=data if kind == "bytes" else io.BytesIO(data), timeout=60)
    assert result.exit_code == 0
    assert result.stdout_bytes == data


def test_input_ends(backend: PodmanBackend, container: str) -> None:
    script = "read -r line; printf '%s|' \"$line\"; read -r line || printf end"
    assert backend.exec(container, ["sh", "-c", script], stdin=b"one\n", timeout=30).stdout == "one|end"
    assert backend.exec(container, ["cat"], stdin=b"", timeout=30).stdout_bytes == b""


@pytest.mark.parametrize("reads", ["exit 3", "head -c 10 >/dev/null; exit 3", "cat >/dev/null; exit 3"])
def test_output_is_whole_however_little_of_the_input_is_read(
    backend: PodmanBackend, container: str, reads: str
) -> None:
    """Podman alone loses some, and adds words of its own: decision 0024."""
    for _ in range(20):
        result = backend.exec(
            container, ["sh", "-c", f"echo out; echo err >&2; {reads}"], stdin=b"x" * 1_000_000, timeout=30
        )
        assert (result.exit_code, result.stdout, result.stderr) == (3, "out\n", "err\n")


def test_a_command_ends_though_its_input_does_not(backend: PodmanBackend, container: str) -> None:
    end, other = socket.socketpair()
    with other, end, end.makefile("rb") as never, Endless() as much:
        for endless in (never, much):
            result = backend.exec(container, ["sh", "-c", "echo out; exit 3"], stdin=endless, timeout=30)
            assert (result.exit_code, result.stdout, result.stderr) == (3, "out\n", "")
        other.shutdown(socket.SHUT_RDWR)  # who still reads comes to an end


@pytest.mark.parametrize("words", [["l8s-nosuch"], ["/etc/passwd"], ["-x"]])
def test_what_does_not_run_has_the_same_exit_code_with_input(
    backend: PodmanBackend, container: str, words: list[str]
) -> None:
    without, given = (backend.exec(container, words, stdin=stdin, timeout=30) for stdin in (None, b"x"))
    assert without.exit_code == given.exit_code
    assert words[0] in given.stderr


def test_200_megabytes_are_streamed_in_little_memory(backend: PodmanBackend, container: str) -> None:
    size = 200_000_000
    seen = 0
    before = peak = resident()

    def sink(stream: StreamName, data: bytes) -> None:
        nonlocal seen
        seen += len(data)

    def sample() -> None:
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, resident())

    done = threading.Event()
    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        result = backend.exec(container, ["head", "-c", str(size), "/dev/zero"], timeout=100, on_output=sink)
    finally:
        done.set()
        sampler.join()
    assert result.exit_code == 0
    assert seen == size
    assert peak - before < 60_000_000


def test_a_deadline_stops_every_process(backend: PodmanBackend, container: str, server: Server) -> None:
    began = time.monotonic()
    with pytest.raises(ExecTimeout) as raised:
        backend.exec(container, ["sh", "-c", STUBBORN], timeout=1.5)
    assert raised.value.stdout_bytes == b"ready\n"
    assert raised.value.stopped
    assert time.monotonic() - began < 15
    left = processes(server, container)
    assert "654" not in left, left
    assert "ready" not in left, left


def test_a_deadline_spares_other_commands(backend: PodmanBackend, container: str, server: Server) -> None:
    backend.exec(container, ["sh", "-c", "setsid sleep 7777 >/dev/null 2>&1 </dev/null &"])
    try:
        with pytest.raises(ExecTimeout):
            backend.exec(container, ["sleep", "7778"], timeout=0.5)
        left = processes(server, container)
        assert "sleep 7777" in left
        assert "sleep 7778" not in left
    finally:
        server.run("pkill -KILL -x -f 'sleep 7777'")


def test_the_output_of_a_silent_command_is_waited_for(backend: PodmanBackend, container: str) -> None:
    result = backend.exec(container, ["sh", "-c", "printf a; sleep 2; printf b"], timeout=30)
    assert result.stdout == "ab"


class _SinkFailed(Exception):
    pass


@pytest.mark.parametrize("failure", [KeyboardInterrupt, _SinkFailed])
def test_what_the_sink_raises_stops_the_command(
    backend: PodmanBackend, container: str, server: Server, failure: type[BaseException]
) -> None:
    def sink(stream: StreamName, data: bytes) -> None:
        raise failure

    with pytest.raises(failure):
        backend.exec(container, ["sh", "-c", STUBBORN], on_output=sink)
    left = processes(server, container)
    assert "654" not in left, left


def test_ctrl_c_while_waiting_stops_the_command(backend: PodmanBackend, container: str, server: Server) -> None:
    def sink(stream: StreamName, data: bytes) -> None:
        threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT)).start()

    main = threading.get_ident()
    with pytest.raises(KeyboardInterrupt):
        backend.exec(container, ["sh", "-c", STUBBORN], on_output=sink)
    left = processes(server, container)
    assert "654" not in left, left
    assert backend.exec(container, ["true"], timeout=30).exit_code == 0


def test_no_command_runs_in_a_stopped_container(backend: PodmanBackend, image: str) -> None:
    with idle_container(backend, image) as name:
        backend.stop(name, grace=3)
        with pytest.raises(ContainerNotRunning, match=r"state: (exited|stopped)") as raised:
            backend.exec(name, ["true"])
        assert f"l8s start {name}" in " ".join(raised.value.hints)


def test_no_command_runs_in_a_missing_container(backend: PodmanBackend) -> None:
    with pytest.raises(ContainerNotFound, match="l8s-test-nobody"):
        backend.exec("l8s-test-nobody", ["true"])


def test_a_user_who_is_not_there_is_podmans_error(backend: PodmanBackend, container: str) -> None:
    with pytest.raises(BackendError, match="nosuchuser"):
        backend.exec(container, ["true"], user="nosuchuser")


def test_twenty_commands_leave_no_process_and_no_thread(backend: PodmanBackend, container: str, server: Server) -> None:
    backend.exec(container, ["true"])
    before = {thread.name for thread in threading.enumerate()}
    for _ in range(20):
        assert backend.exec(container, ["cat"], stdin=b"x", timeout=30).stdout == "x"
    deadline = time.monotonic() + 5
    while (left := {thread.name for thread in threading.enumerate()} - before) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == set()
    assert "cat" not in processes(server, container)
