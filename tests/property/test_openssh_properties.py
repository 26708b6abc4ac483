"""The ssh configuration: rendering and parsing are each other's inverse, and the user's file loses nothing."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from l8s_core.errors import SSHConfigError
from l8s_core.model import HostBlock
from l8s_openssh.include import add_include, has_include
from l8s_openssh.multiplexing import Multiplexing
from l8s_openssh.render import parse, render
from l8s_openssh.writer import OpenSSHWriter

with_processes = settings(deadline=None)
"""How long a process takes is the machine's business."""

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
HOST = st.one_of(LABEL, st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(lambda a: f"{a.compressed}%eth0"))
PATH = st.text(st.characters(codec="utf-8", exclude_characters="\"'\\\x7f", min_codepoint=32), max_size=30).map(
    lambda text: "/" + text.replace("${", "")
)
USER = st.from_regex(r"[a-z_][a-z0-9_-]{0,10}", fullmatch=True)
BLOCK = st.builds(
    HostBlock,
    alias=LABEL,
    hostname=HOST,
    port=st.integers(1, 65535),
    user=USER,
    host_key_alias=LABEL,
    known_hosts_file=PATH,
    identity_file=st.one_of(st.just(""), PATH),
    proxy_jump=st.one_of(st.just(""), st.lists(LABEL, min_size=1, max_size=3).map(",".join)),
    host_key_checking=st.booleans(),
    forward_agent=st.booleans(),
)
BLOCKS = st.lists(BLOCK, max_size=5, unique_by=lambda block: block.alias)
PLACE = st.builds(Multiplexing, st.just("/tmp/l8s-0"), guarded=st.booleans())
LINE = b"Include ~/.l8s/ssh_config"
SPELLINGS = {b"~/.l8s/ssh_config"}


@given(BLOCKS, PLACE)
def test_parse_is_the_inverse_of_render(blocks: list[HostBlock], place: Multiplexing) -> None:
    data = render(blocks, place)
    assert parse(data) == tuple(sorted(blocks, key=lambda block: block.alias))
    assert render(parse(data), place) == data


@given(BLOCKS)
def test_a_block_is_as_many_lines_as_it_looks(blocks: list[HostBlock]) -> None:
    lines = render(blocks, Multiplexing("/c")).decode().split("\n")
    assert [line for line in lines if line.startswith("Host ")] == sorted(f"Host {block.alias}" for block in blocks)
    known = {"Host", "HostName", "Port", "User", "HostKeyAlias", "UserKnownHostsFile", "#UserKnownHostsFile"}
    known |= {"GlobalKnownHostsFile", "StrictHostKeyChecking", "CheckHostIP", "UpdateHostKeys", "IdentitiesOnly"}
    known |= {"IdentityFile", "PasswordAuthentication", "ForwardAgent", "ProxyJump", "ServerAliveInterval"}
    known |= {"ForwardX11", "Tunnel", "PermitLocalCommand", "RemoteCommand"}
    known |= {"ServerAliveCountMax", "ControlMaster", "ControlPath", "ControlPersist", "#", ""}
    assert {line.strip().split(" ")[0] for line in lines} <= known


@given(st.text(), st.sampled_from(["alias", "hostname", "user", "host_key_alias", "known_hosts_file", "proxy_jump"]))
def test_no_text_makes_a_line_of_its_own(text: str, name: str) -> None:
    values = {
        "alias": "a",
        "hostname": "h",
        "user": "u",
        "host_key_alias": "k",
        "known_hosts_file": "/k",
        "proxy_jump": "",
        name: text,
    }
    block = HostBlock(port=22, **values)  # type: ignore[arg-type]
    try:
        data = render([block], Multiplexing("/c"))
    except SSHConfigError:
        return
    assert parse(data) == (block,)
    assert data.count(b"\n") == 25


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_are_refused(data: bytes) -> None:
    for content in (data, render([], Multiplexing("/c")) + data):
        try:
            parse(content)
        except SSHConfigError:
            continue


@given(st.one_of(st.binary(max_size=200), st.text('Hostincludema \t="#\r\n~/.l8_cfg*', max_size=80).map(str.encode)))
def test_the_include_is_added_once_and_every_byte_is_kept(data: bytes) -> None:
    try:
        after = add_include(data, LINE, SPELLINGS)
    except SSHConfigError:
        assert b"\0" in data or data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"))
        return
    assert after.endswith(data)
    assert has_include(after, SPELLINGS)
    assert after[: len(after) - len(data)] in (b"", LINE + b"\n", LINE + b"\r\n")
    assert add_include(after, LINE, SPELLINGS) == after


# With the real ssh


def meant(config: Path, host: str) -> list[str]:
    """All that ``ssh -G`` says of a host."""
    argv = ["ssh", "-F", config, "-G", "--", host]
    done = subprocess.run(argv, capture_output=True, check=False, timeout=20, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode("utf-8", "surrogateescape").split("\n")


ACCEPTED = st.builds(
    evolve,
    BLOCK,
    alias=st.from_regex(r"[a-z0-9][a-z0-9._-]{0,30}", fullmatch=True),
    # digits alone, or 0x and some, are an address to ssh, which writes it out
    hostname=HOST.filter(lambda host: not host[0].isdigit() or host.count(".") == 3 or ":" in host),
    user=st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True),
    proxy_jump=st.lists(
        st.builds(
            lambda user, host, port: f"{user}{host}{port}",
            st.sampled_from(["", "me@", "me.too@"]),
            st.sampled_from(["gate", "gate.example.com", "[10.0.0.1]", "[2001:db8::1]"]),
            st.sampled_from(["", ":2222"]),
        ),
        max_size=3,
    ).map(",".join),
)


@with_processes
@given(ACCEPTED, st.lists(BLOCK, max_size=2))
def test_an_accepted_value_is_what_ssh_reads(block: HostBlock, others: list[HostBlock]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "config"
        beside = {other.alias: other for other in others if other.alias != block.alias}
        config.write_bytes(render([*beside.values(), block], Multiplexing("/tmp/l8s-0")))
        seen = dict(line.partition(" ")[::2] for line in meant(config, block.alias))
        keys = [line for line in meant(config, block.alias) if line.startswith("identityfile ")]
    assert seen["hostname"] == block.hostname
    assert (seen["port"], seen["user"]) == (str(block.port), block.user)
    assert seen["hostkeyalias"] == block.host_key_alias
    assert seen["userknownhostsfile"] == (block.known_hosts_file if block.host_key_checking else "/dev/null")
    assert (seen["stricthostkeychecking"] in ("true", "yes")) is block.host_key_checking
    assert seen["forwardagent"] == ("yes" if block.forward_agent else "no")
    assert seen.get("proxyjump", "") == block.proxy_jump
    if block.identity_file:
        # shown before its tokens are read, of which %% is the only one
        assert keys == [f"identityfile {block.identity_file.replace('%', '%%')}"]


INDENT = st.sampled_from(["", "  ", "\t", "    "])
SETTING = st.builds(
    lambda indent, setting, tail: indent + setting + tail,
    INDENT,
    st.sampled_from(
        [
            "Port 2200",
            "User=me",
            'User "me too"',
            "compression yes",
            "SendEnv LC_*",
            "ProxyJump gate",
            "HostName 10.0.0.9",
        ]
    ),
    st.sampled_from(["", " ", "  # why"]),
)
PLACE_LINE = st.builds(
    str.__add__,
    INDENT,
    st.sampled_from(
        [
            "Host a",
            "Host a b",
            "Host *",
            "Host dev-*",
            "Host=b",
            'Host "a"',
            "Host * !b",
            "Match all",
            "Match host a,b",
            "Match originalhost b",
            "Match user me",
            'Match exec "true"',
            "Match host a exec false",
            "match final all",
            "Include /nowhere/*",
            "Include /nowhere # ~/.l8s/ssh_config",
        ]
    ),
)
USERS = st.builds(
    lambda lines, ending, last: (ending.join(lines) + (ending if last else "")).encode("latin-1"),
    st.lists(st.one_of(SETTING, SETTING, PLACE_LINE, st.sampled_from(["", "# größer", "\t# no"])), max_size=12),
    st.sampled_from(["\n", "\n", "\r\n"]),
    st.booleans(),
)


@with_processes
@given(USERS, BLOCKS, st.sampled_from(["a", "b", "dev-c", "10.0.0.9", "unheard.example.com"]), st.booleans())
def test_every_other_host_is_what_it_was_to_ssh(
    users: bytes, blocks: list[HostBlock], host: str, guarded: bool
) -> None:
    ours = [evolve(block, alias=f"l8s-{block.alias}") for block in blocks]
    with tempfile.TemporaryDirectory() as directory:
        config, entries = Path(directory) / "config", Path(directory) / "ssh_config"
        config.write_bytes(users)
        before = meant(config, host)
        entries.write_bytes(render(ours, Multiplexing(directory, guarded=guarded)))
        config.write_bytes(add_include(users, b'Include "' + os.fsencode(entries) + b'"', {os.fsencode(entries)}))
        assert meant(config, host) == before
        for block in ours[:1]:
            assert f"port {block.port}" in meant(config, block.alias)


# The writer, on files


@contextmanager
def writer_at_home() -> Iterator[OpenSSHWriter]:
    # /tmp and a short name, because a longer one moves ssh's sockets out of the home
    with tempfile.TemporaryDirectory(prefix="l8s-", dir="/tmp") as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", home)
        yield OpenSSHWriter()


@with_processes
@given(st.one_of(st.none(), st.binary(max_size=200), USERS), BLOCKS, BLOCK)
def test_add_then_remove_is_the_identity_and_twice_is_once(
    users: bytes | None, blocks: list[HostBlock], block: HostBlock
) -> None:
    present = [evolve(one, alias=f"l8s-{one.alias}") for one in blocks]
    added = evolve(block, alias="new-one")
    with writer_at_home() as writer:
        if present:
            writer.apply(writer.plan(add=present))
        if users is not None:
            writer.user_path.parent.mkdir(exist_ok=True)
            writer.user_path.write_bytes(users)
        entries = writer.path.read_bytes() if present else None
        try:
            writer.apply(writer.plan(add=[added]))
        except SSHConfigError:
            assert (writer.user_path.read_bytes(), writer.blocks()) == (users, tuple(parse(entries or b"")))
            return
        once = (writer.path.read_bytes(), writer.user_path.read_bytes())
        assert once[1].endswith(users or b"")
        assert once[1].count(b"\n") == (users or b"").count(b"\n") + 1
        writer.apply(writer.plan(add=[added]))
        assert (writer.path.read_bytes(), writer.user_path.read_bytes()) == once
        for _ in range(2):
            writer.apply(writer.plan(remove=[added.alias]))
            assert writer.path.read_bytes() == (entries or render([], Multiplexing("/c")))
            assert writer.user_path.read_bytes() == once[1]
