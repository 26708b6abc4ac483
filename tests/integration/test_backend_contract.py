"""The contract suite on the real backend: Podman 4.3 and 5.4 behind real SSH."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from backends import fresh_laptop, opened, profile_for
from lab import Run, Server

from l8s_core.contracts import RemoteBackend
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
