"""What is asked for: by a person, and of a backend."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from l8s_core.model.mappings import texts


@frozen(kw_only=True)
class ContainerSpec:
    """What a person asks for. ``memory`` is in bytes, ``cpus`` in cores, ``pids`` a count; None means no limit.

    ``repository`` may carry credentials (``https://user:token@host/...``); they are used for the clone only and
    never stored.
    """

    name: str
    repository: str | None = field(default=None, repr=False)
    branch: str | None = None
    image: str | None = None
    labels: Mapping[str, str] = field(factory=dict, converter=texts)
    memory: int | None = None
    cpus: float | None = None
    pids: int | None = None


@frozen(kw_only=True)
class ContainerRequest:
    """What a backend is asked to create; every name in it is validated already.

    ``ports`` maps server ports to container ports (TCP), ``volumes`` volume names to absolute mount points.
    ``restart`` True asks the backend to bring the container back after the server reboots.
    """

    name: str
    image: str
    hostname: str
    command: tuple[str, ...]
    labels: Mapping[str, str]
    ports: Mapping[int, int]
    volumes: Mapping[str, str]
    memory: int | None = None
    cpus: float | None = None
    pids: int | None = None
    restart: bool = True
