"""The first part of the way to a server: which machine, which key, and a TCP connection to it.

Nothing of paramiko is needed for it, so that the waiting for it and the importing of the rest happen at once
(`l8s_podman.backend`). Not here: everything that is said on the connection (`l8s_podman.link`).
"""

from __future__ import annotations

import socket
import sys

from attrs import frozen

from l8s_core import agent
from l8s_core.errors import HostUnreachable, ssh_connection_failed
from l8s_core.model import Profile, PublicKey
from l8s_core.steps import Steps
from l8s_podman.route import Hop, find_route, jump_option

CONNECT_TIMEOUT = 5.0
"""Seconds for one address to accept a TCP connection."""

ACKNOWLEDGED = 12_000
"""Milliseconds that what was sent may stay unacknowledged (tcp(7), TCP_USER_TIMEOUT).

The watchdog of `l8s_podman.transport` judges by what comes in; this notices a line on which only the other direction
works."""


@frozen(kw_only=True, eq=False)
class Arrival:
    """A connection to the first of ``hops``, at ``address``, which was judged; ``key`` is the one to log in with."""

    hops: tuple[Hop, ...]
    key: PublicKey
    connected: socket.socket
    address: str


def arrive(profile: Profile, steps: Steps) -> Arrival:
    """Find the way, choose the key, and connect.

    Raises:
        RemoteOnlyError: a machine on the way is this one.
        AgentUnavailable: there is no agent, or no key in it that could be used.
        HostUnreachable: there is no address, or none that answers.
        ConnectionFailed: the user's ssh configuration asks for something that cannot be checked.
    """
    with steps.step("address") as step:
        try:
            hops = find_route(profile)
        except HostUnreachable as error:
            raise ssh_connection_failed(
                profile.remote_user, profile.remote_host, profile.remote_port or 22, error.message
            ) from error
        step.detail = ", ".join(hops[0].addresses) + (f" (through {jump_option(hops)})" if hops[1:] else "")
    with steps.step("agent") as step:
        key = agent.select_key(profile)
        step.detail = f"{key.type} {key.fingerprint}"
    with steps.step(f"TCP{label(hops[0], hops)}") as step:
        connected, address = _dial(hops[0])
        step.detail = f"{address}, port {hops[0].port}"
    return Arrival(hops=hops, key=key, connected=connected, address=address)


def label(hop: Hop, hops: tuple[Hop, ...]) -> str:
    """What the steps of a hop have in their names; "" for the server itself, which is the last."""
    return "" if hop is hops[-1] else f" of jump host {hop.host}"


def _dial(hop: Hop) -> tuple[socket.socket, str]:
    """A connection to the first of a hop's addresses that answers, and that address."""
    failures = []
    for address in hop.addresses:
        try:
            connected = socket.create_connection((address, hop.port), timeout=CONNECT_TIMEOUT)
        except OSError as error:
            reason = f"no answer within {CONNECT_TIMEOUT:g} s" if isinstance(error, TimeoutError) else error.strerror
            failures.append(f"{address}: {reason or error}")
            continue
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if sys.platform == "linux":
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, ACKNOWLEDGED)
        return connected, address
    raise ssh_connection_failed(hop.user, hop.host, hop.port, "; ".join(failures))
