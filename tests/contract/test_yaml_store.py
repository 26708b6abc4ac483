"""The built-in config store keeps the contract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from l8s_core.contracts import ConfigStore
from l8s_core.testing.config_store_suite import ConfigStoreContract
from l8s_yaml.store import YAMLStore


class TestYAMLStore(ConfigStoreContract):
    @pytest.fixture
    def make_store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], ConfigStore]:
        monkeypatch.setenv("HOME", str(tmp_path))
        return lambda: YAMLStore(None)


class TestYAMLStoreElsewhere(ConfigStoreContract):
    """With a location of its own, as ``L8S_CONFIG`` gives it."""

    @pytest.fixture
    def make_store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], ConfigStore]:
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        return lambda: YAMLStore(tmp_path / "elsewhere" / "servers.yaml")
