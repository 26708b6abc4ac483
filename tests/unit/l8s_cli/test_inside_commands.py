"""exec and ssh."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from fake_session import container

from l8s_core import processes
from l8s_core.model import HostBlock


def test_exec_passes_bytes_and_exit_code(l8s: Any) -> None:
    l8s.server.exec_output = (("stdout", b"\x00\xff\x1b[31m"), ("stderr", b"no\xfe\n"))
    l8s.server.exec_code = 42
    result = l8s(
        "exec", "myapp", "--user", "root", "--workdir", "/tmp", "--env", "A=b=c", "--timeout", "1.5", "--", "ls", "-l"
    )
    assert result.exit_code == 42
    assert result.stdout_bytes == b"\x00\xff\x1b[31m"
    assert result.stderr_bytes == b"no\xfe\n"
    ((_, name, argv, options, _),) = l8s.server.calls
    assert (name, argv) == ("myapp", ("ls", "-l"))
    assert options == {"user": "root", "workdir": "/tmp", "env": {"A": "b=c"}, "timeout": 1.5}


def test_exec_forwards_stdin(l8s: Any) -> None:
    l8s("exec", "myapp", "--", "cat", stdin=b"\x00\xffdata")
    assert l8s.server.calls[0][-1] == b"\x00\xffdata"


def test_exec_options_of_the_command_stay_its_own(l8s: Any) -> None:
    l8s("exec", "myapp", "--", "x", "--", "-o", "json", "--profile", "a")
    assert l8s.server.calls[0][2] == ("x", "--", "-o", "json", "--profile", "a")


def test_exec_for_programs(l8s: Any) -> None:
    l8s.server.exec_output = (("stdout", b"a\xff"), ("stderr", b"b"))
    l8s.server.exec_code = 3
    result = l8s("exec", "myapp", "-o", "json", "--", "x")
    assert result.exit_code == 3
    data = json.loads(result.stdout)["data"]
    assert data == {
        "exit_code": 3,
        "stdout": "a\ufffd",
        "stderr": "b",
        "stdout_base64": base64.b64encode(b"a\xff").decode(),
        "stderr_base64": base64.b64encode(b"b").decode(),
    }


@pytest.mark.parametrize("words", [("exec", "myapp"), ("exec", "myapp", "--")], ids=" ".join)
def test_exec_without_a_command(l8s: Any, words: tuple[str, ...]) -> None:
    result = l8s(*words)
    assert result.exit_code == 2
    assert "l8s exec myapp -- " in result.stderr


def test_exec_with_options_before_the_dashes_says_how(l8s: Any) -> None:
    result = l8s("exec", "myapp", "ls", "-l")
    assert result.exit_code == 2
    assert "Put the command after --" in result.stderr


@pytest.mark.parametrize("env", ["A", "=x", "A B=c", "1A=x"])
def test_exec_refuses_bad_variables(l8s: Any, env: str) -> None:
    assert l8s("exec", "myapp", "--env", env, "--", "x").exit_code == 2
    assert l8s.server.opened == 0


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--user", "-x"),
        ("--user", "a b"),
        ("--workdir", "tmp"),
        ("--timeout", "nan"),
        ("--timeout", "inf"),
        ("--timeout", "0"),
        ("--timeout", "\u0665"),
    ],
)
def test_exec_refuses_before_connecting(l8s: Any, option: str, value: str) -> None:
    result = l8s("exec", "myapp", f"{option}={value}", "--", "x")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {option}: ")
    assert repr(value) in result.stderr
    assert l8s.server.opened == 0


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    calls: list[list[str]] = []

    def replace(argv: list[str]) -> None:
        calls.append(list(argv))
        raise SystemExit(77)

    monkeypatch.setattr(processes, "replace", replace)
    return calls


def entry(l8s: Any, alias: str) -> None:
    """Give this laptop an ssh entry."""
    l8s("profile", "list")
    block = HostBlock(
        alias=alias, hostname="h", port=2200, user="dev", host_key_alias=f"{alias}.l8s", known_hosts_file="/k"
    )
    l8s.session.writer.apply(l8s.session.writer.plan(add=[block]))


def test_ssh_becomes_ssh(l8s: Any, replaced: list[list[str]]) -> None:
    entry(l8s, "dev-myapp")
    result = l8s("ssh", "myapp")
    assert result.exit_code == 77
    assert replaced[0][0] == "ssh"
    assert replaced[0][-2:] == ["--", "dev-myapp"]
    assert l8s.server.opened == 0


def test_ssh_quotes_each_word(l8s: Any, replaced: list[list[str]]) -> None:
    entry(l8s, "dev-myapp")
    l8s("ssh", "myapp", "--", "echo", "a b", "$HOME", "-v", "it's")
    assert replaced[0][-3:] == ["--", "dev-myapp", """echo 'a b' '$HOME' -v 'it'"'"'s'"""]


def test_ssh_without_an_entry(l8s: Any, replaced: list[list[str]]) -> None:
    l8s.server.containers["myapp"] = container("myapp")
    result = l8s("ssh", "myapp")
    assert result.exit_code == 8
    assert "l8s create myapp" in result.stderr
    assert replaced == []
    assert l8s.server.opened == 0


def test_ssh_validates_the_name(l8s: Any, replaced: list[list[str]]) -> None:
    assert l8s("ssh", "--", "-oProxyCommand=x").exit_code == 2
    assert replaced == []
