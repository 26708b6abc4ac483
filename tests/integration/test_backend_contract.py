"""The contract suite on the real backend: Podman 4.3 and 5.4 behind real SSH."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from backends import fresh_laptop, opened, profile_for
from lab import Run, Server
from l8s_core.contracts import RemoteBackend
from l8s_core.testing.backend_suite import RemoteBackendContract
from l8s_podman.backend import PodmanBackend


class TestPodmanBackend(RemoteBackendContract):
    @pytest.fixture(scope="class")
    def make_backend(self, run: Run, server: Server) -> Iterator[Callable[[], RemoteBackend]]:
        with fresh_laptop(run) as laptop:
            laptop.trust(server)
            yield lambda: PodmanBackend(profile_for(server))

    @pytest.fixture(scope="class")
    def backend(self, make_backend: Callable[[], RemoteBackend], server: Server) -> Iterator[RemoteBackend]:
        with opened(profile_for(server)) as backend:
            yield backend
        server.run("podman rmi --ignore localhost/l8s-contract-built localhost/l8s-contract-broken", check=False)

    @pytest.fixture(scope="class")
    def image(self, server: Server) -> str:
        return server.import_image()
