"""``l8s disconnect``: ending the connections that are kept open between commands.

Not here: the processes that keep them (`l8s_core.multiplex`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from l8s_cli.invocation import Invocation, invocation
from l8s_cli.parsing import Command

if TYPE_CHECKING:
    from l8s_core.multiplex.starting import Ended


@click.command(
    "disconnect",
    cls=Command,
    examples=(
        ("l8s disconnect", "the connection of the active profile"),
        ("l8s disconnect --all", "every one"),
    ),
)
@click.option("--all", "everything", is_flag=True, help="End every kept connection, of whatever profile.")
@invocation
def disconnect(run: Invocation, everything: bool) -> None:
    """End the connection that is kept open for the next command.

    Commands that are using it are seen to their end first. The next command connects anew. Connections of ssh itself
    (ssh dev-myapp) are not touched.
    """
    from l8s_core.multiplex.starting import end_all

    ended = end_all(None if everything else run.chosen_profile())
    rows = [
        {"server": item.server, "profiles": list(item.profiles), "pid": item.pid, "gone": item.gone} for item in ended
    ]
    run.out.data("disconnected", rows, "".join(f"{_sentence(item)}\n" for item in ended))
    if not ended:
        run.out.note("No connection is kept open.")


def _sentence(item: Ended) -> str:
    who = f"{item.server} ({', '.join(item.profiles)})" if item.profiles else item.server
    return f"Disconnected from {who}." if item.gone else f"The connection to {who} ends when those who use it are done."
