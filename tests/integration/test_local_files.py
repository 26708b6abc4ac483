"""``~/.ssh/config``, ``config.yaml`` and ``known_hosts`` in every state that they are found in.

Each ends in one of two ways: with exactly what was asked for more in it, or byte for byte as it was, with an error that
names the file and what to do next. Either way links, owners and modes stay, and nothing else is left lying about.

(The shapes of what ``~/.ssh/config`` says are in ``tests/unit/l8s_openssh/shapes.py``.)

The changes are made by the code that the command runs, in a process of its own that first becomes the user who asks.
"""

from __future__ import annotations

import base64
import multiprocessing
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from attrs import evolve, field, frozen
from lab import Completed, Laptop, Run, Server, complete, mounted

from l8s_cli.report import report
from l8s_core import config
from l8s_core.known_hosts import KnownHosts
from l8s_core.model import HostBlock, PublicKey
from l8s_openssh.writer import OpenSSHWriter
from l8s_yaml.store import YAMLStore

NOBODY, SOMEONE = 64_001, 64_002
"""Two ordinary users; nothing here needs them to be in the password database."""

FORK = multiprocessing.get_context("fork")


def key(seed: int) -> PublicKey:
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + seed.to_bytes(32, "big")
    return PublicKey("ssh-ed25519", base64.b64encode(blob).decode())


# The three files


@frozen
class File:
    """One of the files: what is in it before, how it is changed and changed back, and what is in it then."""

    name: str
    path: str
    content: bytes
    edit: Callable[[str], None]
    undo: Callable[[str], None]
    after: Callable[[Path, bytes], bytes]
    undone: Callable[[Path, bytes], bytes]
    own_mode: Callable[[int], int] = lambda mode: mode
    """Which mode it has once it was changed."""


def block(name: str) -> HostBlock:
    return HostBlock(
        alias=f"dev-{name}",
        hostname="server.example.com",
        port=2200,
        user="dev",
        host_key_alias=f"dev-{name}.l8s",
        known_hosts_file="/nowhere/known_hosts",
    )


def ending(data: bytes) -> bytes:
    return b"\r\n" if b"\r\n" in data else b"\n"


def included(home: Path, before: bytes) -> bytes:
    return f'Include "{home}/.l8s/ssh_config"'.encode() + ending(before) + before


def add_entry(name: str) -> None:
    writer = OpenSSHWriter()
    writer.apply(writer.plan(add=[block(name)]))


def remove_entry(name: str) -> None:
    writer = OpenSSHWriter()
    writer.apply(writer.plan(remove=[block(name).alias]))


def with_lab(home: Path, before: bytes) -> bytes:
    if not before:
        return b"remote_host: b.example.com\nremote_user: root\n"
    lines = [b"  lab:", b"    remote_host: b.example.com", b"    remote_user: root"]
    if not before.endswith(b"\n"):
        return before + ending(before) + ending(before).join(lines)
    return before + b"".join(line + ending(before) for line in lines)


def add_profile(name: str) -> None:
    settings = {"remote_host": "b.example.com", "remote_user": "root"}
    YAMLStore().edit(lambda data: config.with_profile(data, name if data else "dev", settings))


def remove_profile(name: str) -> None:
    YAMLStore().edit(lambda data: config.without_profile(data, name if "profiles" in data else "dev"))


def with_pin(home: Path, before: bytes) -> bytes:
    joint = b"\n" if before and not before.endswith(b"\n") else b""
    return before + joint + f"dev-lab.l8s {key(7).line}\n".encode()


SSH_CONFIG = File(
    "ssh config",
    ".ssh/config",
    b"# mine\nHost other\n\tPort 7 # odd\n",
    add_entry,
    remove_entry,
    included,
    included,
)
CONFIG = File(
    "config.yaml",
    ".l8s/config.yaml",
    b"# mine\nactive_profile: dev\n"
    b"profiles:\n  dev: # the first\n    remote_host: 'a.example.com'\n    remote_user: root\n",
    add_profile,
    remove_profile,
    with_lab,
    lambda home, before: before,
    lambda mode: mode & ~0o077,
)
KNOWN_HOSTS = File(
    "known_hosts",
    ".l8s/known_hosts",
    f"# mine\nserver.example.com {key(1).line} a comment\n".encode(),
    lambda name: KnownHosts().pin(f"dev-{name}.l8s", [key(7)]),
    lambda name: KnownHosts().forget(f"dev-{name}.l8s"),
    with_pin,
    lambda home, before: before if before.endswith(b"\n") or not before else before + b"\n",
)
FILES = (SSH_CONFIG, CONFIG, KNOWN_HOSTS)


# Where they are, and who changes them


@frozen
class Found:
    """Something in the home: its kind and mode, its owner, and its bytes or where it leads."""

    mode: int
    owner: tuple[int, int]
    content: bytes | None


@frozen
class Ground:
    """A home directory of the user ``uid`` for one test; ``file`` is not in it yet."""

    home: Path
    file: File
    uid: int

    @property
    def path(self) -> Path:
        return self.home / self.file.path

    def write(self, data: bytes, path: Path | None = None, *, mode: int = 0o600) -> None:
        path = path or self.path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(mode)

    def give(self) -> None:
        """Make everything the user's own."""
        for path in (self.home, *self.home.rglob("*")):
            os.chown(path, self.uid, self.uid, follow_symlinks=False)

    def ask(self, change: Callable[[], None]) -> tuple[int, str]:
        """What comes of ``change`` when the user asks for it: the command's exit code, message and next steps."""
        return self.start(change)()

    def start(self, change: Callable[[], None]) -> Callable[[], tuple[int, str]]:
        """Begin what `ask` does; calling the result waits for its end."""
        ours, theirs = FORK.Pipe()
        process = FORK.Process(target=_as_user, args=(theirs, self.uid, self.home, change))
        process.start()
        theirs.close()

        def answer() -> tuple[int, str]:
            code, said = ours.recv()
            process.join()
            return code, said

        return answer

    def state(self) -> dict[str, Found]:
        """All that is in the home, but for l8s's own entries and locks."""
        found = {}
        for path in sorted(self.home.rglob("*")):
            name = str(path.relative_to(self.home))
            if re.fullmatch(r"\.l8s(/locks(/.*)?|/control|/ssh_config)?", name):
                continue
            status = path.lstat()
            content = None
            if path.is_symlink():
                content = str(path.readlink()).encode()
            elif stat.S_ISREG(status.st_mode) and path.name != "filler":
                content = path.read_bytes()
            found[name] = Found(status.st_mode, (status.st_uid, status.st_gid), content)
        return found


def _as_user(answer: Connection, uid: int, home: Path, change: Callable[[], None]) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    os.environ["HOME"] = str(home)
    try:
        change()
    except BaseException as error:  # whatever it is: the test has to see it
        said = report(error)
        answer.send((said.exit_code, "\n".join((said.type, said.message, *said.hints))))
    else:
        answer.send((0, ""))


@pytest.fixture(scope="module", autouse=True)
def _imported(run: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Has everything imported that a change needs: another user may not be able to read the checkout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        for file in FILES:
            file.edit("lab")
            file.undo("lab")


@pytest.fixture(params=(0, NOBODY), ids=("root", "a user"))
def uid(request: pytest.FixtureRequest, run: Run) -> int:
    return int(request.param)


@pytest.fixture(params=FILES, ids=lambda file: file.name)
def ground(request: pytest.FixtureRequest, uid: int) -> Iterator[Ground]:
    home = Path(tempfile.mkdtemp(prefix="lf-", dir="/tmp"))  # short, because ssh's sockets live in there
    ground = Ground(home, request.param, uid)
    ground.path.parent.mkdir(mode=0o700)
    ground.give()
    yield ground
    shutil.rmtree(home)


# The states

Preparation = Callable[[Ground], AbstractContextManager[None]]


@frozen
class State:
    """A state of the file. ``refused``: the exit code and words of the message, by the names of files (and users)."""

    name: str
    prepare: Preparation
    refused: Mapping[str, tuple[int, str]] = field(factory=dict)

    def answer(self, ground: Ground) -> tuple[int, str] | None:
        who = "root" if ground.uid == 0 else "user"
        for name in (f"{ground.file.name} by {who}", ground.file.name, f"all by {who}", "all"):
            if name in self.refused:
                return self.refused[name]
        return None


def holding(change: Callable[[bytes], bytes] = bytes, *, mode: int = 0o600) -> Preparation:
    def prepare(ground: Ground) -> AbstractContextManager[None]:
        ground.write(change(ground.file.content), mode=mode)
        ground.give()
        return nullcontext()

    return prepare


def linked(*links: str, target: bool = True, directory: bool = True) -> Preparation:
    """The file is a link to the first of ``links``, each of which (below the home) leads to the next."""

    def prepare(ground: Ground) -> AbstractContextManager[None]:
        last = ground.home / links[-1]
        if directory:
            last.parent.mkdir(parents=True, exist_ok=True)
        if target:
            ground.write(ground.file.content, last, mode=0o640)
        for number, name in enumerate(links[:-1]):
            place = ground.home / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(os.path.relpath(ground.home / links[number + 1], place.parent))
        ground.path.symlink_to(os.path.relpath(ground.home / links[0], ground.path.parent))
        ground.give()
        return nullcontext()

    return prepare


def in_a_loop(ground: Ground) -> AbstractContextManager[None]:
    ground.path.symlink_to(ground.home / "back")
    (ground.home / "back").symlink_to(ground.path)
    return nullcontext()


@contextmanager
def filled(directory: Path, ground: Ground) -> Iterator[None]:
    options = f"size=64k,mode=0700,uid={ground.uid},gid={ground.uid}"
    with mounted(directory, "-t", "tmpfs", "-o", options, "tmpfs"):
        ground.write(ground.file.content, directory / ground.path.name)
        ground.give()
        with (directory / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while filler.write(b"x" * 4096):
                pass
        yield


def on_a_full_disk(ground: Ground) -> AbstractContextManager[None]:
    return filled(ground.path.parent, ground)


def linked_to_a_full_disk(ground: Ground) -> AbstractContextManager[None]:
    (ground.home / "full").mkdir()
    ground.path.symlink_to(ground.home / "full" / ground.path.name)
    return filled(ground.home / "full", ground)


@contextmanager
def read_only(path: Path, ground: Ground) -> Iterator[None]:
    with mounted(path, "-o", "bind", str(path)):
        complete(["mount", "-o", "remount,bind,ro", path], check=True, timeout=10)
        yield


def on_a_read_only_disk(ground: Ground) -> AbstractContextManager[None]:
    holding()(ground)
    return read_only(ground.path.parent, ground)


def linked_to_a_read_only_disk(ground: Ground) -> AbstractContextManager[None]:
    linked("store/file")(ground)
    return read_only(ground.home / "store", ground)


def mounted_by_itself(ground: Ground) -> AbstractContextManager[None]:
    """As containers get single files: it can be written, and not be replaced."""
    holding()(ground)
    return mounted(ground.path, "-o", "bind", str(ground.path))


def someone_elses(mode: int) -> Preparation:
    def prepare(ground: Ground) -> AbstractContextManager[None]:
        holding(mode=mode)(ground)
        os.chown(ground.path, SOMEONE, SOMEONE)
        return nullcontext()

    return prepare


def in_someone_elses_directory(ground: Ground) -> AbstractContextManager[None]:
    holding(mode=0o644)(ground)
    ground.path.parent.chmod(0o755)
    os.chown(ground.path.parent, SOMEONE, SOMEONE)
    return nullcontext()


def a_directory(ground: Ground) -> AbstractContextManager[None]:
    ground.path.mkdir()
    ground.give()
    return nullcontext()


def a_pipe(ground: Ground) -> AbstractContextManager[None]:
    os.mkfifo(ground.path, 0o600)
    ground.give()
    return nullcontext()


def ten_thousand_hosts(ground: Ground) -> AbstractContextManager[None]:
    entry = {
        "ssh config": "Host node{0:05}\n    Port 2{0:04}\n",
        "config.yaml": "  p{0:05}:\n    remote_host: node{0:05}.example.com\n    remote_user: root\n",
        "known_hosts": f"node{{0:05}} {key(3).line}\n",
    }[ground.file.name]
    text = "".join(entry.format(number) for number in range(10_000))
    return holding(lambda content: content + text.encode())(ground)


STATES = (
    State("as it mostly is", holding()),
    State("not there", lambda ground: nullcontext()),
    State("empty", holding(lambda content: b"")),
    State("a link", linked("dots/file")),
    State("a chain of links", linked("one", "two/three", "two/four/five", "dots/file")),
    State("a link to nothing", linked("dots/file", target=False)),
    State(
        "a link into no directory",
        linked("dots/file", target=False, directory=False),
        {"all": (9, "which leads to ~/dots/file: No such file.*mkdir -p ~/dots"), "ssh config": (9, "leads to ~/dots")},
    ),
    State("a loop of links", in_a_loop, {"all": (9, "Too many levels of symbolic links")}),
    State("0644", holding(mode=0o644)),
    State("0400", holding(mode=0o400), {"ssh config": (9, "it is read-only")}),
    State(
        "unreadable",
        holding(mode=0),
        {"all by user": (9, "Permission denied"), "ssh config by root": (9, "it is read-only")},
    ),
    State("on a read-only disk", on_a_read_only_disk, {"all": (9, "[Rr]ead-only")}),
    State("a link to a read-only disk", linked_to_a_read_only_disk, {"all": (9, "[Rr]ead-only")}),
    State("mounted by itself", mounted_by_itself, {"all": (9, "busy")}),
    State("on a full disk", on_a_full_disk, {"all": (9, r"No space left on device\n.*df -h ~/\.(ssh|l8s)")}),
    State(
        "a link to a full disk",
        linked_to_a_full_disk,
        {"all": (9, r"which leads to ~/full/.*: No space left on device\n.*df -h ~/full")},
    ),
    State(
        "someone else's",
        someone_elses(0o644),
        {"all by user": (9, "it belongs to another user"), "config.yaml by user": (2, "written by other users")},
    ),
    State(
        "someone else's that everybody may write",
        someone_elses(0o666),
        {"all by user": (9, "it belongs to another user"), "config.yaml": (2, "written by other users")},
    ),
    State(
        "in someone else's directory",
        in_someone_elses_directory,
        {
            "all by user": (9, "belongs to another user"),
            "ssh config by user": (9, r"its directory ~/\.ssh is read-only"),
        },
    ),
    State("a directory", a_directory, {"all": (9, "not a regular file|Is a directory")}),
    State("a pipe", a_pipe, {"all": (9, "not a regular file")}),
    State("CRLF", holding(lambda content: content.replace(b"\n", b"\r\n"))),
    State(
        "with a byte order mark",
        holding(lambda content: b"\xef\xbb\xbf" + content),
        {"ssh config": (9, "byte order mark"), "known_hosts": (9, "known_hosts:1: ")},
    ),
    State("without a final newline", holding(lambda content: content.rstrip(b"\n"))),
    State(
        "CRLF without a final newline", holding(lambda content: content.replace(b"\n", b"\r\n").removesuffix(b"\r\n"))
    ),
    State(
        "with NUL bytes",
        holding(lambda content: content + b"x\0y: z\n"),
        {"all": (9, "NUL|known_hosts:3: "), "config.yaml": (2, "config.yaml:7: there is a control character")},
    ),
    State(
        "Latin-1",
        holding(lambda content: content + "# größer\n".encode("latin-1")),
        {"config.yaml": (2, "config.yaml:7: .* is not UTF-8")},
    ),
    State("of ten thousand hosts", ten_thousand_hosts, {"config.yaml": (2, "at most 65536 are read")}),
)


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
def test_changed_as_asked_or_left_as_it_was(state: State, ground: Ground) -> None:
    file = ground.file
    with state.prepare(ground):
        before = ground.state()
        data = ground.path.read_bytes() if ground.path.is_file() else None
        target = str(Path(os.path.realpath(ground.path)).relative_to(os.path.realpath(ground.home)))
        code, said = ground.ask(lambda: file.edit("lab"))
        after = ground.state()
        refusal = state.answer(ground)
        if refusal is not None:
            assert code == refusal[0], said
            assert re.search(refusal[1], said, re.DOTALL), said
            _, message, *hints = said.split("\n")
            assert f"~/{file.path}" in message or "~/.l8s" in message, "names the file"
            assert hints, "has a next step"
            assert after == before
            return
        assert (code, said) == (0, "")
        if data is None:
            wanted = Found(stat.S_IFREG | 0o600, (ground.uid, ground.uid), file.after(ground.home, b""))
        else:
            was = before[target]
            wanted = evolve(was, mode=file.own_mode(was.mode), content=file.after(ground.home, data))
        assert after == {**before, target: wanted}
        assert ground.ask(lambda: file.undo("lab")) == (0, "")
        wanted = evolve(wanted, content=file.undone(ground.home, data or b""))
        assert ground.state() == {**before, target: wanted}


# At the same time


def test_twenty_at_once(ground: Ground) -> None:
    file = ground.file
    ground.write(file.content)
    ground.give()
    before = ground.state()
    names = [f"n{number}" for number in range(20)]
    answers = [ground.start(partial(file.edit, name)) for name in names]
    assert [answer() for answer in answers] == [(0, "")] * 20
    data = ground.path.read_bytes()
    assert ground.state() == {**before, file.path: evolve(before[file.path], content=data)}
    if file is SSH_CONFIG:
        entries = (ground.home / ".l8s" / "ssh_config").read_text()
        assert sorted(re.findall("^Host (.*)$", entries, re.MULTILINE)) == sorted(f"dev-{name}" for name in names)
        assert data == file.after(ground.home, file.content)
        return
    # each one's lines are there once and together, in whatever order
    for name in names:
        added = file.after(ground.home, file.content).removeprefix(file.content).replace(b"lab", name.encode())
        assert data.count(added) == 1
        data = data.replace(added, b"")
    assert data == file.content


def _append(path: Path, answer: Connection) -> None:
    """Append a comment every few milliseconds until told to stop; answer how many these were."""
    count = 0
    while not answer.poll(0.005):
        with path.open("ab") as file:
            file.write(f"# theirs {count}\n".encode())
        count += 1
        if count == 1:
            answer.send("begun")
    answer.send(count)


@pytest.mark.parametrize("attempt", range(10))
def test_another_program_appends_meanwhile(attempt: int, ground: Ground) -> None:
    file = ground.file
    ground.write(file.content)
    ground.give()
    edited = file.after(ground.home, file.content)
    undone = file.undone(ground.home, file.content)
    for change, before, expected in ((file.edit, file.content, edited), (file.undo, edited, undone)):
        ground.write(before)
        ours, theirs = FORK.Pipe()
        program = FORK.Process(target=_append, args=(ground.path, theirs))
        program.start()
        assert ours.recv() == "begun"
        code, said = ground.ask(partial(change, "lab"))
        ours.send("stop")
        count = ours.recv()
        program.join()
        lines = ground.path.read_bytes().splitlines(keepends=True)
        added = [line for line in lines if line.startswith(b"# theirs ")]
        assert sorted(added) == sorted(f"# theirs {number}\n".encode() for number in range(count))
        assert code == 0 or "another program writes it all the time" in said, said
        assert b"".join(line for line in lines if line not in added) == (expected if code == 0 else before)
        assert [path.name for path in ground.home.rglob("*.l8s-*")] == []


# The command itself


def refused(ran: Completed, code: int, *words: str) -> None:
    assert ran.returncode == code, ran.stderr
    for word in words:
        assert word in ran.stderr
    assert "Traceback" not in ran.stderr


def test_profile_commands_keep_what_is_in_the_file(laptop: Laptop) -> None:
    ours = laptop.home / ".l8s"
    ours.mkdir(mode=0o700)
    path = ours / "config.yaml"
    path.touch(mode=0o600)
    add = ("profile", "add", "lab", "--host", "b.example.com")
    before = CONFIG.content.replace(b"\n", b"\r\n").removesuffix(b"\r\n")
    path.write_bytes(before)
    laptop.l8s(*add)
    after = with_lab(laptop.home, before)
    assert path.read_bytes() == after
    laptop.l8s("profile", "use", "lab")
    assert path.read_bytes() == after.replace(b"active_profile: dev", b"active_profile: lab")
    laptop.l8s("profile", "use", "dev")
    laptop.l8s("profile", "remove", "lab")
    assert path.read_bytes() == before

    latin = before + "\r\n# größer".encode("latin-1")
    path.write_bytes(latin)
    refused(laptop.l8s(*add, check=False), 2, "~/.l8s/config.yaml:7", "is not UTF-8", "Save the file as UTF-8")
    assert path.read_bytes() == latin
    path.write_bytes(before)
    ground = Ground(laptop.home, CONFIG, 0)
    with read_only(ours, ground):
        refused(laptop.l8s(*add, check=False), 9, "~/.l8s", "Read-only file system", "findmnt")
    assert path.read_bytes() == before
    with filled(ours, ground):
        refused(laptop.l8s(*add, check=False), 9, "~/.l8s/config.yaml", "No space left on device", "df -h ~/.l8s")
        assert path.read_bytes() == CONFIG.content
    assert path.read_bytes() == before


def test_sync_brings_the_entry_back_or_says_why_not(server: Server, image: str, laptop: Laptop) -> None:
    laptop.configure(server)
    entries = laptop.home / ".l8s" / "ssh_config"
    pins = laptop.home / ".l8s" / "known_hosts"
    config = laptop.ssh_config
    before = SSH_CONFIG.content.replace(b"\n", b"\r\n").removesuffix(b"\r\n")
    config.write_bytes(before)
    try:
        laptop.l8s("create", "x")
        assert config.read_bytes() == included(laptop.home, before)
        pinned = pins.read_bytes()

        def lost(data: bytes) -> None:
            entries.unlink(missing_ok=True)
            config.write_bytes(data)

        lost(before)
        pins.write_bytes(b"# mine\n" + pinned)
        laptop.l8s("sync")
        assert (config.read_bytes(), pins.read_bytes()) == (included(laptop.home, before), b"# mine\n" + pinned)
        laptop.ssh("dev-x", "true")

        line = f'first line of ~/.ssh/config: Include "{laptop.home}/.l8s/ssh_config"'
        marked = b"\xef\xbb\xbf" + before
        lost(marked)
        refused(laptop.l8s("sync", check=False), 9, f"{config}: line 1: Bad configuration option", "ssh -G")
        assert (config.read_bytes(), entries.exists()) == (marked, False)
        lost(before)
        with read_only(config.parent, Ground(laptop.home, SSH_CONFIG, 0)):
            refused(laptop.l8s("sync", check=False), 9, "~/.ssh/config", "read-only", line)
        assert (config.read_bytes(), entries.exists()) == (before, False)
        broken = pinned + b"x\0y z\n"
        pins.write_bytes(broken)
        lines = pinned.count(b"\n") + 1
        refused(laptop.l8s("sync", check=False), 9, f"~/.l8s/known_hosts:{lines}", "not understood", "Remove the line")
        assert (config.read_bytes(), pins.read_bytes()) == (before, broken)
    finally:
        server.clear()
