"""Runs many command lines of ``l8s`` in few seconds, and writes down what each one did.

Run as ``python doors.py`` on a laptop of the lab, with a JSON list of `Knock` on standard input; prints a list of
`Answer`. Each command line gets a process of its own, forked from this one, which has imported everything already, and
begins at the entry point of the installed command with the arguments as its ``sys.argv``. An audit hook
(https://docs.python.org/3/library/audit_events.html) sees every socket that it connects, every name that it looks up
and every program that it starts, be it by a library. Not here: what is right (``test_hostile_input.py``).
"""

from __future__ import annotations

import base64
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import IO, NoReturn, TypedDict

WATCHED = (
    *("socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind"),
    *("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"),
    *("subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.fork", "os.forkpty"),
)
DEADLINE = 20.0
"""Seconds after which a command line is killed."""


class Knock(TypedDict):
    """A command line. ``environ`` is laid over the environment; ``files``, by paths in HOME, are written before."""

    argv: list[str]
    environ: dict[str, str]
    files: dict[str, str]


class Answer(TypedDict):
    """How it ended; what it printed is in base64. ``code`` None: it was killed at `DEADLINE`.

    ``events`` are those of `WATCHED` with their arguments; ``changed`` the files in HOME that are not as they were.
    """

    code: int | None
    stdout: str
    stderr: str
    seconds: float
    events: list[str]
    changed: list[str]


def entry_point() -> Callable[[], object]:
    """What the installed ``l8s`` runs; loaded with all that it may import later, so that no fork has to."""
    (found,) = entry_points(group="console_scripts", name="l8s")
    run: Callable[[], object] = found.load()
    import l8s_cli.commands

    for module in pkgutil.iter_modules(l8s_cli.commands.__path__):
        importlib.import_module(f"l8s_cli.commands.{module.name}")
    for name in ("ruamel.yaml", "cattrs", "fabric", "podman", "l8s_core.client", "l8s_yaml.store"):
        importlib.import_module(name)
    gc.freeze()  # else each fork's collector copies all of it: https://docs.python.org/3/library/gc.html#gc.freeze
    return run


def snapshot(home: Path) -> dict[str, tuple[object, ...]]:
    """Every file in ``home``: its mode, its bytes and when it was written."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, _, files in os.walk(home):
        for name in (".", *files):
            path = Path(folder, name)
            state = path.lstat()
            if stat.S_ISREG(state.st_mode):
                found[str(path)] = (state.st_mode, path.read_bytes(), state.st_mtime_ns, state.st_ino)
            else:
                found[str(path)] = (state.st_mode,)
    return found


def put(home: Path, files: dict[str, str]) -> None:
    """Write the files that are not there with these bytes already, for their owner alone."""
    for name, encoded in files.items():
        path, data = home / name, base64.b64decode(encoded)
        if not path.is_file() or path.read_bytes() != data:
            path.unlink(missing_ok=True)
            path.touch(mode=0o600)
            path.write_bytes(data)


def become(
    run: Callable[[], object], knock: Knock, stdout: IO[bytes], stderr: IO[bytes], events: IO[bytes]
) -> NoReturn:
    """Be that command line, to the end of this process."""
    os.setsid()
    for number, stream in ((1, stdout), (2, stderr)):
        os.dup2(stream.fileno(), number)
    os.environ.update(knock["environ"])
    sys.argv = ["l8s", *knock["argv"]]

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event in WATCHED:
            os.write(events.fileno(), f"{event} {arguments!r}\n".encode("utf-8", "backslashreplace"))

    sys.addaudithook(watch)
    code = 0
    try:
        run()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 70
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def answer(run: Callable[[], object], home: Path, knock: Knock) -> Answer:
    """Run one command line to its end."""
    put(home, knock["files"])
    before = snapshot(home)
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr, tempfile.TemporaryFile() as events:
        start = time.monotonic()
        pid = os.fork()
        if pid == 0:
            become(run, knock, stdout, stderr, events)
        handle = os.pidfd_open(pid)
        in_time = bool(select.select([handle], [], [], DEADLINE)[0])
        seconds = time.monotonic() - start
        os.close(handle)
        if not in_time:
            os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        after = snapshot(home)
        return Answer(
            code=code if in_time else None,
            stdout=read(stdout),
            stderr=read(stderr),
            seconds=seconds,
            events=base64.b64decode(read(events)).decode().splitlines(),
            changed=sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)),
        )


def read(stream: IO[bytes]) -> str:
    stream.seek(0)
    return base64.b64encode(stream.read()).decode()


def main() -> None:
    knocks: list[Knock] = json.load(sys.stdin)
    run = entry_point()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    home = Path.home()
    print(json.dumps([answer(run, home, knock) for knock in knocks]))


if __name__ == "__main__":
    main()
