"""Steps: what an observer is told, and what an error learns."""

from __future__ import annotations

import time

import pytest

from l8s_core.errors import BackendError
from l8s_core.model import Step
from l8s_core.steps import Steps


def test_a_step_is_told_when_it_starts_and_when_it_is_done() -> None:
    told: list[Step] = []
    steps = Steps(told.append)
    with steps.step("TCP") as step:
        assert [(told_step.name, told_step.state) for told_step in told] == [("TCP", "started")]
        step.detail = "port 22"
        time.sleep(0.01)
    assert [(told_step.state, told_step.detail) for told_step in told] == [("started", ""), ("done", "port 22")]
    assert 0.01 <= told[1].seconds < 5
    assert steps.done == ["TCP"]


@pytest.mark.parametrize("error", [BackendError("no"), ValueError("no"), KeyboardInterrupt()])
def test_a_failed_step_is_told_and_its_error_goes_on(error: BaseException) -> None:
    told: list[Step] = []
    steps = Steps(told.append)
    with pytest.raises(type(error)) as caught, steps.step("upload") as step:
        step.detail = "half"
        raise error
    assert caught.value is error
    assert [(told_step.state, told_step.detail) for told_step in told] == [("started", ""), ("failed", "half")]
    assert steps.done == []


def test_an_error_learns_the_innermost_step_and_keeps_it() -> None:
    steps = Steps()
    with pytest.raises(BackendError) as caught, steps.step("outer"), steps.step("inner"):
        raise BackendError("no")
    assert caught.value.step == "inner"
    with pytest.raises(BackendError) as again, Steps().step("later"):
        raise caught.value
    assert again.value.step == "inner"


def test_without_an_observer_the_finished_steps_are_kept() -> None:
    steps = Steps()
    for name in ("a", "b"):
        with steps.step(name):
            pass
    assert steps.done == ["a", "b"]
