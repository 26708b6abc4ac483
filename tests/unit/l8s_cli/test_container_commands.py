"""create, list, info, start, stop, restart, rm."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fake_session import container

from l8s_core.model import ContainerSpec


def test_create_passes_the_spec_and_shows_both_ssh_commands(l8s: Any) -> None:
    result = l8s(
        *("create", "myapp", "https://git.example/app.git", "main", "--image", "localhost/x:1"),
        *("--label", "team=blue", "--label", "a=b=c", "--memory", "512m", "--cpus", "1.5", "--pids", "512"),
    )
    assert result.exit_code == 0, result.stderr
    assert l8s.server.calls == [
        (
            "create",
            ContainerSpec(
                name="myapp",
                repository="https://git.example/app.git",
                branch="main",
                image="localhost/x:1",
                labels={"team": "blue", "a": "b=c"},
                memory=512 * 1024**2,
                cpus=1.5,
                pids=512,
            ),
        )
    ]
    assert "  SSH Command:    ssh dev-myapp\n" in result.stdout
    assert "  Direct SSH:     ssh -p 2200 dev@server.example.com\n" in result.stdout
    assert "create: start" in result.stderr
    assert "Cloning" not in result.stderr
    assert l8s.server.opened == l8s.server.closed == 1


def test_create_shows_output_with_v_and_escapes_it(l8s: Any) -> None:
    result = l8s("create", "myapp", "-v")
    assert "Cloning\\x1b[31m\n" in result.stderr
    assert "\x1b" not in result.stderr
    assert "address" in result.stderr


def test_create_for_programs(l8s: Any) -> None:
    data = l8s.json("create", "myapp", kind="container")
    assert data["name"] == "myapp"
    assert data["alias"] == "dev-myapp"
    assert data["ssh_command"] == "ssh dev-myapp"
    assert data["direct_ssh"] == "ssh -p 2200 dev@server.example.com"
    assert l8s("create", "other", "-o", "json").stderr == ""


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("My App",), "NAME: "),
        (("myapp", "ext::sh -c id"), "GIT_URL: "),
        (("myapp", "https://git.example/app.git", "--upload-pack=x"), "No such option '--upload-pack'"),
        (("myapp", "https://git.example/app.git", "a..b"), "BRANCH: "),
        (("myapp", "--label", "nothing"), "--label: "),
        (("myapp", "--label", "l8s.managed=true"), "--label: "),
        (("myapp", "--memory", "lots"), "--memory: "),
        (("myapp", "--cpus", "-1"), "--cpus: "),
        (("myapp", "--pids", "1"), "--pids: "),
        (("myapp", "--pids", "x"), "--pids: "),
        (("myapp", "--pids", "\u0665\u0661\u0662"), "--pids: "),
        (("myapp", "--image", "../x"), "--image: "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_create_refuses_before_connecting(l8s: Any, words: tuple[str, ...], named: str) -> None:
    result = l8s("create", *words)
    assert result.exit_code == 2, result.stderr
    assert result.stderr.startswith(f"Error: {named}")
    assert l8s.server.opened == 0


def test_list_for_people(l8s: Any) -> None:
    l8s.server.containers = {"b": container("b", 2201, state="exi\x1bted"), "a": container("a")}
    lines = l8s("list").stdout.splitlines()
    assert lines[0].split() == ["NAME", "STATE", "SSH", "PORT", "IMAGE", "CREATED", "ALIAS"]
    assert lines[1].split()[:3] == ["a", "running", "2200"]
    assert lines[1].endswith("dev-a")
    assert "exi\\x1bted" in lines[2]
    assert l8s.server.calls == [("list",)]


@pytest.mark.parametrize("years", [-10, 10])
def test_an_age_is_counted_by_the_servers_clock(l8s: Any, years: int) -> None:
    created = datetime.now(UTC) + timedelta(days=365 * years)
    l8s.server.containers = {"a": container("a", created=created)}
    l8s.server.time = created + timedelta(hours=3)
    assert "3 hours ago" in l8s("list").stdout
    assert "  Created:        3 hours ago" in l8s("info", "a").stdout.splitlines()


def test_ls_is_list(l8s: Any) -> None:
    l8s.server.containers = {"a": container("a")}
    assert l8s("ls").stdout == l8s("list").stdout


def test_list_for_programs(l8s: Any) -> None:
    assert l8s.json("list", kind="containers") == []
    l8s.server.containers = {"a": container("a", image="x\x1b\u202e")}
    (item,) = l8s.json("ls", kind="containers")
    assert item == {
        "name": "a",
        "alias": "dev-a",
        "id": "abc123",
        "state": "running",
        "image": "x\x1b\u202e",
        "ssh_port": 2200,
        "ports": {"2200": 22},
        "created": "2024-01-02T03:04:05+00:00",
        "exit_code": None,
        "repository": "https://git.example/app.git",
        "branch": None,
        "user": None,
        "labels": {
            "l8s.name": "a",
            "l8s.repository": "https://git.example/app.git",
            "l8s.ssh-port": "2200",
            "team": "blue",
        },
    }
    assert "\x1b" not in l8s("ls", "-o", "json").stdout


def test_empty_list_says_what_to_do(l8s: Any) -> None:
    assert "l8s create NAME" in l8s("list").stderr


def test_info_shows_both_ssh_commands_of_the_seed(l8s: Any) -> None:
    l8s.server.containers["myapp"] = container("myapp", 2207)
    result = l8s("info", "myapp")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "myapp"
    assert "  SSH Command:    ssh dev-myapp" in lines
    assert "  Direct SSH:     ssh -p 2207 dev@server.example.com" in lines
    assert "  Server:         root@server.example.com" in lines
    assert "  Labels:         team=blue" in lines


def test_info_without_a_port_shows_no_ssh_command(l8s: Any) -> None:
    l8s.server.containers["myapp"] = container("myapp", labels={})
    assert "ssh" not in l8s("info", "myapp").stdout.replace("SSH Port", "")
    assert l8s.json("info", "myapp", kind="container")["ssh_command"] is None


def test_info_of_nothing(l8s: Any) -> None:
    error = l8s.error("info", "nope")
    assert (error["type"], error["exit_code"]) == ("ContainerNotFound", 8)


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_verbs_take_several_names(l8s: Any, verb: str) -> None:
    l8s.server.containers = {"a": container("a"), "b": container("b")}
    result = l8s(verb, "a", "b")
    assert result.exit_code == 0
    assert l8s.server.calls == [(verb, "a"), (verb, "b")]
    assert l8s.server.opened == 1
    assert len(l8s.json(verb, "a", kind="changed")) == 1


def test_verbs_check_every_name_first_and_stop_at_the_first_failure(l8s: Any) -> None:
    l8s.server.containers = {"a": container("a"), "c": container("c")}
    assert l8s("stop", "a", "B!").exit_code == 2
    assert l8s.server.opened == 0
    assert l8s("stop", "a", "b", "c").exit_code == 8
    assert l8s.server.calls == [("stop", "a")]


def test_rm_needs_yes_without_a_terminal(l8s: Any) -> None:
    l8s.server.containers["a"] = container("a")
    result = l8s("rm", "a")
    assert result.exit_code == 2
    assert "l8s rm a --yes" in result.stderr
    assert l8s.server.opened == 0
    assert l8s("remove", "a", "--yes").stdout == (
        "Removed a: the container dev-a, the volume dev-a-home, the volume dev-a-workspace, the ssh entry.\n"
    )
    assert l8s.server.calls == [("remove", "a", False)]


@pytest.mark.parametrize(("answer", "removed"), [("y\n", True), ("n\n", False), ("\n", False), ("what\nyes\n", True)])
def test_rm_shows_and_asks(l8s: Any, answer: str, removed: bool) -> None:
    l8s.at_terminal()
    l8s.server.containers["a"] = container("a")
    result = l8s("rm", "a", stdin=answer)
    assert result.exit_code == 0
    assert "the container dev-a (running)" in result.stderr
    assert "volumes" in result.stderr
    assert bool(l8s.server.calls) is removed


def test_rm_at_the_end_of_input_removes_nothing(l8s: Any) -> None:
    l8s.at_terminal()
    l8s.server.containers["a"] = container("a")
    assert l8s("rm", "a", stdin="").exit_code == 130
    assert l8s.server.calls == []


def test_rm_keeps_volumes(l8s: Any) -> None:
    l8s.server.containers["a"] = container("a")
    data = l8s.json("rm", "a", "--yes", "--keep-volumes", kind="removal")
    assert data == {
        "name": "a",
        "alias": "dev-a",
        "container": True,
        "ssh_entry": True,
        "volumes": [],
        "kept_volumes": ["dev-a-home", "dev-a-workspace"],
    }
