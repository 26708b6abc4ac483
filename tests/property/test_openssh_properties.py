"""The ssh configuration: rendering and parsing are each other's inverse, and the user's file loses nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from l8s_core.errors import SSHConfigError
from l8s_core.model import HostBlock
from l8s_openssh.include import add_include, has_include
from l8s_openssh.multiplexing import Multiplexing
from l8s_openssh.render import parse, render

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
