"""``create`` ended at each of its steps, by Ctrl-C and by kill -9: run again it succeeds, and nothing is left over."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import Laptop, Server

STEPS = ("check", "volumes", "container", "upload", "start", "provision", "ssh config", "login")
# After each step, and at the beginning of those in which the server is left to itself.
POINTS = [(step, "done") for step in STEPS] + [(step, "started") for step in ("container", "start", "provision")]
DRIVER = Path(__file__).with_name("create_and_die.py")


@pytest.fixture(autouse=True)
def _ready(server: Server, image: str, laptop: Laptop) -> Iterator[None]:
    laptop.configure(server)
    server.run("podman volume create --label keep=me bystander")
    yield
    server.clear()


def on_server(server: Server) -> tuple[list[str], list[str]]:
    containers = server.run("podman ps -a --format '{{.Names}}'").stdout.split()
    return containers, sorted(server.run("podman volume ls -q").stdout.split())


def entries(laptop: Laptop) -> list[str]:
    config = laptop.home / ".l8s" / "ssh_config"
    lines = config.read_text().splitlines() if config.exists() else []
    return [line for line in lines if line.startswith("Host ")]


@pytest.mark.parametrize(("step", "state"), POINTS)
def test_sigint(server: Server, laptop: Laptop, step: str, state: str) -> None:
    died = laptop.run(sys.executable, DRIVER, "x", str(int(signal.SIGINT)), step, state, check=False)
    if step != "check":
        assert died.returncode == 130, died.stderr
    assert on_server(server) == ([], ["bystander"])
    assert entries(laptop) == []
    converges(server, laptop)


@pytest.mark.parametrize(("step", "state"), POINTS)
def test_kill_9(server: Server, laptop: Laptop, step: str, state: str) -> None:
    died = laptop.run(sys.executable, DRIVER, "x", str(int(signal.SIGKILL)), step, state, check=False)
    assert died.returncode == -signal.SIGKILL
    converges(server, laptop)


def converges(server: Server, laptop: Laptop) -> None:
    laptop.l8s("create", "x")
    assert on_server(server) == (["dev-x"], ["bystander", "dev-x-home", "dev-x-hostkeys", "dev-x-workspace"])
    assert entries(laptop) == ["Host dev-x"]
    assert list((laptop.home / ".l8s" / "journal").glob("*.json")) == []
    laptop.ssh("dev-x", "true")


def test_the_command_says_130_and_that_nothing_is_left(server: Server, laptop: Laptop) -> None:
    with laptop.start("l8s", "create", "x") as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "container" in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
        assert process.wait(timeout=60) == 130, rest
    assert "nothing" in rest
    assert on_server(server) == ([], ["bystander"])


def test_a_published_container_is_never_made_anew(server: Server, laptop: Laptop) -> None:
    died = laptop.run(sys.executable, DRIVER, "x", str(int(signal.SIGKILL)), "login", "done", check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    laptop.ssh("dev-x", "echo precious > ~/note")
    laptop.l8s("create", "x")
    assert laptop.ssh("dev-x", "cat ~/note").stdout == "precious\n"
    again = laptop.l8s("create", "x", check=False)
    assert again.returncode == 8
