"""Finding the entry points of l8s: what `importlib.metadata` would find, without it."""

from __future__ import annotations

import importlib
import importlib.metadata
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from l8s_core import installed

OURS = {"podman", "yaml", "openssh"}


class Site:
    """A directory of distributions, first on sys.path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def install(self, folder: str, points: str | bytes | None, metadata: str = "Name: acme\nVersion: 1.5\n") -> Path:
        info = self.path / folder
        info.mkdir(parents=True)
        (info / ("METADATA" if folder.endswith("dist-info") else "PKG-INFO")).write_text(metadata, "utf-8")
        if points is not None:
            (info / "entry_points.txt").write_bytes(points if isinstance(points, bytes) else points.encode())
        return info


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return Site(tmp_path)


def _found() -> set[tuple[str, str, str, str]]:
    return {(item.name, item.value, item.distribution, item.version) for item in installed.entry_points()[0]}


def _by_importlib() -> set[tuple[str, str, str, str]]:
    importlib.invalidate_caches()
    found = importlib.metadata.entry_points(group="l8s")
    return {(item.name, item.value, item.dist.metadata["Name"], item.dist.version) for item in found if item.dist}


def test_the_built_in_plugins_are_entry_points_like_anyones() -> None:
    points = [item for item in installed.entry_points()[0] if item.built_in]
    assert {item.name for item in points} == OURS
    assert _found() == _by_importlib()


def test_they_bring_no_command() -> None:
    """What `l8s_cli.main` rests on when it lists the commands without loading any plugin."""
    for item in installed.entry_points()[0]:
        assert not (item.built_in and hasattr(item.load(), "l8s_cli_commands"))


def test_others_are_seen(site: Site) -> None:
    assert not installed.third_party()
    site.install("acme-1.5.dist-info", "[console_scripts]\nacme = acme:run\n\n[l8s]\nacme = acme.plugin\n")
    assert installed.third_party()
    assert ("acme", "acme.plugin", "acme", "1.5") in _found()
    assert _found() == _by_importlib()


@pytest.mark.parametrize(
    ("folder", "points"),
    [
        ("acme-1.5.dist-info", "[l8s]\n# no\n acme=acme \n\nother = acme.x:plugin [extra]\n[other]\nx = y\n"),
        ("acme.egg-info", "[l8s]\nacme = acme\n"),
        ("Acme_Tools-1.5-py3.11.egg-info", "[l8s]\nacme = acme:a.b\n"),
        ("acme-1.5.dist-info", "[l8s.more]\nacme = acme\n"),
        ("acme-1.5.dist-info", "[console_scripts]\nl8s = acme:run\n"),
        ("acme-1.5.dist-info", None),
    ],
)
def test_it_finds_what_importlib_finds(site: Site, folder: str, points: str | None) -> None:
    site.install(folder, points)
    assert _found() == _by_importlib()


def test_of_two_distributions_of_one_name_the_first_on_the_path_counts(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = Site(tmp_path / "later")
    later.install("My.Acme-2.0.dist-info", "[l8s]\nlate = acme\n", "Name: My.Acme\nVersion: 2.0\n")
    site.install("my_acme-1.0.dist-info", "[l8s]\nearly = acme\n", "Name: my-acme\nVersion: 1.0\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(later.path)])
    assert {item[0] for item in _found()} == {*OURS, "early"}
    assert _found() == _by_importlib()


def test_a_first_one_without_plugins_hides_a_later_one_too(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Site(tmp_path / "later").install("acme-2.0.dist-info", "[l8s]\nlate = acme\n")
    site.install("acme-1.0.dist-info", None)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "later")])
    assert {item[0] for item in _found()} == OURS


@pytest.mark.parametrize("points", [b"[l8s]\nx = \xff\n", b"[l8s]\nno equals sign\n"])
def test_what_cannot_be_read_is_told_and_hides_nothing(site: Site, points: bytes) -> None:
    site.install("broken-1.0.dist-info", points)
    found, unreadable = installed.entry_points()
    assert {item.name for item in found} == OURS
    assert len(unreadable) == 1
    assert "broken-1.0.dist-info" in unreadable[0]


def test_metadata_without_a_name_leaves_the_plugin(site: Site) -> None:
    info = site.install("acme-1.5.dist-info", "[l8s]\nacme = acme\n")
    (info / "METADATA").write_bytes(b"\xff\xfe")
    assert ("acme", "acme", "", "") in _found()


def test_a_description_is_not_taken_for_the_header(site: Site) -> None:
    site.install("acme-1.5.dist-info", "[l8s]\nacme = acme\n", "Name: acme\nVersion: 1\n\nName: l8s\nVersion: 2\n")
    assert ("acme", "acme", "acme", "1") in _found()


def test_places_that_are_not_there_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/nowhere/python.zip", *sys.path])
    monkeypatch.setattr(installed, "_asked", lambda unreadable: pytest.fail("importlib was asked"))
    assert {item[0] for item in _found()} == OURS


def test_a_plugin_in_a_zip_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "bundle.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        bundle.writestr("acme-1.5.dist-info/METADATA", "Metadata-Version: 2.1\nName: acme\nVersion: 1.5\n")
        bundle.writestr("acme-1.5.dist-info/entry_points.txt", "[l8s]\nzipped = acme_zipped\n")
        bundle.writestr("acme_zipped.py", "NAME = 'zipped'\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(archive)])
    assert ("zipped", "acme_zipped", "acme", "1.5") in _found()
    assert _found() == _by_importlib()
    point = next(item for item in installed.entry_points()[0] if item.name == "zipped")
    assert vars(point.load())["NAME"] == "zipped"


def test_a_finder_of_its_own_kind_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Site(tmp_path).install("acme-1.5.dist-info", "[l8s]\nacme = acme\n")

    class Finder:
        @classmethod
        def find_spec(cls, *_: object) -> None:
            return None

        @classmethod
        def find_distributions(cls, *_: object) -> list[importlib.metadata.Distribution]:
            return [importlib.metadata.PathDistribution(tmp_path / "acme-1.5.dist-info")]

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    assert ("acme", "acme", "acme", "1.5") in _found()


def test_the_current_directory_counts_when_python_looks_there(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("acme-1.5.dist-info", "[l8s]\nacme = acme\n")
    monkeypatch.chdir(site.path)
    monkeypatch.setattr(sys, "path", ["", *sys.path[1:]])
    assert "acme" in {item[0] for item in _found()}


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("os.path", "module"),
        ("os.path:join", "function"),
        ("os : path.join ", "function"),
        ("os:path [x, y]", "module"),
    ],
)
def test_loading(value: str, wanted: str) -> None:
    loaded = installed.EntryPoint("x", value, "acme", "1").load()
    assert type(loaded).__name__ == wanted


def test_an_entry_point_that_leads_nowhere() -> None:
    for value in ("no_such_module", "os:no_such_thing", "", "os:path.no"):
        with pytest.raises((ImportError, AttributeError, ValueError)):
            installed.EntryPoint("x", value, "acme", "1").load()


def test_three_hundred_distributions_are_not_parsed(site: Site) -> None:
    for number in range(300):
        points = f"[console_scripts]\nx{number} = x{number}:run\n" if number % 3 == 0 else None
        site.install(f"package{number}-1.0.dist-info", points, f"Name: package{number}\nVersion: 1.0\n")
    site.install("acme-1.5.dist-info", "[l8s]\nacme = acme\n")
    code = (
        "import sys; from l8s_core import installed\n"
        "opened = []\n"
        "sys.addaudithook(lambda event, arguments: event == 'open' and opened.append(str(arguments[0])))\n"
        "assert {item.name for item in installed.entry_points()[0]} >= {'acme', 'podman'}\n"
        "assert 'importlib.metadata' not in sys.modules, 'importlib.metadata'\n"
        "read = [path for path in opened if path.endswith(('METADATA', 'PKG-INFO'))]\n"
        "assert len(read) == 2, read\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(site.path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
