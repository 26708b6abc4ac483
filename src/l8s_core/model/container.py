"""Containers on the server."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from attrs import field, frozen

from l8s_core.model.labels import LABEL_NAME, LABEL_SSH_PORT
from l8s_core.model.mappings import ports, texts


@frozen(kw_only=True)
class ContainerInfo:
    """One container as the server reports it. ``name`` is its name there, which is also its ssh alias.

    ``state`` is the backend's word (``created``, ``running``, ``exited`` ...); ``ports`` maps server ports to container
    ports; ``created`` is in UTC, None when unknown; ``exit_code`` is that of PID 1's last end.
    """

    id: str
    name: str
    image: str
    state: str
    labels: Mapping[str, str] = field(factory=dict, converter=texts)
    ports: Mapping[int, int] = field(factory=dict, converter=ports)
    created: datetime | None = None
    exit_code: int | None = None

    @property
    def short_name(self) -> str:
        """The name that was given to ``create``: ``myapp`` of ``dev-myapp``."""
        return self.labels.get(LABEL_NAME, self.name)

    @property
    def ssh_port(self) -> int | None:
        """The server's port that leads to the container's sshd, as its label says; None when that is no port."""
        text = self.labels.get(LABEL_SSH_PORT, "")
        port = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0
        return port if 0 < port < 65536 else None

    @property
    def running(self) -> bool:
        """Whether commands can run in it now."""
        return self.state == "running"
