"""The fakes pass the suites that the real ones pass."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator

import pytest

from l8s_core.contracts import ConfigStore, RemoteBackend, SSHConfigWriter
from l8s_core.model import Profile
from l8s_core.testing import FakeBackend, FakeConfigStore, FakeServer, FakeSSHConfigWriter
from l8s_core.testing.backend_suite import RemoteBackendContract
from l8s_core.testing.config_store_suite import ConfigStoreContract
from l8s_core.testing.kept import keeping
from l8s_core.testing.ssh_config_writer_suite import SSHConfigWriterContract

PROFILE = Profile(name="dev", remote_host="build.example.com", remote_user="root")


class TestFakeBackend(RemoteBackendContract):
    @pytest.fixture
    def make_backend(self) -> Callable[[], RemoteBackend]:
        server = FakeServer()
        return lambda: FakeBackend(PROFILE, server)

    @pytest.fixture
    def image(self) -> str:
        return PROFILE.base_image

    @pytest.fixture
    def pause(self) -> Callable[[float], None]:
        return lambda seconds: None


class TestFakeConfigStore(ConfigStoreContract):
    @pytest.fixture
    def make_store(self) -> Callable[[], ConfigStore]:
        store = FakeConfigStore()
        return lambda: store


class TestFakeSSHConfigWriter(SSHConfigWriterContract):
    @pytest.fixture
    def make_writer(self) -> Callable[[], SSHConfigWriter]:
        writer = FakeSSHConfigWriter()
        return lambda: writer


class TestHeldBackend(RemoteBackendContract):
    """The fake, kept by a holder in a thread of this process."""

    @pytest.fixture
    def make_backend(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], RemoteBackend]]:
        with tempfile.TemporaryDirectory(prefix="lh-", dir="/tmp") as home:  # a socket's path is short
            monkeypatch.setenv("HOME", home)
            with keeping(PROFILE, FakeBackend) as kept:
                yield kept.held

    @pytest.fixture
    def image(self) -> str:
        return PROFILE.base_image

    @pytest.fixture
    def pause(self) -> Callable[[float], None]:
        return lambda seconds: None
