"""Reporting the steps of a longer job: connecting, creating, building.

A job takes a `Steps` and wraps each part in ``with steps.step("TCP") as step``. Whoever watches gets a `Step` when it
starts and another when it ends, with its duration. An `L8sError` on its way through learns at which step it happened.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeAlias

from l8s_core.errors import L8sError

if TYPE_CHECKING:
    from l8s_core.model import Step

StepObserver: TypeAlias = "Callable[[Step], None]"


class RunningStep:
    """Handed out by `Steps.step`: what the step found goes into ``detail``."""

    def __init__(self) -> None:
        self.detail = ""


class Steps:
    """Reports steps to ``observer``; without one it only keeps the name of the current step."""

    def __init__(self, observer: StepObserver | None = None) -> None:
        self._observer = observer
        self.done: list[str] = []
        """The names of the steps that were finished, in order."""

    @contextmanager
    def step(self, name: str) -> Iterator[RunningStep]:
        """Time what happens inside as the step ``name``.

        Raises: what the inside raises; an `L8sError` without a step of its own gets this one's name.
        """
        running = RunningStep()
        self._tell(name, "started")
        start = time.monotonic()
        try:
            yield running
        except BaseException as error:
            if isinstance(error, L8sError) and error.step is None:
                error.step = name
            self._tell(name, "failed", running.detail, time.monotonic() - start)
            raise
        self.done.append(name)
        self._tell(name, "done", running.detail, time.monotonic() - start)

    def relay(self, step: Step) -> None:
        """Report a step that somebody else took, as it was told."""
        if step.state == "done":
            self.done.append(step.name)
        if self._observer is not None:
            self._observer(step)

    def _tell(
        self, name: str, state: Literal["started", "done", "failed"], detail: str = "", seconds: float = 0.0
    ) -> None:
        if self._observer is not None:
            from l8s_core.model import Step

            self._observer(Step(name=name, state=state, detail=detail, seconds=seconds))
