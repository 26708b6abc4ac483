"""A server that is not known to be the right one: 5, and nothing is said to it after the key exchange."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from battery import Battery, fault
from lab import Laptop
from sshds import SSHD, MakeSSHD, sshds
from wire import PORT

from l8s_core.known_hosts import server_name

NEVER_SAID = range(5, 7)
"""SERVICE_REQUEST and SERVICE_ACCEPT; all that asks for something (USERAUTH_REQUEST, GLOBAL_REQUEST) has higher
numbers than the key exchange (RFC 4250, 4.1.2)."""

KEY_EXCHANGE = range(20, 50)
DISCONNECT = 1


@pytest.fixture
def make_sshd(battery: Battery) -> Iterator[MakeSSHD]:
    with sshds(battery.server) as make:
        yield make


def a_key(laptop: Laptop, kind: str) -> str:
    """A fresh key, as TYPE BASE64."""
    path = laptop.home / f"a-{kind}"
    laptop.run("ssh-keygen", "-q", "-t", kind, "-N", "", "-f", path)
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


def kept_to_itself(sshd: SSHD) -> int:
    """How many connections came as far as the keys; none of them said anything after that."""
    assert sshd.received - set(KEY_EXCHANGE) <= {DISCONNECT}, f"messages {sorted(sshd.received)}"
    return sshd.log.count("KEX done")


POINTS = {
    "unknown": "is not known yet",
    "changed": "is not the trusted one",
    "of another type": "is not the trusted one",
    "revoked": "marks this key as revoked",
    "of an authority": "there is no terminal to ask on",
}


@fault("host key: unknown, changed, revoked, of another type, @cert-authority", points=list(POINTS), quick=2)
def test_host_key(battery: Battery, make_sshd: MakeSSHD, point: str) -> None:
    laptop, server = battery.laptop, battery.server
    sshd = make_sshd(PORT, log="DEBUG3", certified=point == "of an authority")
    name = server_name(server.host, PORT)
    ours, theirs = laptop.home / ".l8s" / "known_hosts", laptop.home / ".ssh" / "known_hosts"
    laptop.configure(server, remote_port=PORT)
    match point:
        case "changed":
            ours.write_text(f"{name} {a_key(laptop, 'ed25519')}\n")
        case "of another type":
            ours.write_text(f"{name} {a_key(laptop, 'ecdsa')}\n")
        case "revoked":
            theirs.write_text(f"{name} {sshd.host_key.line}\n@revoked * {sshd.host_key.line}\n")
        case "of an authority":
            authority = server.run(f"cat {sshd.directory}/authority.pub").stdout
            theirs.write_text(f"@cert-authority {name},{server.host} {authority}")
    pins, users = ours.read_bytes(), theirs.read_bytes() if theirs.exists() else b""
    tries = 1
    ran = battery.l8s("list", codes=(5,), within=10.0)
    if point in ("revoked", "of an authority"):  # to `list`, what the user's own ssh trusts is nothing at all
        assert POINTS["unknown"] in ran.text
        tries += 1
        where = ("--host", server.host, "--user", "root", "--port", str(PORT), "--profile", "new")
        ran = battery.l8s("init", *where, "--yes", codes=(5,), within=10.0)
    assert POINTS[point] in ran.text, ran.text
    assert sshd.host_key.fingerprint in ran.text
    assert kept_to_itself(sshd) == tries
    assert ours.read_bytes() == pins
    assert (theirs.read_bytes() if theirs.exists() else b"") == users
    battery.injected(f"sshd's log has {tries} key exchanges and nothing after them")
