"""One laptop, one server, one distance between them, and what both need before anything is measured."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import attrs
from lab import Laptop, Run, Server, complete

from bench.measure import RunFailed, Sample, run
from bench.podman_client import connection
from bench.unix_http import UnixHTTP

PROGRAMS = Path(__file__).with_name("programs")
CONTAINER = "bench"
MANY = 1000


@attrs.define(kw_only=True, eq=False)
class Site:
    """``host`` is where the laptop finds ``server``: its own address, or one that is ``delay_ms`` away."""

    run: Run
    server_key: str
    server: Server
    delay_ms: int
    host: str
    laptop: Laptop
    podman: Path
    """The directory with the ``podman`` client of the server's own version."""
    files: Path
    """What is copied: a file ``big`` and a directory ``many``."""
    far_addresses: tuple[str, ...] = ()
    """Further addresses of the server at the same distance."""

    @cached_property
    def env(self) -> dict[str, str]:
        """The laptop's environment, with a podman client that knows the server."""
        path = os.pathsep.join([str(self.podman), self.laptop.env["PATH"]])
        return {**self.laptop.env, "PATH": path, **connection(self.host)}

    @cached_property
    def l8s_env(self) -> Mapping[str, str]:
        """The laptop's environment, without any podman."""
        return self.laptop.env

    @property
    def reached(self) -> Server:
        """The server as the laptop sees it."""
        known_hosts = self.run.directory / f"{self.server.name}-{self.host}.known_hosts"
        known_hosts.write_text(f"{self.host} {self.server.host_key.line}\n")
        return attrs.evolve(self.server, host=self.host, known_hosts=known_hosts)

    @property
    def ssh(self) -> tuple[str, ...]:
        """An ``ssh`` to the server that dials anew, without its command."""
        options = ("UserKnownHostsFile=" + str(self.reached.known_hosts), "StrictHostKeyChecking=yes", "BatchMode=yes")
        flags = [word for option in options for word in ("-o", option)]
        key = ("-i", str(self.run.key_file), "-o", "IdentitiesOnly=yes")
        return ("ssh", "-F", "/dev/null", *key, *flags, f"root@{self.host}")

    @property
    def ssh_master(self) -> tuple[str, ...]:
        """The same over a connection that is kept."""
        kept = ("ControlMaster=auto", f"ControlPath={self.laptop.home}/master", "ControlPersist=300")
        return (*self.ssh[:-1], *(word for option in kept for word in ("-o", option)), self.ssh[-1])

    # l8s

    def measured(self, *argv: str | Path, expect: str = "", **env: str) -> Sample:
        """Run l8s, or a program on this laptop that uses it, and measure it."""
        sample = run(argv, env={**self.l8s_env, **env}, cwd=self.laptop.home, expect=expect)
        return attrs.evolve(sample, background_mb=self.background_mb())

    def rival(self, *argv: str | Path, expect: str = "") -> Sample:
        """Run and measure a rival on this laptop."""
        return run(argv, env=self.env, cwd=self.laptop.home, expect=expect)

    @cached_property
    def multiplexes(self) -> bool:
        """Whether this l8s keeps a connection between commands."""
        return self.has("disconnect")

    def has(self, command: str, option: str = "") -> bool:
        """Whether this l8s has a command, and the command an option."""
        helped = self.laptop.l8s(command, "--help", check=False)
        return helped.returncode == 0 and option in helped.stdout

    def disconnect(self, *arguments: str, config: str = "") -> None:
        """End what l8s keeps, for the profile in use or as the arguments say."""
        if self.multiplexes:
            env = {"L8S_CONFIG": config} if config else {}
            complete(["l8s", "disconnect", *arguments], check=False, timeout=60, env={**self.l8s_env, **env})

    def connect(self) -> None:
        """See that l8s keeps a connection, if it can."""
        if self.multiplexes:
            self.laptop.l8s("list")

    def background(self) -> dict[int, float]:
        """What l8s has left running on this laptop: each Python's pid, and its peak memory in MB (proc(5), VmHWM)."""
        home = f"HOME={self.laptop.home}".encode()
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if home not in (process / "environ").read_bytes().split(b"\0"):
                    continue
                status = (process / "status").read_text()
            except OSError:
                continue
            peak = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.M)
            if peak and re.search(r"^Name:\s+(python|l8s)", status):
                found[int(process.name)] = int(peak[1]) / 1024
        return found

    def background_mb(self) -> float | None:
        """The peak memory of the largest of these, if there is any."""
        return max(self.background().values(), default=None) if self.multiplexes else None

    @property
    def profiles_config(self) -> str:
        """The config file that `write_profiles` writes."""
        return str(self.laptop.home / ".l8s" / "profiles.yaml")

    def write_profiles(self, hosts: Mapping[str, str]) -> None:
        """A config file of its own with a profile for each name, and its server's address trusted."""
        lines = ["remote_user: root", f"base_image: {self.server.image}", "profiles:"]
        for name, host in hosts.items():
            lines.append(f"  {name}: {{remote_host: {json.dumps(host)}}}")
            self.laptop.trust(attrs.evolve(self.server, host=host))
        path = Path(self.profiles_config)
        path.touch(mode=0o600)
        path.write_text("\n".join([*lines, f"active_profile: {next(iter(hosts))}"]) + "\n")

    # The server's side

    def inside(self, script: str) -> str:
        """Run a shell script in the container, not measured, and return what it prints.

        Raises:
            RunFailed: it did not end with 0.
        """
        return self.on_server("podman", "exec", f"dev-{CONTAINER}", "sh", "-c", script)

    def on_server(self, *argv: str) -> str:
        """Run a command as root on the server, not measured and without SSH.

        Raises:
            RunFailed: it did not end with 0.
        """
        ran = self.server.exec(*argv, check=False, timeout=600)
        if ran.returncode != 0:
            raise RunFailed(f"{argv[:6]} on the server: {ran.stderr.strip()}")
        return ran.stdout

    @contextmanager
    def tunnel(self) -> Iterator[Path]:
        """A local socket that is the server's Podman, through an `ssh -L` that stays open."""
        path = self.laptop.home / f"tunnel-{time.monotonic_ns()}"
        forward = ("-N", "-o", "ExitOnForwardFailure=yes", "-L", f"{path}:/run/podman/podman.sock")
        process = subprocess.Popen([*self.ssh[:-1], *forward, self.ssh[-1]], env=self.env, start_new_session=True)
        try:
            deadline = time.monotonic() + 20
            while not path.is_socket():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RunFailed("ssh -L did not open a tunnel")
                time.sleep(0.01)
            yield path
        finally:
            process.terminate()
            process.wait(timeout=10)
            path.unlink(missing_ok=True)

    def fill(self) -> None:
        """See that there are `MANY` containers more, never started.

        Through the API, because a `podman create` each takes five times as long. Their labels are those of l8s.
        """
        begun = time.monotonic()
        if f"dev-many-{MANY - 1:04d}\n" in self.on_server("podman", "ps", "--all", "--format", "{{.Names}}"):
            return
        self.on_server(
            "sh",
            "-c",
            "mkdir -p /tmp/tiny && echo nothing > /tmp/tiny/nothing &&"
            " tar -C /tmp/tiny -c . | podman import --quiet - localhost/tiny",
        )
        with self.tunnel() as path:
            api = UnixHTTP(path)
            for number in range(MANY):
                name = f"many-{number:04d}"
                labels = {
                    "l8s.managed": "true",
                    "l8s.prefix": "dev",
                    "l8s.profile": "dev",
                    "l8s.name": name,
                    "l8s.user": "dev",
                    "l8s.ssh-port": str(3000 + number),
                    "l8s.operation": f"{number:032x}",
                }
                wish = {"name": f"dev-{name}", "image": "localhost/tiny", "labels": labels, "command": ["/nothing"]}
                api.request(
                    "POST",
                    "/v4.0.0/libpod/containers/create",
                    json.dumps(wish),
                    {"Content-Type": "application/json"},
                )
                answer = api.getresponse()
                body = answer.read()
                if answer.status != 201:
                    raise RunFailed(f"container {number} of {MANY}: {body.decode('utf-8', 'backslashreplace')}")
            api.close()
        print(f"          {MANY} containers made in {time.monotonic() - begun:.0f} s", file=sys.stderr)

    def close(self, remarks: list[str]) -> None:
        """End everything on the laptop; add a remark for each process that should have ended by itself."""
        self.disconnect()
        deadline = time.monotonic() + 5
        while self.background() and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in self.background():
            remarks.append(f"process {pid} of l8s was left running ({self.server_key}, {self.delay_ms} ms)")
            os.kill(pid, 15)
        self.laptop.close()


def python() -> str:
    """The Python that everything here runs with."""
    return sys.executable
