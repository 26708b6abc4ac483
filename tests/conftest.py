"""For every test: the environment is nobody's, and what a run made is taken down at its end.

Hypothesis has two profiles here: ``fast``, and ``long`` for ``./scripts/test --full``. Property tests take their number
of examples from them, or a share of it where one example takes long.
"""

from __future__ import annotations

import os
import secrets
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import hypothesis
import hypothesis.configuration
import lab
import pytest

# what steers the tests themselves, also while they run
OURS = (lab.RUN_VARIABLE, "L8S_FAULT_SEED", "L8S_FAULTS")

# what a developer's own shell may say to l8s, ssh, git or podman
FOREIGN_VARIABLES = (
    "CONTAINER_HOST",
    "CONTAINER_SSHKEY",
    "DOCKER_HOST",
    "SSH_AUTH_SOCK",
    "GIT_SSH_COMMAND",
    "GIT_DIR",
)


FAST, LONG = 100, 2500
"""Examples of a property test. The fast part takes less than 30 s with two workers, the long one about ten minutes."""

LONG_TIMEOUT = 3600
"""Seconds for one test with the long profile."""


def pytest_configure(config: pytest.Config) -> None:
    # a run in the background of a shell ignores Ctrl-C, and all that it starts would do so too
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):
        lab.Run.open()
        # before any worker is started, which has to draw the same points
        os.environ.setdefault("L8S_FAULT_SEED", secrets.token_hex(4))
    _load_profile("long" if os.environ.get("L8S_FAULTS") == "full" else "fast")


def _load_profile(name: str) -> None:
    """Each run draws anew. A failure prints the blob (``@reproduce_failure``) that repeats it; no database does."""
    # hypothesis would keep its tables in the tree
    hypothesis.configuration.set_hypothesis_home_dir(lab.Run.current().directory / "hypothesis")
    # a busy machine is no reason to fail
    patient = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
    for profile, examples in (("fast", FAST), ("long", LONG)):
        hypothesis.settings.register_profile(
            profile, max_examples=examples, derandomize=False, database=None, print_blob=True, **patient
        )
    hypothesis.settings.load_profile(name)


@pytest.hookimpl(trylast=True)  # hypothesis marks its tests first
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if hypothesis.settings().max_examples >= LONG:
        for item in items:
            if item.get_closest_marker("hypothesis") is not None:
                item.add_marker(pytest.mark.timeout(LONG_TIMEOUT))
    # what may take longest begins first, and no worker is left alone with it at the end
    items.sort(key=lambda item: -_allowed(item))


def _allowed(item: pytest.Item) -> float:
    """Seconds that a test may take by a mark of its own; 0 without one."""
    mark = item.get_closest_marker("timeout")
    return float(mark.args[0]) if mark is not None and mark.args else 0.0


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        lab.Run.current().close()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput") and lab.Run.current().trapped():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    summary = [*fault_lines(terminalreporter.stats), *lab.Run.current().summary()]
    if summary:
        terminalreporter.section("lab")
        for line in summary:
            terminalreporter.line(line)


def fault_lines(stats: Mapping[str, list[Any]]) -> list[str]:
    """One line for each fault of the battery: how often it was injected, and how often that was survived."""
    injected, lost = Counter[str](), set[tuple[str, str]]()
    for report in (report for reports in stats.values() for report in reports if isinstance(report, pytest.TestReport)):
        properties = dict(report.user_properties)
        if "fault" not in properties:
            continue
        name = properties["fault"]
        injected[name] += report.when == "teardown" and "injected" in properties
        if report.outcome == "failed":
            lost.add((name, report.nodeid))
    if not injected:
        return []
    failed = Counter(name for name, _ in lost)
    extent = "every point" if os.environ.get("L8S_FAULTS") == "full" else "some points of each; --full runs all"
    seed = os.environ["L8S_FAULT_SEED"]
    lines = [f"battery of faults, {extent}, seed {seed} (again with L8S_FAULT_SEED={seed}):"]
    for name in sorted(injected):
        survived = max(injected[name] - failed[name], 0)
        mark = f"   {failed[name]} FAILED" if failed[name] else ""
        lines.append(f"  {name:<64} injected {injected[name]:>4}   survived {survived:>4}{mark}")
    return lines


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object | None:
    """With ``--dist loadgroup``, give a worker all tests of one file that use a server with the same Podman.

    Each worker has servers of its own. By the test's id, because xdist's own way (the mark ``xdist_group``) has no
    effect with pytest 9.2.
    """
    if config.getoption("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByServer(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            # "[podman-4.3]", "[podman-4.3-yes]", "[at 3000-podman-4.3]"
            parameters = f"-{nodeid.partition('[')[2].rstrip(']')}-"
            server = next((server for server in lab.SUITES if f"-{server}-" in parameters), None)
            return nodeid if server is None else f"{nodeid.partition('::')[0]} {server}"

    return ByServer(config, log)


@pytest.fixture(scope="session", autouse=True)
def _nobodys_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An empty HOME and none of the variables that steer what is tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        for name in [name for name in os.environ if name.startswith("L8S_") and name not in OURS]:
            patch.delenv(name)
        for name in FOREIGN_VARIABLES:
            patch.delenv(name, raising=False)
        yield
