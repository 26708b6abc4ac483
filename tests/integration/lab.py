"""The lab from Python: real servers, laptops that use them, and the trap on the local Podman socket.

Not here: fixtures (``conftest.py`` beside this file) and how a server is made (``scripts/lab``).

One `Run` spans a whole run of pytest, over all of xdist's workers: the first process opens and closes it, and
the worker that first needs the servers brings them up, under a lock. Its directory remembers what was made.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import field, frozen

from l8s_core.model import PublicKey

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "scripts" / "lab"
RUN_VARIABLE = "L8S_TEST_RUN"
SUITES = {"podman-4.3": "bookworm", "podman-5.4": "trixie"}
"""The Debian release with each Podman that the tests cover."""

ROOTFUL_SOCKET = Path("/run/podman/podman.sock")
PROGRAMS = ("debootstrap", "systemd-nspawn", "unshare", "ip", "nsenter", "ssh", "ssh-agent", "rsync", "git", "faketime")

Completed = subprocess.CompletedProcess[str]


def unavailable() -> str | None:
    """Why the lab cannot run on this machine, or None when it can."""
    if sys.platform != "linux":
        return f"the lab needs Linux; this is {sys.platform}"
    if os.geteuid() != 0:
        return "the lab needs root (namespaces, mounts, systemd-nspawn): sudo ./scripts/test integration"
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"the lab lacks {', '.join(missing)}: ./scripts/lab install"
    return None


def complete(
    argv: Sequence[str | Path],
    *,
    check: bool,
    timeout: float,
    input: str | None = None,  # noqa: A002 - subprocess's own word
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Completed:
    """Run ``argv`` to its end; after ``timeout`` seconds its process group is killed and the test fails."""
    words = [str(word) for word in argv]
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="backslashreplace",
        env=env,
        cwd=cwd,
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(input, timeout=timeout)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        stdout, stderr = process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise AssertionError(f"{words} took longer than {timeout} s\n{stdout}\n{stderr}") from None
        raise
    if check and process.returncode != 0:
        raise AssertionError(f"{words} ended with {process.returncode}\nstdout:\n{stdout}\nstderr:\n{stderr}")
    return subprocess.CompletedProcess(words, process.returncode, stdout, stderr)


def peak_memory(pid: int) -> int:
    """The largest resident set that a process has had so far, in bytes (VmHWM, proc(5)); 0 once it has ended.

    Not ``ru_maxrss`` of wait4(2): there the kernel counts what the process was before it became its program, which is
    a copy of this one.
    """
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.M)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def script(*arguments: str, env: Mapping[str, str] | None = None, timeout: float = 900) -> str:
    """Run ``scripts/lab`` and return what it prints. A machine's first run takes minutes (debootstrap)."""
    return complete([SCRIPT, *arguments], check=True, timeout=timeout, env={**os.environ, **(env or {})}).stdout.strip()


@frozen(kw_only=True)
class Server:
    """A server of the lab, and root on it. ``key_file`` is a private key that may log in."""

    name: str
    suite: str
    host: str
    key_file: Path
    known_hosts: Path
    host_key: PublicKey
    port: int = 22

    @property
    def image(self) -> str:
        """The name that `import_image` gives the image."""
        return f"localhost/debian:{self.suite}"

    def run(
        self,
        command: str,
        *,
        check: bool = True,
        input: str | None = None,  # noqa: A002
        timeout: float = 60,
    ) -> Completed:
        """Run a shell command as root, through SSH with the key that was read from the server's disk."""
        return complete(
            [
                *(
                    "ssh",
                    "-F",
                    "/dev/null",
                    "-i",
                    self.key_file,
                    "-p",
                    str(self.port),
                    "-o",
                    "IdentitiesOnly=yes",
                ),
                *("-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "GlobalKnownHostsFile=/dev/null"),
                *("-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"),
                *(f"root@{self.host}", "--", command),
            ],
            check=check,
            input=input,
            timeout=timeout,
        )

    def start_sshd(self, options: str, *, pid_file: str) -> None:
        """Start a further sshd, and return once it listens. It is the caller's to end, by ``pid_file``.

        sshd goes into the background before it listens, and writes its pid when it does (OpenSSH 9.2 and 10,
        sshd.c: daemon, server_listen, then the pid file).
        """
        self.run(
            f"mkdir -p /run/sshd && rm -f {pid_file} && /usr/sbin/sshd {options} -o PidFile={pid_file} &&"
            f" timeout 10 sh -c 'until test -s {pid_file}; do sleep 0.05; done'"
        )

    def exec(self, *argv: str, check: bool = True, timeout: float = 60) -> Completed:
        """Run ``argv`` inside as root without SSH: when the test has stopped sshd, and where it is done often.

        A login costs a server more than most commands do (PAM, and systemd's session for it).
        """
        return complete([SCRIPT, "exec", self.name, "--", *argv], check=check, timeout=timeout)

    def power_off(self, *, cut: bool = False) -> None:
        """Shut the server down; with ``cut``, pull its plug instead."""
        script("cut" if cut else "stop", self.name, timeout=120)

    def power_on(self) -> None:
        """Start the server and wait until its sshd listens."""
        script("start", self.name, timeout=90)

    def is_on(self) -> bool:
        """Whether something listens on its SSH port."""
        try:
            socket.create_connection((self.host, self.port), timeout=2).close()
        except OSError:
            return False
        return True

    def import_image(self) -> str:
        """Give the server `image` (Debian with sshd, git, sudo and rsync), once, and return its name."""
        with _locked(self.known_hosts.with_name(f"{self.name}.image.lock")):
            if self.run(f"podman image exists {self.image}", check=False).returncode != 0:
                tar = script("image", self.suite)
                command = f"{SCRIPT} exec {self.name} -- podman import --quiet - {self.image} < {tar}"
                complete(["sh", "-c", command], check=True, timeout=180)
        return self.image

    def clear(self) -> None:
        """Remove every container and volume; images stay."""
        self.exec("sh", "-c", "podman rm --all --force --time 0 && podman volume rm --all --force", timeout=120)

    def down(self) -> None:
        """Delete the server; a big image on its disk takes a while."""
        script("down", self.name, timeout=300)


@frozen(kw_only=True)
class Run:
    """One run of pytest. ``owner`` is its first process; ``directory`` is removed at its end."""

    directory: Path
    owner: int

    @classmethod
    def open(cls) -> Run:
        """Begin a run; workers find it through the environment."""
        run = cls(directory=Path(tempfile.mkdtemp(prefix="l8s-run-")), owner=os.getpid())
        os.environ[RUN_VARIABLE] = f"{run.owner}:{run.directory}"
        return run

    @classmethod
    def current(cls) -> Run:
        """The run that this process belongs to."""
        owner, _, directory = os.environ[RUN_VARIABLE].partition(":")
        return cls(directory=Path(directory), owner=int(owner))

    def close(self) -> None:
        """Take down whatever was made in this run."""
        for name in self._names():
            script("down", name, timeout=300)
        if self._trap_pid is not None:
            os.kill(self._trap_pid, signal.SIGTERM)
        shutil.rmtree(self.directory)

    @property
    def key_file(self) -> Path:
        """A private key that every server of this run lets in, and that every laptop's agent holds."""
        return self.directory / "id_ed25519"

    @property
    def runtime_dir(self) -> Path:
        """What laptops have as XDG_RUNTIME_DIR; a rootless Podman's socket would be in there."""
        return self.directory / "run"

    @property
    def _trap_log(self) -> Path:
        return self.directory / "trap.log"

    @property
    def _unwatched(self) -> Path:
        return self.directory / "trap.unwatched"

    @property
    def _trap_pid(self) -> int | None:
        try:
            return int((self.directory / "trap.pid").read_text())
        except FileNotFoundError:
            return None

    def server(self, key: str) -> Server:
        """The server with this id of `SUITES` that this process alone uses; brought up when it is first asked for.

        The workers of pytest-xdist are processes: each has servers of its own, and may switch them off.
        """
        with _locked(self.directory / "servers.lock"):
            swept = self.directory / "swept"
            if not swept.exists():
                script("sweep", timeout=120)
                swept.touch()
            self.make_key()
        return self._came_up(SUITES[key], *self._up("t", SUITES[key]))

    @contextmanager
    def extra_server(
        self, suite: str, *, podman_socket: bool = True, boot_offset: int | None = None
    ) -> Iterator[Server]:
        """A server for one test. With ``boot_offset`` 0 it is like an LXC container on the laptop itself."""
        with _locked(self.directory / "servers.lock"):
            self.make_key()
        up = self._up("x", suite, podman_socket=podman_socket, boot_offset=boot_offset)
        server = self._came_up(suite, *up)
        try:
            yield server
        finally:
            server.down()

    def _came_up(self, suite: str, name: str, process: subprocess.Popen[str]) -> Server:
        return self._server(name=name, suite=suite, host=_address(process))

    def _up(
        self, kind: str, suite: str, *, podman_socket: bool = True, boot_offset: int | None = None
    ) -> tuple[str, subprocess.Popen[str]]:
        # noted before it exists, so that it is taken down even when it does not come up
        with _locked(self.directory / "names.lock"):
            name = f"{kind}{self.owner}-{len(self._names())}"
            with (self.directory / "names").open("a") as names:
                print(name, file=names)
        env = {
            **os.environ,
            "LAB_AUTHORIZED_KEYS": f"{self.key_file}.pub",
            "LAB_OWNER": str(self.owner),
            "LAB_PODMAN_SOCKET": "yes" if podman_socket else "no",
        }
        if boot_offset is not None:
            env["LAB_BOOT_OFFSET"] = str(boot_offset)
        argv = [str(SCRIPT), "up", name, suite, "auto"]
        return name, subprocess.Popen(
            argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def _names(self) -> list[str]:
        try:
            return (self.directory / "names").read_text().split()
        except FileNotFoundError:
            return []

    def make_key(self) -> None:
        with _locked(self.directory / "key.lock"):
            if not self.key_file.exists():
                complete(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key_file], check=True, timeout=10)

    def _server(self, *, name: str, suite: str, host: str) -> Server:
        key_type, key_base64 = script("hostkey", name).split()
        known_hosts = self.directory / f"{name}.known_hosts"
        known_hosts.write_text(f"{host} {key_type} {key_base64}\n")
        return Server(
            name=name,
            suite=suite,
            host=host,
            key_file=self.key_file,
            known_hosts=known_hosts,
            host_key=PublicKey(type=key_type, base64=key_base64),
        )

    def set_trap(self) -> None:
        """Listen where a local Podman would, to the end of the run.

        Where somebody listens already (a Podman of this machine, another run) nothing is proved: `summary` says so.
        """
        with _locked(self.directory / "trap.lock"):
            if self._trap_pid is not None:
                return
            rootless = self.runtime_dir / "podman" / "podman.sock"
            program = str(Path(__file__).with_name("trap.py"))
            arguments = [str(self.owner), str(self._trap_log), str(rootless), str(ROOTFUL_SOCKET)]
            process = subprocess.Popen(
                [sys.executable, program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            assert process.stdout is not None
            busy = []
            while (line := process.stdout.readline()) != "ready\n":
                assert line.startswith("busy "), f"the trap ended with {process.wait()}"
                busy.append(line.removeprefix("busy "))
            self._unwatched.write_text("".join(busy))
            process.stdout.close()
            process.returncode = 0  # it outlives this process, which therefore must not wait for it
            (self.directory / "trap.pid").write_text(str(process.pid))

    def trapped(self) -> list[str]:
        """Who connected to the trap, one line each."""
        try:
            return self._trap_log.read_text().splitlines()
        except FileNotFoundError:
            return []

    def unwatched(self) -> list[str]:
        """Where no trap could be set."""
        return self._unwatched.read_text().splitlines()

    def summary(self) -> list[str]:
        """What the end of a run should say about the lab; nothing when it was not used."""
        if self._trap_pid is None:
            return []
        lines = [f"connections to {ROOTFUL_SOCKET} or a rootless one on the laptop: {len(self.trapped())}"]
        lines += [f"  {line}" for line in self.trapped()]
        return lines + [f"NOT WATCHED, because somebody else listens there: {path}" for path in self.unwatched()]


@frozen(kw_only=True)
class Laptop:
    """A laptop on which nothing was ever done: an empty home, an ssh-agent with one key, and no podman.

    ``env`` is the whole environment of everything that runs on it. ssh takes ``~`` from the password database
    and not from HOME, hence ``-F`` everywhere.
    """

    home: Path
    env: dict[str, str]
    agent: subprocess.Popen[bytes] = field(repr=False)
    _profiles: dict[str, dict[str, object]] = field(factory=dict, init=False, repr=False)

    @classmethod
    def unpack(cls, run: Run) -> Laptop:
        """A new one; `close` it. Its home's path is short, because ssh's control sockets live in there."""
        home = Path(tempfile.mkdtemp(prefix="lt-", dir="/tmp"))
        agent_socket = home / "agent"
        (home / ".ssh").mkdir(mode=0o700)
        # the private half stays out of the home: only the agent has it
        shutil.copy(f"{run.key_file}.pub", home / ".ssh" / "id_ed25519.pub")
        env = {
            "HOME": str(home),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), path_without_podman(run.directory)]),
            "SSH_AUTH_SOCK": str(agent_socket),
            "XDG_RUNTIME_DIR": str(run.runtime_dir),
            "LANG": "C.UTF-8",
            "USER": "root",
            "LOGNAME": "root",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "A Developer",
            "GIT_AUTHOR_EMAIL": "developer@example.com",
            "GIT_COMMITTER_NAME": "A Developer",
            "GIT_COMMITTER_EMAIL": "developer@example.com",
            "GIT_SSH_COMMAND": f"ssh -F {home}/.ssh/config -o BatchMode=yes",
        }
        agent = subprocess.Popen(
            ["ssh-agent", "-D", "-a", str(agent_socket)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        laptop = cls(home=home, env=env, agent=agent)
        try:
            deadline = time.monotonic() + 10
            while not _listens(agent_socket):
                assert agent.poll() is None and time.monotonic() < deadline, "ssh-agent did not start"
                time.sleep(0.01)
            laptop.run("ssh-add", "-q", run.key_file)
        except BaseException:
            laptop.close()
            raise
        return laptop

    def close(self) -> None:
        """End its agent and its kept connections, and delete its home."""
        self.disconnect()
        for path in self.home.rglob("*"):
            if path.is_socket() and path.name != "agent":
                self.run("ssh", "-F", "/dev/null", "-S", path, "-O", "exit", "nobody", check=False)
        self.agent.terminate()
        self.agent.wait(timeout=10)
        shutil.rmtree(self.home)

    def run(
        self,
        *argv: str | Path,
        check: bool = True,
        input: str | None = None,  # noqa: A002
        timeout: float = 60,
        cwd: Path | None = None,
        **env: str,
    ) -> Completed:
        """Run a program; ``env`` adds to the laptop's environment."""
        return complete(argv, check=check, input=input, timeout=timeout, env={**self.env, **env}, cwd=cwd or self.home)

    def l8s(
        self,
        *arguments: str | Path,
        check: bool = True,
        input: str | None = None,  # noqa: A002
        timeout: float = 120,
        cwd: Path | None = None,
        **env: str,
    ) -> Completed:
        """Run the installed ``l8s``."""
        return self.run("l8s", *arguments, check=check, input=input, timeout=timeout, cwd=cwd, **env)

    def start(self, *argv: str | Path, **env: str) -> subprocess.Popen[str]:
        """Start a program in a process group of its own, for a test that sends it signals."""
        return subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**self.env, **env},
            cwd=self.home,
            start_new_session=True,
        )

    def holders(self) -> list[int]:
        """The processes that keep connections of this laptop's open between commands."""
        return holders(f"HOME={self.home}")

    def disconnect(self) -> None:
        """End these processes at once."""
        for pid in self.holders():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    @property
    def ssh_config(self) -> Path:
        """The user's own ssh config file."""
        return self.home / ".ssh" / "config"

    @property
    def _ssh_options(self) -> tuple[str, ...]:
        return ("-F", str(self.ssh_config), "-o", "BatchMode=yes", "-o", "ConnectTimeout=15")

    def ssh(
        self,
        *arguments: str,
        check: bool = True,
        input: str | None = None,  # noqa: A002
        timeout: float = 60,
    ) -> Completed:
        """The system's ``ssh`` with the user's config."""
        return self.run("ssh", *self._ssh_options, *arguments, check=check, input=input, timeout=timeout)

    def scp(self, *arguments: str | Path, check: bool = True) -> Completed:
        """The system's ``scp`` with the user's config."""
        return self.run("scp", *self._ssh_options, *arguments, check=check)

    def sftp(self, alias: str, batch: str, *, check: bool = True) -> Completed:
        """The system's ``sftp``, doing the commands of ``batch``."""
        return self.run("sftp", *self._ssh_options, "-b", "-", alias, input=batch, check=check)

    def rsync(self, *arguments: str | Path, check: bool = True) -> Completed:
        """The system's ``rsync`` over ``ssh`` with the user's config."""
        return self.run("rsync", "-e", " ".join(["ssh", *self._ssh_options]), *arguments, check=check)

    def git(self, *arguments: str | Path, cwd: Path, check: bool = True, timeout: float = 60) -> Completed:
        """The system's ``git`` over ``ssh`` with the user's config (GIT_SSH_COMMAND)."""
        return self.run("git", *arguments, cwd=cwd, check=check, timeout=timeout)

    def configure(self, server: Server, profile: str = "dev", **settings: object) -> None:
        """Write ``~/.l8s/config.yaml``: ``profile`` is ``server``, beside those written before. Pin its key.

        ``settings`` are keys of the profile; those that `Server` knows are filled in.
        """
        self._profiles[profile] = {
            "remote_host": server.host,
            "remote_user": "root",
            "base_image": server.image,
            **settings,
        }
        if list(self._profiles) == ["dev"]:
            lines = _yaml_lines(self._profiles["dev"], indent="")
        else:
            lines = [f"active_profile: {profile}", "profiles:"]
            for name, values in self._profiles.items():
                lines += [f"  {name}:", *_yaml_lines(values, indent="    ")]
        directory = self.home / ".l8s"
        directory.mkdir(mode=0o700, exist_ok=True)
        self._write_private(directory / "config.yaml", "\n".join(lines) + "\n")
        self.trust(server)

    def trust(self, server: Server) -> None:
        """Pin the server's host key in ``~/.l8s/known_hosts``, as ``l8s init`` does."""
        path = self.home / ".l8s" / "known_hosts"
        path.parent.mkdir(mode=0o700, exist_ok=True)
        known = path.read_text() if path.exists() else ""
        line = f"{server.host} {server.host_key.line}\n"
        if line not in known:
            self._write_private(path, known + line)

    def _write_private(self, path: Path, text: str) -> None:
        path.touch(mode=0o600)
        path.write_text(text)


@contextmanager
def mounted(path: Path, *options: str) -> Iterator[None]:
    """Something mounted at ``path``; ``options`` are those of mount(8), what to mount included."""
    complete(["mount", *options, path], check=True, timeout=10)
    try:
        yield
    finally:
        complete(["umount", "-l", path], check=True, timeout=10)


def _listens(path: Path) -> bool:
    """Whether a program accepts connections there; its socket is in the file system a moment before it does."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def holders(*words: str) -> list[int]:
    """The processes that keep connections open between commands, of laptops whose environment has all of ``words``."""
    found = []
    for process in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            if b"l8s_core.multiplex.holder" in (process / "cmdline").read_bytes().split(b"\0"):
                environment = (process / "environ").read_bytes().split(b"\0")
                if all(word.encode() in environment for word in words):
                    found.append(int(process.name))
    return found


def disconnect_all(server: Server) -> None:
    """End every connection to ``server`` that any laptop of this run keeps."""
    run = f"XDG_RUNTIME_DIR={Run.current().runtime_dir}"
    ours = [pid for pid in holders(run) if server.host in _peers(pid)]
    for pid in ours:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while set(ours) & set(holders(run)):
        assert time.monotonic() < deadline, "a process that keeps a connection does not end"
        time.sleep(0.01)


def _peers(pid: int) -> str:
    """What a process is connected to, in the words of ss(8)."""
    shown = complete(["ss", "-Htnp"], check=True, timeout=10).stdout.splitlines()
    return " ".join(line for line in shown if f"pid={pid}," in line)


def path_without_podman(directory: Path) -> str:
    """A PATH without ``podman``: this one, or when it has one, links in ``directory`` to all the rest."""
    folders = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep) if folder]
    folders = [folder for folder in folders if folder.is_dir()]
    if not any((folder / "podman").exists() for folder in folders):
        return os.pathsep.join(map(str, folders))
    links = directory / "bin"
    with _locked(directory / "bin.lock"):
        if not links.exists():
            links.mkdir()
            for folder in folders:
                for program in folder.iterdir():
                    link = links / program.name
                    if not program.name.startswith("podman") and not link.is_symlink():
                        link.symlink_to(program)
    return str(links)


def _yaml_lines(values: Mapping[str, object], *, indent: str) -> list[str]:
    # JSON is YAML: whatever a value is, it comes back as it is
    return [f"{indent}{key}: {json.dumps(value)}" for key, value in values.items()]


def _address(process: subprocess.Popen[str]) -> str:
    stdout, stderr = process.communicate(timeout=900)
    if process.returncode != 0:
        raise AssertionError(f"a server of the lab did not come up:\n{stderr}")
    return stdout.strip()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
