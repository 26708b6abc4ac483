"""Which holder serves a profile: what a connection depends on leads to another one, all else does not."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from l8s_core.model import Profile
from l8s_core.multiplex import place as places
from l8s_core.multiplex.place import Place

PROFILE = Profile(name="dev", remote_host="build.example.com", remote_user="root")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".l8s").mkdir(mode=0o700)
    (tmp_path / ".ssh").mkdir(mode=0o700)
    (tmp_path / ".ssh" / "id_ed25519.pub").write_text("ssh-ed25519 AAAA one\n")
    (tmp_path / ".ssh" / "config").write_text("Host a\n")
    (tmp_path / ".l8s" / "known_hosts").write_text("build.example.com ssh-ed25519 AAAA\n")
    return tmp_path


def name(profile: Profile = PROFILE, **options: object) -> str:
    return Place.of(profile, **{"third_party": True, "environ": {}, **options}).name  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "other",
    [
        evolve(PROFILE, remote_host="other.example.com"),
        evolve(PROFILE, remote_user="admin"),
        evolve(PROFILE, remote_port=2222),
        evolve(PROFILE, remote_socket="/run/other.sock"),
        evolve(PROFILE, ssh_key_path="~/.ssh/other"),
        evolve(PROFILE, backend="other"),
        evolve(PROFILE, options={"a": [1]}),
        evolve(PROFILE, sources={"ssh_key_path": "config.yaml:3"}),
    ],
)
def test_another_connection_is_another_holder(other: Profile) -> None:
    assert name(other) != name()


@pytest.mark.parametrize(
    "other",
    [
        evolve(PROFILE, name="staging", container_prefix="s"),
        evolve(PROFILE, base_image="localhost/other:1", labels={"a": "b"}, ssh_start_port=3000),
        evolve(PROFILE, multiplex=1.0, forward_agent=True),
    ],
)
def test_all_else_shares_one(other: Profile) -> None:
    assert name(other) == name()


def _pin(home: Path, line: str) -> None:
    with (home / ".l8s" / "known_hosts").open("a") as file:
        file.write(line)


@pytest.mark.parametrize(
    "change",
    [
        lambda home: _pin(home, "build.example.com ecdsa-sha2-nistp256 BBBB\n"),
        lambda home: (home / ".ssh" / "id_ed25519.pub").write_text("ssh-ed25519 BBBB two\n"),
        lambda home: (home / ".ssh" / "config").write_text("Host a b\n"),
        lambda home: (home / ".ssh" / "config").unlink(),
    ],
)
def test_what_the_laptop_trusts_and_uses_counts(home: Path, change: Callable[[Path], object]) -> None:
    before = name()
    change(home)
    assert name() != before


def test_the_line_that_includes_l8ss_own_entries_does_not_count(home: Path) -> None:
    before = name()
    config = home / ".ssh" / "config"
    config.write_text(f"Include ~/.l8s/ssh_config\n{config.read_text()}")
    assert name() == before


def test_a_containers_key_does_not_count(home: Path) -> None:
    before = name()
    _pin(home, "dev-x.l8s ssh-ed25519 CCCC\n")
    assert name() == before


def test_plugins_count() -> None:
    assert len({name(), name(third_party=False), name(environ={"L8S_BLOCK_PLUGINS": "a"})}) == 3


def test_an_installation_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = name()
    monkeypatch.setattr(places, "_code", lambda: iter(["/site-packages", [1]]))
    assert name() != before


def test_one_of_many_gets_the_lock_and_a_removed_file_is_no_lock() -> None:
    places.prepare()
    place = Place.of(PROFILE, third_party=True, environ={})
    lock = place.lock_descriptor()
    assert lock is not None
    assert place.lock_descriptor() is None
    assert place.is_held()
    os.close(lock)
    assert not place.is_held()
    old = os.open(place.lock, os.O_RDWR)
    place.lock.unlink()
    again = place.lock_descriptor()
    assert again is not None
    assert os.fstat(again).st_ino != os.fstat(old).st_ino
    os.close(old)
    os.close(again)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"x" * 100_000])
def test_a_state_that_is_none(content: bytes) -> None:
    places.prepare()
    place = Place("a" * 20)
    place.lock.write_bytes(content)
    assert place.state() == {}
    assert [found.name for found in places.all_places()] == ["a" * 20]


def test_a_long_home_has_no_place_for_a_socket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    (deep / ".l8s").mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("HOME", str(deep))
    assert not Place("a" * 20).usable


def test_only_the_user_may_come_in(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="lp-", dir="/tmp") as short:
        monkeypatch.setenv("HOME", short)
        places.prepare()
        place = Place("a" * 20)
        with places.listen(place.socket):
            assert place.socket.stat().st_mode & 0o777 == 0o600
            assert places.directory().stat().st_mode & 0o777 == 0o700
