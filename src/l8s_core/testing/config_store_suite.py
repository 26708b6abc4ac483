# ruff: noqa: ARG005, D102  (the tests' names say what they check)
"""The contract suite of a `ConfigStore`.

Subclass it in a test module and override one fixture::

    from l8s_core.testing.config_store_suite import ConfigStoreContract

    class TestMyStore(ConfigStoreContract):
        @pytest.fixture
        def make_store(self, tmp_path):
            return lambda: MyStore(tmp_path / "config")     # each call: another one on the same, empty place
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from l8s_core.contracts import ConfigStore

DATA: dict[str, object] = {
    "active_profile": "dev",
    "labels": {"team": "blue", "example.com/cost": "007"},
    "ssh_start_port": 2200,
    "profiles": {
        "dev": {"remote_host": "build.example.com", "remote_user": "root", "forward_agent": True},
        "staging": {"remote_host": "10.0.0.7", "remote_user": "podman", "options": {"hosts": ["a", "b"]}},
    },
}

LOOKALIKES = [
    "true",
    "no",
    "null",
    "~",
    "1",
    "1.5",
    "0o22",
    "2024-01-01",
    "",
    " ",
    "a: b",
    "#x",
    "'q\"",
    "ü",
    "a\nb",
]
"""Texts that are easily mistaken for something else than text."""


class ConfigStoreContract:
    """Inherit from it in a test class; see the module."""

    @pytest.fixture
    def make_store(self) -> Callable[[], ConfigStore]:
        """A function that constructs a store; every store that it makes keeps the same, at first empty, config."""
        raise NotImplementedError("override the fixture make_store")

    @pytest.fixture
    def store(self, make_store: Callable[[], ConfigStore]) -> ConfigStore:
        """A store with nothing in it."""
        return make_store()

    def test_it_is_a_config_store(self, store: ConfigStore) -> None:
        assert isinstance(store, ConfigStore)

    def test_an_empty_store_answers_an_empty_document(self, store: ConfigStore) -> None:
        document = store.load()
        assert not document.exists
        assert dict(document.data) == {}
        assert document.location

    def test_what_was_written_is_read_back(self, store: ConfigStore, make_store: Callable[[], ConfigStore]) -> None:
        store.edit(lambda data: DATA)
        for reader in (store, make_store()):
            document = reader.load()
            assert document.exists
            assert document.data == DATA

    @pytest.mark.parametrize("text", LOOKALIKES)
    def test_text_stays_text(self, store: ConfigStore, text: str) -> None:
        store.edit(lambda data: {"labels": {"key": text}})
        assert store.load().data == {"labels": {"key": text}}

    def test_only_plain_values_come_out(self, store: ConfigStore) -> None:
        store.edit(lambda data: DATA)
        plain = (dict, list, str, int, float, bool, type(None))

        def check(value: object) -> None:
            assert type(value) in plain, type(value)
            if isinstance(value, dict):
                for key, item in value.items():
                    check(key)
                    check(item)
            elif isinstance(value, list):
                for item in value:
                    check(item)

        check(store.load().data)

    def test_a_change_starts_from_what_is_there(self, store: ConfigStore) -> None:
        store.edit(lambda data: {"ssh_start_port": 2200, "remote_user": "root"})

        def change(data: dict[str, object]) -> Mapping[str, object]:
            assert data == {"ssh_start_port": 2200, "remote_user": "root"}
            del data["remote_user"]
            return {**data, "remote_host": "build.example.com"}

        store.edit(change)
        assert store.load().data == {"ssh_start_port": 2200, "remote_host": "build.example.com"}

    def test_a_change_that_raises_changes_nothing(self, store: ConfigStore) -> None:
        store.edit(lambda data: DATA)

        def change(data: dict[str, object]) -> Mapping[str, object]:
            data.clear()
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            store.edit(change)
        assert store.load().data == DATA

    def test_a_change_gets_a_copy(self, store: ConfigStore) -> None:
        store.edit(lambda data: DATA)
        kept: list[dict[str, object]] = []

        def change(data: dict[str, object]) -> Mapping[str, object]:
            kept.append(data)
            return dict(DATA)

        store.edit(change)
        kept[0].clear()
        assert store.load().data == DATA

    def test_no_writer_comes_between(self, make_store: Callable[[], ConfigStore]) -> None:
        def increment(_: int) -> None:
            def change(data: dict[str, object]) -> Mapping[str, object]:
                count = data.get("ssh_start_port", 0)
                assert isinstance(count, int)
                return {**data, "ssh_start_port": count + 1}

            make_store().edit(change)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(increment, range(12)))
        assert make_store().load().data == {"ssh_start_port": 12}

    def test_every_key_has_a_place(self, store: ConfigStore) -> None:
        store.edit(lambda data: DATA)
        document = store.load()
        for path in (("labels",), ("profiles", "dev", "remote_host"), ("no", "such", "key")):
            assert document.where(path).startswith(document.location)
