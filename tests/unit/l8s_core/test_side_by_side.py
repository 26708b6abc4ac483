"""Calls at once: on sessions where there are some, in turn where there are none."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from l8s_core.side_by_side import beside


class InTurn:
    """A backend for one caller."""


class AtOnce:
    """A backend with sessions."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []

    def session(self) -> Session:
        self.sessions.append(Session())
        return self.sessions[-1]


class Session:
    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


Call = Callable[[Any], Any]


@pytest.fixture(params=[InTurn, AtOnce])
def backend(request: pytest.FixtureRequest) -> Any:
    return request.param()


def fail(_: object) -> None:
    raise ValueError("beside")


def test_the_result_is_there_after_the_block(backend: Any) -> None:
    with beside(backend, lambda other: other) as made:
        pass
    if isinstance(backend, AtOnce):
        assert made.result is backend.sessions[0]
        assert made.result.closed
    else:
        assert made.result is backend


def test_its_error_is_raised_after_the_block(backend: Any) -> None:
    done = False
    with pytest.raises(ValueError, match="beside"), beside(backend, fail):
        done = True
    assert done
    assert all(session.closed for session in getattr(backend, "sessions", []))


def test_the_blocks_own_error_comes_first(backend: Any) -> None:
    with pytest.raises(KeyError, match="block"), beside(backend, fail):
        raise KeyError("block")


def test_in_turn_it_is_not_made_after_a_block_that_failed() -> None:
    made: list[object] = []
    with pytest.raises(KeyError), beside(InTurn(), made.append):  # type: ignore[arg-type]
        raise KeyError
    assert made == []


def test_both_are_under_way_at_once() -> None:
    met = threading.Barrier(3, timeout=20)
    backend: Any = AtOnce()
    with beside(backend, lambda _: met.wait()), beside(backend, lambda _: met.wait()):
        met.wait()
    assert len({id(session) for session in backend.sessions}) == 2


def test_a_session_that_cannot_be_had_is_an_error_of_the_call() -> None:
    class Full:
        def session(self) -> object:
            raise ValueError("no session")

    backend: Any = Full()
    with pytest.raises(ValueError, match="no session"), beside(backend, lambda _: None):
        pass


def test_ctrl_c_waits_for_what_is_under_way() -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def call(_: object) -> None:
        begun.set()
        go_on.wait(20)
        ended.set()

    before = signal.getsignal(signal.SIGINT)

    def press() -> None:
        begun.wait(20)
        while signal.getsignal(signal.SIGINT) is before:  # until it is waited for
            time.sleep(0.001)
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
        go_on.set()

    backend: Any = AtOnce()
    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(KeyboardInterrupt), beside(backend, call):
        pass
    assert ended.is_set()
    presser.join()
