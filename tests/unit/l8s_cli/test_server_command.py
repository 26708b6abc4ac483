"""server setup: the plan, the question, the output and what comes next; no profile is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from fake_session import SERVER_KEY

from l8s_core.errors import HostUnreachable
from l8s_core.known_hosts import KnownHosts
from l8s_core.model import ExecResult

HOST = "server.example.com"
RAN = ("run_on_server", ("bash", "-s", "--", "--brief"))


@pytest.fixture
def bare(l8s: Any) -> Any:
    l8s.data = {}
    l8s.server.on_server = answer
    return l8s


def answer(argv: Sequence[str], missing: str = "podman") -> ExecResult:
    if "--look" not in argv:
        return ExecResult(exit_code=0, stdout_bytes=b"Installing\x1b[31m\n")
    found = {
        "uid": "0",
        "id": "debian",
        "version": "13",
        "name": "Debian 13\x1b[2J",
        "systemd": "yes",
        "answers": "yes",
    }
    found |= {"missing": missing, "podman.socket": "yes", "podman-restart.service": "yes", "end": "yes"}
    return ExecResult(exit_code=0, stdout_bytes="".join(f"l8s-look {k} {v}\n" for k, v in found.items()).encode())


def test_shows_asks_runs_and_says_what_is_next(bare: Any) -> None:
    bare.at_terminal()
    result = bare("server", "setup", HOST, "--port", "2222", stdin="y\n")
    assert result.exit_code == 0, result.stderr
    words = ["install from the packages of", "podman", "Do it? [y/N]", "Installing\\x1b[31m", "API version", "Next: "]
    places = [result.stderr.index(word) for word in words]
    assert places == sorted(places)
    assert f"l8s init --host {HOST} --user root --port 2222" in result.stderr
    assert "\x1b[2J" not in result.output
    assert RAN in bare.server.calls
    assert bare.session.store.load().data == {}


def test_no_changes_nothing(bare: Any) -> None:
    bare.at_terminal()
    bare.server.host_keys = {HOST: SERVER_KEY}
    result = bare("server", "setup", HOST, stdin="y\nn\n")
    assert result.exit_code == 0
    assert "Nothing was changed" in result.stderr
    assert RAN not in bare.server.calls
    assert KnownHosts().keys(HOST) == ()


def test_without_a_terminal_it_needs_yes(bare: Any) -> None:
    error = bare.error("server", "setup", HOST)
    assert error["exit_code"] == 2
    assert error["hints"] == [f"Say so: l8s server setup {HOST} --user root --yes"]
    assert RAN not in bare.server.calls
    data = bare.json("server", "setup", HOST, "--yes", kind="server-setup")
    assert data["server"] == f"root@{HOST}"
    assert len(data["changes"]) == 1
    assert RAN in bare.server.calls


def test_nothing_to_do_is_still_proved(bare: Any) -> None:
    bare.server.on_server = lambda argv: answer(argv, missing="")
    result = bare("server", "setup", HOST)
    assert result.exit_code == 0, result.stderr
    assert "nothing to do" in result.stderr
    assert "API version" in result.stderr
    assert RAN not in bare.server.calls


def test_a_group_is_asked_for_shown_and_named_again(bare: Any) -> None:
    error = bare.error("server", "setup", HOST, "--group", "l8s", "--group-member", "me")
    assert error["hints"] == [f"Say so: l8s server setup {HOST} --user root --group l8s --group-member me --yes"]
    assert "root on this server" in error["message"]
    result = bare("server", "setup", HOST, "--group", "l8s", "--group-member", "me", "--yes")
    assert result.exit_code == 0, result.stderr
    assert "so are root on the server" in result.stderr
    assert f"Next: l8s init --host {HOST} --user me" in result.stderr
    assert ("run_on_server", ("bash", "-s", "--", "--brief", "--group", "l8s", "--member", "me")) in bare.server.calls


def test_the_host_key_is_trusted_by_its_fingerprint(bare: Any) -> None:
    bare.server.host_keys = {HOST: SERVER_KEY}
    assert bare("server", "setup", HOST, "--yes").exit_code == 5
    assert bare("server", "setup", HOST, "--yes", "--trust-host-key", SERVER_KEY.fingerprint).exit_code == 0
    assert KnownHosts().keys(HOST) == (SERVER_KEY,)


def test_a_failure_names_no_profile(bare: Any) -> None:
    bare.server.open_error = HostUnreachable("no answer", profile="setup")
    error = bare.error("server", "setup", HOST, "--yes")
    assert (error["type"], error["profile"]) == ("HostUnreachable", None)


@pytest.mark.parametrize(
    "arguments",
    [
        ("localhost",),
        ("-x",),
        (HOST, "--profile", "dev"),
        (HOST, "--group-member", "me"),
        (HOST, "--group", "-G"),
        (HOST, "--group", "l8s", "--group-member", "a;b"),
    ],
)
def test_refused_before_any_network(bare: Any, arguments: tuple[str, ...]) -> None:
    assert bare("server", "setup", *arguments).exit_code in (2, 3)
    assert bare.server.opened == 0
