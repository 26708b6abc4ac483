"""remote add and remove, on real git repositories."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from l8s_core.model import HostBlock

URL = "dev-myapp:/workspace/project"


def git(*words: str) -> str:
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(l8s: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_CONFIG_GLOBAL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    path = tmp_path / "repo"
    path.mkdir()
    git("init", "-q", str(path))
    monkeypatch.chdir(path)
    l8s("profile", "list")
    block = HostBlock(alias="dev-myapp", hostname="h", port=2200, user="dev", host_key_alias="k", known_hosts_file="/k")
    l8s.session.writer.apply(l8s.session.writer.plan(add=[block]))
    return l8s


def test_add_and_remove(repository: Any) -> None:
    result = repository("remote", "add", "myapp")
    assert result.exit_code == 0, result.stderr
    assert git("remote", "get-url", "myapp") == URL
    assert "git push myapp HEAD" in result.stderr
    assert repository.json("remote", "add", "myapp", kind="git-remote") == {"name": "myapp", "url": URL, "added": False}
    assert repository("remote", "remove", "myapp").exit_code == 0
    assert git("remote") == ""
    assert repository("remote", "remove", "myapp").exit_code == 1
    assert repository.server.opened == 0


@pytest.mark.parametrize("verb", ["add", "remove"])
def test_another_remote_is_never_touched(repository: Any, verb: str) -> None:
    git("remote", "add", "myapp", "https://git.example/x.git")
    error = repository.error("remote", verb, "myapp")
    assert (error["type"], error["exit_code"]) == ("GitError", 1)
    assert git("remote", "get-url", "myapp") == "https://git.example/x.git"


def test_a_remote_with_more_urls_is_not_ours(repository: Any) -> None:
    repository("remote", "add", "myapp")
    git("remote", "set-url", "--add", "myapp", "https://git.example/x.git")
    assert repository("remote", "remove", "myapp").exit_code == 1
    assert git("remote") == "myapp"


def test_outside_a_repository(repository: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    result = repository("remote", "add", "myapp")
    assert result.exit_code == 1
    assert "not a git repository" in result.stderr
    assert "git init" in result.stderr


def test_without_an_ssh_entry(repository: Any) -> None:
    assert repository("remote", "add", "other").exit_code == 8
    assert git("remote") == ""


def test_remove_needs_no_ssh_entry(repository: Any) -> None:
    git("remote", "add", "gone", "dev-gone:/workspace/project")
    assert repository("remote", "remove", "gone").exit_code == 0
