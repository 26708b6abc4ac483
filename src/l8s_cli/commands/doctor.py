"""``l8s doctor``: what is wrong, and what to run.

Not here: the checks (`l8s_core.doctor`).
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import click
from attrs import asdict

from l8s_cli.invocation import Invocation, invocation
from l8s_cli.output import encodes, write
from l8s_cli.parsing import Command
from l8s_core import names

if TYPE_CHECKING:
    from l8s_core.doctor import Checked

TITLES = {
    "laptop": "This machine",
    "link": "The way to the server",
    "server": "The server",
    "containers": "Containers",
    "plugin": "Checks of plugins",
}
COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


@click.command(
    "doctor",
    cls=Command,
    examples=(
        ("l8s doctor", "the active profile"),
        ("l8s doctor --profile staging -o json", "another one, for programs"),
    ),
)
@invocation
def doctor(run: Invocation) -> int:
    """Check this machine, the link, the server and the containers.

    Changes nothing. Each line that is not in order says what to run. The exit code is 1 when something is wrong;
    warnings, about what will hurt later, leave it 0.
    """
    from l8s_core.doctor import healthy, run_checks

    profile = run.chosen_profile()
    run.warn_of_ignored_settings(profile.name)
    results: list[Checked] = []
    for group, items in groupby(run_checks(run.session, profile), key=lambda item: item.group):
        if not run.out.for_programs:
            write(f"{TITLES[group]}\n")
        for item in items:
            results.append(item)
            if not run.out.for_programs:
                write(described(item))
    well = healthy(results)
    if run.out.for_programs:
        findings = [{"group": item.group, "check": item.check, **asdict(item.finding)} for item in results]
        run.out.data("doctor", {"profile": profile.name, "ok": well, "findings": findings}, "")
    else:
        counts = {state: sum(item.finding.state == state for item in results) for state in COLOURS}
        write(f"{counts['problem']} wrong, {counts['warning']} to mind, {counts['ok']} in order\n")
    return 0 if well else 1


def described(item: Checked) -> str:
    """One finding as one line, and what to run as a second; escaped."""
    signs = {"ok": "✓", "warning": "!", "problem": "✗"}
    words = {"ok": "ok", "warning": "WARNING", "problem": "WRONG"}
    finding = item.finding
    sign = (signs if encodes("".join(signs.values())) else words)[finding.state]
    text = f"  {click.style(sign, fg=COLOURS[finding.state])} {names.printable(item.check)}: "
    text += f"{names.printable(finding.message)}\n"
    if finding.hint:
        text += f"      Run: {names.printable(finding.hint)}\n"
    return text
