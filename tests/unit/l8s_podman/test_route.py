"""Which machines a profile leads to, with every answer of ssh's own configuration."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from l8s_core import policy, ssh_tools
from l8s_core.errors import ConnectionFailed, HostUnreachable, InvalidValue, RemoteOnlyError
from l8s_core.model import Profile
from l8s_core.ssh_tools import AliasSettings
from l8s_podman.route import MAX_HOPS, Hop, find_route, jump_option

Config = dict[str, AliasSettings]


@pytest.fixture
def ssh(monkeypatch: pytest.MonkeyPatch) -> Config:
    """What ``ssh -G`` says of each host; of the others it says nothing special. Names have addresses in TEST-NET-1."""
    config: Config = {}

    def resolve_alias(host: str, *, user: str | None = None) -> AliasSettings:
        found = config.get(host) or AliasSettings(hostname=host, user="me", port=22)
        return AliasSettings(
            hostname=found.hostname,
            user=user or found.user,
            port=found.port,
            proxy_jump=found.proxy_jump,
            proxy_command=found.proxy_command,
        )

    monkeypatch.setattr(ssh_tools, "resolve_alias", resolve_alias)
    monkeypatch.setattr(policy, "is_own_address", lambda address: address == "192.0.2.99")
    monkeypatch.setattr(policy, "this_machines_names", lambda: frozenset({"mylaptop", "mylaptop.local"}))
    monkeypatch.setattr(policy, "resolve", lambda host, port, **_: ("192.0.2.7",))
    return config


def alias(hostname: str, *, jump: str = "", command: str = "", user: str = "me", port: int = 22) -> AliasSettings:
    return AliasSettings(hostname=hostname, user=user, port=port, proxy_jump=jump, proxy_command=command)


def profile(host: str = "box", port: int | None = None) -> Profile:
    return Profile(name="dev", remote_host=host, remote_user="root", remote_port=port)


def resolving(monkeypatch: pytest.MonkeyPatch, **addresses: str) -> None:
    """Make names resolve to these addresses, and no others."""

    def resolve(host: str, port: int, **_: object) -> tuple[str, ...]:
        if host.replace(".", "_") not in addresses:
            raise HostUnreachable(f"The name {host} has no address.")
        return (addresses[host.replace(".", "_")],)

    monkeypatch.setattr(policy, "resolve", resolve)


def test_a_plain_host_is_one_judged_hop(ssh: Config) -> None:
    assert find_route(profile()) == (Hop(user="root", host="box", port=22, addresses=("192.0.2.7",)),)


def test_an_alias_names_the_host_and_port_and_the_profile_the_user(ssh: Config) -> None:
    ssh["box"] = alias("box.example", port=2222, user="someone")
    (hop,) = find_route(profile())
    assert (hop.user, hop.host, hop.port) == ("root", "box.example", 2222)


def test_the_profiles_port_wins(ssh: Config) -> None:
    ssh["box"] = alias("box.example", port=2222)
    assert find_route(profile(port=22))[0].port == 22


def test_jump_hosts_come_first_and_only_the_first_has_addresses(ssh: Config) -> None:
    ssh["box"] = alias("box.internal", jump="ops@bastion:2200,inner")
    ssh["bastion"] = alias("bastion.example", user="ignored", port=22)
    ssh["inner"] = alias("inner.internal", user="jumper", port=2022)
    hops = find_route(profile())
    assert hops == (
        Hop(user="ops", host="bastion.example", port=2200, addresses=("192.0.2.7",)),
        Hop(user="jumper", host="inner.internal", port=2022),
        Hop(user="root", host="box.internal", port=22),
    )
    assert jump_option(hops) == "ops@bastion.example:2200,jumper@inner.internal:2022"


def test_the_first_jump_hosts_own_jump_hosts_come_before_it(ssh: Config) -> None:
    ssh["box"] = alias("box.internal", jump="middle")
    ssh["middle"] = alias("middle.internal", jump="outer")
    assert [hop.host for hop in find_route(profile())] == ["outer", "middle.internal", "box.internal"]


def test_later_jump_hosts_own_jump_hosts_do_not_count(ssh: Config) -> None:
    ssh["box"] = alias("box.internal", jump="first,second")
    ssh["second"] = alias("second", jump="elsewhere")  # as in ssh: it is reached through the first
    assert [hop.host for hop in find_route(profile())] == ["first", "second", "box.internal"]


def test_names_behind_a_jump_host_need_no_address_here(ssh: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    ssh["box"] = alias("box.internal", jump="bastion")
    resolving(monkeypatch, bastion="192.0.2.1")
    hops = find_route(profile())
    assert [hop.addresses for hop in hops] == [("192.0.2.1",), ()]


def test_the_first_hop_needs_an_address(ssh: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch)
    with pytest.raises(HostUnreachable, match="box"):
        find_route(profile())


@pytest.mark.parametrize("place", ["server", "jump host", "jump host's jump host"])
def test_a_proxy_command_is_refused_wherever_it_stands(ssh: Config, place: str) -> None:
    command = "nc %h %p"
    ssh["box"] = alias(
        "box.internal", jump="" if place == "server" else "a", command=command if place == "server" else ""
    )
    ssh["a"] = alias("a", jump="b" if "'s" in place else "", command=command if place == "jump host" else "")
    ssh["b"] = alias("b", command=command if "'s" in place else "")
    with pytest.raises(ConnectionFailed, match="ProxyCommand") as raised:
        find_route(profile())
    assert raised.value.exit_code == 4
    assert any("ProxyJump" in hint for hint in raised.value.hints)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_loop_of_jump_hosts_is_noticed(ssh: Config, length: int) -> None:
    for number in range(length):
        ssh[f"h{number}"] = alias(f"h{number}", jump=f"h{(number + 1) % length}")
    with pytest.raises(ConnectionFailed, match="loop"):
        find_route(profile("h0"))


def test_the_longest_chain_is_allowed(ssh: Config) -> None:
    for number in range(MAX_HOPS):
        ssh[f"h{number}"] = alias(f"h{number}", jump=f"h{number + 1}")
    assert len(find_route(profile("h0"))) == MAX_HOPS + 1
    ssh[f"h{MAX_HOPS}"] = alias(f"h{MAX_HOPS}", jump="one-more")
    with pytest.raises(ConnectionFailed, match="loop"):
        find_route(profile("h0"))


LOCAL = ["localhost", "127.0.0.1", "127.1", "::1", "mylaptop", "sub.localhost", "0.0.0.0"]


@pytest.mark.parametrize("host", LOCAL)
def test_this_machine_is_refused_before_ssh_is_asked(ssh: Config, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setattr(ssh_tools, "resolve_alias", lambda *_, **__: pytest.fail("ssh was asked"))
    with pytest.raises(RemoteOnlyError):
        find_route(profile(host))


@pytest.mark.parametrize("host", LOCAL)
@pytest.mark.parametrize("place", ["server", "jump host", "behind a jump host", "second jump host"])
def test_this_machine_is_refused_wherever_ssh_leads_to_it(ssh: Config, host: str, place: str) -> None:
    jumps = {"jump host": "j", "behind a jump host": "bastion", "second jump host": "bastion,j"}
    ssh["box"] = alias(host if place in ("server", "behind a jump host") else "box.example", jump=jumps.get(place, ""))
    ssh["j"] = alias(host)
    with pytest.raises(RemoteOnlyError) as raised:
        find_route(profile())
    assert raised.value.exit_code == 3


@pytest.mark.parametrize("name", ["bastion", "second", "box_internal"])
def test_an_own_address_is_refused_whichever_hop_has_it(
    ssh: Config, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    ssh["box"] = alias("box.internal", jump="bastion,second")
    resolving(monkeypatch, **{"bastion": "192.0.2.1", name: "192.0.2.99"})
    with pytest.raises(RemoteOnlyError):
        find_route(profile())


@pytest.mark.parametrize("hostname", ["-oProxyCommand=x", "a b", "a;b", "$(id)", "a/b"])
@pytest.mark.parametrize("place", ["server", "jump host"])
def test_what_ssh_says_is_no_more_trusted_than_what_a_person_says(ssh: Config, hostname: str, place: str) -> None:
    ssh["box"] = alias(hostname) if place == "server" else alias("box.example", jump="j")
    ssh["j"] = alias(hostname)
    with pytest.raises(InvalidValue):
        find_route(profile())


@pytest.mark.parametrize("jump", ["-oProxyCommand=x@y", "us er@bastion", "bastion:99999"])
def test_a_malformed_jump_host_is_refused(ssh: Config, jump: str) -> None:
    ssh["box"] = alias("box.example", jump=jump)
    with pytest.raises(InvalidValue):
        find_route(profile())


def hop(**options: object) -> Hop:
    return Hop(**{"user": "u", "host": "h", "port": 22, **options})


@pytest.mark.parametrize(
    ("hops", "text"),
    [
        ((hop(),), ""),
        ((hop(), hop()), "u@h"),
        ((hop(port=2200), hop()), "u@h:2200"),
        ((hop(host="2001:db8::1"), hop()), "u@[2001:db8::1]"),
        ((hop(host="2001:db8::1", port=1), hop(), hop()), "u@[2001:db8::1]:1,u@h"),
    ],
)
def test_the_jump_option_reads_back(hops: tuple[Hop, ...], text: str) -> None:
    assert jump_option(hops) == text
    parsed = ssh_tools.parse_jump(text)
    assert [(jump.user, jump.host, jump.port or 22) for jump in parsed] == [
        (item.user, item.host, item.port) for item in hops[:-1]
    ]


def test_a_route_needs_no_network(ssh: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    connect: Callable[..., None] = lambda *_, **__: pytest.fail("something was connected")  # noqa: E731
    monkeypatch.setattr("socket.create_connection", connect)
    monkeypatch.setattr("socket.socket.connect", connect)
    find_route(profile())
