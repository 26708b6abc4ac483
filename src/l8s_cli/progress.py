"""Showing the steps of a longer job as they happen, and how far a transfer has come.

Each step is one line when it ends; on a terminal the running one is shown too, and rewritten. Not here: what a
step is (`l8s_core.steps`).
"""

from __future__ import annotations

import time
from types import TracebackType

import click

from l8s_cli import tables
from l8s_cli.output import encodes, is_terminal, write
from l8s_core import names
from l8s_core.model import Copied, Step

CLEAR_LINE = "\r\x1b[K"
"""To the first column, and erase to the end of the line (ECMA-48, CR and EL)."""

SHOWN_AFTER = 1.0
"""Seconds for which nothing is said: most transfers are over by then."""

SHOWN_EVERY = 0.2
"""Seconds between two states of the line."""


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


class TransferDisplay:
    """How many files and bytes have gone, and how fast: one line of a terminal, which is gone when it is over."""

    def __init__(self, *, silent: bool = False) -> None:
        self._live = not silent and is_terminal(err=True)
        self._began = time.monotonic()
        self._next = self._began + SHOWN_AFTER
        self._files = self._bytes = 0
        self._shown = False

    def progress(self, files: int, size: int) -> None:
        """Show a state (`l8s_core.model.CopyProgress`)."""
        now = time.monotonic()
        if not self._live or now < self._next:
            return
        self._next = now + SHOWN_EVERY
        size += self._bytes
        rate = tables.size(round(size / (now - self._began)))
        files += self._files
        counted = "1 file" if files == 1 else f"{files} files"
        write(f"{CLEAR_LINE}  {counted}, {tables.size(size)} ({rate}/s)", err=True)
        self._shown = True

    def more(self, done: Copied) -> None:
        """What comes next is counted from the beginning."""
        self._files += done.files
        self._bytes += done.bytes

    def __enter__(self) -> TransferDisplay:
        """Nothing is shown yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the line away."""
        if self._shown:
            write(CLEAR_LINE, err=True)
