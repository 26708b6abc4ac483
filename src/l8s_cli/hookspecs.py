"""The hook that only the command has: more subcommands."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from attrs import frozen

from l8s_core.hookspecs import hookspec


@frozen(kw_only=True)
class CommandProvider:
    """A subcommand by name. ``factory`` imports and returns the click command; it is called when it is needed."""

    name: str
    summary: str
    factory: Callable[[], click.Command]


@hookspec
def l8s_cli_commands() -> Iterable[CommandProvider]:
    """Yield subcommands of ``l8s``.

    Called once, when the command starts. A built-in command's name cannot be taken; two plugins with one name are
    an error that names both.

    Example::

        import l8s_core as l8s
        from l8s_cli.hookspecs import CommandProvider

        def make():
            import click

            @click.command()
            def hello():
                "Say hello."
                click.echo("hello")

            return hello

        @l8s.hookimpl
        def l8s_cli_commands():
            yield CommandProvider(name="hello", summary="Say hello.", factory=make)
    """
    raise NotImplementedError
