"""What this laptop is in the middle of making: one small file per container that is being created.

It is written before the first thing is made on a server, and removed when the last one is done. A create that finds one
knows that an earlier create was cut off, and by its operation id what that one may have left on the server.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from attrs import frozen

from l8s_core import files
from l8s_core.errors import ContainerExists, FileBusy
from l8s_core.model import Endpoint

ENTRY_LIMIT = 4096
"""Bytes."""

LOCK_TIMEOUT = 0.2
"""Seconds: whoever holds the lock is creating the same container, and will for a while."""


@frozen
class Journal:
    """The entry of one container (by its alias) on one server."""

    path: Path
    alias: str

    @classmethod
    def of(cls, endpoint: Endpoint, alias: str) -> Journal:
        """The entry for ``alias`` at ``endpoint``."""
        server = hashlib.sha256(f"{endpoint}{endpoint.socket}".encode()).hexdigest()[:12]
        return cls(files.state_dir() / "journal" / f"{alias}-{server}.json", alias)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other l8s processes of this laptop from creating the same container.

        Raises:
            ContainerExists: one of them is doing so now.
        """
        files.private_dir(self.path.parent)
        with ExitStack() as stack:
            try:
                stack.enter_context(files.locked(self.path, timeout=LOCK_TIMEOUT))
            except FileBusy as error:
                raise ContainerExists(
                    f"{self.alias} is being created by another l8s command on this laptop.",
                    hints=("Wait for it, then look: l8s list",),
                ) from error
            yield

    def operation(self) -> str | None:
        """The operation that was cut off, or None."""
        data = files.read_limited(self.path, ENTRY_LIMIT)
        if data is None:
            return None
        try:
            entry = json.loads(data)
        except (ValueError, RecursionError):  # not JSON, or nested beyond what json can read
            return None
        operation = entry.get("operation") if isinstance(entry, dict) else None
        return operation if isinstance(operation, str) else None

    def begin(self, operation: str) -> None:
        """Note that ``operation`` starts."""
        files.write_atomic(self.path, json.dumps({"operation": operation, "alias": self.alias}).encode())

    def end(self) -> None:
        """Note that it is over, well or badly, and left nothing behind."""
        files.remove(self.path)
