"""The contract suite on the real backend: Podman 4.3 and 5.4 behind real SSH, directly and kept by another process."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from backends import fresh_laptop, opened, profile_for
from lab import Run, Server

from l8s_core.contracts import RemoteBackend
from l8s_core.multiplex.held import HeldBackend
from l8s_core.multiplex.starting import end_all
from l8s_core.steps import Steps
from l8s_core.testing.backend_suite import RemoteBackendContract
from l8s_podman.backend import PodmanBackend


@pytest.fixture(scope="module")
def one_connection(run: Run, server: Server) -> Iterator[RemoteBackend]:
    with fresh_laptop(run) as laptop:
        laptop.trust(server)
        with opened(profile_for(server)) as backend:
            yield backend
    server.run("podman rmi --ignore localhost/l8s-contract-built localhost/l8s-contract-broken", check=False)


class TestPodmanBackend(RemoteBackendContract):
    @pytest.fixture
    def backend(self, one_connection: RemoteBackend) -> RemoteBackend:
        return one_connection

    @pytest.fixture
    def make_backend(self, one_connection: RemoteBackend, server: Server) -> Callable[[], RemoteBackend]:
        return lambda: PodmanBackend(profile_for(server))

    @pytest.fixture
    def image(self, server: Server) -> str:
        return server.import_image()


@pytest.fixture(scope="module")
def kept(run: Run, server: Server) -> Iterator[Callable[[], HeldBackend]]:
    with fresh_laptop(run) as laptop:
        laptop.trust(server)
        yield lambda: HeldBackend(profile_for(server), idle=60, third_party=False, environ=laptop.env)
        assert [ended.gone for ended in end_all()] == [True]
    server.run("podman rmi --ignore localhost/l8s-contract-built localhost/l8s-contract-broken", check=False)


class TestHeldBackend(RemoteBackendContract):
    @pytest.fixture
    def backend(self, kept: Callable[[], HeldBackend]) -> Iterator[RemoteBackend]:
        backend = kept()
        backend.open(Steps())
        yield backend
        backend.close()

    @pytest.fixture
    def make_backend(self, kept: Callable[[], HeldBackend]) -> Callable[[], RemoteBackend]:
        return kept

    @pytest.fixture
    def image(self, server: Server) -> str:
        return server.import_image()
