"""init: the questions, trust, and that nothing is written unless all of it worked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_session import SERVER_KEY, public_key

from l8s_core.errors import HostUnreachable, LocalFileError, SocketUnavailable
from l8s_core.known_hosts import KnownHosts
from l8s_core.model import HostFacts

SERVER = ("--host", "server.example.com", "--user", "root")
HOST = "server.example.com"


@pytest.fixture
def bare(l8s: Any) -> Any:
    """A laptop without a configuration, and a server whose key nobody knows."""
    l8s.data = {}
    l8s.server.host_keys = {HOST: SERVER_KEY}
    return l8s


def written(l8s: Any) -> Any:
    return dict(l8s.session.store.load().data)


def draft(l8s: Any) -> Path:
    path: Path = l8s.home / ".l8s" / "init-draft.json"
    return path


def test_asks_in_order_with_defaults(bare: Any) -> None:
    bare.at_terminal()
    result = bare("init", stdin=f"{HOST}\n\n\n\n\n\ny\n")
    assert result.exit_code == 0, result.stderr
    questions = [
        "Remote server hostname/IP: ",
        "Remote server username [root]: ",
        "SSH port [from ~/.ssh/config, else 22]: ",
        "Podman socket on the server [/run/podman/podman.sock]: ",
        "SSH key [~/.ssh/id_ed25519]: ",
        "Image of the containers [localhost/l8s-dev:latest]: ",
        f"Testing SSH connection to root@{HOST}...",
        f"Fingerprint:  {SERVER_KEY.fingerprint}",
        "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
        "Trust this key? [y/N]: ",
        "API version",
        "l8s build",
        "l8s create myapp",
    ]
    places = [result.stderr.index(question) for question in questions]
    assert places == sorted(places)
    assert "Podman 5.4.2" in result.stdout
    assert written(bare) == {"remote_host": HOST, "remote_user": "root"}
    assert KnownHosts().keys(HOST) == (SERVER_KEY,)
    assert not draft(bare).exists()


def test_writes_what_differs_from_the_defaults(bare: Any) -> None:
    bare.at_terminal()
    result = bare("init", stdin=f"{HOST}\nops\n2222\n/run/x.sock\n~/.ssh/other\nlocalhost/x:1\ny\n")
    assert result.exit_code == 0, result.stderr
    assert written(bare) == {
        "remote_host": HOST,
        "remote_user": "ops",
        "remote_port": 2222,
        "remote_socket": "/run/x.sock",
        "ssh_key_path": "~/.ssh/other",
        "base_image": "localhost/x:1",
    }


def test_asks_again_after_a_bad_answer(bare: Any) -> None:
    bare.at_terminal()
    result = bare("init", stdin=f"ssh://x\nlocalhost\n{HOST}\n-x\nroot\nport\n0\n22\n\n\n\ny\n")
    assert result.exit_code == 0, result.stderr
    assert written(bare)["remote_port"] == 22
    assert "Local Podman connections are not supported." in result.stderr


def test_refuses_without_a_server(bare: Any) -> None:
    bare.at_terminal()
    result = bare("init", stdin="\n")
    assert result.exit_code == 2
    assert "Error: remote server hostname is required" in result.stderr
    assert bare.server.opened == 0
    assert written(bare) == {}


@pytest.mark.parametrize("words", [(), ("--user", "root"), ("--yes",)], ids=" ".join)
def test_without_a_terminal_refuses_without_a_host(bare: Any, words: tuple[str, ...]) -> None:
    error = bare.error("init", *words)
    assert (error["message"], error["exit_code"]) == ("remote server hostname is required", 2)


def test_without_a_terminal_needs_a_user(bare: Any) -> None:
    assert bare("init", "--host", HOST).exit_code == 2
    assert bare.server.opened == 0


def test_without_a_terminal_trust_is_never_guessed(bare: Any) -> None:
    result = bare("init", *SERVER, "--yes")
    assert result.exit_code == 5
    command = f"l8s init --host {HOST} --user root --yes --trust-host-key {SERVER_KEY.fingerprint}"
    assert command in result.stderr
    assert written(bare) == {}
    assert KnownHosts().keys(HOST) == ()


def test_the_command_that_it_names_works(bare: Any) -> None:
    hint = bare.error("init", *SERVER, "--profile", "lab", "--port", "2222")["hints"][-1]
    words = hint.partition(": l8s ")[2].split()
    assert bare(*words).exit_code == 0
    assert written(bare)["profiles"]["lab"]["remote_port"] == 2222


def test_matching_fingerprint_is_trusted(bare: Any) -> None:
    data = bare.json("init", *SERVER, "--trust-host-key", SERVER_KEY.fingerprint, kind="initialized")
    assert data["profile"] == "dev"
    assert data["version"] == "5.4.2"
    assert written(bare) == {"remote_host": HOST, "remote_user": "root"}


@pytest.mark.parametrize("terminal", [True, False])
def test_another_fingerprint_is_refused_without_asking(bare: Any, terminal: bool) -> None:
    if terminal:
        bare.at_terminal()
    result = bare("init", *SERVER, "--yes", "--trust-host-key", public_key(9).fingerprint, stdin="y\n" * 9)
    assert result.exit_code == 5
    assert KnownHosts().keys(HOST) == ()


def test_bad_fingerprint_is_a_usage_error(bare: Any) -> None:
    assert bare("init", *SERVER, "--trust-host-key", "MD5:00").exit_code == 2


def test_yes_does_not_answer_the_question_of_trust(bare: Any) -> None:
    bare.at_terminal()
    assert bare("init", *SERVER, "--yes", stdin="n\n").exit_code == 5
    assert bare("init", *SERVER, "--yes", stdin="y\n").exit_code == 0


def test_key_of_the_users_own_known_hosts_is_imported(bare: Any) -> None:
    (bare.home / ".ssh").mkdir()
    (bare.home / ".ssh" / "known_hosts").write_text(f"{HOST} {SERVER_KEY.line}\n")
    result = bare("init", *SERVER)
    assert result.exit_code == 0, result.stderr
    assert "imported from ~/.ssh/known_hosts" in result.stderr
    assert KnownHosts().keys(HOST) == (SERVER_KEY,)


@pytest.mark.parametrize("marker", ["@revoked ", ""])
def test_what_the_users_own_known_hosts_contradicts_is_not_asked_about(bare: Any, marker: str) -> None:
    bare.at_terminal()
    key = SERVER_KEY if marker else public_key(7)
    (bare.home / ".ssh").mkdir()
    (bare.home / ".ssh" / "known_hosts").write_text(f"{marker}{HOST} {key.line}\n")
    result = bare("init", *SERVER, "--yes", stdin="y\n" * 9)
    assert result.exit_code == 5
    assert "Trust this key?" not in result.stderr


def test_changed_key_is_never_asked_about(bare: Any) -> None:
    bare.at_terminal()
    KnownHosts().pin(HOST, [public_key(3)])
    result = bare("init", *SERVER, "--yes", "--trust-host-key", SERVER_KEY.fingerprint, stdin="y\n" * 9)
    assert result.exit_code == 5
    assert KnownHosts().keys(HOST) == (public_key(3),)


def test_jump_hosts_are_asked_about_too(bare: Any) -> None:
    bare.at_terminal()
    bare.server.host_keys = {"[jump.example.com]:2222": public_key(5), HOST: SERVER_KEY}
    result = bare("init", *SERVER, "--yes", stdin="y\ny\n")
    assert result.exit_code == 0, result.stderr
    assert KnownHosts().keys("[jump.example.com]:2222") == (public_key(5),)
    assert bare.server.opened == bare.server.closed == 3


@pytest.mark.parametrize(
    ("broken", "error", "code"),
    [
        ("open_error", HostUnreachable("no"), 4),
        ("facts_error", SocketUnavailable("no socket"), 7),
        ("facts_error", KeyboardInterrupt(), 130),
    ],
)
def test_failure_writes_nothing_and_takes_the_pin_back(bare: Any, broken: str, error: BaseException, code: int) -> None:
    setattr(bare.server, broken, error)
    result = bare("init", *SERVER, "--trust-host-key", SERVER_KEY.fingerprint)
    assert result.exit_code == code
    assert "Nothing was written. Your answers are kept" in result.stderr
    assert written(bare) == {}
    assert KnownHosts().keys(HOST) == ()
    assert draft(bare).stat().st_mode & 0o777 == 0o600


def test_failure_to_write_the_config_takes_the_pin_back(bare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bare("profile", "list")

    def full(change: Any) -> None:
        raise LocalFileError("no space")

    monkeypatch.setattr(bare.session.store, "edit", full)
    assert bare("init", *SERVER, "--trust-host-key", SERVER_KEY.fingerprint).exit_code == 9
    assert KnownHosts().keys(HOST) == ()


def test_answers_of_a_failed_try_are_offered_again(bare: Any) -> None:
    bare.at_terminal()
    bare.server.facts_error = SocketUnavailable("no socket")
    assert bare("init", stdin=f"{HOST}\nops\n2222\n\n\n\ny\n").exit_code == 7
    assert json.loads(draft(bare).read_text())["answers"] == {
        "remote_host": HOST,
        "remote_user": "ops",
        "remote_port": "2222",
        "remote_socket": "/run/podman/podman.sock",
        "ssh_key_path": "~/.ssh/id_ed25519",
        "base_image": "localhost/l8s-dev:latest",
    }
    bare.server.facts_error = None
    result = bare("init", stdin="\n\n\n\n\n\ny\n")
    assert result.exit_code == 0, result.stderr
    assert f"hostname/IP [{HOST}]" in result.stderr
    assert written(bare) == {"remote_host": HOST, "remote_user": "ops", "remote_port": 2222}
    assert not draft(bare).exists()


def test_interrupted_questions_are_kept(bare: Any) -> None:
    bare.at_terminal()
    assert bare("init", stdin=f"{HOST}\n").exit_code == 130
    assert json.loads(draft(bare).read_text()) == {"profile": "dev", "answers": {"remote_host": HOST}}


@pytest.mark.parametrize("content", ["", "[", "[]", '{"profile": "dev", "answers": [1]}', "[" * 9000])
def test_a_damaged_draft_is_ignored(bare: Any, content: str) -> None:
    bare.at_terminal()
    draft(bare).parent.mkdir()
    draft(bare).write_text(content)
    assert bare("init", stdin=f"{HOST}\n\n\n\n\n\ny\n").exit_code == 0


def test_an_existing_profile_is_shown_and_asked_about(l8s: Any) -> None:
    l8s.data = {"remote_host": "old.example.com", "remote_user": "root", "labels": {"team": "blue"}}
    assert l8s("init", *SERVER).exit_code == 2
    l8s.at_terminal()
    result = l8s("init", *SERVER, stdin="n\n")
    assert result.exit_code == 0
    assert "old.example.com" in result.stderr
    assert written(l8s)["remote_host"] == "old.example.com"
    assert l8s("init", *SERVER, "--yes").exit_code == 0
    assert written(l8s) == {"remote_host": HOST, "remote_user": "root", "labels": {"team": "blue"}}


def test_existing_values_are_the_defaults(l8s: Any) -> None:
    l8s.data = {"remote_host": "old.example.com", "remote_user": "ops", "remote_port": 2222}
    l8s.at_terminal()
    result = l8s("init", stdin="y\n" + "\n" * 6)
    assert result.exit_code == 0, result.stderr
    assert written(l8s) == l8s.data


def test_another_profile_leaves_the_first_alone(l8s: Any) -> None:
    result = l8s("init", "--profile", "lab", "--host", "lab.example.com", "--user", "root")
    assert result.exit_code == 0, result.stderr
    assert written(l8s) == {
        "active_profile": "dev",
        "profiles": {
            "dev": {"remote_host": HOST, "remote_user": "root"},
            "lab": {"remote_host": "lab.example.com", "remote_user": "root"},
        },
    }
    assert "l8s build --profile lab" in result.stderr


def test_localhost_is_refused_before_anything(bare: Any) -> None:
    error = bare.error("init", "--host", "127.1", "--user", "root")
    assert (error["type"], error["exit_code"]) == ("RemoteOnlyError", 3)
    assert bare.server.opened == 0


def test_warnings_of_the_server_are_shown(bare: Any) -> None:
    facts: HostFacts = bare.server.facts
    bare.server.facts = HostFacts(
        backend="podman", version="4.3.1", api_version="4.3.1", os="d", kernel="6", cpus=1, memory=facts.memory,
        warnings=("Containers will not come back after a reboot.",),
    )  # fmt: skip
    result = bare("init", *SERVER, "--trust-host-key", SERVER_KEY.fingerprint)
    assert "Warning: Containers will not come back after a reboot.\n" in result.stderr


def test_a_key_that_becomes_trusted_is_no_failure(bare: Any) -> None:
    result = bare("init", *SERVER, "--trust-host-key", SERVER_KEY.fingerprint)
    assert "✗" not in result.stderr
    assert result.stderr.count("✓ address") == 1
    assert result.stderr.count("✓ host key") == 1
    refused = bare("init", "--profile", "two", *SERVER)
    assert refused.exit_code == 0
    bare.server.host_keys = {"other": public_key(8)}
    refused = bare("init", "--profile", "three", *SERVER)
    assert refused.stderr.count("✗ host key") == 1
    assert "At step: host key\n" in refused.stderr
