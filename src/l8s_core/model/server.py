"""The server: its machine, its software, its images and volumes. Where a backend is connected is in `endpoint`."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from l8s_core.model.mappings import texts


@frozen(kw_only=True)
class MachineIdentity:
    """What tells one machine, and one boot of it, from another (`l8s_core.policy`).

    ``process_start`` is the start of a process that was fresh when it was read, in seconds since boot as that
    machine counts them (field 22 of /proc/self/stat over the clock tick, see proc(5)). ``sent`` and ``received`` are
    this laptop's CLOCK_BOOTTIME around that reading, in seconds. Empty text means: could not be read.
    """

    boot_id: str
    kernel: str
    process_start: float | None
    machine_id: str
    sent: float
    received: float


@frozen(kw_only=True)
class HostFacts:
    """Facts about the server. ``warnings`` are complete sentences about what will hurt later."""

    backend: str
    version: str
    api_version: str
    os: str
    kernel: str
    cpus: int
    memory: int
    """Bytes."""
    warnings: tuple[str, ...] = ()


@frozen(kw_only=True)
class Image:
    """An image on the server: the name that it was given there, and its id."""

    reference: str
    id: str


@frozen(kw_only=True)
class VolumeInfo:
    """A named volume on the server."""

    name: str
    labels: Mapping[str, str] = field(factory=dict, converter=texts)
