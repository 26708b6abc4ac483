from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

import pytest

from l8s_core import agent, files, ssh_tools
from l8s_core.errors import AgentUnavailable, InvalidValue
from l8s_core.model import Profile, PublicKey


def key(seed: int, comment: str = "") -> PublicKey:
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes([seed]) * 32
    return PublicKey("ssh-ed25519", base64.b64encode(blob).decode(), comment)


ONE, TWO = key(1, "one"), key(2, "two")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".ssh").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[PublicKey]:
    keys = [ONE, TWO]
    monkeypatch.setattr(ssh_tools, "agent_keys", lambda path: tuple(keys))
    return keys


def profile(path: str | None = None) -> Profile:
    if path is None:
        return Profile(name="dev", remote_host="h", remote_user="root", sources={"ssh_key_path": "default"})
    sources = {"ssh_key_path": "~/.l8s/config.yaml:3"}
    return Profile(name="dev", remote_host="h", remote_user="root", ssh_key_path=path, sources=sources)


def test_the_public_half_chooses(home: Path, held: list[PublicKey]) -> None:
    (home / ".ssh" / "mine.pub").write_text(f"\n# made at home\n{TWO.line} another comment\n")
    assert agent.select_key(profile("~/.ssh/mine")) == TWO
    assert agent.select_key(profile("~/.ssh/mine.pub")) == TWO
    assert agent.select_key(profile(str(home / ".ssh" / "mine"))) == TWO


def test_the_private_half_is_never_opened(home: Path, held: list[PublicKey]) -> None:
    os.mkfifo(home / ".ssh" / "mine")  # opening it would hang, or fail as no regular file
    (home / ".ssh" / "mine.pub").write_text(ONE.line)
    assert agent.select_key(profile("~/.ssh/mine")) == ONE


def test_a_dot_in_the_name_is_no_suffix(home: Path, held: list[PublicKey]) -> None:
    (home / ".ssh" / "id.work.pub").write_text(ONE.line)
    assert agent.select_key(profile("~/.ssh/id.work")) == ONE


def test_a_key_that_the_agent_lacks(home: Path, held: list[PublicKey]) -> None:
    wanted = key(3)
    (home / ".ssh" / "mine.pub").write_text(wanted.line)
    with pytest.raises(AgentUnavailable, match="is not in the agent") as caught:
        agent.select_key(profile("~/.ssh/mine"))
    for one in (wanted, ONE, TWO):
        assert one.fingerprint in caught.value.message
    assert caught.value.hints[0] == "Add it: ssh-add ~/.ssh/mine"
    assert caught.value.profile == "dev"


def test_the_only_key_stands_for_the_default(held: list[PublicKey]) -> None:
    held.remove(TWO)
    assert agent.select_key(profile()) == ONE


def test_of_several_keys_none_is_guessed(held: list[PublicKey]) -> None:
    with pytest.raises(AgentUnavailable, match="holds 2 keys") as caught:
        agent.select_key(profile())
    assert "ssh_key_path" in caught.value.hints[0]


def test_a_path_that_was_asked_for_needs_its_public_half(held: list[PublicKey]) -> None:
    held.remove(TWO)
    with pytest.raises(AgentUnavailable, match=r"there is no ~/\.ssh/mine\.pub") as caught:
        agent.select_key(profile("~/.ssh/mine"))
    assert caught.value.hints[0].endswith("ssh-keygen -y -f ~/.ssh/mine > ~/.ssh/mine.pub")


@pytest.mark.parametrize("content", ["", "-----BEGIN OPENSSH PRIVATE KEY-----\n", "ssh-ed25519 AAAA"])
def test_a_damaged_public_half_is_named(home: Path, held: list[PublicKey], content: str) -> None:
    (home / ".ssh" / "mine.pub").write_text(content)
    with pytest.raises(InvalidValue, match=r"~/\.ssh/mine\.pub"):
        agent.select_key(profile("~/.ssh/mine"))


def test_nobodys_home(held: list[PublicKey]) -> None:
    with pytest.raises(InvalidValue, match="ssh_key_path"):
        agent.select_key(profile("~no-such-user-here/key"))


def test_public_key_file_is_private_stable_and_written_once(home: Path) -> None:
    path = agent.public_key_file(ONE)
    assert path.parent == home / ".l8s" / "keys"
    assert len(path.stem) == 16
    assert path.read_text() == f"{ONE.line}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.stat()
    assert agent.public_key_file(ONE) == path
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    path.write_text("damaged")
    agent.public_key_file(ONE)
    assert path.read_text() == f"{ONE.line}\n"
    assert agent.public_key_file(TWO) != path
    assert files.display(path).startswith("~/.l8s/keys/")
