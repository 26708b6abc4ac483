"""`l8s list` as it would be, if the process that keeps the connection only relayed bytes.

    python list_over_relay.py SOCKET

All of l8s but its way to the server: behind SOCKET is Podman's, and to that it speaks HTTP with podman-py, as l8s does
without such a process. paramiko and fabric are not imported, which a command of that kind would not need either.
"""

# ruff: noqa: E402  what is not needed is replaced before it is imported

from __future__ import annotations

import gc
import os
import socket
import sys
from types import ModuleType
from typing import Any

from l8s_cli.start import FEW_COLLECTIONS, run


class _Unneeded(ModuleType):
    """A module of which only names are needed: those of exceptions, to be caught, and of types."""

    def __getattr__(self, name: str) -> type[Exception]:
        return type(name, (Exception,), {})


SOCKET = sys.argv.pop(1)
os.environ["L8S_MULTIPLEX"] = "0"  # the kept connection is SOCKET's affair
gc.set_threshold(FEW_COLLECTIONS)  # as l8s does before it imports
for name in ("paramiko", "l8s_podman.link"):
    sys.modules[name] = _Unneeded(name)

from l8s_core.client import Client
from l8s_core.connecting import Connected
from l8s_core.model import Endpoint
from l8s_podman.api import PodmanAPI
from l8s_podman.backend import PodmanBackend


class _Stream(socket.socket):
    """A connection to SOCKET; what `l8s_podman.api` asks of a channel besides what sockets have."""

    idle = True


class _Relayed:
    """What `PodmanBackend` talks through."""

    dead = False

    def __init__(self, where: str) -> None:
        itself: Any = self
        self.link = self.ready = itself
        self.api = PodmanAPI(itself, itself, where=where)

    def asked(self) -> None:
        """A request is counted, elsewhere."""

    def close(self) -> None:
        """The process ends next."""

    def open(self) -> _Stream:
        """As `l8s_podman.api.Dialer`."""
        stream = _Stream(socket.AF_UNIX)
        stream.connect(SOCKET)
        return stream


def _connected(client: Client, _: object) -> Connected:
    """In place of dialling."""
    backend, profile = client._backend, client.profile
    assert isinstance(backend, PodmanBackend)
    relayed: Any = _Relayed(profile.remote_host)
    backend._wiring = relayed
    return Connected(endpoint=Endpoint(user="root", host=profile.remote_host, port=22, socket=profile.remote_socket))


replaced: Any = Client
replaced._connected = _connected
sys.argv.append("list")
run()
