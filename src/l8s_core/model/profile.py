"""A server and how containers are made there."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from l8s_core.model.mappings import texts

DEFAULT_SOCKET = "/run/podman/podman.sock"
DEFAULT_SSH_PORT = 22
DEFAULT_SSH_START_PORT = 2200
DEFAULT_KEY_PATH = "~/.ssh/id_ed25519"
DEFAULT_IMAGE = "localhost/l8s-dev:latest"
DEFAULT_CONTAINER_USER = "dev"
DEFAULT_MULTIPLEX = 600.0


@frozen(kw_only=True)
class Profile:
    """One server and how containers are made there; the merged result of every layer.

    ``sources`` tells for each field where its value came from (``"~/.l8s/config.yaml:3"``, ``"plugin acme"``,
    ``"default"``). ``remote_port`` None means: what the ssh alias says, else 22. ``multiplex`` is for how many seconds
    after its last use a connection is kept open for the next command; 0 keeps none.
    """

    name: str
    remote_host: str
    remote_user: str
    remote_port: int | None = None
    remote_socket: str = DEFAULT_SOCKET
    ssh_key_path: str = DEFAULT_KEY_PATH
    base_image: str = DEFAULT_IMAGE
    container_user: str = DEFAULT_CONTAINER_USER
    container_prefix: str = field()
    ssh_start_port: int = DEFAULT_SSH_START_PORT
    labels: Mapping[str, str] = field(factory=dict, converter=texts)
    backend: str = "podman"
    ssh_config_writer: str = "openssh"
    options: Mapping[str, object] = field(factory=dict, converter=dict)
    host_key_checking: bool = True
    forward_agent: bool = False
    multiplex: float = DEFAULT_MULTIPLEX
    sources: Mapping[str, str] = field(factory=dict, converter=texts, eq=False, repr=False)

    @container_prefix.default
    def _container_prefix_default(self) -> str:
        return self.name

    def alias(self, name: str) -> str:
        """The container's name on the server and its ssh alias: ``dev-myapp``."""
        return f"{self.container_prefix}-{name}"
