from __future__ import annotations

import multiprocessing
import os
import pwd
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve

from l8s_core import files
from l8s_core.contracts import SSHConfigWriter
from l8s_core.errors import LocalFileError, SSHConfigError
from l8s_core.model import HostBlock
from l8s_openssh import l8s_ssh_config_writers
from l8s_openssh.writer import OpenSSHWriter


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    # short enough for sockets: with a longer one the directory for them would be made in /tmp
    with tempfile.TemporaryDirectory(prefix="l8s-") as directory:
        monkeypatch.setenv("HOME", directory)
        yield Path(directory)


@pytest.fixture
def config(home: Path) -> Path:
    (home / ".ssh").mkdir(mode=0o700)
    return home / ".ssh" / "config"


def block(alias: str, port: int = 2200) -> HostBlock:
    return HostBlock(
        alias=alias,
        hostname="10.0.0.1",
        port=port,
        user="dev",
        host_key_alias=f"{alias}.l8s",
        known_hosts_file=str(Path.home() / ".l8s" / "known_hosts"),
    )


def add(*blocks: HostBlock) -> None:
    writer = OpenSSHWriter()
    writer.apply(writer.plan(add=blocks))


def remove(*aliases: str) -> None:
    writer = OpenSSHWriter()
    writer.apply(writer.plan(remove=aliases))


def aliases() -> list[str]:
    return [one.alias for one in OpenSSHWriter().blocks()]


def include(home: Path) -> bytes:
    return b'Include "' + os.fsencode(home / ".l8s" / "ssh_config") + b'"\n'


def tree(home: Path) -> dict[str, tuple[int, bytes]]:
    """Every file with its inode and bytes, locks aside."""
    found = (path for path in home.rglob("*") if path.is_file() and "locks" not in path.parts)
    return {str(path.relative_to(home)): (path.stat().st_ino, path.read_bytes()) for path in found}


def test_the_plugin_yields_it() -> None:
    (provider,) = l8s_ssh_config_writers()
    assert provider.name == "openssh"
    assert isinstance(provider.factory(), SSHConfigWriter)


def test_makes_both_files_private(home: Path) -> None:
    add(block("dev-a"))
    assert (home / ".ssh" / "config").read_bytes() == include(home)
    assert {
        name: stat.S_IMODE((home / name).stat().st_mode)
        for name in (".ssh", ".ssh/config", ".l8s", ".l8s/ssh_config", ".l8s/control")
    } == {
        ".ssh": 0o700,
        ".ssh/config": 0o600,
        ".l8s": 0o700,
        ".l8s/ssh_config": 0o600,
        ".l8s/control": 0o700,
    }


def test_ssh_follows_it(home: Path, config: Path) -> None:
    config.write_text("Host other\n Port 7\n")
    add(block("dev-a", 2207))

    def ask(alias: str) -> str:
        argv = ["ssh", "-F", config, "-G", alias]
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20).stdout

    assert "\nport 2207\n" in ask("dev-a")
    assert "\nhostkeyalias dev-a.l8s\n" in ask("dev-a")
    assert "\nport 7\n" in ask("other")


def test_uses_the_tilde_where_ssh_means_the_same_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = pwd.getpwuid(os.getuid())
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: pwd.struct_passwd((*theirs[:5], str(home), theirs[6])))
    add(block("dev-a"))
    assert (home / ".ssh" / "config").read_bytes() == b"Include ~/.l8s/ssh_config\n"
    add(block("dev-b"))
    assert (home / ".ssh" / "config").read_bytes() == b"Include ~/.l8s/ssh_config\n"


def test_add_replace_remove(home: Path) -> None:
    add(block("dev-b"), block("dev-a"))
    add(block("dev-a", 2201))
    assert OpenSSHWriter().blocks() == (block("dev-a", 2201), block("dev-b"))
    remove("dev-b", "dev-unknown")
    assert aliases() == ["dev-a"]
    remove("dev-a")
    assert aliases() == []
    assert (home / ".ssh" / "config").read_bytes() == include(home)


def test_the_plan_says_what_would_change_and_writes_nothing(home: Path, config: Path) -> None:
    config.write_bytes(b"Host other\n")
    before = tree(home)
    plan = OpenSSHWriter().plan(add=[block("dev-a")])
    assert tree(home) == before
    assert not (home / ".l8s").exists()
    ours, users = plan.files
    assert (ours.path, ours.before, ours.summary) == (home / ".l8s" / "ssh_config", None, "add dev-a")
    assert (users.path, users.before, users.after) == (config, b"Host other\n", include(home) + b"Host other\n")
    add(block("dev-a"), block("dev-b"))
    plan = OpenSSHWriter().plan(add=[block("dev-a", 2201), block("dev-c")], remove=["dev-b"])
    assert [change.summary for change in plan.files] == ["add dev-c; change dev-a; remove dev-b"]


def test_nothing_to_do_touches_nothing(home: Path) -> None:
    assert OpenSSHWriter().plan(remove=["dev-a"]).files == ()
    add(block("dev-a"))
    before = tree(home)
    assert OpenSSHWriter().plan(add=[block("dev-a")], remove=["dev-b"]).files == ()
    add(block("dev-a"))
    assert tree(home) == before


def test_a_stale_plan_takes_back_nothing(home: Path) -> None:
    writer = OpenSSHWriter()
    stale = writer.plan(add=[block("dev-a")])
    add(block("dev-b"))
    (home / ".ssh" / "config").write_bytes(include(home) + b"Host mine\n")
    writer.apply(stale)
    assert aliases() == ["dev-a", "dev-b"]
    assert (home / ".ssh" / "config").read_bytes() == include(home) + b"Host mine\n"


def test_links_are_followed_and_modes_kept(home: Path, config: Path) -> None:
    (home / "dots").mkdir()
    (home / "dots" / "ssh").write_bytes(b"Host other\n")
    (home / "dots" / "ssh").chmod(0o640)
    config.symlink_to("../dots/ssh")
    add(block("dev-a"))
    assert config.is_symlink()
    assert (home / "dots" / "ssh").read_bytes() == include(home) + b"Host other\n"
    assert stat.S_IMODE((home / "dots" / "ssh").stat().st_mode) == 0o640


def test_a_dangling_link_gets_its_target(home: Path, config: Path) -> None:
    (home / "dots").mkdir()
    config.symlink_to("../dots/ssh")
    add(block("dev-a"))
    assert (home / "dots" / "ssh").read_bytes() == include(home)


@pytest.mark.parametrize("what", ["file", "directory", "target"])
def test_what_is_read_only_stays_and_the_line_is_told(home: Path, config: Path, what: str) -> None:
    config.write_bytes(b"Host other\n")
    if what == "target":
        (home / "store").mkdir()
        config.rename(home / "store" / "config")
        config.symlink_to(home / "store" / "config")
    read_only = {"file": config, "directory": config.parent, "target": home / "store"}[what]
    mode = read_only.stat().st_mode
    read_only.chmod(mode & ~0o222)
    try:
        with pytest.raises(SSHConfigError, match=r"~/\.ssh/config cannot be changed: .*read-only") as caught:
            OpenSSHWriter().plan(add=[block("dev-a")])
        assert caught.value.hints == (
            f"Add this by hand as the first line of ~/.ssh/config: {include(home).decode().strip()}",
        )
        assert config.read_bytes() == b"Host other\n"
        assert not (home / ".l8s").exists()
    finally:
        read_only.chmod(mode)


def test_a_read_only_file_that_has_the_line_is_fine(home: Path, config: Path) -> None:
    config.write_bytes(b"# managed\n" + include(home))
    config.chmod(0o444)
    add(block("dev-a"))
    remove("dev-a")
    assert config.read_bytes() == b"# managed\n" + include(home)


def test_removing_never_needs_the_users_file(home: Path, config: Path) -> None:
    add(block("dev-a"), block("dev-b"))
    config.write_bytes(b"\xef\xbb\xbf")
    config.chmod(0o444)
    remove("dev-a")
    assert aliases() == ["dev-b"]
    assert config.read_bytes() == b"\xef\xbb\xbf"


@pytest.mark.parametrize("data", [b"\xef\xbb\xbfHost a\n", b"Host a\0\n"])
def test_a_file_that_ssh_cannot_read_stays_as_it_is(home: Path, config: Path, data: bytes) -> None:
    config.write_bytes(data)
    with pytest.raises(SSHConfigError, match=r"~/\.ssh/config cannot be changed: it ") as caught:
        add(block("dev-a"))
    assert "Include" in caught.value.hints[0]
    assert config.read_bytes() == data
    assert aliases() == []


def test_a_failed_write_of_the_users_file_tells_the_line(
    home: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_bytes(b"Host other\n")
    update = files.update

    def fail(path: Path, change: Callable[[bytes | None], bytes | None], *, limit: int) -> None:
        if path == config:
            raise LocalFileError("cannot write ~/.ssh/config: Disk quota exceeded", hints=("df",))
        update(path, change, limit=limit)

    monkeypatch.setattr(files, "update", fail)
    with pytest.raises(SSHConfigError, match="Disk quota") as caught:
        add(block("dev-a"))
    assert caught.value.hints[0] == "df"
    assert "Include" in caught.value.hints[1]
    assert config.read_bytes() == b"Host other\n"


def test_an_alias_of_the_users_own_is_not_shadowed(home: Path, config: Path) -> None:
    config.write_text("Host dev-*\n User x\n\nHost gate dev-a\n Port 7\n")
    with pytest.raises(SSHConfigError, match=r"~/\.ssh/config:4 has an entry for dev-a") as caught:
        OpenSSHWriter().plan(add=[block("dev-a")])
    assert "another name" in caught.value.hints[0]
    add(block("dev-b"))
    assert aliases() == ["dev-b"]


def test_an_alias_that_is_ours_already_may_be_changed(home: Path, config: Path) -> None:
    add(block("dev-a"))
    config.write_bytes(config.read_bytes() + b"Host dev-a\n ForwardX11 yes\n")
    add(block("dev-a", 2201))
    assert OpenSSHWriter().blocks() == (block("dev-a", 2201),)


@pytest.mark.parametrize("data", [b"Host mine\n", b"\xff\xfe\0", b"# Made by someone else\n"])
def test_a_file_of_anothers_in_our_place_is_left_alone(home: Path, data: bytes) -> None:
    (home / ".l8s").mkdir()
    (home / ".l8s" / "ssh_config").write_bytes(data)
    for action in (aliases, lambda: add(block("dev-a")), lambda: remove("dev-a")):
        with pytest.raises(SSHConfigError, match=r"~/\.l8s/ssh_config cannot be read, line 1") as caught:
            action()
        assert caught.value.hints == ("Move it away, l8s makes a new one: mv ~/.l8s/ssh_config ~/.l8s/ssh_config.old",)
    assert (home / ".l8s" / "ssh_config").read_bytes() == data


def test_a_value_that_cannot_be_written_changes_nothing(home: Path) -> None:
    add(block("dev-a"))
    before = tree(home)
    with pytest.raises(SSHConfigError):
        add(block("dev-b"), evolve(block("dev-c"), user="a\nProxyCommand id"))
    assert tree(home) == before


def test_a_home_that_ssh_would_read_as_a_pattern_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "h[1]").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "h[1]"))
    with pytest.raises(SSHConfigError, match="ssh cannot include"):
        OpenSSHWriter().plan(add=[block("dev-a")])


def test_a_home_with_a_space_works(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = home / "a é"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    add(block("dev-a", 2209))
    argv = ["ssh", "-F", home / ".ssh" / "config", "-G", "dev-a"]
    assert "\nport 2209\n" in subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20).stdout


def test_twenty_writers_at_once_lose_nothing(home: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=add, args=(block(f"dev-{n}", 2200 + n),)) for n in range(20)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 20
    assert sorted(OpenSSHWriter().blocks(), key=lambda one: one.port) == [
        block(f"dev-{n}", 2200 + n) for n in range(20)
    ]
    assert (home / ".ssh" / "config").read_bytes() == include(home)
    assert [path.name for path in home.rglob("*") if ".l8s-" in path.name] == []
