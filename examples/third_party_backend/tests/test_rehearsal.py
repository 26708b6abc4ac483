"""The backend keeps the contract."""

import pytest
from l8s_rehearsal import make

import l8s_core as l8s
from l8s_core.testing.backend_suite import RemoteBackendContract

PROFILE = l8s.Profile(
    name="rehearsal",
    remote_host="rehearsal.example.com",
    remote_user="root",
    backend="rehearsal",
    options={"python": "3.14.0"},
)


class TestRehearsal(RemoteBackendContract):
    @pytest.fixture
    def make_backend(self):
        return lambda: make(PROFILE)

    @pytest.fixture
    def image(self):
        return PROFILE.base_image

    @pytest.fixture
    def pause(self):
        return lambda _: None  # time stands still in memory

    def test_its_own_command(self, backend, running):
        result = backend.exec(running, ["python3", "--version"])
        assert (result.exit_code, result.stdout) == (0, "Python 3.14.0\n")
