"""A server's host key is changed for real: refused, shown, and trusted only when a person or a fingerprint says so."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from lab import Laptop, Server

KEY = "/etc/ssh/ssh_host_ed25519_key"


@pytest.fixture
def rotated(server: Server, image: str, laptop: Laptop) -> Iterator[str]:
    """The new key's fingerprint; the old key is put back at the end."""
    laptop.configure(server)
    server.exec("sh", "-ec", f"for f in {KEY} {KEY}.pub; do cp -p $f $f.kept; done", check=True)
    try:
        made = f"rm {KEY} {KEY}.pub; ssh-keygen -q -t ed25519 -N '' -f {KEY}; systemctl reload ssh"
        server.exec("sh", "-ec", made, check=True)
        yield server.exec("ssh-keygen", "-lf", f"{KEY}.pub", check=True).stdout.split()[1]
    finally:
        back = f"for f in {KEY} {KEY}.pub; do mv $f.kept $f; done; systemctl reload ssh"
        server.exec("sh", "-ec", back, check=True)


def test_a_changed_key_is_refused_until_it_is_trusted(rotated: str, server: Server, laptop: Laptop) -> None:
    pins = laptop.home / ".l8s" / "known_hosts"
    pins.write_text(pins.read_text() + f"other.example.com {server.host_key.line}\n# kept\n")
    before = pins.read_bytes()
    refused = laptop.l8s("list", check=False)
    assert refused.returncode == 5
    assert "l8s trust" in refused.stderr
    assert rotated in refused.stderr
    for arguments in ((), ("--fingerprint", server.host_key.fingerprint)):
        ran = laptop.l8s("trust", *arguments, check=False)
        assert ran.returncode == 5, ran.stderr
        assert f"l8s trust --fingerprint {rotated}" in ran.stderr
        assert pins.read_bytes() == before
    data = json.loads(laptop.l8s("-o", "json", "trust", "--fingerprint", rotated).stdout)["data"]
    change = {"host": server.host, "before": [server.host_key.fingerprint], "after": [rotated]}
    assert data["changes"] == [change]
    laptop.l8s("list")
    after = pins.read_text()
    assert server.host_key.line not in after.replace(f"other.example.com {server.host_key.line}", "")
    assert f"other.example.com {server.host_key.line}\n# kept\n" in after
    assert "nothing to do" in laptop.l8s("trust").stdout


def test_a_key_that_leads_nowhere_is_not_kept(rotated: str, laptop: Laptop) -> None:
    before = (laptop.home / ".l8s" / "known_hosts").read_bytes()
    laptop.run("ssh-add", "-q", "-D")
    laptop.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", laptop.home / "other")
    laptop.run("ssh-add", "-q", laptop.home / "other")
    (laptop.home / ".ssh" / "id_ed25519.pub").write_text((laptop.home / "other.pub").read_text())
    ran = laptop.l8s("trust", "--fingerprint", rotated, check=False)
    assert ran.returncode == 6, ran.stderr
    assert (laptop.home / ".l8s" / "known_hosts").read_bytes() == before
