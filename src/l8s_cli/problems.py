"""What can go wrong in the command itself, before and after the library is called.

Not here: the library's errors (`l8s_core.errors`), and what is said about any of them (`l8s_cli.report`).
"""

from __future__ import annotations

from collections.abc import Sequence

import click


class UsageProblem(click.UsageError):
    """A command line that cannot be understood, with what to type instead."""

    def __init__(self, message: str, *, hints: Sequence[str] = (), ctx: click.Context | None = None) -> None:
        super().__init__(message, ctx)
        self.hints = tuple(hints)


class OutputClosed(BaseException):
    """Whoever read our output has gone; there is nobody left to tell.

    Not an `Exception`, so that no layer that output passes through takes it for a failure of its own.
    """


class OutputLost(OutputClosed):
    """Our output could not be written, to a full disk for example; what the command did so far stands."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
