"""What an l8s container consists of: its volumes, labels, directories, port and ssh alias. Pure.

Not here: making one (`l8s_core.provision`), or what runs inside (`l8s_core.inside`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from l8s_core.errors import BackendError
from l8s_core.model import LABEL_MANAGED, LABEL_PREFIX_NAME, LABEL_SSH_PORT, LABEL_USER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from l8s_core.model import ContainerInfo, Endpoint, HostBlock, Profile

PROJECT_DIRECTORY = "/workspace/project"
"""Where the repository is, in every container."""

SSHD_PORT = 22
"""The port of sshd inside a container."""


def choose_port(start: int, used: frozenset[int]) -> int:
    """The lowest port from ``start`` upward that is not in ``used``.

    Raises:
        BackendError: there is none left.
    """
    for port in range(start, 65536):
        if port not in used:
            return port
    raise BackendError(
        f"Every port from {start} upward is taken on the server.",
        hints=("Set a lower ssh_start_port: l8s profile show",),
    )


def volume_names(alias: str) -> dict[str, str]:
    """What each volume of a container is for, and its name. The host keys' one comes first: it is the reservation."""
    return {"hostkeys": f"{alias}-hostkeys", "home": f"{alias}-home", "workspace": f"{alias}-workspace"}


def home_of(user: str) -> str:
    """The home directory of the container's user, which is where its volume is mounted."""
    return "/root" if user == "root" else f"/home/{user}"


def own_labels(profile: Profile) -> dict[str, str]:
    """The labels by which a profile's containers and volumes are found."""
    return {LABEL_MANAGED: "true", LABEL_PREFIX_NAME: profile.container_prefix}


def is_ours(labels: Mapping[str, str], profile: Profile) -> bool:
    """Whether something with ``labels`` was made by l8s for this profile's prefix."""
    return own_labels(profile).items() <= labels.items()


def host_block(info: ContainerInfo, profile: Profile, endpoint: Endpoint, *, identity_file: str = "") -> HostBlock:
    """The ssh alias of a container.

    Raises:
        BackendError: the container's labels do not say where its sshd is.
    """
    if info.ssh_port is None:
        raise BackendError(f"The container {info.name} has no label {LABEL_SSH_PORT}: its sshd cannot be found.")
    return alias_block(
        info.name,
        info.ssh_port,
        info.labels.get(LABEL_USER, profile.container_user),
        profile,
        endpoint,
        identity_file,
    )


def alias_block(
    alias: str, port: int, user: str, profile: Profile, endpoint: Endpoint, identity_file: str
) -> HostBlock:
    """The ssh alias of a container at ``port``, whether it exists already or not."""
    from l8s_core.known_hosts import KnownHosts, container_name
    from l8s_core.model import HostBlock

    return HostBlock(
        alias=alias,
        hostname=endpoint.host,
        port=port,
        user=user,
        host_key_alias=container_name(alias),
        known_hosts_file=str(KnownHosts().path),
        identity_file=identity_file,
        proxy_jump=endpoint.jump,
        host_key_checking=profile.host_key_checking,
        forward_agent=profile.forward_agent,
    )
