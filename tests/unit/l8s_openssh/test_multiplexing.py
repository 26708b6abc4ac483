from __future__ import annotations

import stat
from pathlib import Path

import pytest

from l8s_openssh import multiplexing
from l8s_openssh.multiplexing import Multiplexing


def test_a_usual_home_holds_the_sockets() -> None:
    assert multiplexing.choose(Path("/home/me"), 1000) == Multiplexing("/home/me/.l8s/control")


@pytest.mark.parametrize("length", range(20, 60))
def test_a_socket_path_is_never_too_long(length: int) -> None:
    home = Path("/" + "h" * (length - 1))
    place = multiplexing.choose(home, 4_000_000_000)
    assert len(place.directory) + len("/") + 40 + 17 < 104
    assert place.guarded is not place.directory.startswith("/hhh")


def test_bytes_count_and_not_letters() -> None:
    assert not multiplexing.choose(Path("/home/" + "e" * 20), 1).guarded
    assert multiplexing.choose(Path("/home/" + "é" * 20), 1).guarded


def test_the_directory_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    multiplexing.prepare(Multiplexing(str(tmp_path / ".l8s" / "control")))
    assert stat.S_IMODE((tmp_path / ".l8s" / "control").stat().st_mode) == 0o700
    guarded = tmp_path / "l8s-1"
    for _ in range(2):
        multiplexing.prepare(Multiplexing(str(guarded), guarded=True))
        assert stat.S_IMODE(guarded.stat().st_mode) == 0o700
        guarded.chmod(0o755)


def test_a_guarded_directory_that_cannot_be_had_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real").chmod(0o755)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").write_text("")
    multiplexing.prepare(Multiplexing(str(tmp_path / "link"), guarded=True))
    multiplexing.prepare(Multiplexing(str(tmp_path / "file"), guarded=True))
    multiplexing.prepare(Multiplexing(str(tmp_path / "no" / "x"), guarded=True))
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o755
