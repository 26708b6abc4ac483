"""``l8s test-connection``: each step of connecting, with its time.

Not here: the steps themselves, which the backend and the client report.
"""

from __future__ import annotations

import attrs
import click

from l8s_cli import tables
from l8s_cli.invocation import Invocation, invocation
from l8s_cli.output import write
from l8s_cli.parsing import Command
from l8s_cli.progress import StepDisplay
from l8s_core import names
from l8s_core.model import HostFacts, Step


class Recorder:
    """A `StepObserver` that keeps the steps that ended, and passes all of them on to ``display``."""

    def __init__(self, display: StepDisplay | None) -> None:
        self.ended: list[Step] = []
        self._display = display

    def __call__(self, step: Step) -> None:
        """Keep and pass on ``step``."""
        if step.state != "started":
            self.ended.append(step)
        if self._display is not None:
            self._display(step)


@click.command(
    "test-connection",
    cls=Command,
    examples=(
        ("l8s test-connection", "the server of the active profile"),
        ("l8s test-connection --profile staging -o json", "another one, for programs"),
    ),
)
@invocation
def test_connection(run: Invocation) -> None:
    """Try each step of connecting to the server.

    Address, TCP, host key, agent, authentication, the proof that the server is not this machine, Podman's socket
    and its version: each with its time. The first that fails ends it, with what to do.
    """
    profile = run.chosen_profile()
    run.warn_of_ignored_settings(profile.name)
    recorder = Recorder(None if run.out.for_programs else StepDisplay(err=False))
    facts: HostFacts | None = None
    server: str | None = None
    if not run.out.for_programs:
        write(names.printable(f"{profile.name}: {profile.remote_user}@{profile.remote_host}") + "\n")
    client = run.session.client(profile)
    try:
        client.open(recorder)
        server = str(client.endpoint)
        facts = client.facts(recorder)
    finally:
        client.close()
        if run.out.for_programs:
            # Also when it failed: the error goes to stderr, and the steps until then are worth having.
            data = {
                "profile": profile.name,
                "server": server,
                "ok": facts is not None,
                "steps": [attrs.asdict(step) for step in recorder.ended],
                "facts": None if facts is None else attrs.asdict(facts),
            }
            run.out.data("connection", data, "")
    if not run.out.for_programs:
        write(names.printable_lines(described(facts)))
    for sentence in (*client.warnings, *facts.warnings):
        run.out.warn(sentence)


def described(facts: HostFacts) -> str:
    """The server in one sentence."""
    backend = facts.backend[:1].upper() + facts.backend[1:]
    return (
        f"{backend} {facts.version} (API {facts.api_version}) on {facts.os}, kernel {facts.kernel}, "
        f"{facts.cpus} CPUs, {tables.size(facts.memory)} of memory.\n"
    )
