"""Things that go wrong together, or at the wrong moment: each ends right or with a clear error, and leaves nothing."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
from lab import Laptop, Run, Server, complete


@pytest.fixture(autouse=True)
def _ready(server: Server, image: str, laptop: Laptop) -> Iterator[None]:
    laptop.configure(server)
    yield
    server.clear()


def left(server: Server) -> list[str]:
    """The containers and volumes on the server, storage without a container too."""
    return server.run("podman ps --all --external --format '{{.Names}}'; podman volume ls -q").stdout.split()


def entries(laptop: Laptop) -> list[str]:
    config = laptop.home / ".l8s" / "ssh_config"
    lines = config.read_text().splitlines() if config.exists() else []
    return [line.removeprefix("Host ") for line in lines if line.startswith("Host ")]


def test_of_many_creates_of_one_name_one_wins(server: Server, laptop: Laptop, run: Run) -> None:
    with ExitStack() as stack:
        laptops = [laptop]
        for _ in range(2):
            other = Laptop.unpack(run)
            stack.callback(other.close)
            other.configure(server)
            laptops.append(other)
        racing = [(which, which.start("l8s", "create", "x")) for which in laptops for _ in range(2)]
        codes = []
        winners = []
        for which, process in racing:
            _, stderr = process.communicate(timeout=120)
            assert process.returncode in (0, 8), stderr
            codes.append(process.returncode)
            if process.returncode == 0:
                winners.append(which)
        assert sorted(codes) == [0, 8, 8, 8, 8, 8]
        winners[0].ssh("dev-x", "true")
        assert [entries(which) for which in laptops if which is not winners[0]] == [[], []]
    assert sorted(left(server)) == ["dev-x", "dev-x-home", "dev-x-hostkeys", "dev-x-workspace"]


def test_many_creates_at_once_share_no_port(laptop: Laptop) -> None:
    names = [f"n{number}" for number in range(6)]
    racing = [laptop.start("l8s", "-o", "json", "create", name) for name in names]
    ports = set()
    for process in racing:
        stdout, stderr = process.communicate(timeout=180)
        assert process.returncode == 0, stderr
        ports.add(json.loads(stdout)["data"]["ssh_port"])
    assert len(ports) == len(names)
    assert entries(laptop) == [f"dev-{name}" for name in names]
    for name in names:
        laptop.ssh(f"dev-{name}", "true")


@contextmanager
def small_disk(path: object, kilobytes: int) -> Iterator[None]:
    complete(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k,mode=0700", "tmpfs", str(path)], check=True, timeout=10)
    try:
        yield
    finally:
        complete(["umount", "-l", str(path)], check=True, timeout=10)


def test_a_full_disk_on_the_laptop(server: Server, laptop: Laptop) -> None:
    before = laptop.ssh_config.read_bytes() if laptop.ssh_config.exists() else None
    with small_disk(laptop.home / ".l8s", 64):
        laptop.configure(server)
        with (laptop.home / ".l8s" / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while filler.write(b"x" * 4096):
                pass
        failed = laptop.l8s("create", "x", check=False)
        assert failed.returncode == 9, failed.stderr
        assert "No space left" in failed.stderr
        assert "Traceback" not in failed.stderr
    assert left(server) == []
    assert (laptop.ssh_config.read_bytes() if laptop.ssh_config.exists() else None) == before


def test_a_full_disk_on_the_server(server: Server, laptop: Laptop) -> None:
    volumes = "/var/lib/containers/storage/volumes"
    server.run(f"mount -t tmpfs -o size=16k tmpfs {volumes}")
    try:
        failed = laptop.l8s("create", "x", check=False)
        assert failed.returncode in (1, 7), failed.stderr
        assert "no space left" in failed.stderr.lower() or "could not be set up" in failed.stderr
        assert left(server) == []
    finally:
        server.run(f"umount -l {volumes}")
    assert entries(laptop) == []
    laptop.l8s("create", "x")


def test_proxies_and_other_engines_in_the_environment_see_nothing(laptop: Laptop) -> None:
    seen: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def listen() -> None:
            while True:
                try:
                    connection, peer = listener.accept()
                except OSError:
                    return
                seen.append(peer)
                connection.close()

        threading.Thread(target=listen, daemon=True).start()
        trap = f"127.0.0.1:{listener.getsockname()[1]}"
        variables = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"), f"http://{trap}")
        variables |= {"CONTAINER_HOST": f"tcp://{trap}", "DOCKER_HOST": f"tcp://{trap}"}
        listed = laptop.l8s("list", **variables)
        assert "CONTAINER_HOST" in listed.stderr
        laptop.l8s("create", "x", **variables)
        laptop.l8s("exec", "x", "--", "true", **variables)
        listener.shutdown(socket.SHUT_RDWR)
    assert seen == []


def test_text_of_a_container_is_never_printed_raw(server: Server, image: str, laptop: Laptop) -> None:
    label = "\x1b]0;title\x07 \x1b[31mred \u202ereversed"
    server.run(
        f"podman create --name dev-evil --label l8s.managed=true --label l8s.prefix=dev --label l8s.name=evil "
        f"--label 'note={label}' --label $'l8s.repository=https://x/\\e[2J' {image} true"
    )
    for arguments in (("list",), ("info", "evil"), ("rm", "evil", "--yes")):
        ran = laptop.l8s(*arguments, check=False)
        text = ran.stdout + ran.stderr
        assert not set(text) & {"\x1b", "\x07", "\u202e"}, arguments
    labels = "--label l8s.managed=true --label l8s.prefix=dev"
    server.run(f"podman create --name dev-evil {labels} --label 'note={label}' {image} true")
    data = json.loads(laptop.l8s("-o", "json", "list").stdout)["data"]
    assert data[0]["labels"]["note"] == label, "exact for programs"
