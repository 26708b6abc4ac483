"""A server that loses its power: the containers that ran are back, with nothing done on the laptop."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from lab import Laptop, Server


@pytest.fixture(autouse=True)
def _ready(server: Server, image: str, laptop: Laptop) -> Iterator[None]:
    laptop.configure(server)
    yield
    server.clear()


@pytest.mark.parametrize("cut", [False, True], ids=["shut down", "plug pulled"])
def test_containers_come_back(server: Server, laptop: Laptop, cut: bool) -> None:
    laptop.l8s("create", "x")
    laptop.ssh("dev-x", "echo kept > ~/note && sync")
    # but for the kept connection, which the power cut ends
    kept = laptop.home / ".l8s" / "multiplex"
    found = [path for path in (laptop.home / ".l8s").rglob("*") if path.is_file() and path.parent != kept]
    files = {path: path.read_bytes() for path in found}
    server.power_off(cut=cut)
    refused = laptop.ssh("-o", "ConnectTimeout=2", "dev-x", "true", check=False)
    assert refused.returncode == 255
    server.power_on()
    deadline = time.monotonic() + 60
    while (answer := laptop.ssh("dev-x", "cat ~/note", check=False)).returncode != 0:
        assert time.monotonic() < deadline, answer.stderr
        time.sleep(0.5)
    assert answer.stdout == "kept\n"
    assert {path: path.read_bytes() for path in files} == files, "nothing was done on the laptop"
    assert '"state": "running"' in laptop.l8s("-o", "json", "list").stdout
