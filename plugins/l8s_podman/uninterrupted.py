"""Seeing a change to its answer although the person pressed Ctrl-C.

A request that was cut off goes on inside Podman: a container appears after it was looked for, and one that is removed
while an upload still writes to it leaves storage behind that Podman itself cannot clear away. Waiting for the answer
costs a moment and leaves no doubt.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

T = TypeVar("T")

GRACE = 20.0
"""Seconds that an interrupted change is waited for; then the connection is taken for broken."""


def to_the_end(work: Callable[[], T], *, abandoned: Callable[[T], None] | None = None) -> T:
    """The result of ``work``, which is done in a thread of its own when Ctrl-C could strike here.

    When it does, the interrupt is raised only after the work has ended; ``abandoned`` then gets its result.

    Raises: what ``work`` raises, or KeyboardInterrupt.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    future: Future[T] = Future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name="l8s-request", daemon=True).start()
    try:
        return future.result()
    except KeyboardInterrupt:
        finished, _ = wait([future], timeout=GRACE)
        if finished and future.exception() is None and abandoned is not None:
            abandoned(future.result())
        raise
