"""The built-in ssh-config writer keeps the contract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from l8s_core.contracts import SSHConfigWriter
from l8s_core.testing.ssh_config_writer_suite import SSHConfigWriterContract
from l8s_openssh.writer import OpenSSHWriter


class TestOpenSSHWriter(SSHConfigWriterContract):
    @pytest.fixture
    def make_writer(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], SSHConfigWriter]:
        monkeypatch.setenv("HOME", str(tmp_path))
        return OpenSSHWriter
