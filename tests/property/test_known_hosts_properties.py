"""l8s's known_hosts: what is pinned is found, and nothing else changes, whatever the file holds."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l8s_core.errors import InvalidValue, LocalFileError
from l8s_core.known_hosts import KnownHosts, parse_public_key
from l8s_core.model import PublicKey


@pytest.fixture(autouse=True, scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        yield


def _key(data: bytes) -> PublicKey:
    blob = b"\0\0\0\x0bssh-ed25519" + len(data).to_bytes(4, "big") + data
    return PublicKey("ssh-ed25519", base64.b64encode(blob).decode())


KEY = st.binary(max_size=32).map(_key)
NAME = st.sampled_from(["a", "b.example", "[a]:2222", "fe80::1%eth0", "dev-a.l8s"])
COMMENT = st.binary(max_size=20).map(lambda data: b"#" + data.replace(b"\n", b""))
LINE = st.builds(
    lambda names, key, tail: f"{','.join(names)} {key.line}{tail}".encode(),
    st.lists(NAME, min_size=1, max_size=3, unique=True),
    KEY,
    st.sampled_from(["", " a comment", "\r"]),
)
FILE = st.builds(
    lambda lines, end: b"\n".join(lines) + end,
    st.lists(st.one_of(COMMENT, st.just(b""), LINE), max_size=6),
    st.sampled_from([b"", b"\n"]),
)


def _store(directory: str, content: bytes) -> KnownHosts:
    path = Path(directory) / "known_hosts"
    path.write_bytes(content)
    return KnownHosts(path)


@given(FILE, NAME, st.lists(KEY, min_size=1, max_size=3, unique=True))
def test_pin_then_forget_touches_one_name_only(content: bytes, name: str, keys: list[PublicKey]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = _store(directory, content)
        others = {other: store.keys(other) for other in ("a", "b.example", "[a]:2222", "dev-a.l8s") if other != name}
        comments = [line for line in content.split(b"\n") if line.startswith(b"#")]
        store.pin(name, keys)
        assert store.keys(name) == tuple(keys)
        store.pin(name, keys)
        assert store.keys(name) == tuple(keys)
        assert {other: store.keys(other) for other in others} == others
        store.forget(name)
        assert store.keys(name) == ()
        assert {other: store.keys(other) for other in others} == others
        assert [line for line in store.path.read_bytes().split(b"\n") if line.startswith(b"#")] == comments


@given(FILE, st.lists(KEY, min_size=1, max_size=3, unique=True))
def test_to_pin_a_new_name_and_forget_it_is_the_identity(content: bytes, keys: list[PublicKey]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = _store(directory, content)
        store.pin("new.l8s", keys)
        whole = content if content.endswith(b"\n") or not content else content + b"\n"
        once = whole + b"".join(f"new.l8s {key.line}\n".encode() for key in keys)
        assert store.path.read_bytes() == once
        store.pin("new.l8s", keys)
        assert store.path.read_bytes() == once
        store.forget("new.l8s")
        assert store.path.read_bytes() == whole


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_with_their_line(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = _store(directory, content)
        try:
            store.keys("a")
        except LocalFileError as error:
            assert "known_hosts:" in error.message


@given(st.text())
def test_any_text_is_a_key_or_refused(text: str) -> None:
    for line in (text, f"ssh-ed25519 {text}"):
        try:
            key = parse_public_key(line)
        except InvalidValue:
            continue
        assert parse_public_key(key.line) == key


@given(KEY, st.text(st.characters(exclude_categories=["Cs"])))
def test_a_key_survives_its_line(key: PublicKey, comment: str) -> None:
    assert parse_public_key(f"{key.line} {comment}") == key
    assert parse_public_key(key.line).fingerprint == key.fingerprint
