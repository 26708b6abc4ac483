"""The one place that runs programs on the laptop: without a shell, with a deadline, with bounded output.

Not here: which programs those are (`l8s_core.ssh_tools`, the command's git calls), and anything on a server.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NoReturn

from attrs import field, frozen

from l8s_core.errors import CommandFailed, CommandNotFound, CommandTimedOut

OUTPUT_LIMIT = 4 * 1024 * 1024
"""Bytes of stdout, and of stderr, that a program may print: what l8s asks for is a thousandth of that."""

LINGER = 0.3
"""Seconds to go on reading after the program ended. Its own output is there at once; only a background
process that inherited the pipe (as ssh's multiplexing master does) keeps it open, and that is not worth
waiting for."""


@frozen
class Completed:
    """How a program ended. ``exit_code`` is negative when a signal ended it, as in `subprocess`."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: bytes = field(repr=False)
    stderr: bytes = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether it ended with 0."""
        return self.exit_code == 0

    @property
    def output(self) -> str:
        """Standard output as text; bytes that are not UTF-8 become U+FFFD."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def complaint(self) -> str:
        """Standard error as text, without blank edges; bytes that are not UTF-8 become U+FFFD."""
        return self.stderr.decode("utf-8", "replace").strip()


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Completed:
    """Run a program to its end and return how it ended, whatever its exit code.

    It gets ``stdin`` and then end-of-file, ``env`` as its whole environment (None: this process's), and a
    session of its own, so that it can neither ask on the terminal nor outlive a Ctrl-C.

    Raises:
        CommandNotFound: there is no such program.
        CommandTimedOut: it was still running after ``timeout`` seconds; its process group was killed.
        CommandFailed: it could not be started, or printed more than `OUTPUT_LIMIT` and was killed.
    """
    deadline = time.monotonic() + timeout
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise _not_started(argv, error) from error
    try:
        stdout, stderr = _converse(process, stdin, deadline, timeout)
        exit_code = process.wait(timeout=max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        _kill(process)
        raise CommandTimedOut(
            f"{argv[0]} did not finish within {timeout:g} s and was stopped",
            hints=(f"Run it yourself to see what it waits for: {shlex.join(argv)}",),
        ) from error
    except BaseException:
        _kill(process)
        raise
    finally:
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
    return Completed(tuple(argv), exit_code, stdout, stderr)


def replace(argv: Sequence[str]) -> NoReturn:
    """Become another program: it takes this process's terminal, signals and exit code.

    Raises:
        CommandNotFound: there is no such program.
        CommandFailed: it could not be started.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    # Python ignores SIGPIPE, and that would stay so across exec: `l8s ssh x -- yes | head` would not end.
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvp(argv[0], list(argv))  # noqa: S606
    except (OSError, ValueError) as error:
        signal.signal(signal.SIGPIPE, before)
        raise _not_started(argv, error) from error


def _converse(process: subprocess.Popen[bytes], stdin: bytes, deadline: float, timeout: float) -> tuple[bytes, bytes]:
    """Feed stdin and collect both outputs to their end; `subprocess.TimeoutExpired` at the deadline."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    pending = memoryview(stdin)
    collected: dict[IO[bytes], bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    quiet_since: float | None = None
    with selectors.DefaultSelector() as selector:
        if pending:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE)
        else:
            process.stdin.close()
        for pipe in collected:
            selector.register(pipe, selectors.EVENT_READ)
        while any(pipe in selector.get_map() for pipe in collected):
            now = time.monotonic()
            if now >= deadline:
                raise subprocess.TimeoutExpired(process.args, timeout)
            events = selector.select(min(deadline - now, 0.05))
            for key, _ in events:
                if key.fileobj is process.stdin:
                    pending = _feed(process.stdin, pending)
                    if not pending:
                        selector.unregister(process.stdin)
                        process.stdin.close()
                    continue
                chunk = os.read(key.fd, 65536)
                pipe = process.stdout if key.fileobj is process.stdout else process.stderr
                collected[pipe] += chunk
                if not chunk:
                    selector.unregister(pipe)
                if len(collected[pipe]) > OUTPUT_LIMIT:
                    raise CommandFailed(f"{_name(process)} printed more than {OUTPUT_LIMIT >> 20} MiB and was stopped")
            if events or process.poll() is None:
                quiet_since = None
            elif quiet_since is None:
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > LINGER:
                break
    return bytes(collected[process.stdout]), bytes(collected[process.stderr])


def _feed(pipe: IO[bytes], pending: memoryview) -> memoryview:
    """Write some of ``pending`` and return the rest; nothing is left when the program does not want more."""
    try:
        return pending[os.write(pipe.fileno(), pending[:65536]) :]
    except BlockingIOError:
        return pending
    except BrokenPipeError:
        return pending[:0]


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):  # only one stuck in the kernel outlives SIGKILL
        process.wait(timeout=2)


def _name(process: subprocess.Popen[bytes]) -> str:
    assert isinstance(process.args, list)
    return str(process.args[0])


def _not_started(argv: Sequence[str], error: OSError | ValueError) -> CommandFailed:
    if isinstance(error, ValueError):  # an argument with a NUL
        return CommandFailed(f"cannot run {argv[0]}: {error}")
    # A directory on PATH that may not be searched turns "not found" into "permission denied" (execvp(3)).
    missing = error.errno == errno.ENOENT and error.filename in (argv[0], None)
    if missing or (error.errno == errno.EACCES and "/" not in argv[0] and shutil.which(argv[0]) is None):
        program = argv[0]
        package = "openssh-client" if program.startswith("ssh") else program
        return CommandNotFound(
            f"{program} is needed on this machine and was not found",
            hints=(f"Install it, on Debian: sudo apt install {package}", "Check your PATH: echo $PATH"),
        )
    return CommandFailed(f"cannot run {argv[0]}: {error.strerror or error}")
