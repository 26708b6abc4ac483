"""The battery: faults that are injected on purpose into real servers, and what must hold after each.

A row is a test function with `fault`: it is run on each server, at each point that was drawn. It gets a `Battery`, runs
``l8s`` through it, says with `Battery.injected` by what it was seen that the fault really happened, and names in
`Battery.containers` what must be there at its end. Not here: the fixtures and the drawing (``conftest.py`` beside
this file).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from attrs import define, field, frozen
from lab import Laptop, Run, Server, disconnect_all, peak_memory

SEED_VARIABLE = "L8S_FAULT_SEED"
EXTENT_VARIABLE = "L8S_FAULTS"
"""``full`` runs every point of every fault."""

BYSTANDER = "bystander"
"""A container and a volume on the server that are not l8s's."""

LABELS = ("l8s.managed=true", "l8s.prefix=dev")
VOLUMES = ("home", "hostkeys", "workspace")

USERS_CONFIG = """\
# the user's own
Host home-server
    HostName home.example.com
\tPort 2022

Host dev-* !dev-x
    Compression yes

Match host work.example.com
    User worker

Host *
    ServerAliveInterval 7"""
"""Without a line break at its end."""

OTHER_HOSTS = ("home-server", "work.example.com", "dev-other", "unheard-of.example.com")
SETTLING = 15.0
"""Seconds within which a server's end of a broken connection must be gone."""


def fault(name: str, *, points: Sequence[object], quick: int) -> pytest.MarkDecorator:
    """Mark a test as the row ``name``: of its ``points`` a quick run draws ``quick`` for each server."""
    return pytest.mark.fault(name=name, points=tuple(points), quick=quick)


def full() -> bool:
    """Whether every point is run, and every count is the issue's whole one."""
    return os.environ.get(EXTENT_VARIABLE) == "full"


def drawn(name: str, points: Sequence[object], quick: int, *, seed: str, everything: bool) -> list[object]:
    """The points to run, in their own order; the same for the same seed."""
    if everything or quick >= len(points):
        return list(points)
    chosen = random.Random(f"{seed}:{name}").sample(range(len(points)), quick)
    return [points[index] for index in sorted(chosen)]


@frozen
class Ran:
    """How a command ended, after how many ``seconds``. For ``kept_waiting`` and ``peak`` see `Watch`."""

    code: int
    stdout: bytes
    stderr: bytes
    seconds: float
    kept_waiting: float
    peak: int

    @property
    def text(self) -> str:
        """Both streams, checked before to be UTF-8 (but for `Battery.finish` with ``raw``)."""
        return (self.stdout + self.stderr).decode("utf-8", "backslashreplace")

    @property
    def data(self) -> object:
        """What ``-o json`` holds."""
        return json.loads(self.stdout)["data"]


@define
class Running:
    """A command that was started with `Battery.start`."""

    argv: tuple[str, ...]
    process: subprocess.Popen[bytes]
    began: float
    stdout: Path
    stderr: Path
    watch: Watch

    @property
    def pid(self) -> int:
        """The pid of the command, which leads a process group of its own."""
        return self.process.pid

    def wait_for(self, text: bytes, *, timeout: float = 60.0) -> None:
        """Wait until the command has printed ``text``; fail when it ends before."""
        deadline = time.monotonic() + timeout
        while text not in self.stdout.read_bytes() + self.stderr.read_bytes():
            ended = self.process.poll() is not None
            seen = self.stdout.read_bytes() + self.stderr.read_bytes()
            if text in seen:
                return
            assert not ended, f"{self.argv} ended with {self.process.returncode} before it printed {text!r}: {seen!r}"
            assert time.monotonic() < deadline, f"{self.argv} did not print {text!r} in {timeout} s: {seen!r}"
            time.sleep(0.005)


def ended(running: Running) -> bool:
    """Whether it has ended; it is not reaped."""
    return os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


@define
class Watch:
    """What a command and the processes below it cost; that includes a holder which it started itself."""

    pid: int
    peak: int = 0
    """The largest resident set of one of them, in bytes."""
    kept_waiting: float = 0.0
    """Seconds in which one of them could have run, and the machine was busy with others: at least so many."""
    _waits: dict[str, float] = field(factory=dict, init=False)
    _looked: float = field(factory=time.monotonic, init=False)

    def look(self, *, now: bool = False) -> None:
        """Count what there was since the last look, though not more than some 40 times a second."""
        passed = time.monotonic() - self._looked
        if not now and passed < 0.025:
            return
        self._looked += passed
        waits: dict[str, float] = {}
        for pid in descent(self.pid):
            self.peak = max(self.peak, peak_memory(pid))
            waits |= processor_waits(pid)
        # of those that waited side by side the longest counts, since it is the whole command that waited
        waited = max((wait - self._waits.get(thread, 0.0) for thread, wait in waits.items()), default=0.0)
        self.kept_waiting += min(waited, passed)
        self._waits |= waits  # those that were not seen this time are kept: proc(5) may miss a child


def descent(pid: int) -> list[int]:
    """A process and all below it, by what proc_pid_task(5) says of each thread's children."""
    found = [pid]
    for process in found:
        for children in of_each_thread(process, "children").values():
            found += map(int, children.split())
    return found


def processor_waits(pid: int) -> dict[str, float]:
    """Seconds for which each thread of a process was ready and had no processor; none where the kernel does not tell.

    The second field of a thread's schedstat, in nanoseconds (the kernel's Documentation/scheduler/sched-stats.rst).
    """
    return {thread: int(told.split()[1]) / 1e9 for thread, told in of_each_thread(pid, "schedstat").items()}


def of_each_thread(pid: int, file: str) -> dict[str, str]:
    """What a file of proc(5) says of each thread that a process has; nothing of those that have ended meanwhile."""
    found = {}
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found[thread.name] = (thread / file).read_text()
    return found


@define
class Battery:
    """One fault on one server: runs commands on the laptop and holds what is expected of both machines afterwards."""

    server: Server
    laptop: Laptop
    containers: set[str] = field(factory=set)
    """The short names of the containers that must be on the server at the end, and have an ssh entry."""
    unentered: set[str] = field(factory=set)
    """Of these, the ones without an ssh entry on this laptop (another laptop made them)."""
    evidence: list[str] = field(factory=list)
    _directory: Path = field(factory=lambda: Path(tempfile.mkdtemp(prefix="l8s-faults-")), init=False)
    _count: int = field(default=0, init=False)
    _started: list[Running] = field(factory=list, init=False)

    def injected(self, evidence: str) -> None:
        """Say that the fault has happened, and by what that was seen."""
        self.evidence.append(evidence)

    def start(self, *arguments: str | Path, program: str = "l8s", **env: str) -> Running:
        """Start ``l8s`` with ``arguments`` in a process group of its own; end it with `finish`."""
        self._count += 1
        argv = (program, *map(str, arguments))
        stdout, stderr = (self._directory / f"{self._count}.{stream}" for stream in ("out", "err"))
        with stdout.open("wb") as out, stderr.open("wb") as err:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**self.laptop.env, **env},
                cwd=self.laptop.home,
                start_new_session=True,
            )
        running = Running(argv, process, time.monotonic(), stdout, stderr, Watch(process.pid))
        self._started.append(running)
        return running

    def finish(
        self,
        running: Running,
        *,
        codes: Collection[int],
        timeout: float = 120.0,
        within: float | None = None,
        raw: bool = False,
    ) -> Ran:
        """Wait for a command's end, at most ``timeout`` seconds, and check what every command must hold to.

        ``codes`` are the exit codes that are right. A signal's is negative; that of SIGINT is right only for a process
        in which Python itself was still loading, so that l8s could do nothing about it. With ``within`` it must have
        ended after that many seconds since its start, without those for which a busy machine kept it waiting. ``raw``
        is for commands that pass on a container's own bytes.
        """
        self._wait(running, timeout)
        seconds = time.monotonic() - running.began
        running.watch.look(now=True)
        kept_waiting = running.watch.kept_waiting
        _, status = os.waitpid(running.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        running.process.returncode = code
        stdout, stderr = running.stdout.read_bytes(), running.stderr.read_bytes()
        ran = Ran(code, stdout, stderr, seconds, kept_waiting, running.watch.peak)
        what = f"{running.argv} ended with {code} after {seconds:.1f} s, {kept_waiting:.1f} s kept waiting\n{ran.text}"
        loading = code == -signal.SIGINT and b", in run\n" not in ran.stderr  # l8s_cli.start.run was not called
        assert b"Traceback" not in ran.stderr or (loading and code in codes), what
        for stream in (ran.stderr,) if raw else (ran.stdout, ran.stderr):
            escapes = {char for char in stream.decode("utf-8") if char not in "\n\t" and not char.isprintable()}
            assert not escapes, f"raw {escapes!r}\n{what}"
        assert code in codes, what
        if code not in (0, -signal.SIGKILL, -signal.SIGTERM) and not raw:
            assert ran.stderr.strip(), f"no word about a failure: {what}"
        assert within is None or seconds - kept_waiting <= within, f"later than {within} s: {what}"
        return ran

    def l8s(
        self,
        *arguments: str | Path,
        codes: Collection[int] = (0,),
        within: float | None = None,
        timeout: float = 120.0,
        raw: bool = False,
        **env: str,
    ) -> Ran:
        """Run ``l8s`` to its end; see `finish`."""
        return self.finish(self.start(*arguments, **env), codes=codes, within=within, timeout=timeout, raw=raw)

    def _wait(self, running: Running, timeout: float) -> None:
        """Wait for its end, and leave it to be reaped."""
        deadline = time.monotonic() + timeout
        while not ended(running):
            if time.monotonic() > deadline:
                os.killpg(running.pid, signal.SIGKILL)
                os.waitpid(running.pid, 0)
                running.process.returncode = -signal.SIGKILL
                raise AssertionError(
                    f"{running.argv} did not end in {timeout} s\n{running.stderr.read_text('utf-8', 'replace')}"
                )
            running.watch.look()
            time.sleep(0.005)

    # The invariant

    def prepare(self) -> None:
        """Give the laptop a configuration and an ssh config of its user's, and the server a bystander."""
        self.server.exec(
            "sh",
            "-c",
            f"podman volume create --label keep=me {BYSTANDER} && "
            f"podman create --name {BYSTANDER} --label keep=me {self.server.image} true",
        )
        self.move_in()

    def move_in(self) -> None:
        """Give the laptop alone what `prepare` gives it: of a further laptop's battery."""
        self.laptop.env["TMPDIR"] = str(self.laptop.home / "tmp")
        (self.laptop.home / "tmp").mkdir()
        self.laptop.configure(self.server)
        self.laptop.ssh_config.write_text(USERS_CONFIG)
        self._before = self.other_hosts()
        self._sessions = self._server_sessions()

    sessions_settle_in: float = field(default=SETTLING, init=False)
    """Seconds in which the server's sessions end once nobody uses them."""
    _before: Mapping[str, str] = field(factory=dict, init=False)
    _sessions: int = field(default=0, init=False)

    def other_hosts(self) -> dict[str, str]:
        """What ``ssh -G`` says about each host of the user's."""
        command = ["ssh", "-F", str(self.laptop.ssh_config), "-G"]
        return {host: self.laptop.run(*command, host).stdout for host in OTHER_HOSTS}

    def check(self) -> None:
        """Hold the invariant against both machines."""
        for running in self._started:
            assert running.process.returncode is not None, f"{running.argv} was never seen to its end"
        deadline = time.monotonic() + SETTLING
        while len(self.laptop.holders()) > 1:
            assert time.monotonic() < deadline, "more than one process keeps a connection"
            time.sleep(0.05)
        self.l8s("disconnect", "--all")
        assert self.other_hosts() == self._before, "another host's ssh configuration changed"
        config = self.laptop.ssh_config.read_text()
        assert config == USERS_CONFIG or config.split("\n", 1)[1] == USERS_CONFIG, f"the user's file changed:\n{config}"
        self.check_server()
        self._check_laptop()

    def check_server(self) -> None:
        """Hold the server to the model: its containers, volumes, ports and sessions."""
        shown = self.server.exec(
            "sh", "-c", "podman ps --all --external --format json; echo; echo ===; podman volume ls -q"
        ).stdout
        listed, _, named = shown.partition("\n===\n")
        rows = json.loads(listed.strip() or "null") or []
        volumes = set(named.split())
        ours = {row["Names"][0]: row for row in rows}
        assert set(ours) == {BYSTANDER} | {f"dev-{name}" for name in self.containers}, "containers"
        assert volumes == {BYSTANDER} | {f"dev-{name}-{what}" for name in self.containers for what in VOLUMES}, (
            "volumes"
        )
        ports = {
            name: [port["host_port"] for port in row.get("Ports") or []]
            for name, row in ours.items()
            if name != BYSTANDER
        }
        for name, published in ports.items():
            assert published == [int(ours[name]["Labels"]["l8s.ssh-port"])], f"ports of {name}: {published}"
        taken = [port for published in ports.values() for port in published]
        assert len(taken) == len(set(taken)), f"ports are shared: {ports}"
        disconnect_all(self.server)
        deadline = time.monotonic() + self.sessions_settle_in
        while (now := self._server_sessions()) > self._sessions and time.monotonic() < deadline:
            time.sleep(0.2)
        assert now <= self._sessions, f"sessions left on the server: {now}, {self._sessions} before"

    def _server_sessions(self) -> int:
        """How many sessions of root's the server's own sshd has, and how many dial-stdio processes."""
        # a session's process ends moments after its client
        pattern = "^sshd(-session)?: root|^podman system dial-stdio"
        return int(self.server.exec("sh", "-c", f"pgrep -fc '{pattern}' || true").stdout.strip() or 0)

    def _check_laptop(self) -> None:
        home = self.laptop.home
        path = home / ".l8s" / "ssh_config"
        lines = path.read_text().splitlines() if path.exists() else []
        entries = {line.removeprefix("Host ") for line in lines if line.startswith("Host ")}
        assert entries == {f"dev-{name}" for name in self.containers - self.unentered}, "ssh entries"
        sockets = (left for left in home.rglob("*") if left.is_socket() and left != home / "agent")
        left = {
            "temporary files": [*home.rglob(".*.l8s-*"), *(home / "tmp").iterdir()],
            "journal": [*(home / ".l8s" / "journal").glob("*.json")],
            "sockets": [socket for socket in sockets if socket.parent.name != "control"],
            "processes": self._processes(),
        }
        assert not any(left.values()), f"left behind: {left}"

    def _processes(self) -> list[str]:
        """What still runs on the laptop: all that has its HOME, but for its agent and ssh's own shared connections."""
        found = []
        home = f"HOME={self.laptop.home}".encode()
        for process in Path("/proc").iterdir():
            if not process.name.isdigit() or int(process.name) == self.laptop.agent.pid:
                continue
            with contextlib.suppress(OSError):
                if home in (process / "environ").read_bytes().split(b"\0"):
                    command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                    if command and not command.startswith("ssh: "):
                        found.append(f"{process.name} {command}")
        return found

    def close(self) -> None:
        """End what was started and is still running."""
        for running in self._started:
            if running.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(running.pid, signal.SIGKILL)
                running.process.wait(timeout=10)
        for path in self._directory.iterdir():
            path.unlink()
        self._directory.rmdir()


@contextlib.contextmanager
def crowd(battery: Battery, run: Run, laptops: int) -> Iterator[list[Battery]]:
    """As many laptops with one server: ``battery``, and others that are there until this ends. They are not checked."""
    with contextlib.ExitStack() as stack:
        found = [battery]
        for _ in range(laptops - 1):
            other = Battery(battery.server, Laptop.unpack(run))
            stack.callback(other.laptop.close)
            stack.callback(other.close)
            other.move_in()
            found.append(other)
        yield found
