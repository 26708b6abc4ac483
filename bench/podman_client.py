"""The real `podman --remote` of Debian 12 and 13, without installing it.

It runs with what the lab's servers are made of as its root, and a disk of its own above that.

The mounts are made in a mount namespace that is the bench's own (see `bench.apart`), and end with its last process.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from lab import SUITES, Run, Server

from bench.distance import CACHE

FILES = "/bench"
"""Where clients see the directory of files that are copied."""


def install(run: Run, suite: str, known_hosts: str, files: Path) -> Path:
    """A directory with a ``podman`` in it that is the one of ``suite``, to be put on PATH.

    It knows the servers of ``known_hosts`` and has the key that they let in as /root/.ssh/id. ``files`` is its `FILES`.
    """
    place = run.directory / f"client-{suite}"
    root = place / "root"
    for name in ("root", "upper", "work", "bin"):
        (place / name).mkdir(parents=True)
    layers = f"lowerdir={CACHE}/rootfs-{suite},upperdir={place}/upper,workdir={place}/work"
    _mount("-t", "overlay", f"client-{suite}", "-o", layers, str(root))
    for name in ("proc", "dev"):
        _mount("--rbind", f"/{name}", str(root / name))
    (root / FILES.lstrip("/")).mkdir()
    _mount("--bind", str(files), str(root) + FILES)
    ssh = root / "root" / ".ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    (ssh / "known_hosts").write_text(known_hosts)
    shutil.copy(run.key_file, ssh / "id")
    program = place / "bin" / "podman"
    program.write_text(
        f'#!/bin/sh\nunset XDG_RUNTIME_DIR SSH_AUTH_SOCK\nHOME=/root exec chroot {root} /usr/bin/podman "$@"\n'
    )
    program.chmod(0o755)
    return program.parent


def connection(host: str) -> dict[str, str]:
    """What tells an installed client which server it is for. 4.3 wants the port."""
    return {"CONTAINER_HOST": f"ssh://root@{host}:22/run/podman/podman.sock", "CONTAINER_SSHKEY": "/root/.ssh/id"}


def known_hosts(server: Server, hosts: list[str]) -> str:
    """Lines of known_hosts: every kind of key of the server, because 4.3 does not choose by what it knows."""
    keys = server.exec("sh", "-c", "cat /etc/ssh/ssh_host_*_key.pub").stdout.splitlines()
    return "".join(f"{host},[{host}]:22 {' '.join(key.split()[:2])}\n" for host in hosts for key in keys)


def release(server_key: str) -> str:
    """The Debian release that has the Podman of that name."""
    return SUITES[server_key]


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)
