"""trust: both keys are shown, the question decides, and no key is replaced by anything else."""

from __future__ import annotations

from typing import Any

import pytest
from fake_session import SERVER_KEY, public_key

from l8s_core.known_hosts import KnownHosts

HOST = "dev.example.com"
OLD = public_key(9)


@pytest.fixture
def changed(l8s: Any) -> Any:
    l8s.server.host_keys = {HOST: SERVER_KEY}
    KnownHosts().pin(HOST, [OLD])
    return l8s


def test_shows_both_and_asks(changed: Any) -> None:
    changed.at_terminal()
    result = changed("trust", stdin="y\n")
    assert result.exit_code == 0, result.stderr
    assert SERVER_KEY.fingerprint in result.stderr
    assert KnownHosts().keys(HOST) == (SERVER_KEY,)


@pytest.mark.parametrize(("at_terminal", "stdin"), [(True, "n\n"), (False, "")])
def test_no_or_nobody_keeps_the_old_one(changed: Any, at_terminal: bool, stdin: str) -> None:
    if at_terminal:
        changed.at_terminal()
    result = changed("trust", stdin=stdin)
    assert result.exit_code == 5
    assert f"l8s trust --fingerprint {SERVER_KEY.fingerprint}" in result.stderr
    assert KnownHosts().keys(HOST) == (OLD,)


def test_another_fingerprint_keeps_the_old_one(changed: Any) -> None:
    changed.at_terminal()
    assert changed("trust", "--fingerprint", OLD.fingerprint, stdin="y\n").exit_code == 5
    assert KnownHosts().keys(HOST) == (OLD,)


def test_the_right_fingerprint_needs_no_question_and_shows_the_old_one(changed: Any) -> None:
    result = changed("trust", "--fingerprint", SERVER_KEY.fingerprint)
    assert result.exit_code == 0
    assert OLD.fingerprint in result.stderr
    assert KnownHosts().keys(HOST) == (SERVER_KEY,)


def test_server_setup_never_replaces_a_key(changed: Any) -> None:
    result = changed("server", "setup", HOST, "--yes", "--trust-host-key", SERVER_KEY.fingerprint)
    assert result.exit_code == 5
    assert KnownHosts().keys(HOST) == (OLD,)


def test_a_key_that_is_trusted_already_needs_nothing(l8s: Any) -> None:
    result = l8s("trust")
    assert result.exit_code == 0
    assert "nothing to do" in result.stdout
