from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import resource
import stat
import sys
import threading
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from l8s_core import files
from l8s_core.errors import FileBusy, LocalFileError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "home"
    directory.mkdir()
    monkeypatch.setenv("HOME", str(directory))
    return directory


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_display_shortens_the_home_directory_only(home: Path) -> None:
    assert files.display(home / ".l8s" / "x") == "~/.l8s/x"
    assert files.display(Path("/etc/x")) == "/etc/x"
    assert files.display(home.parent / "home2" / "x") == str(home.parent / "home2" / "x")


class TestPrivateDir:
    def test_makes_every_missing_parent_private(self, home: Path, open_umask: None) -> None:
        files.private_dir(home / ".l8s" / "a" / "b")
        assert [mode(home / ".l8s" / part) for part in ("", "a", "a/b")] == [0o700] * 3

    def test_tightens_what_is_ours(self, home: Path) -> None:
        (home / ".l8s").mkdir()
        (home / ".l8s").chmod(0o755)
        files.private_dir(home / ".l8s")
        assert mode(home / ".l8s") == 0o700

    def test_leaves_a_directory_of_the_users_as_it_is(self, home: Path) -> None:
        (home / "conf").mkdir()
        (home / "conf").chmod(0o755)
        files.private_dir(home / "conf")
        assert mode(home / "conf") == 0o755

    def test_refuses_a_file_in_its_place(self, home: Path) -> None:
        (home / ".l8s").write_text("")
        with pytest.raises(LocalFileError, match=r"~/\.l8s"):
            files.private_dir(home / ".l8s")


class TestReadLimited:
    def test_absent_is_none(self, home: Path) -> None:
        assert files.read_limited(home / "x", 10) is None

    def test_reads_up_to_the_limit_and_no_more(self, home: Path) -> None:
        (home / "x").write_bytes(b"0123456789")
        assert files.read_limited(home / "x", 10) == b"0123456789"
        with pytest.raises(LocalFileError, match="~/x: it is larger"):
            files.read_limited(home / "x", 9)

    def test_a_fifo_does_not_hang(self, home: Path) -> None:
        os.mkfifo(home / "x")
        with pytest.raises(LocalFileError, match="not a regular file"):
            files.read_limited(home / "x", 9)

    def test_a_directory_is_refused(self, home: Path) -> None:
        with pytest.raises(LocalFileError, match="~"):
            files.read_limited(home, 9)


class TestWriteAtomic:
    def test_new_file_gets_the_mode(self, home: Path, open_umask: None) -> None:
        files.write_atomic(home / "x", b"1")
        files.write_atomic(home / "y", b"1", mode=0o644)
        assert (mode(home / "x"), mode(home / "y")) == (0o600, 0o644)
        assert (home / "x").read_bytes() == b"1"

    def test_existing_file_keeps_its_mode_and_owner(self, home: Path) -> None:
        (home / "x").write_bytes(b"0")
        (home / "x").chmod(0o640)
        if os.geteuid() == 0:
            os.chown(home / "x", 1234, 5678)
        before = (home / "x").stat()
        files.write_atomic(home / "x", b"1")
        after = (home / "x").stat()
        assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
        assert (home / "x").read_bytes() == b"1"

    def test_follows_a_chain_of_links_to_the_last_target(self, home: Path) -> None:
        (home / "dots").mkdir()
        (home / "dots" / "real").write_bytes(b"0")
        (home / "middle").symlink_to("dots/real")
        (home / "x").symlink_to("middle")
        files.write_atomic(home / "x", b"1")
        assert (home / "x").is_symlink()
        assert (home / "middle").is_symlink()
        assert (home / "dots" / "real").read_bytes() == b"1"

    def test_a_dangling_link_gets_its_target(self, home: Path) -> None:
        (home / "dots").mkdir()
        (home / "x").symlink_to("dots/new")
        files.write_atomic(home / "x", b"1")
        assert (home / "x").is_symlink()
        assert (home / "dots" / "new").read_bytes() == b"1"

    def test_a_loop_of_links_is_refused(self, home: Path) -> None:
        (home / "x").symlink_to("y")
        (home / "y").symlink_to("x")
        with pytest.raises(LocalFileError, match="~/x"):
            files.write_atomic(home / "x", b"1")
        assert (home / "x").is_symlink()

    def test_never_replaces_what_is_no_regular_file(self, home: Path) -> None:
        os.mkfifo(home / "fifo")
        (home / "x").symlink_to(home / "fifo")
        with pytest.raises(LocalFileError, match="not a regular file"):
            files.write_atomic(home / "x", b"1")
        assert stat.S_ISFIFO((home / "fifo").stat().st_mode)

    def test_a_missing_directory_says_how_to_make_it(self, home: Path) -> None:
        with pytest.raises(LocalFileError) as caught:
            files.write_atomic(home / "no" / "x", b"1")
        assert caught.value.hints == ("Make its directory: mkdir -p ~/no",)

    @pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
    def test_a_failure_leaves_the_old_bytes_and_nothing_else(
        self, home: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
    ) -> None:
        (home / "x").write_bytes(b"old")

        def fail(descriptor: int) -> None:
            raise error

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises((LocalFileError, KeyboardInterrupt)) as caught:
            files.write_atomic(home / "x", b"new")
        assert (home / "x").read_bytes() == b"old"
        assert [path.name for path in home.iterdir()] == ["x"]
        if isinstance(caught.value, LocalFileError):
            assert "No space left" in caught.value.message
            assert "df -h" in caught.value.hints[0]

    def test_a_write_that_stops_half_way_leaves_the_old_bytes(self, home: Path) -> None:
        (home / "x").write_bytes(b"old")
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        try:
            with pytest.raises(LocalFileError, match="cannot write ~/x"):
                files.write_atomic(home / "x", b"n" * 100_000)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert (home / "x").read_bytes() == b"old"
        assert [path.name for path in home.iterdir()] == ["x"]

    def test_a_reader_never_sees_a_mixture(self, home: Path) -> None:
        path = home / "x"
        versions = {bytes([65 + n]) * 50_000 for n in range(2)}
        files.write_atomic(path, min(versions))
        seen: set[bytes] = set()
        stop = threading.Event()

        def watch() -> None:
            while not stop.is_set():
                seen.add(path.read_bytes())

        reader = threading.Thread(target=watch)
        reader.start()
        for _ in range(20):
            for version in versions:
                files.write_atomic(path, version)
        stop.set()
        reader.join()
        assert seen <= versions


def stuck(path: Path, written: Event) -> None:
    """Write a file, and stop just before it gets its name."""

    def fsync(descriptor: int) -> None:
        del descriptor
        written.set()
        threading.Event().wait()

    os.fsync = fsync
    files.write_atomic(path, b"of another process")


class TestWhatAKilledProcessLeaves:
    @pytest.fixture
    def writer(self, home: Path) -> Iterator[multiprocessing.process.BaseProcess]:
        """A process that is in the middle of writing ~/x."""
        context = multiprocessing.get_context("spawn")
        written = context.Event()
        process = context.Process(target=stuck, args=(home / "x", written))
        process.start()
        assert written.wait(20)
        yield process
        process.kill()
        process.join()

    def test_is_cleared_away_by_the_next_write(self, home: Path, writer: multiprocessing.process.BaseProcess) -> None:
        theirs = next(home.glob(".x.l8s-*"))
        files.write_atomic(home / "x", b"ours")
        assert theirs.exists()  # it lives, and would miss it
        writer.kill()
        writer.join()
        assert theirs.exists()
        files.update(home / "x", lambda data: b"ours again", limit=100)
        assert [path.name for path in home.iterdir()] == ["x"]

    def test_nothing_else_is_taken_for_that(self, home: Path) -> None:
        others = {".x.l8s-notes", ".x.l8s-12345678.txt", ".x.l8s-ABCDEFGH", ".y.l8s-12345678", "x.l8s-12345678"}
        for name in others:
            (home / name).write_bytes(b"")
        (home / ".x.l8s-directo1").mkdir()
        (home / ".x.l8s-symlink1").symlink_to("elsewhere")
        (home / ".x.l8s-leftover").write_bytes(b"")
        files.write_atomic(home / "x", b"ours")
        assert {path.name for path in home.iterdir()} == {"x", ".x.l8s-directo1", ".x.l8s-symlink1", *others}


class TestUpdate:
    def test_changes_what_is_there_and_makes_what_is_not(self, home: Path) -> None:
        seen = []

        def change(data: bytes | None) -> bytes:
            seen.append(data)
            return b"a" + (data or b"")

        files.update(home / "x", change, limit=10)
        files.update(home / "x", change, limit=10)
        assert seen == [None, b"a"]
        assert (home / "x").read_bytes() == b"aa"
        assert mode(home / "x") == 0o600

    @pytest.mark.parametrize("same", [None, b"old"])
    def test_no_change_touches_nothing(self, home: Path, same: bytes | None) -> None:
        (home / "x").write_bytes(b"old")
        before = (home / "x").stat()
        files.update(home / "x", lambda data: same, limit=10)
        files.update(home / "y", lambda data: None, limit=10)
        after = (home / "x").stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
        assert not (home / "y").exists()

    def test_what_another_program_wrote_meanwhile_stays(self, home: Path) -> None:
        """Appended, replaced, written in place, and made where nothing was: each before the exchange."""

        def append() -> None:
            with (home / "x").open("ab") as file:
                file.write(b"appended\n")

        def exchange() -> None:
            (home / "z").write_bytes(b"replaced\n")
            (home / "z").rename(home / "x")

        meanwhile = [lambda: (home / "x").write_bytes(b"made\n"), append, exchange, append]

        def change(data: bytes | None) -> bytes:
            if meanwhile:
                meanwhile.pop(0)()
            return b"ours\n" + (data or b"")

        files.update(home / "x", change, limit=100)
        assert (home / "x").read_bytes() == b"ours\nreplaced\nappended\n"
        assert [path.name for path in home.iterdir()] == ["x"]

    def test_what_is_appended_in_the_moment_of_the_exchange_is_appended_again(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (home / "x").write_bytes(b"old\n")
        replace = Path.replace
        with (home / "x").open("ab", buffering=0) as theirs:

            def late(self: Path, target: Path) -> Path:
                replaced = replace(self, target)
                theirs.write(b"late\n")
                theirs.close()
                return replaced

            monkeypatch.setattr(Path, "replace", late)
            files.update(home / "x", lambda data: b"ours\n" + (data or b""), limit=100)
        assert (home / "x").read_bytes() == b"ours\nold\nlate\n"

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells whether somebody has a file open")
    def test_a_program_that_has_it_open_is_waited_for(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(files, "LATE_WRITERS", 60.0)
        path = home / "x"
        path.write_bytes(b"old\n")
        looked, waiting = fcntl.fcntl, threading.Event()

        def look(descriptor: int, command: int, argument: int) -> int:
            waiting.set()
            return looked(descriptor, command, argument)

        monkeypatch.setattr(fcntl, "fcntl", look)
        theirs = path.open("ab", buffering=0)

        def late() -> None:
            assert waiting.wait(60)
            assert path.read_bytes() == b"ours\nold\n"
            theirs.write(b"late\n")
            theirs.close()

        program = threading.Thread(target=late)
        program.start()
        files.update(path, lambda data: b"ours\n" + (data or b""), limit=100)
        program.join()
        assert path.read_bytes() == b"ours\nold\nlate\n"

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells whether somebody has a file open")
    def test_and_not_for_ever(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(files, "LATE_WRITERS", 0.05)
        (home / "x").write_bytes(b"old\n")
        with (home / "x").open("ab"):
            files.update(home / "x", lambda data: b"new\n", limit=100)
        assert (home / "x").read_bytes() == b"new\n"

    def test_a_program_that_never_rests_is_named(self, home: Path) -> None:
        (home / "x").write_bytes(b"")

        def change(data: bytes | None) -> bytes:
            with (home / "x").open("ab") as file:
                file.write(b".")
            return b"ours"

        with pytest.raises(FileBusy, match="another program writes it") as caught:
            files.update(home / "x", change, limit=100)
        assert "fuser" in caught.value.hints[0]
        assert (home / "x").read_bytes() == b"." * files.UPDATE_ATTEMPTS
        assert [path.name for path in home.iterdir()] == ["x"]

    def test_what_could_not_be_read_again_is_not_written(self, home: Path) -> None:
        (home / "x").write_bytes(b"old")
        with pytest.raises(LocalFileError, match="cannot write ~/x: it would be larger than 1 KiB"):
            files.update(home / "x", lambda data: b"n" * 1025, limit=1024)
        assert (home / "x").read_bytes() == b"old"

    def test_a_link_is_named_with_where_it_leads(self, home: Path) -> None:
        (home / "x").symlink_to("dots/x")
        with pytest.raises(LocalFileError) as caught:
            files.update(home / "x", lambda data: b"new", limit=10)
        assert caught.value.message == "cannot write ~/x, which leads to ~/dots/x: No such file or directory"
        assert caught.value.hints == ("Make its directory: mkdir -p ~/dots",)


def hold(path: Path, held: Event, release: Event) -> None:
    with files.locked(path):
        held.set()
        release.wait(20)


class TestLocked:
    def test_another_process_waits_and_is_told_who_may_hold_it(self, home: Path) -> None:
        context = multiprocessing.get_context("fork")
        held, release = context.Event(), context.Event()
        process = context.Process(target=hold, args=(home / "x", held, release))
        process.start()
        try:
            assert held.wait(10)
            with pytest.raises(LocalFileError, match="~/x is in use") as caught, files.locked(home / "x", timeout=0.1):
                pass
            assert any("pgrep" in hint for hint in caught.value.hints)
            with files.locked(home / "other", timeout=0.1):
                pass
        finally:
            release.set()
            process.join()
        with files.locked(home / "x", timeout=1):
            pass

    def test_links_to_one_file_share_its_lock(self, home: Path) -> None:
        (home / "x").write_bytes(b"")
        (home / "y").symlink_to("x")
        with (
            files.locked(home / "x"),
            pytest.raises(LocalFileError, match="in use"),
            files.locked(home / "y", timeout=0.1),
        ):
            pass

    def test_is_released_after_an_error(self, home: Path) -> None:
        with pytest.raises(ZeroDivisionError), files.locked(home / "x"):
            raise ZeroDivisionError
        with files.locked(home / "x", timeout=0.1):
            pass
        assert mode(home / ".l8s" / "locks") == 0o700
