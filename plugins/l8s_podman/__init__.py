"""The built-in backend "podman": Podman's REST API over one SSH connection.

This module is imported at every start; everything heavy (paramiko, fabric, podman, requests) is imported by the
factory.
"""

from __future__ import annotations

from collections.abc import Iterable

from l8s_core.contracts import RemoteBackend
from l8s_core.hookspecs import hookimpl
from l8s_core.model import Profile
from l8s_core.providers import BackendProvider


def _make(profile: Profile) -> RemoteBackend:
    from l8s_podman.backend import PodmanBackend

    return PodmanBackend(profile)


@hookimpl
def l8s_remote_backends() -> Iterable[BackendProvider]:
    """Yield the backend."""
    yield BackendProvider(name="podman", summary="Podman on a server, over SSH", factory=_make, shared=True)
