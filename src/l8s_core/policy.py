"""The remote-only rule: l8s never works on the machine that it runs on.

Two halves. Before connecting, names and addresses are judged: `refuse_local_name` and `checked_addresses`. After
authentication and before any API call, the machine itself is judged: `prove_remote`. The judging functions are pure;
what they need to know of this machine is handed in, or read by the few functions at the end. There is no override.

Not here: connecting (the backend does, to the very address that was checked).
"""

from __future__ import annotations

import ipaddress
import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from l8s_core.errors import HostUnreachable, RemoteOnlyError, local_connection
from l8s_core.model import MachineIdentity

BOOT_MOMENT_TOLERANCE = 0.05
"""Seconds by which boot moments of one kernel may seem to differ, beyond the round trip: /proc counts in 10 ms."""

DNS_TIMEOUT = 5.0
"""Seconds that resolving a name may take; getaddrinfo(3) itself has no deadline."""

_LOCAL_NAMES = frozenset(
    {
        "localhost",
        "localhost.localdomain",
        "localhost4",
        "localhost4.localdomain4",
        "localhost6",
        "localhost6.localdomain6",
        "ip6-localhost",
        "ip6-loopback",
        "loopback",
    }
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@frozen(kw_only=True)
class LocalMachine:
    """This machine, for comparison with a `MachineIdentity`: its boot id, kernel release and version, machine id."""

    boot_id: str
    kernel: str
    machine_id: str


@frozen(kw_only=True)
class Proof:
    """That the server is another machine: ``detail`` says how it was shown, ``warnings`` what is odd about it."""

    detail: str
    warnings: tuple[str, ...] = ()


# Names and addresses


def local_name_reason(host: str, own_names: Iterable[str]) -> str | None:
    """Why ``host`` means this machine, judged by its spelling alone; None when it does not.

    ``own_names`` are this machine's names. Covers localhost in any case, under ``.localhost`` (RFC 6761, section 6.3)
    and with a trailing dot, and loopback and unspecified addresses in every form that inet_aton(3) takes.
    """
    name = host.strip().strip("[]").rstrip(".").lower()
    if not name:
        return "the host is empty"
    if name in _LOCAL_NAMES or name.endswith(".localhost"):
        return f"{host!r} is a name of this machine"
    address = parse_address(name)
    if address is not None:
        return local_address_reason(address)
    if name in {own.rstrip(".").lower() for own in own_names}:
        return f"{host!r} is this machine's own name"
    return None


def parse_address(text: str) -> Address | None:
    """``text`` as an IP address, in any form that connect would take: ``127.1``, ``0x7f000001``, ``::ffff:7f00:1``."""
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(text))
    except (OSError, ValueError):
        return None


def local_address_reason(address: Address) -> str | None:
    """Why ``address`` can only lead to this machine (or nowhere); None when it may be another one's."""
    embedded: ipaddress.IPv4Address | None = None
    if isinstance(address, ipaddress.IPv6Address):
        packed = address.packed
        if address.ipv4_mapped is not None:
            embedded = address.ipv4_mapped
        elif address.sixtofour is not None:
            embedded = address.sixtofour
        elif address in _NAT64 or (packed[:12] == bytes(12) and packed[12:] > b"\x00\x00\x00\x01"):
            embedded = ipaddress.IPv4Address(packed[12:])
    if embedded is not None:
        reason = local_address_reason(embedded)
        return None if reason is None else f"{address} holds an IPv4 address, and {reason}"
    if address.is_loopback:
        return f"{address} is a loopback address"
    if address.is_unspecified or (address.version == 4 and address in ipaddress.IPv4Network("0.0.0.0/8")):
        return f"{address} is the unspecified address, which means this machine"
    if address.is_multicast:
        return f"{address} is a multicast address"
    return None


def refuse_local_name(host: str, *, own_names: Iterable[str] | None = None, origin: str = "remote_host") -> None:
    """Refuse ``host`` if its spelling means this machine. ``origin`` says where it came from, for the message.

    Raises:
        RemoteOnlyError: it does.
    """
    reason = local_name_reason(host, this_machines_names() if own_names is None else own_names)
    if reason is not None:
        raise local_connection(f"The server in use ({origin}: {host}) is not remote: {reason}.")


def checked_addresses(
    host: str,
    addresses: Sequence[str],
    *,
    is_own: Callable[[str], bool] | None = None,
    origin: str = "remote_host",
) -> tuple[str, ...]:
    """The ``addresses`` of ``host``, in order, if none of them is this machine's.

    One local address among several is refused too: it would depend on luck which one answers.

    Raises:
        RemoteOnlyError: one of them is local.
    """
    own = is_own_address if is_own is None else is_own
    for text in addresses:
        address = parse_address(text)
        reason = None if address is None else local_address_reason(address)
        if reason is None and own(text):
            reason = f"{text} is an address of this machine"
        if reason is not None:
            raise local_connection(f"The server in use ({origin}: {host}) is not remote: {reason}.")
    return tuple(addresses)


# The machine


def same_machine_reason(local: LocalMachine, remote: MachineIdentity) -> str | None:
    """Why ``remote`` runs on this machine's kernel; None when it does not.

    Equal boot ids are the same boot of the same kernel (random(4)). A container may be given another boot id, so
    the same kernel release and version and a process that started when it was asked for, by this machine's own boot
    clock, count as well (proc(5), starttime; time_namespaces(7)).
    """
    if remote.boot_id == local.boot_id:
        return "its boot id is this machine's own, so it shares this machine's kernel"
    if remote.kernel == local.kernel and remote.process_start is not None:
        earliest = remote.sent - BOOT_MOMENT_TOLERANCE
        latest = remote.received + BOOT_MOMENT_TOLERANCE
        if earliest <= remote.process_start <= latest:
            return (
                "it has this machine's kernel and was booted at the same moment, so it is a container on this machine"
            )
    return None


def unreadable_reason(remote: MachineIdentity) -> str | None:
    """What could not be read of the machine although the decision needs it; None when all is there."""
    if not remote.boot_id:
        return "its boot id (/proc/sys/kernel/random/boot_id) could not be read"
    if not remote.kernel:
        return "its kernel version could not be read"
    if remote.process_start is None:
        return "its boot clock (/proc/self/stat) could not be read"
    return None


def prove_remote(
    read: Callable[[], MachineIdentity], *, local: LocalMachine | None, where: str = "the server"
) -> Proof:
    """Show that the machine behind ``read`` is not this one.

    ``read`` is called once, and again to confirm a suspicion. ``local`` None means that this machine is not Linux and
    there is nothing to compare: the address rules alone apply.

    Raises:
        RemoteOnlyError: it is this machine, or what is needed to tell could not be read.
    """
    if local is None:
        return Proof(detail="by its address (this machine is not Linux, so there is no kernel to compare)")
    remote = _readable(read(), where)
    reason = same_machine_reason(local, remote)
    if reason is not None and same_machine_reason(local, _readable(read(), where)) is not None:
        raise local_connection(f"The machine behind {where} is this one: {reason}.")
    warnings: tuple[str, ...] = ()
    if remote.machine_id and remote.machine_id == local.machine_id:
        warnings = (
            f"{where} has the same /etc/machine-id as this machine: one of them is probably a copy of the other.",
        )
    how = "another kernel" if remote.kernel != local.kernel else "another boot of the same kernel version"
    return Proof(detail=how, warnings=warnings)


def _readable(remote: MachineIdentity, where: str) -> MachineIdentity:
    missing = unreadable_reason(remote)
    if missing is not None:
        raise RemoteOnlyError(
            f"Cannot show that {where} is another machine: {missing}.",
            hints=("Use a Linux server on which the login user can read /proc",),
        )
    return remote


# What this machine is: the only I/O of this module


def this_machines_names() -> frozenset[str]:
    """This machine's host name, in the spellings that lead back to it without DNS."""
    name = socket.gethostname().rstrip(".").lower()
    if not name:
        return frozenset()
    short = name.partition(".")[0]
    return frozenset({name, short, f"{short}.local", f"{short}.localdomain"})


def is_own_address(address: str) -> bool:
    """Whether ``address`` belongs to an interface of this machine.

    Asks the routing table: a datagram socket connected to an own address has that address at both ends. Nothing is
    sent. Works alike on Linux and macOS, for IPv4 and IPv6.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            target = socket.getaddrinfo(address, 9, family, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST)[0][4]
            probe.connect(target)
            mine = str(probe.getsockname()[0])
    except OSError:
        return False  # no route to it, so it is not ours either
    return parse_address(mine) == parse_address(address)


def resolve(host: str, port: int, *, timeout: float = DNS_TIMEOUT) -> tuple[str, ...]:
    """The addresses of ``host``, in the resolver's order, each once.

    Raises:
        HostUnreachable: there are none, or the resolver did not answer within ``timeout`` seconds.
    """
    answers: queue.Queue[list[str] | OSError] = queue.Queue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            answers.put(error if isinstance(error, OSError) else OSError(str(error)))
        else:
            answers.put([_written(entry[4]) for entry in found])

    threading.Thread(target=ask, name="l8s-resolve", daemon=True).start()
    try:
        answer = answers.get(timeout=timeout)
    except queue.Empty:
        raise HostUnreachable(
            f"The name {host} was not resolved within {timeout:g} s.",
            hints=("Check this machine's DNS settings", f"Try: getent hosts {host}"),
        ) from None
    if isinstance(answer, OSError):
        reason = answer.strerror or str(answer)
        raise HostUnreachable(
            f"The name {host} has no address: {reason}.",
            hints=(f"Check the spelling: {host}", f"Try: getent hosts {host}"),
        ) from answer
    return tuple(dict.fromkeys(answer))


def _written(address: tuple[Any, ...]) -> str:
    """The address of a socket address; with its zone, without which a link-local one leads nowhere (RFC 4007)."""
    zone = address[3] if len(address) == 4 else 0
    return f"{address[0].partition('%')[0]}%{zone}" if zone else str(address[0])


def this_machine() -> LocalMachine | None:
    """This machine, or None when it is not Linux.

    Raises:
        RemoteOnlyError: it is Linux, but its own identity cannot be read, so nothing could be compared with it.
    """
    if not sys.platform.startswith("linux"):
        return None
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError as error:
        raise RemoteOnlyError(
            f"Cannot tell this machine from the server: /proc/sys/kernel/random/boot_id: {error.strerror}."
        ) from error
    try:
        machine_id = Path("/etc/machine-id").read_text("ascii").strip()
    except (OSError, UnicodeError):
        machine_id = ""
    kernel = os.uname()
    return LocalMachine(boot_id=boot_id, kernel=f"{kernel.release} {kernel.version}", machine_id=machine_id)


def boot_clock() -> float:
    """This machine's time since boot in seconds, suspension included (CLOCK_BOOTTIME; elsewhere a monotonic clock)."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)
