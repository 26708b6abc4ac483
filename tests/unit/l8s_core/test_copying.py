"""Copying with the real programs of both ends, into a directory that plays the container's disk."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import pytest

from l8s_core import copying, packing
from l8s_core.copying import copy_in, copy_out, local_sources
from l8s_core.errors import BackendError, ContainerNotRunning, InvalidValue, LocalFileError
from l8s_core.model import ContainerInfo, ExecResult, OutputSink, Profile
from l8s_core.testing import FakeBackend

INFO = ContainerInfo(id="1", name="dev-x", image="i", state="running")
STOPPED = ContainerInfo(id="1", name="dev-x", image="i", state="exited")


class Disk(FakeBackend):
    """A backend whose commands run here, in ``root`` instead of the project's directory."""

    def __init__(self, root: Path) -> None:
        super().__init__(Profile(name="dev", remote_host="build.example.com", remote_user="root"))
        self.root = root
        self.path = os.environ["PATH"]
        self.workdirs: list[str | None] = []
        self.interrupt_after: int | None = None

    def exec(
        self,
        name: str,
        argv: Sequence[str],
        *,
        stdin: bytes | IO[bytes] | None = None,
        on_output: OutputSink | None = None,
        workdir: str | None = None,
        **_: Any,
    ) -> ExecResult:
        assert on_output is not None
        assert not isinstance(stdin, bytes)
        self.workdirs.append(workdir)
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.root,
            env={"PATH": self.path, "LC_ALL": "C"},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None

        def pump() -> None:
            assert process.stdin is not None
            sent = 0
            with suppress(BrokenPipeError), process.stdin as pipe:
                while stdin is not None and (data := stdin.read(packing.PIECE)):
                    pipe.write(data)
                    sent += len(data)
                    if self.interrupt_after is not None and sent > self.interrupt_after:
                        return

        thread = threading.Thread(target=pump)
        thread.start()
        try:
            while data := process.stdout.read1():  # type: ignore[attr-defined]
                on_output("stdout", data)
            on_output("stderr", process.stderr.read())
        finally:
            process.stdout.close()
            process.stderr.close()
            code = process.wait(20)
            thread.join(20)
        if self.interrupt_after is not None:
            raise KeyboardInterrupt
        return ExecResult(exit_code=code)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    (tmp_path / "disk").mkdir()
    return Disk(tmp_path / "disk")


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "local").mkdir()
    monkeypatch.chdir(tmp_path / "local")
    return tmp_path / "local"


def put(disk: Disk, *sources: str, to: str = "", **options: Any) -> Any:
    return copy_in(disk, INFO, local_sources(sources), to, user="dev", **options)


def get(disk: Disk, source: str, to: str, **options: Any) -> Any:
    return copy_out(disk, INFO, source, to, user="dev", **options)


def furnish(root: Path) -> None:
    """One of everything, under ``tree``, ``file`` and ``link``."""
    (root / "tree" / "sub" / "deep").mkdir(parents=True)
    (root / "tree" / "empty").mkdir()
    (root / "tree" / ".hidden").write_bytes(b"h")
    (root / "tree" / "..odd").write_bytes(b"o")
    (root / "tree" / "sub" / "a b\n'\"$(id)").write_bytes(b"1")
    os.close(os.open(os.fsencode(root) + b"/tree/sub/\xff\xfe", os.O_CREAT))
    (root / "tree" / "-rf").write_bytes(b"dash")
    (root / "tree" / "run").write_bytes(b"#!/bin/sh\n")
    (root / "tree" / "run").chmod(0o751)
    (root / "tree" / "again").hardlink_to(root / "tree" / "run")
    (root / "tree" / "link").symlink_to("sub/deep")
    (root / "tree" / "abs").symlink_to("/nowhere/at all")
    (root / "tree" / "empty").chmod(0o555)
    (root / "file").write_bytes(b"content")
    (root / "link").symlink_to("tree")
    for path in root.rglob("*"):
        os.utime(path, (1_000_000_000, 1_100_000_000), follow_symlinks=False)


def seen(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything below ``root``: kind and mode, time, content, and how many names it has."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content: object = None
        if path.is_symlink():
            content = path.readlink()
        elif path.is_file():
            content = (path.read_bytes(), status.st_nlink)
        moment = status.st_mtime if not path.is_dir() or path.is_symlink() else None
        found[str(path.relative_to(root))] = (oct(status.st_mode), moment, content)
    return found


SOURCES = [
    "file",
    "tree",
    "tree/",
    "tree/.",
    "link",
    "link/",
    "link/.",
    "./tree",
    "tree/sub/..",
    "tree/-rf",
    "tree/sub",
]
DESTINATIONS = {
    "new": "new",
    "a directory": "dir",
    "a directory with a slash": "dir/",
    "into itself": ".",
    "the beginning": "",
    "a name below a directory": "dir/new",
    "a link to a directory": "dirlink",
    "a tree that is there": "full",
    "a file that is there": "there",
    "a link that leads nowhere": "dangling",
    "a name that looks like an option": "-v",
    "a name of odd characters": "dir/ü \n$(id)'\"",
    "a directory that is missing": "missing/new",
    "a new directory": "fresh/",
}


def prepare(root: Path) -> None:
    (root / "dir").mkdir()
    (root / "dirlink").symlink_to("dir")
    (root / "full" / "tree" / "sub").mkdir(parents=True)
    (root / "full" / "tree" / "mine").write_bytes(b"mine")
    (root / "full" / "tree" / "run").write_bytes(b"old")
    (root / "full" / "sub").mkdir()
    (root / "full" / "file").write_bytes(b"old")
    (root / "there").write_bytes(b"old")
    (root / "dangling").symlink_to("nowhere")
    for path in root.rglob("*"):
        os.utime(path, (1_200_000_000, 1_200_000_000), follow_symlinks=False)


def as_cp_does(source: str, destination: str, root: Path, origin: Path) -> bool:
    """Do it with the system's cp; whether that works."""
    words = ["cp", "-a", "--remove-destination", "--", f"{origin}/{source}", destination or "."]
    ran = subprocess.run(words, cwd=root, capture_output=True, check=False)
    return ran.returncode == 0


@pytest.mark.parametrize("direction", ["in", "out"])
@pytest.mark.parametrize("destination", DESTINATIONS)
@pytest.mark.parametrize("source", SOURCES)
def test_it_lands_where_cp_would_put_it(tmp_path: Path, direction: str, source: str, destination: str) -> None:
    origin, ours, theirs = tmp_path / "origin", tmp_path / "ours", tmp_path / "theirs"
    for root in (origin, ours, theirs):
        root.mkdir()
    furnish(origin)
    prepare(ours)
    prepare(theirs)
    target = DESTINATIONS[destination]
    works = as_cp_does(source, target, theirs, origin)
    before = seen(ours)
    try:
        if direction == "in":
            copy_in(Disk(ours), INFO, local_sources([f"{origin}/{source}"]), target, user="dev")
        else:
            where = f"{ours}/{target}" if target else str(ours)
            copy_out(Disk(origin), INFO, source, where, user="dev")
    except (BackendError, LocalFileError):
        assert not works
        assert seen(ours) == before
        return
    assert works
    assert seen(ours) == seen(theirs)


def test_several_go_into_a_directory_and_nowhere_else(disk: Disk, local: Path) -> None:
    furnish(local)
    (disk.root / "dir").mkdir()
    copied = put(disk, "tree", "file", "link", to="dir")
    assert sorted(path.name for path in (disk.root / "dir").iterdir()) == ["file", "link", "tree"]
    assert copied.files == 11
    with pytest.raises(BackendError, match="new is not a directory"):
        put(disk, "tree", "file", to="new")
    assert [path.name for path in disk.root.iterdir()] == ["dir"]


def test_what_cannot_be_meant_is_refused_before_anything_is_sent(disk: Disk, local: Path) -> None:
    furnish(local)
    (local / "other").mkdir()
    (local / "other" / "file").touch()
    for sources, error in (
        (("file", "other/file"), InvalidValue),
        (("tree/.", "file"), InvalidValue),
        ((), InvalidValue),
        (("missing",), LocalFileError),
        (("file/",), LocalFileError),
        (("a\0b",), LocalFileError),
    ):
        with pytest.raises(error):
            put(disk, *sources)
    with pytest.raises(InvalidValue):
        put(disk, "file", to="a\0b")
    assert disk.workdirs == []


@pytest.mark.parametrize(
    ("path", "argument", "workdir"),
    [
        ("", ".", "/workspace/project"),
        ("a/b", "a/b", "/workspace/project"),
        ("/tmp/x", "/tmp/x", "/"),
        ("~/x", "/home/dev/x", "/"),
        ("~", "/home/dev", "/"),
        ("./~", "./~0176".replace("~0", "\\0"), "/workspace/project"),
        ("~other/x", "\\0176other/x", "/workspace/project"),
        ("a b%\n\\", "a\\0040b\\0045\\0012\\0134", "/workspace/project"),
        ("\udcff", "\\0377", "/workspace/project"),
    ],
)
def test_paths_in_the_container(local: Path, path: str, argument: str, workdir: str) -> None:
    seen: list[tuple[Sequence[str], Any]] = []

    class Listening(FakeBackend):
        def exec(self, name: str, argv: Sequence[str], **options: Any) -> ExecResult:
            seen.append((argv, options))
            return ExecResult(exit_code=0)

    (local / "file").touch()
    backend = Listening(Profile(name="dev", remote_host="build.example.com", remote_user="root"))
    copy_in(backend, INFO, local_sources(["file"]), path, user="dev")
    ((argv, options),) = seen
    assert argv[:2] == ["/bin/sh", "-c"]
    assert argv[6] == argument
    assert (options["workdir"], options["user"]) == (workdir, "dev")


def test_a_source_that_fails_half_way_leaves_nothing_there(
    disk: Disk, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (local / "tree").mkdir()
    (local / "tree" / "a").write_bytes(os.urandom(packing.PIECE * 3))
    whole = packing.pack

    def failing(*arguments: Any, **options: Any) -> Any:
        pieces = whole(*arguments, **options)
        yield next(pieces)
        raise LocalFileError("cannot read tree/a: Input/output error")

    monkeypatch.setattr(copying, "pack", failing)
    with pytest.raises(LocalFileError, match="Input/output error"):
        put(disk, "tree")
    assert len(disk.workdirs) == 1
    assert list(disk.root.iterdir()) == []


@pytest.mark.parametrize("there", ["nothing", "a directory", "a file"])
@pytest.mark.parametrize("after", [1, 700, 1100, packing.PIECE, 3 * packing.PIECE])
def test_a_line_that_is_cut_leaves_nothing_half(disk: Disk, local: Path, there: str, after: int) -> None:
    (local / "x").mkdir()
    for number in range(4):
        (local / "x" / f"f{number}").write_bytes(os.urandom(packing.PIECE))
    if there == "a directory":
        (disk.root / "x").mkdir()
    elif there == "a file":
        (disk.root / "x").touch()
    before = seen(disk.root)
    disk.interrupt_after = after
    with pytest.raises(KeyboardInterrupt):
        put(disk, "x")
    assert seen(disk.root) == before


def test_a_cut_between_two_files_is_seen(disk: Disk, local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it falls tar takes it for the end."""
    (local / "tree").mkdir()
    whole = packing.pack

    def cut(*arguments: Any, **options: Any) -> Any:
        yield b"".join(whole(*arguments, **options))[:512]

    monkeypatch.setattr(copying, "pack", cut)
    with pytest.raises(BackendError, match="ended too early"):
        put(disk, "tree")
    assert list(disk.root.iterdir()) == []


@pytest.mark.parametrize(
    ("destination", "words"),
    [
        ("missing/new", "there is no directory missing"),
        ("file/new", "there is no directory file"),
        ("no/", "there is no directory no"),
    ],
)
def test_what_the_container_refuses_is_said_in_its_words(disk: Disk, local: Path, destination: str, words: str) -> None:
    (disk.root / "file").touch()
    (local / "x").write_bytes(b"x" * packing.PIECE * 2)
    with pytest.raises(BackendError, match=words) as raised:
        put(disk, "x", to=destination)
    assert f"dev-x:{destination}" in str(raised.value)
    assert [path.name for path in disk.root.iterdir()] == ["file"]


def stand_ins(disk: Disk, tmp_path: Path, *without: str, **programs: str) -> None:
    """A PATH with what the scripts need, less some, and with programs that do something else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "tar", "mkdir", "rm", "mv", "chmod", "stat", "find", "grep", "cat"):
        found = shutil.which(name)
        assert found is not None
        if name not in without and name not in programs:
            (folder / name).symlink_to(found)
    for name, script in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    disk.path = str(folder)


def test_a_container_without_tar(disk: Disk, local: Path, tmp_path: Path) -> None:
    furnish(local)
    (disk.root / "file").touch()
    stand_ins(disk, tmp_path, "tar")
    for copy in (lambda: put(disk, "tree"), lambda: get(disk, "file", "new")):
        with pytest.raises(BackendError, match="the image has no tar") as raised:
            copy()
        assert "Install tar" in raised.value.hints[0]
    assert [path.name for path in disk.root.iterdir()] == ["file"]
    assert not (local / "new").exists()


def test_a_full_disk_in_the_container(disk: Disk, local: Path, tmp_path: Path) -> None:
    (local / "tree").mkdir()
    tar = shutil.which("tar")
    stand_ins(disk, tmp_path, tar=f'{tar} "$@"; echo "tar: a: Cannot write: No space left on device" >&2; exit 2')
    with pytest.raises(BackendError, match="No space left on device"):
        put(disk, "tree")
    assert list(disk.root.iterdir()) == []


def test_what_cannot_be_read_in_the_container_is_no_success(disk: Disk, local: Path, tmp_path: Path) -> None:
    furnish(disk.root)
    tar = shutil.which("tar")
    stand_ins(disk, tmp_path, tar=f'{tar} "$@"; echo "tar: tree/a: Cannot open: \033[31mPermission denied" >&2; exit 2')
    for destination in ("new", "."):
        with pytest.raises(BackendError, match="Permission denied"):
            get(disk, "tree", destination)
        assert list(local.iterdir()) == []


def test_what_changes_while_it_is_read_is_a_warning(disk: Disk, local: Path, tmp_path: Path) -> None:
    furnish(disk.root)
    tar = shutil.which("tar")
    stand_ins(disk, tmp_path, tar=f'{tar} "$@"; echo "tar: tree/log: file changed as we read it" >&2; exit 1')
    copied = get(disk, "file", "new")
    assert (local / "new").read_bytes() == b"content"
    assert copied.warnings == ("In the container: tar: tree/log: file changed as we read it",)


def test_a_tar_of_busybox_will_do(disk: Disk, local: Path, tmp_path: Path) -> None:
    """Which has no --version and no --sparse."""
    furnish(disk.root)
    tar = shutil.which("tar")
    stand_ins(disk, tmp_path, tar=f'case "$*" in *--version* | *--sparse*) exit 1;; esac; exec {tar} "$@"')
    get(disk, "tree", "new")
    assert (local / "new" / "run").read_bytes() == b"#!/bin/sh\n"


def test_what_is_not_there(disk: Disk, local: Path) -> None:
    for source in ("missing", "missing/", "missing/."):
        with pytest.raises(BackendError, match="there is no"):
            get(disk, source, "new")
    assert list(local.iterdir()) == []


def test_a_destination_that_cannot_be_is_found_out_before_anything_is_asked(disk: Disk, local: Path) -> None:
    with pytest.raises(LocalFileError, match="missing"):
        get(disk, "x", "missing/new")
    assert disk.workdirs == []


class Sending(FakeBackend):
    """Sends an archive, and notes whether it could send it all."""

    def __init__(self, *pieces: bytes, code: int = 0) -> None:
        super().__init__(Profile(name="dev", remote_host="build.example.com", remote_user="root"))
        self.pieces, self.code, self.raised = pieces, code, ""

    def exec(self, name: str, argv: Sequence[str], *, on_output: Any = None, **_: Any) -> ExecResult:
        try:
            for piece in self.pieces:
                on_output("stdout", piece)
        except BaseException as error:
            self.raised = type(error).__name__
            raise
        return ExecResult(exit_code=self.code)


def test_a_refused_archive_stops_the_command_that_sends_it(local: Path) -> None:
    """A backend takes an error of its own kind for its own; this one is the sink's."""
    backend = Sending(b"<html>" * 200, b"more" * 200)
    with pytest.raises(BackendError, match="refused"):
        copy_out(backend, INFO, "x", "new", user="dev")
    assert backend.raised == "_SinkFailed"
    assert list(local.iterdir()) == []


def test_an_exit_code_other_than_zero_is_no_success(local: Path) -> None:
    header = tarfile.TarInfo("x")
    backend = Sending(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024), code=137)
    with pytest.raises(BackendError, match="exit code 137"):
        copy_out(backend, INFO, "x", "new", user="dev")
    assert list(local.iterdir()) == []


def test_an_interrupt_leaves_nothing_here(local: Path) -> None:
    header = tarfile.TarInfo("x")
    header.size = 10**6

    class Interrupted(Sending):
        def exec(self, name: str, argv: Sequence[str], *, on_output: Any = None, **_: Any) -> ExecResult:
            on_output("stdout", header.tobuf(tarfile.GNU_FORMAT) + b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_out(Interrupted(), INFO, "x", "new", user="dev")
    assert list(local.iterdir()) == []


class TestStopped:
    """A container that does not run is read through the backend's own download."""

    @pytest.fixture
    def backend(self) -> Any:
        asked: list[str] = []
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
            header = tarfile.TarInfo("any name")
            header.size = 4
            archive.addfile(header, io.BytesIO(b"data"))

        class Stopped(FakeBackend):
            def download(self, name: str, path: str) -> Any:
                asked.append(path)
                return iter([buffer.getvalue()])

        backend = Stopped(Profile(name="dev", remote_host="build.example.com", remote_user="root"))
        return backend, asked

    @pytest.mark.parametrize(
        ("source", "asked"),
        [("a", "/workspace/project/a"), ("/etc/x", "/etc/x"), ("~/x", "/home/dev/x"), ("/etc/x/", "/etc/x")],
    )
    def test_it_can_be_read(self, local: Path, backend: Any, source: str, asked: str) -> None:
        stopped, paths = backend
        copied = copy_out(stopped, STOPPED, source, "new", user="dev")
        assert (local / "new").read_bytes() == b"data"
        assert paths == [asked]
        assert (copied.files, copied.bytes) == (1, 4)

    def test_but_not_a_name_that_no_url_can_hold(self, local: Path, backend: Any) -> None:
        with pytest.raises(ContainerNotRunning):
            copy_out(backend[0], STOPPED, "\udcff", "new", user="dev")
        assert list(local.iterdir()) == []


def test_progress_is_told(disk: Disk, local: Path) -> None:
    furnish(local)
    told: list[tuple[int, int]] = []

    def progress(files: int, size: int) -> None:
        told.append((files, size))

    copied = put(disk, "tree", to="new", on_progress=progress)
    assert told[-1] == (copied.files, copied.bytes) == (9, 17)
    told.clear()
    assert get(disk, "new", "back", on_progress=progress).files == 9
    assert told[-1] == (9, 17)  # two names of one file are sent once


def test_the_input_honours_the_size_that_is_asked_for() -> None:
    feed = copying._Feed(iter([b"abcdef", b"gh"]), packing.Tally(), None)
    assert [feed.read1(4), feed.read1(4), feed.read(1), feed.read()] == [b"abcd", b"ef", b"g", b"h"]
    feed = copying._Feed(iter([b"abc", b"d"]), packing.Tally(), None)
    assert feed.read1(2) == b"ab"
    feed.stop()
    assert feed.read() == b"c"
