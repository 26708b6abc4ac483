"""Showing the steps of a longer job as they happen.

Each step is one line when it ends; on a terminal the running one is shown too, and rewritten. Not here: what a
step is (`l8s_core.steps`).
"""

from __future__ import annotations

import click

from l8s_cli import tables
from l8s_cli.output import encodes, is_terminal, write
from l8s_core import names
from l8s_core.model import Step

CLEAR_LINE = "\r\x1b[K"
"""To the first column, and erase to the end of the line (ECMA-48, CR and EL)."""


class StepDisplay:
    """A `StepObserver` that prints; ``err`` chooses stderr, False is for a command whose data the steps are."""

    def __init__(self, *, err: bool = True) -> None:
        self._err = err
        self._live = is_terminal(err=err)
        good, bad = ("✓", "✗") if encodes("✓✗", err=err) else ("ok", "FAILED")
        self._done = click.style(good, fg="green")
        self._failed = click.style(bad, fg="red")
        self._running: str | None = None

    def __call__(self, step: Step) -> None:
        """Show ``step``."""
        if step.state == "started":
            if self._live:
                self.clear()
                self._running = step.name
                write(f"  {names.printable(step.name)} ...", err=self._err)
            return
        self.clear()
        mark = self._done if step.state == "done" else self._failed
        detail = f"  {names.printable(step.detail)}" if step.detail else ""
        took = tables.duration(step.seconds)
        write(f"  {mark} {names.printable(step.name)}{detail}  ({took})\n", err=self._err)

    def clear(self) -> None:
        """Take the running step's line away, so that something else can be printed."""
        if self._running is not None:
            self._running = None
            write(CLEAR_LINE, err=self._err)
