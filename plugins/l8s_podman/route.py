"""Which machines a profile leads to: the user's own ssh aliases and jump hosts, resolved and judged before connecting.

ssh itself is asked (``ssh -G``), since only it knows what its configuration means. Not here: connecting.
"""

from __future__ import annotations

from attrs import frozen

from l8s_core import names, policy, ssh_tools
from l8s_core.errors import ConnectionFailed
from l8s_core.model import DEFAULT_SSH_PORT, Profile

MAX_HOPS = 5
"""Jump hosts in a chain; more is taken for a loop in the user's ssh configuration."""


@frozen(kw_only=True)
class Hop:
    """One SSH server on the way. ``addresses`` are checked; empty when the hop before it resolves the name."""

    user: str
    host: str
    port: int
    addresses: tuple[str, ...] = ()


def find_route(profile: Profile) -> tuple[Hop, ...]:
    """The hops to the profile's server, which is the last one.

    Raises:
        RemoteOnlyError: a hop is this machine.
        HostUnreachable: the first hop's name has no address.
        ConnectionFailed: the user's ssh configuration asks for something that cannot be checked.
    """
    policy.refuse_local_name(profile.remote_host)
    server = ssh_tools.resolve_alias(profile.remote_host, user=profile.remote_user)
    port = profile.remote_port or server.port
    jumps = _jumps(server, depth=0)
    hops = (*jumps, Hop(user=profile.remote_user, host=names.host(server.hostname), port=port))
    for hop in hops:
        origin = "remote_host" if hop.host == profile.remote_host else "by the ssh configuration"
        policy.refuse_local_name(hop.host, origin=origin)
    first, *rest = hops
    addresses = policy.checked_addresses(first.host, policy.resolve(first.host, first.port), origin="remote_host")
    checked = [Hop(user=first.user, host=first.host, port=first.port, addresses=addresses)]
    for hop in rest:
        # Names behind a jump host are resolved there; what this machine can resolve is judged all the same.
        try:
            found = policy.resolve(hop.host, hop.port, timeout=2.0)
        except ConnectionFailed:
            found = ()
        policy.checked_addresses(hop.host, found)
        checked.append(hop)
    return tuple(checked)


def jump_option(hops: tuple[Hop, ...]) -> str:
    """The hops before the last as ssh's ProxyJump writes them; "" for a direct connection."""
    parts = []
    for hop in hops[:-1]:
        host = f"[{hop.host}]" if ":" in hop.host else hop.host
        parts.append(f"{hop.user}@{host}" + ("" if hop.port == DEFAULT_SSH_PORT else f":{hop.port}"))
    return ",".join(parts)


def _jumps(settings: ssh_tools.AliasSettings, *, depth: int) -> tuple[Hop, ...]:
    """The jump hosts before the host of ``settings``; the first one's own jump hosts come before it, as in ssh."""
    if settings.proxy_command:
        raise ConnectionFailed(
            f"The ssh configuration reaches {settings.hostname} through a ProxyCommand, which l8s does not run: "
            "it could not check where that leads.",
            hints=(
                "Use ProxyJump for this host in ~/.ssh/config",
                f"See what ssh makes of it: ssh -G {settings.hostname}",
            ),
        )
    if not settings.proxy_jump:
        return ()
    if depth >= MAX_HOPS:
        raise ConnectionFailed(
            f"The ssh configuration needs more than {MAX_HOPS} jump hosts, which looks like a loop.",
            hints=("Look at the ProxyJump lines in ~/.ssh/config",),
        )
    hops: list[Hop] = []
    for index, jump in enumerate(ssh_tools.parse_jump(settings.proxy_jump)):
        found = ssh_tools.resolve_alias(names.host(jump.host), user=jump.user)
        if index == 0:
            hops.extend(_jumps(found, depth=depth + 1))
        hops.append(
            Hop(
                user=names.remote_user(found.user),
                host=names.host(found.hostname),
                port=jump.port or found.port,
            )
        )
    return tuple(hops)
