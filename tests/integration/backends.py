"""The Podman backend in this process, as it is on a laptop: what the tests of ``l8s_podman`` share.

Not here: the laptop and the servers themselves (``lab.py``).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from lab import Laptop, Run, Server

from l8s_core.contracts import RemoteBackend
from l8s_core.model import ContainerRequest, Profile
from l8s_core.steps import Steps
from l8s_podman.backend import PodmanBackend

IDLE = ("/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1 & wait; done")
"""PID 1 of a container that does nothing, until it is told to end."""


@contextmanager
def at_laptop(laptop: Laptop) -> Iterator[Laptop]:
    """Make this process one that runs on ``laptop``."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HOME", "SSH_AUTH_SOCK", "PATH", "XDG_RUNTIME_DIR"):
            patch.setenv(name, laptop.env[name])
        yield laptop


@contextmanager
def fresh_laptop(run: Run) -> Iterator[Laptop]:
    """A laptop of its own for a test module, with this process on it."""
    run.make_key()
    laptop = Laptop.unpack(run)
    try:
        with at_laptop(laptop):
            yield laptop
    finally:
        laptop.close()


def profile_for(server: Server, **settings: object) -> Profile:
    """A profile that leads to ``server``."""
    return Profile(
        **{"name": "dev", "remote_host": server.host, "remote_user": "root", "base_image": server.image, **settings}
    )


@contextmanager
def opened(profile: Profile) -> Iterator[PodmanBackend]:
    """A backend that is connected."""
    backend = PodmanBackend(profile)
    backend.open(Steps())
    try:
        yield backend
    finally:
        backend.close()


@contextmanager
def idle_container(backend: RemoteBackend, image: str, *, start: bool = True) -> Iterator[str]:
    """The name of a container that runs nothing in particular."""
    name = f"l8s-test-{uuid.uuid4().hex[:12]}"
    backend.create(
        ContainerRequest(
            name=name, image=image, hostname="idle", command=IDLE, labels={"l8s-test": name}, ports={}, volumes={}
        )
    )
    try:
        if start:
            backend.start(name)
        yield name
    finally:
        backend.remove(name)
