"""Of an agent with many keys, one is ever shown to a server or a container: the one that the profile selects."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lab import Laptop, Run, Server

from l8s_core.known_hosts import parse_public_key, server_name

OTHERS = 8
"""More keys than sshd lets anyone try (MaxAuthTries 6); the selected one is behind them in the agent."""


@pytest.fixture
def crowded(run: Run, laptop: Laptop) -> Laptop:
    """The laptop with keys of other machines in its agent, some of them in its ``~/.ssh``."""
    laptop.run("ssh-add", "-q", "-D")
    for number in range(OTHERS):
        # the names that ssh would try of itself are among them
        file = laptop.home / ".ssh" / ("id_rsa" if number == 0 else "id_ecdsa" if number == 1 else f"other{number}")
        laptop.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file)
        laptop.run("ssh-add", "-q", file)
    laptop.run("ssh-add", "-q", run.key_file)
    assert len(laptop.run("ssh-add", "-L").stdout.splitlines()) == OTHERS + 1
    return laptop


def selected(run: Run) -> str:
    return parse_public_key(Path(f"{run.key_file}.pub").read_text()).fingerprint


@contextmanager
def writing_sshd(server: Server, port: int, host_key: str) -> Iterator[str]:
    """A further sshd of the server that writes down every key it is shown; the name of its log."""
    place = server.run("mktemp -d /tmp/l8s-sshd-XXXXXX").stdout.strip()
    server.run(f"install -m600 {host_key} {place}/key")
    server.start_sshd(
        f"-f /dev/null -p {port} -h {place}/key -o LogLevel=DEBUG3"
        f" -o AuthorizedKeysFile=/root/.ssh/authorized_keys -o StrictModes=no -E {place}/log",
        pid_file=f"{place}/pid",
    )
    try:
        yield f"{place}/log"
    finally:
        server.run(f"kill $(cat {place}/pid); rm -rf {place}")


def shown_keys(server: Server, log: str) -> set[str]:
    """The fingerprints of the keys that were shown, whether they were then accepted or not."""
    text = server.run(f"cat {log}").stdout
    # the whole key stands in the message of the query (OpenSSH 9.2 and 10: auth2-pubkey.c, userauth_pubkey)
    found = re.findall(r"(?:querying|attempting) public key (\S+ \S+)", text)
    assert found, text
    return {parse_public_key(key).fingerprint for key in found}


def test_the_server_is_shown_the_selected_key_alone(server: Server, crowded: Laptop, run: Run) -> None:
    with writing_sshd(server, 2025, "/etc/ssh/ssh_host_ed25519_key") as log:
        crowded.configure(server, remote_port=2025)
        pins = crowded.home / ".l8s" / "known_hosts"
        pins.write_text(f"{server_name(server.host, 2025)} {server.host_key.line}\n")
        crowded.l8s("list")
        assert shown_keys(server, log) == {selected(run)}
        text = server.run(f"cat {log}").stdout
        assert "password" not in "".join(re.findall(r"userauth-request .*method (\S+)", text))
        assert "auth-agent-req" not in text


def test_the_control_without_l8s_every_key_is_shown(server: Server, crowded: Laptop) -> None:
    with writing_sshd(server, 2025, "/etc/ssh/ssh_host_ed25519_key") as log:
        options = ("-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-p", "2025")
        known = f"UserKnownHostsFile={crowded.home}/heard"
        crowded.run("ssh", *options, "-o", known, f"root@{server.host}", "true", check=False)
        assert len(shown_keys(server, log)) > 1


EVERYWHERE = (
    "Host *\n  ForwardAgent yes\n  ForwardX11 yes\n  IdentitiesOnly no\n  PasswordAuthentication yes\n  Tunnel yes\n"
)
"""What a user may have in their own configuration for all hosts."""


@pytest.mark.parametrize("added", [False, True], ids=["as it comes", "with an IdentityFile for all hosts"])
def test_a_container_is_shown_the_selected_key_alone(
    server: Server, image: str, crowded: Laptop, run: Run, added: bool
) -> None:
    """ssh adds up IdentityFile lines: one of the user's for all hosts is shown as well, after the selected key."""
    del image
    crowded.configure(server)
    other = crowded.home / ".ssh" / "other2"
    crowded.ssh_config.write_text(EVERYWHERE + (f"  IdentityFile {other}\n" if added else ""))
    theirs = {parse_public_key(other.with_suffix(".pub").read_text()).fingerprint} if added else set()
    try:
        crowded.l8s("create", "x")
        effective = [line.partition(" ")[::2] for line in crowded.ssh("-G", "dev-x").stdout.splitlines()]
        said = dict(reversed(effective))
        for key in ("forwardagent", "forwardx11", "passwordauthentication"):
            assert said[key] == "no", key
        assert said["identitiesonly"] == "yes"
        assert said["tunnel"] in ("no", "false")
        files = [Path(value) for key, value in effective if key == "identityfile"]
        assert parse_public_key(files[0].read_text()).fingerprint == selected(run)
        assert files[1:] == ([other] if added else [])
        assert not any("PRIVATE" in path.read_text() for path in (crowded.home / ".l8s").rglob("*") if path.is_file())

        port = json.loads(crowded.l8s("-o", "json", "info", "x").stdout)["data"]["ssh_port"]
        crowded.l8s("stop", "x")
        # an sshd of the server in the container's place, with the container's key, that writes down what it is shown
        volume = server.run("podman volume inspect --format '{{.Mountpoint}}' dev-x-hostkeys").stdout.strip()
        with writing_sshd(server, port, f"{volume}/ssh_host_ed25519_key") as log:
            crowded.ssh("-o", "ControlPath=none", "dev-x", "true", check=False)
            assert shown_keys(server, log) == {selected(run)} | theirs
            assert "auth-agent-req" not in server.run(f"cat {log}").stdout
    finally:
        server.clear()
