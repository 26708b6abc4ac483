"""One call on a `Client`, as hooks see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from attrs import frozen

if TYPE_CHECKING:
    from l8s_core.model.profile import Profile
    from l8s_core.model.request import ContainerSpec

OperationKind = Literal[
    "create", "start", "stop", "restart", "remove", "list", "show", "exec", "copy_in", "copy_out", "build", "sync"
]


@frozen(kw_only=True)
class Operation:
    """One call on a `Client`, as hooks see it. ``target`` is the container's short name ("" where there is none)."""

    kind: OperationKind
    profile: Profile
    target: str = ""
    id: str = ""
    spec: ContainerSpec | None = None


@frozen(kw_only=True)
class Outcome:
    """How an `Operation` ended: ``error`` is None when it succeeded. ``seconds`` is its duration."""

    error: BaseException | None
    seconds: float
