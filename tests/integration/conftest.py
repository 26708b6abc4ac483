"""Fixtures for tests on real servers. Everything that they hand out is described in ``lab.py``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from lab import SUITES, Laptop, Run, Server, unavailable


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(pytest.mark.lab)


@pytest.fixture(scope="session")
def run() -> Run:
    """This run of the tests; skips where the lab cannot be, and fails there when this is CI."""
    reason = unavailable()
    if reason is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must run these tests, and cannot: {reason}")
        pytest.skip(f"NOT TESTED on real servers: {reason}")
    return Run.current()


@pytest.fixture(scope="session", autouse=True)
def trap(run: Run) -> Run:
    """Watches the local Podman sockets for the whole run."""
    run.set_trap()
    if os.environ.get("CI") == "true":
        assert run.unwatched() == []
    return run


@pytest.fixture(autouse=True)
def _trap_untouched(trap: Run) -> Iterator[None]:
    """Fails the test during which somebody connected to a local Podman socket."""
    before = trap.trapped()
    yield
    assert trap.trapped() == before


@pytest.fixture(scope="session", params=SUITES)
def server(request: pytest.FixtureRequest, servers: dict[str, Server]) -> Server:
    """Each server in turn. A test leaves it switched on and without containers."""
    if request.param not in servers:
        servers[request.param] = Run.current().server(request.param)
    return servers[request.param]


@pytest.fixture(scope="session")
def servers(run: Run) -> dict[str, Server]:
    """The servers that this process has brought up so far."""
    del run  # it skips where there can be none
    return {}


@pytest.fixture
def some_server(run: Run, servers: dict[str, Server]) -> Server:
    """A server, whichever this process has up already: for a test to which it is all one."""
    if not servers:
        key = next(iter(SUITES))
        servers[key] = run.server(key)
    return next(iter(servers.values()))


@pytest.fixture(scope="session")
def image(server: Server) -> str:
    """The name of an image on ``server`` that has sshd, git, sudo and rsync."""
    return server.import_image()


@pytest.fixture
def extra_server(run: Run) -> Iterator[Callable[..., Server]]:
    """Makes servers for this test alone, see `Run.extra_server`."""
    with ExitStack() as stack:
        yield lambda suite, **options: stack.enter_context(run.extra_server(suite, **options))


@pytest.fixture
def laptop(run: Run) -> Iterator[Laptop]:
    """A fresh laptop."""
    run.make_key()
    machine = Laptop.unpack(run)
    yield machine
    machine.close()


USER = "l8stest"


@pytest.fixture
def user(server: Server) -> Iterator[str]:
    """A login user of the server who is not root, and whose login shell prints something first."""
    server.run(
        f"useradd -m -s /bin/bash {USER} && cp -r /root/.ssh /home/{USER}/ &&"
        f" echo 'echo Welcome; echo to this server' > /home/{USER}/.bashrc && chown -R {USER}: /home/{USER}"
    )
    yield USER
    server.run(f"loginctl terminate-user {USER}; pkill -KILL -u {USER}; userdel -rf {USER}", check=False)
