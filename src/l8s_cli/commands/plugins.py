"""``l8s plugins``: what is loaded, what is not, and why. Not here: loading (`l8s_core.plugins`)."""

from __future__ import annotations

import attrs
import click

from l8s_cli import hookspecs, tables
from l8s_cli.hookspecs import CommandProvider
from l8s_cli.invocation import Invocation, invocation
from l8s_cli.parsing import Command


@click.command(
    "plugins",
    cls=Command,
    examples=(
        ("l8s plugins", "what is installed and what it provides"),
        ("L8S_BLOCK_PLUGINS=acme l8s list", "run once without the plugin acme"),
        ("l8s list --no-plugins", "run once with the built-in plugins only"),
    ),
)
@invocation
def plugins(run: Invocation) -> None:
    """List the plugins and what they provide.

    One that is broken is listed with the reason, and the others work.
    """
    from l8s_cli.main import ALIASES, BUILT_IN

    host = run.session.plugins
    host.add_hookspecs(hookspecs)
    listing = host.listing()
    table = tables.Table(
        columns=("NAME", "STATE", "VERSION", "FROM", "PROVIDES"),
        rows=[
            (
                plugin.name,
                plugin.state,
                plugin.version or "-",
                plugin.distribution or "-",
                ", ".join(plugin.provides) or "-",
            )
            for plugin in listing
        ],
    )
    run.out.data("plugins", [attrs.asdict(plugin) for plugin in listing], table)
    for plugin in listing:
        if plugin.reason:
            run.out.note(f"{plugin.name}: {plugin.reason}")
    for name, item in host.collect(hookspecs, "l8s_cli_commands"):
        if isinstance(item, CommandProvider) and (item.name in BUILT_IN or item.name in ALIASES):
            run.out.warn(f"The command {item.name!r} of plugin {name!r} is not used: l8s has one of that name.")
