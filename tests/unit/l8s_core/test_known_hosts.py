from __future__ import annotations

import base64
import stat
import subprocess
from pathlib import Path

import pytest

from l8s_core import known_hosts
from l8s_core.errors import InvalidValue, LocalFileError
from l8s_core.known_hosts import KnownHosts, container_name, parse_public_key, server_name
from l8s_core.model import PublicKey


def key(seed: int, kind: str = "ssh-ed25519") -> PublicKey:
    blob = len(kind).to_bytes(4, "big") + kind.encode() + (32).to_bytes(4, "big") + bytes([seed]) * 32
    return PublicKey(kind, base64.b64encode(blob).decode())


A, B, C = key(1), key(2), key(3)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KnownHosts:
    monkeypatch.setenv("HOME", str(tmp_path))
    return KnownHosts()


class TestParsePublicKey:
    def test_takes_what_ssh_keygen_makes(self, tmp_path: Path) -> None:
        for kind in ("ed25519", "ecdsa", "rsa"):
            path = tmp_path / kind
            subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "me at home", "-f", path], check=True)
            line = path.with_suffix(".pub").read_text()
            parsed = parse_public_key(line)
            assert parsed.line == line.removesuffix(" me at home\n")
            assert parsed.comment == "me at home"
            listing = subprocess.run(["ssh-keygen", "-lf", path], capture_output=True, text=True, check=True).stdout
            assert parsed.fingerprint in listing

    @pytest.mark.parametrize(
        "line",
        [
            "",
            "ssh-ed25519",
            "ssh-ed25519 !!!!",
            "ssh-ed25519 AAAA",
            "ssh-ed25519 " + A.base64[:-4],
            f"ssh-rsa {A.base64}",
            f"SSH-ED25519 {A.base64}",
            "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519").decode(),
            "ssh-ed25519 " + base64.b64encode(b"\xff\xff\xff\xffssh-ed25519" + b"x" * 40).decode(),
            'command="x" ssh-ed25519 ' + A.base64,
            "ssh-ed25519 " + "A" * 20000,
        ],
    )
    def test_refuses_what_is_damaged(self, line: str) -> None:
        with pytest.raises(InvalidValue, match="not an SSH public key"):
            parse_public_key(line)

    def test_one_blob_has_one_spelling(self) -> None:
        kind = "ssh-ed25519"
        blob = len(kind).to_bytes(4, "big") + kind.encode() + (4).to_bytes(4, "big") + b"1234"
        text = base64.b64encode(blob).decode()
        assert text.endswith("Q=")
        other = text.removesuffix("Q=") + "R="
        assert parse_public_key(f"{kind} {text}").base64 == text
        assert base64.b64decode(other) == blob
        with pytest.raises(InvalidValue):
            parse_public_key(f"{kind} {other}")


def test_names_are_as_openssh_writes_them(store: KnownHosts, tmp_path: Path) -> None:
    assert server_name("Build.Example.com", 22) == "build.example.com"
    assert server_name("Build.Example.com", 2222) == "[build.example.com]:2222"
    assert container_name("dev-myapp") == "dev-myapp.l8s"
    store.pin(server_name("fe80::1%eth0", 2222), [A])
    store.pin(server_name("10.0.0.1", 22), [B])
    for name in ("[fe80::1%eth0]:2222", "10.0.0.1"):
        found = subprocess.run(["ssh-keygen", "-F", name, "-f", store.path], capture_output=True, check=False)
        assert found.returncode == 0, name


class TestKnownHosts:
    def test_nothing_is_known_at_first(self, store: KnownHosts) -> None:
        assert store.keys("a") == ()
        store.forget("a")
        assert not store.path.exists()

    def test_pin_replaces_all_keys_of_a_name(self, store: KnownHosts) -> None:
        store.pin("a", [A, B, A])
        store.pin("other", [B])
        assert store.keys("a") == (A, B)
        store.pin("a", [C])
        assert store.keys("A") == (C,)
        assert store.keys("other") == (B,)
        assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700

    def test_pinning_the_same_again_writes_nothing(self, store: KnownHosts) -> None:
        store.pin("a", [A])
        before = store.path.stat()
        store.pin("a", [A])
        assert store.path.stat() == before or store.path.stat().st_ino == before.st_ino

    def test_other_lines_stay_byte_for_byte(self, store: KnownHosts) -> None:
        store.path.parent.mkdir()
        others = f"# mine \xe9\r\n\n  b   {B.line} a comment\r\nc,d {C.line}".encode("latin-1")
        store.path.write_bytes(others)
        store.pin("a", [A])
        assert store.path.read_bytes() == others + f"\na {A.line}\n".encode()
        store.forget("a")
        assert store.path.read_bytes() == others + b"\n"

    def test_a_name_leaves_a_shared_line(self, store: KnownHosts) -> None:
        store.path.parent.mkdir()
        store.path.write_text(f"a,b {A.line}\n")
        store.pin("a", [B])
        assert (store.keys("a"), store.keys("b")) == ((B,), (A,))
        store.forget("b")
        assert (store.keys("a"), store.keys("b")) == ((B,), ())

    def test_pinning_the_key_of_a_shared_line_still_replaces_the_others(self, store: KnownHosts) -> None:
        store.path.parent.mkdir()
        store.path.write_text(f"a {A.line}\na,b {B.line}\n")
        store.pin("a", [A])
        assert (store.keys("a"), store.keys("b")) == ((A,), (B,))

    @pytest.mark.parametrize(
        "line",
        [
            "a",
            "a ssh-ed25519",
            "a ssh-ed25519 AAAA",
            f"|1|x=|y= {A.line}",
            f"@revoked a {A.line}",
            f"* {A.line}",
            f"!a {A.line}",
            f"a, {A.line}",
            f"\xe9 {A.line}",
        ],
    )
    def test_a_line_that_is_not_understood_is_named(self, store: KnownHosts, line: str) -> None:
        store.path.parent.mkdir()
        content = f"b {B.line}\n{line}\n".encode("latin-1")
        store.path.write_bytes(content)
        for action in (lambda: store.keys("b"), lambda: store.pin("b", [A]), lambda: store.forget("b")):
            with pytest.raises(LocalFileError, match=r"~/\.l8s/known_hosts:2: "):
                action()
        assert store.path.read_bytes() == content

    def test_its_size_is_bounded(self, store: KnownHosts) -> None:
        store.path.parent.mkdir()
        store.path.write_bytes(b"#" * (known_hosts.SIZE_LIMIT + 1))
        with pytest.raises(LocalFileError, match="larger than 1024 KiB"):
            store.keys("a")

    def test_it_does_not_grow_beyond_that(self, store: KnownHosts) -> None:
        store.path.parent.mkdir()
        content = b"#" * known_hosts.SIZE_LIMIT
        store.path.write_bytes(content)
        with pytest.raises(LocalFileError, match=r"~/\.l8s/known_hosts: it would be larger than 1024 KiB"):
            store.pin("a", [A])
        assert store.path.read_bytes() == content

    @pytest.mark.parametrize("name", ["", "a b", "a,b", "*", "!a", "|1|a", "@revoked", "#a", "a\nb", "-a", "a" * 400])
    def test_a_name_that_would_mean_something_else_is_refused(self, store: KnownHosts, name: str) -> None:
        with pytest.raises(InvalidValue):
            store.pin(name, [A])
        assert not store.path.exists()

    def test_needs_a_key_and_a_whole_one(self, store: KnownHosts) -> None:
        with pytest.raises(InvalidValue):
            store.pin("a", [])
        with pytest.raises(InvalidValue):
            store.pin("a", [PublicKey("ssh-ed25519", "AAAA\nb ssh-ed25519 AAAA")])

    def test_another_path(self, store: KnownHosts, tmp_path: Path) -> None:
        elsewhere = KnownHosts(tmp_path / "elsewhere")
        elsewhere.pin("a", [A])
        assert store.keys("a") == ()
        assert (tmp_path / "elsewhere").read_text() == f"a {A.line}\n"
