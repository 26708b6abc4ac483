"""``l8s cp`` on real servers: trees there and back, hostile containers, full disks, and every way to be interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from backends import fresh_laptop
from lab import Laptop, Run, Server, complete, peak_memory

MIB = 1024**2


@pytest.fixture(scope="module")
def desk(run: Run, server: Server, image: str) -> Iterator[Laptop]:
    """A laptop with a container ``x`` on the server."""
    server.clear()
    with fresh_laptop(run) as laptop:
        laptop.configure(server)
        laptop.l8s("create", "x")
        yield laptop
    server.clear()


@pytest.fixture(autouse=True)
def project(desk: Laptop) -> Iterator[None]:
    """The project's directory is empty before each test, and no test leaves half a copy on either side."""
    sh(desk, "find . /tmp/x -mindepth 1 -delete; mkdir -p -m 1777 /tmp/x", user="root")
    for path in (desk.home / "work", desk.home / "back"):
        complete(["rm", "-rf", path], check=True, timeout=30)
    (desk.home / "work").mkdir()
    yield
    assert left_overs(desk) == []


def left_overs(desk: Laptop) -> list[str]:
    deadline = time.monotonic() + 15  # the container learns of a cut line a moment later
    while True:
        there = sh(desk, "find / -xdev -name '.l8s-*' 2>/dev/null; find /workspace /home -name '.l8s-*'").split()
        here = [str(path) for path in desk.home.rglob(".l8s-*")]
        if not there + here or time.monotonic() > deadline:
            return there + here
        time.sleep(0.2)


def sh(desk: Laptop, script: str, *, check: bool = True, user: str = "dev") -> str:
    """What a shell in the container prints."""
    return desk.l8s("exec", "x", "--user", user, "--", "sh", "-c", script, check=check).stdout


def copy(desk: Laptop, *words: str | Path, code: int = 0, timeout: float = 180) -> dict[str, object]:
    """Run ``l8s cp``; what it says of itself."""
    ran = desk.l8s("cp", "-o", "json", *words, check=False, timeout=timeout)
    assert ran.returncode == code, ran.stderr
    assert "Traceback" not in ran.stderr
    if code:
        return dict(json.loads(ran.stderr.splitlines()[-1])["error"])
    return dict(json.loads(ran.stdout)["data"])


def listing(root: Path) -> str:
    """Everything below ``root``, as find prints it: kind, mode, time in seconds, size of files, target of links."""
    command = (
        "find . -mindepth 1 \\( -type f -printf '%p f %m %T@ %s\\n' -o -type l -printf '%p l %T@ %l\\n'"
        " -o -type d -printf '%p d %m\\n' \\) | sed 's/\\.[0-9]* /.0 /' | LC_ALL=C sort"
    )
    return subprocess.run(
        ["sh", "-c", command], cwd=root, capture_output=True, check=True, env={**os.environ, "LC_ALL": "C"}
    ).stdout.decode("utf-8", "surrogateescape")


def furnish(root: Path) -> None:
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "data").write_bytes(os.urandom(3 * MIB + 5))
    (root / "data").chmod(0o640)
    (root / "run").write_bytes(b"#!/bin/sh\n")
    (root / "run").chmod(0o755)
    (root / "again").hardlink_to(root / "run")
    (root / "link").symlink_to("sub/deep")
    (root / "abs").symlink_to("/etc/passwd")
    os.close(os.open(os.fsencode(root) + b"/sub/\xff\xfe\n'$(id)", os.O_CREAT))
    (root / ("n" * 200)).mkdir()
    (root / ("n" * 200) / ("m" * 200)).write_bytes(b"deep")
    (root / "empty").chmod(0o555)
    for path in root.rglob("*"):
        os.utime(path, (1_400_000_000, 1_500_000_000), follow_symlinks=False)


def test_a_tree_survives_there_and_back(desk: Laptop) -> None:
    furnish(desk.home / "work")
    said = copy(desk, "work", "x:")
    assert said["files"] == 7
    assert copy(desk, "x:work", "back")["files"] == 7
    assert listing(desk.home / "back") == listing(desk.home / "work")
    assert (desk.home / "back" / "again").samefile(desk.home / "back" / "run")
    owners = sh(
        desk, "find work ! -user dev -o ! -group dev; stat -c %U:%G work; test work/again -ef work/run && echo one"
    )
    assert owners.split() == ["dev:dev", "one"]
    assert sh(desk, "stat -c '%a %Y' work/data").split() == ["640", "1500000000"]


def test_into_what_is_there_already(desk: Laptop) -> None:
    furnish(desk.home / "work")
    sh(desk, "mkdir -p work/sub; echo mine >work/mine; echo old >work/run; ln -s /etc/hostname work/data")
    copy(desk, "work", "x:")
    assert sh(desk, "cat work/mine work/run; stat -c %F work/data") == "mine\n#!/bin/sh\nregular file\n"
    copy(desk, "work/.", "x:/tmp/x", "--user", "root")
    assert sh(desk, "stat -c %U /tmp/x/run").strip() == "root"


def test_where_the_user_may_not_write(desk: Laptop) -> None:
    (desk.home / "work" / "file").write_bytes(b"x" * MIB)
    for target in ("/etc/l8s-test", "/root/x", "/etc/hostname", "missing/file"):
        error = copy(desk, "work/file", f"x:{target}", code=7)
        assert f"dev-x:{target}" in str(error["message"])
    assert "Permission denied" in str(copy(desk, "x:/etc/shadow", "back", code=7)["message"])
    assert not (desk.home / "back").exists()
    assert copy(desk, "x:/etc/shadow", "back", "--user", "root")["files"] == 1


def test_ten_gigabytes_that_are_mostly_holes(desk: Laptop) -> None:
    path = desk.home / "work" / "sparse"
    with path.open("wb") as file:
        file.truncate(10 * 1024**3)
        for place in (0, 3 * 1024**3 + 17, 10 * 1024**3 - 4):
            file.seek(place)
            file.write(b"data")
    copy(desk, "work/sparse", "x:", timeout=60)
    size, blocks, digest = sh(desk, "stat -c '%s %b' sparse; tail -c 4 sparse").split()
    assert (int(size), digest) == (10 * 1024**3, "data")
    assert int(blocks) * 512 < MIB
    copy(desk, "x:sparse", "back", timeout=60)
    back = desk.home / "back"
    assert back.stat().st_size == 10 * 1024**3
    assert back.stat().st_blocks * 512 < MIB
    with back.open("rb") as file:
        file.seek(3 * 1024**3 + 17)
        assert file.read(4) == b"data"


def test_ten_thousand_files(desk: Laptop) -> None:
    for folder in range(100):
        (desk.home / "work" / f"d{folder}").mkdir()
        for number in range(100):
            (desk.home / "work" / f"d{folder}" / f"f{number}").write_bytes(b"%d" % number * 500)
    assert copy(desk, "work", "x:")["files"] == 10_000
    assert copy(desk, "x:work", "back")["files"] == 10_000
    assert complete(["diff", "-r", desk.home / "work", desk.home / "back"], check=False, timeout=60).stdout == ""
    assert copy(desk, "work", "x:")["files"] == 10_000  # over what is there
    assert sh(desk, "find . -type f | wc -l").strip() == "10000"


def peak_of(desk: Laptop, *words: str) -> int:
    """Bytes of memory that ``l8s cp`` needed at most, or the process through which it reaches the server."""
    process = subprocess.Popen(["l8s", "cp", *words], env=desk.env, cwd=desk.home)
    peak = 0
    while process.poll() is None:
        peak = max(peak, peak_memory(process.pid))
        time.sleep(0.01)
    assert process.returncode == 0
    return max(peak, *map(peak_memory, desk.holders()))


def test_a_large_file_in_little_memory(desk: Laptop) -> None:
    data = os.urandom(MIB)
    with (desk.home / "work" / "big").open("wb") as file:
        for _ in range(300):
            file.write(data)
    assert peak_of(desk, "work/big", "x:") < 120_000_000
    assert peak_of(desk, "x:big", "back") < 120_000_000
    assert complete(["cmp", desk.home / "work" / "big", desk.home / "back"], check=False, timeout=60).returncode == 0


def test_out_of_a_container_that_does_not_run(desk: Laptop) -> None:
    furnish(desk.home / "work")
    copy(desk, "work", "x:")
    desk.l8s("stop", "x")
    try:
        copy(desk, "x:work", "back")
        assert listing(desk.home / "back") == listing(desk.home / "work")
        assert "is not running" in str(copy(desk, "work", "x:", code=7)["message"])
        assert "There is no" in str(copy(desk, "x:missing", "other", code=7)["message"])
    finally:
        desk.l8s("start", "x")


HOSTILE = r"""
import io, sys, tarfile
out = sys.stdout.buffer
def put(name, kind=tarfile.REGTYPE, data=b"", link=""):
    header = tarfile.TarInfo(name)
    header.type, header.linkname, header.size, header.mode = kind, link, len(data), 0o4777
    out.write(header.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512))
put("x", tarfile.DIRTYPE)
put("x/good", data=b"good")
KIND
out.write(bytes(1024))
"""
KINDS = {
    "through a link": 'put("x/up", tarfile.SYMTYPE, link=".."); put("x/up/evil", data=b"evil")',
    "device": 'put("x/null", tarfile.CHRTYPE)',
    "cut off": "sys.exit()",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_container_whose_tar_is_hostile(desk: Laptop, server: Server, kind: str) -> None:
    """Root in a container may put anything in tar's place; the unit tests have many more kinds."""
    program = HOSTILE.replace("KIND", KINDS[kind])
    archive = subprocess.run(["python3", "-c", program], capture_output=True, check=True).stdout
    (desk.home / "work" / "archive").write_bytes(archive)
    copy(desk, "work/archive", "x:/tmp/x/archive")
    sh(
        desk,
        "printf '#!/bin/sh\nexec cat /tmp/x/archive\n' >/usr/local/bin/tar; chmod 755 /usr/local/bin/tar",
        user="root",
    )
    before = sorted(str(path) for path in desk.home.rglob("*") if ".l8s" not in str(path))
    try:
        if kind == "device":
            said = copy(desk, "x:anything", "back") if sh(desk, "touch anything") == "" else {}
            assert said["warnings"] == ["x/null was left out: it is a device."]
            assert sorted(path.name for path in (desk.home / "back").iterdir()) == ["good"]
            assert (desk.home / "back" / "good").stat().st_mode & 0o7777 == 0o777
        else:
            sh(desk, "touch anything")
            error = copy(desk, "x:anything", "back", code=7)
            assert "refused" in str(error["message"])
            assert sorted(str(path) for path in desk.home.rglob("*") if ".l8s" not in str(path)) == before
    finally:
        sh(desk, "rm /usr/local/bin/tar", user="root")


# Interrupted


def big_tree(root: Path) -> None:
    data = os.urandom(4 * MIB)
    for number in range(60):
        (root / f"f{number}").write_bytes(data)


@contextmanager
def started(desk: Laptop, *words: str) -> Iterator[subprocess.Popen[str]]:
    process = desk.start("l8s", "cp", *words)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=30)


def until(condition: str, desk: Laptop) -> None:
    """Wait until a shell in the container finds ``condition`` true."""
    sh(desk, f"for i in $(seq 300); do {condition} && exit 0; sleep 0.1; done; exit 1")


def size_of(tree: Path) -> int:
    """Bytes of the files in a tree that somebody writes."""
    size = 0
    for path in tree.rglob("*"):
        with suppress(FileNotFoundError):  # it has got its name meanwhile
            size += path.stat().st_size
    return size


@pytest.mark.parametrize(
    ("how", "there"),
    [(signal.SIGINT, True), (signal.SIGKILL, False)],
    ids=["SIGINT, a tree that is there", "kill -9, a new name"],
)
def test_interrupted_on_the_way_in(desk: Laptop, how: signal.Signals, there: bool) -> None:
    big_tree(desk.home / "work")
    if there:
        sh(desk, "mkdir work; echo mine >work/mine; echo old >work/f0")
    with started(desk, "work", "x:") as process:
        until("[ $(find . -name '.l8s-*' | wc -l) -gt 0 ] && [ $(find . -size +3M | wc -l) -gt 2 ]", desk)
        os.kill(process.pid, how)
        process.wait(30)
        if how == signal.SIGINT:
            assert process.returncode == 130
    assert left_overs(desk) == []
    assert sh(desk, "find . -type f | LC_ALL=C sort").split() == (["./work/f0", "./work/mine"] if there else [])


@pytest.mark.parametrize(
    ("how", "there"),
    [(signal.SIGINT, True), (signal.SIGKILL, False)],
    ids=["SIGINT, a tree that is there", "kill -9, a new name"],
)
def test_interrupted_on_the_way_out(desk: Laptop, how: signal.Signals, there: bool) -> None:
    big_tree(desk.home / "work")
    copy(desk, "work", "x:tree")
    (desk.home / "back").mkdir()
    if there:
        (desk.home / "back" / "tree").mkdir()
        (desk.home / "back" / "tree" / "f0").write_bytes(b"old")
    with started(desk, "x:tree", "back") as process:
        deadline = time.monotonic() + 30
        while size_of(desk.home / "back") < 8 * MIB:
            assert time.monotonic() < deadline
            assert process.poll() is None
        os.kill(process.pid, how)
        process.wait(30)
    sizes = {
        path.name: path.stat().st_size
        for path in (desk.home / "back").rglob("*")
        if path.is_file() and ".l8s-" not in str(path)
    }
    # a tree that is there may have got some of the files, each of them whole
    assert set(sizes.values()) <= ({4 * MIB, 3} if there else set())
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert list(desk.home.rglob(".l8s-*")) == []
    else:
        for path in (desk.home / "back").rglob(".l8s-*"):
            complete(["rm", "-rf", path], check=True, timeout=30)
    assert (
        sh(desk, "for i in $(seq 50); do ps -e 2>/dev/null | grep -q ' tar' || exit 0; sleep 0.1; done; echo runs")
        == ""
    )


# Full disks


def test_a_full_disk_in_the_container(desk: Laptop, server: Server) -> None:
    big_tree(desk.home / "work")
    place = server.run("podman volume inspect -f '{{.Mountpoint}}' dev-x-workspace").stdout.strip()
    pid = server.run("podman inspect -f '{{.State.Pid}}' dev-x").stdout.strip()
    mount = f"nsenter -t {pid} -m"
    server.run(f"test -d {place} && {mount} mount -t tmpfs -o size=20m,mode=1777 tmpfs /tmp/x")
    try:
        for source, target in (("work", "/tmp/x/new"), ("work/.", "/tmp/x")):
            error = copy(desk, source, f"x:{target}", code=7)
            assert "No space left on device" in str(error["message"])
            assert sh(desk, "ls -A /tmp/x") == ""
    finally:
        server.run(f"{mount} umount /tmp/x")


def test_a_full_disk_on_the_laptop(desk: Laptop) -> None:
    big_tree(desk.home / "work")
    copy(desk, "work", "x:tree")
    (desk.home / "back").mkdir()
    complete(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", desk.home / "back"], check=True, timeout=10)
    try:
        for source, target in (("x:tree", "back/new"), ("x:tree/f1", "back/f")):
            (desk.home / "back" / "filler").write_bytes(b"x" * 18 * MIB)
            error = copy(desk, source, target, code=9)
            assert "No space left on device" in str(error["message"])
            assert [path.name for path in (desk.home / "back").iterdir()] == ["filler"]
    finally:
        complete(["umount", desk.home / "back"], check=True, timeout=10)
