"""HTTP to a local socket, with nothing between: what a list costs when nobody does anything else."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path


class UnixHTTP(http.client.HTTPConnection):
    """HTTP over a local socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("podman", timeout=60)
        self._path = str(path)

    def connect(self) -> None:
        """As the base class does."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self._path)
