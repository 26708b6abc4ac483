"""Running something: its output as it comes, its end, and the steps of a longer job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from attrs import frozen

StreamName = Literal["stdout", "stderr"]
OutputSink = Callable[[StreamName, bytes], None]
"""Receives a command's output as it comes: which stream, and the exact bytes."""


@frozen(kw_only=True)
class ExecResult:
    """How a command in a container ended. The bytes are exact; they are empty when the output was streamed."""

    exit_code: int
    stdout_bytes: bytes = b""
    stderr_bytes: bytes = b""

    @property
    def stdout(self) -> str:
        """Standard output as text; bytes that are not UTF-8 become U+FFFD."""
        return self.stdout_bytes.decode("utf-8", "replace")

    @property
    def stderr(self) -> str:
        """Standard error as text; bytes that are not UTF-8 become U+FFFD."""
        return self.stderr_bytes.decode("utf-8", "replace")


@frozen(kw_only=True)
class Step:
    """One step of a longer job: first ``started``, then ``done`` or ``failed``, with its duration in ``seconds``."""

    name: str
    state: Literal["started", "done", "failed"]
    detail: str = ""
    seconds: float = 0.0
