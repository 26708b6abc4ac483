"""The journal: what a create that was cut off leaves for the next one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from l8s_core.errors import ContainerExists, LocalFileError
from l8s_core.journal import ENTRY_LIMIT, Journal
from l8s_core.model import Endpoint

ENDPOINT = Endpoint(user="root", host="build.example.com", port=22, socket="/run/podman/podman.sock")


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    monkeypatch.setenv("HOME", str(tmp_path))
    return Journal.of(ENDPOINT, "dev-myapp")


def test_begin_and_end(journal: Journal) -> None:
    with journal.held():
        assert journal.operation() is None
        journal.begin("0a1b")
        assert journal.operation() == "0a1b"
        journal.begin("2c3d")
        assert journal.operation() == "2c3d"
        journal.end()
        assert journal.operation() is None
        journal.end()


def test_an_entry_outlives_whoever_wrote_it_and_is_private(journal: Journal) -> None:
    with journal.held():
        journal.begin("0a1b")
    assert Journal.of(ENDPOINT, "dev-myapp").operation() == "0a1b"
    assert journal.path.stat().st_mode & 0o777 == 0o600
    assert journal.path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("host", "port", "socket", "user"),
    [
        ("other.example.com", 22, "/run/podman/podman.sock", "root"),
        ("build.example.com", 2222, "/run/podman/podman.sock", "root"),
        ("build.example.com", 22, "/run/user/1000/podman/podman.sock", "root"),
        ("build.example.com", 22, "/run/podman/podman.sock", "me"),
    ],
)
def test_each_server_has_entries_of_its_own(journal: Journal, host: str, port: int, socket: str, user: str) -> None:
    other = Journal.of(Endpoint(user=user, host=host, port=port, socket=socket), "dev-myapp")
    assert other.path != journal.path
    assert other.path.parent == journal.path.parent


def test_an_address_that_changed_is_the_same_server(journal: Journal) -> None:
    moved = Endpoint(user="root", host="build.example.com", port=22, socket=ENDPOINT.socket, address="192.0.2.9")
    assert Journal.of(moved, "dev-myapp") == journal


def test_another_process_that_holds_it_is_said_to_create_the_container(journal: Journal) -> None:
    program = (
        "import sys\n"
        "from l8s_core.journal import Journal\n"
        "from pathlib import Path\n"
        "with Journal(Path(sys.argv[1]), 'dev-myapp').held():\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    argv = [sys.executable, "-c", program, str(journal.path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ContainerExists, match="dev-myapp is being created by another") as caught, journal.held():
            pass
        assert caught.value.exit_code == 8
        holder.kill()  # the lock of a process that is gone is free
    with journal.held():
        pass


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff\xfe", b"[]", b'"0a1b"', b"{}", b'{"operation": 7}', b'{"operation": null}', b"[" * ENTRY_LIMIT],
)
def test_an_entry_that_is_no_entry_is_none(journal: Journal, data: bytes) -> None:
    with journal.held():
        journal.path.write_bytes(data)
        assert journal.operation() is None
        journal.begin("0a1b")
        assert journal.operation() == "0a1b"


def test_an_endless_entry_is_refused(journal: Journal) -> None:
    with journal.held():
        journal.path.write_bytes(b" " * (ENTRY_LIMIT + 1))
        with pytest.raises(LocalFileError):
            journal.operation()
