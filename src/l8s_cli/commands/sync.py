"""``l8s sync``: the local files made to fit the server again.

Not here: what is compared and written (`l8s_core.sync`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from attrs import asdict

from l8s_cli.invocation import Invocation, invocation
from l8s_cli.parsing import Command

if TYPE_CHECKING:
    from l8s_core.sync import SyncResult

SIGNS = {"add": "+", "change": "~", "remove": "-"}


@click.command(
    "sync",
    cls=Command,
    examples=(
        ("l8s sync --dry-run", "show what would change"),
        ("l8s sync", "after ~/.l8s was lost, or a container was removed from another machine"),
    ),
)
@click.option("--dry-run", is_flag=True, help="Show what would change, and write nothing.")
@invocation
def sync(run: Invocation, dry_run: bool) -> None:
    """Rebuild this machine's ssh entries from what the server says.

    The labels of the containers on the server are the truth. Missing and wrong entries are written, host keys of
    containers are read again over the verified connection, and entries of this profile whose container is gone are
    removed. Entries of other profiles, other servers and your own are never touched.
    """
    with run.connected() as client:
        result = client.sync(dry_run=dry_run, on_step=run.steps() if run.verbose else None)
    run.out.data("sync", asdict(result), lambda: described(result))
    for left in result.skipped:
        hint = f" Run: {left.hint}" if left.hint else ""
        run.out.warn(f"{left.alias} is left as it is: {left.reason}.{hint}")


def described(result: SyncResult) -> str:
    """What was, or would be, changed; one line each."""
    lines = [f"{SIGNS[entry.action]} ssh entry {entry.alias}" for entry in result.entries]
    for pin in result.pins:
        before = f", which was {', '.join(pin.before)}" if pin.before else ""
        lines.append(f"{'~' if pin.before else '+'} host key of {pin.alias}: {pin.after}{before}")
    lines += [f"{'would write' if result.dry_run else 'wrote'} {change}" for change in result.files]
    if not lines:
        lines = ["Everything fits already; there is nothing to do."]
    return "\n".join(lines) + "\n"
