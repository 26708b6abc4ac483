"""Further sshds on a server of the lab, each with a configuration, a host key and a log of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from attrs import frozen
from lab import Server

from l8s_core.model import PublicKey


@frozen
class SSHD:
    """A second sshd on the server. ``directory``, on the server, holds its files."""

    server: Server
    address: str
    port: int
    host_key: PublicKey
    directory: str

    @property
    def log(self) -> str:
        return self.server.run(f"cat {self.directory}/log").stdout

    @property
    def received(self) -> set[int]:
        """The kinds of SSH messages that clients have sent (RFC 4250, 4.1.2); needs ``LogLevel DEBUG3``."""
        return {int(kind) for kind in re.findall(r"receive packet: type (\d+)", self.log)}

    @property
    def sessions(self) -> list[str]:
        """The pids of the processes that hold its connections."""
        found = self.server.run(
            f"ss -Htnp state established '( sport = :{self.port} )' | grep -o 'pid=[0-9]*' | cut -d= -f2 | sort -u"
        )
        return found.stdout.split()

    def signal(self, name: str) -> None:
        """Send a signal to each of its sessions."""
        self.server.run(f"kill -{name} {' '.join(self.sessions)}")


MakeSSHD = Callable[..., SSHD]


@contextmanager
def sshds(server: Server) -> Iterator[MakeSSHD]:
    """Starts sshds, until the end of the context: ``make(port, *configuration lines)``.

    ``certified`` has the host key signed by an authority, which is ``authority.pub`` in its directory.
    """
    made: list[str] = []

    def make(port: int, *lines: str, address: str | None = None, log: str = "DEBUG1", certified: bool = False) -> SSHD:
        directory = server.run("mktemp -d /tmp/l8s-sshd-XXXXXX").stdout.strip()
        made.append(directory)
        server.run(f"ssh-keygen -q -t ed25519 -N '' -f {directory}/key")
        if certified:
            server.run(
                f"ssh-keygen -q -t ed25519 -N '' -f {directory}/authority &&"
                f" ssh-keygen -q -s {directory}/authority -I host -h -n {address or server.host} {directory}/key.pub"
            )
            lines = (*lines, f"HostCertificate {directory}/key-cert.pub")
        config = (
            f"ListenAddress {address or server.host}:{port}",
            f"HostKey {directory}/key",
            f"LogLevel {log}",
            *lines,
        )
        server.run(f"cat > {directory}/config", input="\n".join(config) + "\n")
        server.start_sshd(f"-f {directory}/config -E {directory}/log", pid_file=f"{directory}/pid")
        kind, encoded = server.run(f"cat {directory}/key.pub").stdout.split()[:2]
        return SSHD(server, address or server.host, port, PublicKey(kind, encoded), directory)

    try:
        yield make
    finally:
        for directory in made:
            server.run(
                f"pid=$(cat {directory}/pid); port=$(sed -n 's/^ListenAddress.*://p' {directory}/config); kill $pid;"
                f" for p in $(ss -Htnp state established \"( sport = :$port )\" | grep -o 'pid=[0-9]*' | cut -d= -f2);"
                f" do [ $port = 22 ] || kill -KILL $p; done; rm -rf {directory}",
                check=False,
            )
