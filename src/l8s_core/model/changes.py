"""What is changed on the laptop, or was taken away."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen

from l8s_core.model.ssh import HostBlock


@frozen(kw_only=True)
class FileChange:
    """One file of a `ChangePlan`: its bytes before (None: it does not exist) and after, and what changes in words."""

    path: Path
    before: bytes | None = field(repr=False)
    after: bytes = field(repr=False)
    summary: str


@frozen(kw_only=True)
class ChangePlan:
    """What an SSHConfigWriter would do. Empty ``files`` means that everything is as it should be already."""

    add: tuple[HostBlock, ...] = ()
    remove: tuple[str, ...] = ()
    files: tuple[FileChange, ...] = ()


@frozen(kw_only=True)
class Removal:
    """What removing a container took away: ``container`` and ``entry`` tell whether there was one."""

    alias: str
    container: bool
    entry: bool
    volumes: tuple[str, ...] = ()
    kept_volumes: tuple[str, ...] = ()
