"""Two requests at once, where waiting for one after the other would take a round trip more.

Not here: what a backend is that serves several callers (`l8s_core.contracts.Sessions`).
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from l8s_core.contracts import RemoteBackend, Sessions

T = TypeVar("T")


class Beside(Generic[T]):
    """A call that is made `beside` something else. ``result`` is what it returned, at the end of the block."""

    result: T

    def __init__(self, backend: RemoteBackend, call: Callable[[RemoteBackend], T]) -> None:
        self._backend = backend
        self._call = call
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def begin(self, sessions: Sessions) -> None:
        """Make the call in a thread of its own."""
        self._thread = threading.Thread(target=self._run, args=(sessions,), name="l8s-beside", daemon=True)
        self._thread.start()

    def _run(self, sessions: Sessions) -> None:
        try:
            session = sessions.session()
            try:
                self.result = self._call(session)
            finally:
                session.close()
        except BaseException as error:  # noqa: BLE001 - it is raised where the call is waited for
            self._error = error

    def wait(self) -> None:
        """Wait for the end of the call, whatever is pressed meanwhile: nothing may be under way that nobody sees.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
        """
        if self._thread is None:
            return
        pressed = False
        while True:
            try:
                with _interrupts_noted() as seen:
                    self._thread.join()
                break
            except KeyboardInterrupt:  # in the moment before they are noted
                pressed = True
        if pressed or seen:
            raise KeyboardInterrupt

    def finish(self) -> None:
        """Have the result, from the thread or by making the call now. Raises what it raises."""
        if self._thread is None:
            self.result = self._call(self._backend)
        elif self._error is not None:
            raise self._error


@contextmanager
def beside(backend: RemoteBackend, call: Callable[[RemoteBackend], T]) -> Iterator[Beside[T]]:
    """Make ``call`` while the block runs, on a session of its own; without sessions, after the block.

    The block should hold what takes longer: its round trips are waited for, and those of ``call`` are not counted.
    At the end ``call`` has ended too. What it raised is raised then, unless the block itself raised; where there are no
    sessions it is not made after such a block.
    """
    other = Beside(backend, call)
    if isinstance(backend, Sessions):
        other.begin(backend)
    try:
        yield other
    finally:
        other.wait()
    other.finish()


@contextmanager
def _interrupts_noted() -> Iterator[list[int]]:
    """While this lasts, Ctrl-C only adds to the list (the main thread alone can arrange that)."""
    seen: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before in (signal.SIG_IGN, None):
        yield seen
        return
    signal.signal(signal.SIGINT, lambda number, _frame: seen.append(number))
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)
