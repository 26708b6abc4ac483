from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest

from l8s_core.contracts import ConfigStore
from l8s_core.errors import ConfigError, LocalFileError
from l8s_yaml import l8s_config_stores
from l8s_yaml.store import YAMLStore


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def file(home):
    """An existing config file in the usual place."""
    directory = home / ".l8s"
    directory.mkdir(mode=0o700)
    path = directory / "config.yaml"
    path.write_text("# mine\nremote_host: a\n")
    path.chmod(0o600)
    return path


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_plugin_yields_the_store_without_importing_a_yaml_library(home):
    (provider,) = l8s_config_stores()
    assert provider.name == "yaml"
    assert isinstance(provider.factory(None), ConfigStore)
    script = "import sys, l8s_yaml; print([m for m in sys.modules if m.startswith('ruamel')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nothing_there_is_an_empty_document_and_makes_no_file(home):
    document = YAMLStore().load()
    assert (document.location, document.exists, document.data) == ("~/.l8s/config.yaml", False, {})
    YAMLStore().edit(lambda data: data)
    assert not (home / ".l8s" / "config.yaml").exists()


def test_a_first_edit_makes_directory_and_file_private(home):
    old = os.umask(0)
    try:
        YAMLStore().edit(lambda data: {"remote_host": "a"})
    finally:
        os.umask(old)
    path = home / ".l8s" / "config.yaml"
    assert path.read_text() == "remote_host: a\n"
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700


def test_a_load_tells_data_and_lines(file):
    document = YAMLStore().load()
    assert document.exists
    assert document.data == {"remote_host": "a"}
    assert document.where(["remote_host"]) == "~/.l8s/config.yaml:2"


def test_an_edit_closes_the_file_to_others_and_leaves_a_stricter_mode(file):
    for before, after in ((0o644, 0o600), (0o400, 0o400)):
        file.chmod(before)
        YAMLStore().edit(lambda data, before=before: {**data, "remote_user": f"u{before}"})
        assert mode(file) == after
    assert file.read_text().startswith("# mine\nremote_host: a\n")


def test_an_edit_that_changes_nothing_leaves_bytes_and_time(file):
    os.utime(file, ns=(1, 1))
    inode = file.stat().st_ino
    YAMLStore().edit(lambda data: dict(data))
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == (1, inode)


def test_a_symlink_stays_and_its_target_is_changed(file):
    target = file.with_name("real.yaml")
    file.rename(target)
    file.symlink_to(target)
    YAMLStore().edit(lambda data: {"remote_host": "b"})
    assert file.is_symlink()
    assert target.read_text() == "# mine\nremote_host: b\n"


def test_a_byte_order_mark_stays(file):
    file.write_bytes(b"\xef\xbb\xbfremote_host: a\r\n")
    YAMLStore().edit(lambda data: {**data, "remote_user": "u"})
    assert file.read_bytes() == b"\xef\xbb\xbfremote_host: a\r\nremote_user: u\r\n"


def test_a_file_that_others_can_write_is_refused_with_what_to_run(file):
    file.chmod(0o602)
    with pytest.raises(ConfigError) as caught:
        YAMLStore().load()
    assert "can be written by other users" in caught.value.message
    assert "chmod 600 ~/.l8s/config.yaml" in caught.value.hints[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused_for_anyone_but_root(file, monkeypatch):
    os.chown(file, 12345, -1)
    assert YAMLStore().load().exists
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ConfigError, match="other users"):
        YAMLStore().load()


def test_a_large_file_is_refused_before_it_is_read(file):
    with file.open("wb") as stream:
        stream.truncate(2**40)
    with pytest.raises(ConfigError, match="at most 65536"):
        YAMLStore().load()


def test_an_edit_that_would_grow_the_file_too_far_is_refused(file):
    before = file.read_bytes()
    with pytest.raises(ConfigError, match="would grow"):
        YAMLStore().edit(lambda data: {**data, "labels": {"a": "x" * 70_000}})
    assert file.read_bytes() == before


def test_a_refused_edit_leaves_the_file(file):
    before = (file.read_bytes(), file.stat().st_ino)
    with pytest.raises(ConfigError):
        YAMLStore().edit(lambda data: {"a": object()})
    with pytest.raises(KeyError):
        YAMLStore().edit(lambda data: {"a": data["b"]})
    file.write_text("a: [\n")
    with pytest.raises(ConfigError, match=r"config\.yaml:2"):
        YAMLStore().edit(lambda data: {})
    assert file.read_text() == "a: [\n"
    assert before[1] == file.stat().st_ino
    assert [path.name for path in file.parent.iterdir() if path.name.endswith("tmp") or "l8s-" in path.name] == []


def test_a_directory_or_a_pipe_in_its_place_is_a_local_file_error(home):
    place = home / ".l8s" / "config.yaml"
    place.mkdir(parents=True)
    with pytest.raises(LocalFileError):
        YAMLStore().load()
    place.rmdir()
    os.mkfifo(place)
    with pytest.raises(LocalFileError):
        YAMLStore().load()


def test_a_location_may_start_with_the_home_directory(home):
    from pathlib import Path

    store = YAMLStore(Path("~/elsewhere/l8s.yaml"))
    store.edit(lambda data: {"remote_host": "a"})
    assert (home / "elsewhere" / "l8s.yaml").exists()
    assert store.load().location == "~/elsewhere/l8s.yaml"
