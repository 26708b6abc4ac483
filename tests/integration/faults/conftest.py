"""Fixtures of the battery: the points are drawn here, and the invariant is held after every fault."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from battery import SEED_VARIABLE, Battery, drawn, full
from lab import Laptop, Server


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    mark = metafunc.definition.get_closest_marker("fault")
    if mark is not None:
        points = drawn(**mark.kwargs, seed=os.environ[SEED_VARIABLE], everything=full())
        metafunc.parametrize("point", points, ids=[f"at {point}" for point in points])


def pytest_itemcollected(item: pytest.Item) -> None:
    mark = item.get_closest_marker("fault")
    if mark is not None:
        item.user_properties.append(("fault", mark.kwargs["name"]))


@pytest.fixture
def battery(server: Server, image: str, laptop: Laptop, request: pytest.FixtureRequest) -> Iterator[Battery]:
    """The server without containers of l8s's, and a laptop that is configured for it."""
    machines = Battery(server, laptop)
    try:
        machines.prepare()
        yield machines
        if request.node.stash.get(PASSED, False):
            machines.check()
            assert machines.evidence, "the fault was not seen to have been injected"
    finally:
        if machines.evidence:
            request.node.user_properties.append(("injected", "; ".join(machines.evidence)))
        machines.close()
        server.clear()


PASSED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if call.when == "call":
        item.stash[PASSED] = report.passed
    return report
