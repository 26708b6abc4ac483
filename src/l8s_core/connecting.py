"""Connecting a backend: opened, and shown to lead to another machine, before anything else may use it."""

from __future__ import annotations

from attrs import frozen

from l8s_core import policy
from l8s_core.contracts import RemoteBackend
from l8s_core.model import Endpoint
from l8s_core.steps import Steps


@frozen(kw_only=True)
class Connected:
    """What a backend is connected to, and what was odd about it, in complete sentences."""

    endpoint: Endpoint
    warnings: tuple[str, ...] = ()


def connect(backend: RemoteBackend, steps: Steps, *, where: str) -> Connected:
    """Open ``backend`` and prove that the server, ``where`` in messages, is another machine; else close it again.

    Raises:
        RemoteOnlyError: it is this machine.
        ConnectionFailed: the subclass says why.
    """
    try:
        endpoint = backend.open(steps)
        with steps.step("remote-only proof") as step:
            proof = policy.prove_remote(backend.machine, local=policy.this_machine(), where=where)
            step.detail = proof.detail
    except BaseException:
        backend.close()
        raise
    return Connected(endpoint=endpoint, warnings=proof.warnings)
