from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from attrs import evolve

from l8s_core.errors import SSHConfigError
from l8s_core.model import HostBlock
from l8s_openssh.multiplexing import Multiplexing
from l8s_openssh.render import HEADER, parse, render

PLACE = Multiplexing("/home/me/.l8s/control")
BLOCK = HostBlock(
    alias="dev-myapp",
    hostname="build.example.com",
    port=2200,
    user="dev",
    host_key_alias="dev-myapp.l8s",
    known_hosts_file="/home/me/.l8s/known_hosts",
    identity_file="/home/me/.l8s/keys/0123456789abcdef.pub",
)
FULL = evolve(
    BLOCK,
    alias="dev-full",
    hostname="fe80::1%eth0",
    proxy_jump="me@gate.example.com:2222,[10.0.0.1]:23",
    known_hosts_file="/home/me and you/100%/{known} #hosts",
    identity_file="/home/me and you/é.pub",
    host_key_checking=False,
    forward_agent=True,
)


def seen_by_ssh(tmp_path: Path, data: bytes, alias: str) -> dict[str, str]:
    """What the real ssh makes of an alias under a configuration."""
    (tmp_path / "config").write_bytes(data)
    completed = subprocess.run(
        ["ssh", "-F", tmp_path / "config", "-G", alias], capture_output=True, text=True, check=True, timeout=20
    )
    assert [line for line in completed.stderr.splitlines() if "Pseudo-terminal" not in line] == []
    return dict(line.split(" ", 1) for line in completed.stdout.splitlines() if " " in line)


def test_an_entry_is_exactly_this() -> None:
    assert render([BLOCK], PLACE).decode() == HEADER + (
        "\n"
        "Host dev-myapp\n"
        "    HostName build.example.com\n"
        "    Port 2200\n"
        "    User dev\n"
        "    HostKeyAlias dev-myapp.l8s\n"
        "    UserKnownHostsFile /home/me/.l8s/known_hosts\n"
        "    GlobalKnownHostsFile /dev/null\n"
        "    StrictHostKeyChecking yes\n"
        "    CheckHostIP no\n"
        "    UpdateHostKeys no\n"
        "    IdentitiesOnly yes\n"
        "    IdentityFile /home/me/.l8s/keys/0123456789abcdef.pub\n"
        "    PasswordAuthentication no\n"
        "    ForwardAgent no\n"
        "    ForwardX11 no\n"
        "    Tunnel no\n"
        "    PermitLocalCommand no\n"
        "    RemoteCommand none\n"
        "    ProxyJump none\n"
        "    ServerAliveInterval 15\n"
        "    ServerAliveCountMax 3\n"
        "    ControlMaster auto\n"
        "    ControlPath /home/me/.l8s/control/%C\n"
        "    ControlPersist 10m\n"
    )


def test_ssh_reads_what_was_meant(tmp_path: Path) -> None:
    seen = seen_by_ssh(tmp_path, render([BLOCK, FULL], PLACE), "dev-myapp")
    assert seen["hostname"] == "build.example.com"
    assert (seen["port"], seen["user"]) == ("2200", "dev")
    assert seen["hostkeyalias"] == "dev-myapp.l8s"
    assert seen["userknownhostsfile"] == "/home/me/.l8s/known_hosts"
    assert seen["globalknownhostsfile"] == "/dev/null"
    assert seen["stricthostkeychecking"] in ("true", "yes")
    assert seen["updatehostkeys"] in ("false", "no")
    assert seen["identityfile"] == "/home/me/.l8s/keys/0123456789abcdef.pub"
    assert seen["identitiesonly"] == "yes"
    assert seen["passwordauthentication"] == "no"
    assert seen["forwardagent"] == "no"
    assert seen["controlmaster"] == "auto"
    assert seen["controlpersist"] == "600"
    assert seen["controlpath"].startswith("/home/me/.l8s/control/")
    assert (seen["serveraliveinterval"], seen["serveralivecountmax"]) == ("15", "3")
    assert "proxyjump" not in seen


def test_ssh_reads_the_unusual_too(tmp_path: Path) -> None:
    seen = seen_by_ssh(tmp_path, render([BLOCK, FULL], PLACE), "dev-full")
    assert seen["hostname"] == "fe80::1%eth0"
    assert seen["proxyjump"] == "me@gate.example.com:2222,[10.0.0.1]:23"
    assert seen["userknownhostsfile"] == "/dev/null"
    assert seen["stricthostkeychecking"] in ("false", "no")
    assert seen["forwardagent"] == "yes"
    checked = seen_by_ssh(tmp_path, render([evolve(FULL, host_key_checking=True)], PLACE), "dev-full")
    assert checked["userknownhostsfile"] == "/home/me and you/100%/{known} #hosts"


def test_a_home_directory_with_a_space(tmp_path: Path) -> None:
    seen = seen_by_ssh(tmp_path, render([BLOCK], Multiplexing("/home/a b/100%/control")), "dev-myapp")
    assert seen["controlpath"].startswith("/home/a b/100%/control/")


@pytest.mark.parametrize("exists", [True, False])
def test_a_guarded_directory_is_used_only_while_it_is_there(tmp_path: Path, exists: bool) -> None:
    directory = tmp_path / "sockets"
    if exists:
        directory.mkdir()
    data = render([BLOCK, evolve(BLOCK, alias="dev-other")], Multiplexing(str(directory), guarded=True))
    for alias in ("dev-myapp", "dev-other"):
        seen = seen_by_ssh(tmp_path, data, alias)
        assert (seen["controlmaster"] == "auto") is exists
        assert seen.get("controlpath", "none").startswith(str(directory)) is exists
        assert seen["port"] == "2200"


def test_a_guarded_directory_behind_a_link_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "sockets").symlink_to("real")
    data = render([BLOCK], Multiplexing(str(tmp_path / "sockets"), guarded=True))
    assert seen_by_ssh(tmp_path, data, "dev-myapp")["controlmaster"] == "false"


@pytest.mark.parametrize("guarded", [True, False])
def test_other_hosts_see_none_of_it(tmp_path: Path, guarded: bool) -> None:
    data = render([BLOCK, FULL], Multiplexing(str(tmp_path), guarded=guarded))
    for host in ("other", "dev-myapp2", "build.example.com", "xdev-myapp"):
        assert seen_by_ssh(tmp_path, data, host) == seen_by_ssh(tmp_path, b"", host)


def test_sorted_by_alias_whatever_the_order() -> None:
    other = evolve(BLOCK, alias="dev-a")
    assert render([BLOCK, other], PLACE) == render([other, BLOCK], PLACE)
    assert [block.alias for block in parse(render([BLOCK, other], PLACE))] == ["dev-a", "dev-myapp"]


@pytest.mark.parametrize("place", [PLACE, Multiplexing("/tmp/l8s-0", guarded=True)])
def test_parse_gives_the_blocks_back(place: Multiplexing) -> None:
    assert parse(render([BLOCK, FULL], place)) == (FULL, BLOCK)
    assert parse(render([], place)) == ()
    assert parse(b"") == ()


@pytest.mark.parametrize(
    "change",
    [
        {"alias": "dev *"},
        {"alias": "*"},
        {"alias": "!dev"},
        {"alias": ""},
        {"alias": "a\n  ProxyCommand id"},
        {"alias": "-oX"},
        {"hostname": "a b"},
        {"hostname": "a\nb"},
        {"hostname": "-oProxyCommand=id"},
        {"hostname": "%h"},
        {"port": 0},
        {"port": 65536},
        {"port": True},
        {"user": "a b"},
        {"user": "-l"},
        {"user": "a\n"},
        {"user": "$(id)"},
        {"host_key_alias": "*"},
        {"host_key_alias": "a,b"},
        {"known_hosts_file": "relative"},
        {"known_hosts_file": ""},
        {"known_hosts_file": '/a"b'},
        {"known_hosts_file": "/a\nb"},
        {"known_hosts_file": "/a\\b"},
        {"known_hosts_file": "/${HOME}/b"},
        {"identity_file": "~/.ssh/id"},
        {"identity_file": "/a\tb"},
        {"identity_file": "none"},
        {"proxy_jump": "none"},
        {"proxy_jump": "-oProxyCommand=id"},
        {"proxy_jump": "a b"},
        {"proxy_jump": "a,%h"},
        {"proxy_jump": "a;id"},
    ],
)
def test_a_value_that_would_be_more_than_a_value_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(SSHConfigError):
        render([evolve(BLOCK, **change)], PLACE)


def test_another_programs_file_is_not_parsed() -> None:
    with pytest.raises(SSHConfigError, match="line 1: it was not made by l8s"):
        parse(b"Host a\n    Port 22\n")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    Port 2200\n", "", "'dev-myapp' has no Port"),
        ("    Port 2200\n", "    Port x\n", "damaged"),
        ("    Port 2200\n", "    Port 99999\n", "damaged"),
        ("Host dev-myapp\n", "Host *\n", "damaged"),
        ("    UserKnownHostsFile /home", "    UserKnownHostsFile home", "damaged"),
        ("    User dev\n", "    User d\x01v\n", "damaged"),
    ],
)
def test_a_damaged_entry_is_named_by_its_line(old: str, new: str, message: str) -> None:
    text = render([BLOCK], PLACE).decode()
    assert old in text
    with pytest.raises(SSHConfigError, match=f"line 4: .*{message}"):
        parse(text.replace(old, new).encode())


def test_an_alias_twice_is_damage() -> None:
    text = render([BLOCK], PLACE)
    with pytest.raises(SSHConfigError, match="twice"):
        parse(text + text.removeprefix(HEADER.encode()))


def test_what_was_added_by_hand_is_passed_over() -> None:
    data = render([BLOCK], PLACE) + b"    LogLevel DEBUG\n# mine\nMatch all\n    Port 1\n"
    assert parse(data) == (BLOCK,)


def test_what_the_user_wants_for_every_host_does_not_go_for_containers(tmp_path: Path) -> None:
    everywhere = (
        b"Host *\n  ForwardX11 yes\n  ForwardAgent yes\n  RemoteCommand tmux\n  ProxyJump bastion.example.com\n"
        b"  PermitLocalCommand yes\n  Tunnel yes\n  StrictHostKeyChecking no\n"
    )
    seen = seen_by_ssh(tmp_path, render([BLOCK], PLACE) + everywhere, "dev-myapp")
    assert seen["forwardx11"] == seen["forwardagent"] == seen["permitlocalcommand"] == "no"
    assert seen["stricthostkeychecking"] in ("true", "yes")
    assert seen["tunnel"] in ("false", "no")
    assert seen.get("remotecommand", "none") == "none"
    assert seen.get("proxyjump", "none") == "none"
