"""The command's root: which subcommands there are, and the one place where a failure becomes text and an exit code.

A subcommand's module is imported when it is used, and nothing of the library here, so that ``l8s --help`` and
completion stay quick. A subcommand returns its exit code, or None for 0. Not here: the subcommands
(`l8s_cli.commands`) and the options they share (`l8s_cli.parsing`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from l8s_cli import completion
from l8s_cli.invocation import Invocation
from l8s_cli.output import silence, unwritten
from l8s_cli.parsing import Group, add_global_options
from l8s_cli.problems import OutputClosed, OutputLost

if TYPE_CHECKING:
    from logging import Logger

    from click.shell_completion import CompletionItem

    from l8s_cli.hookspecs import CommandProvider
    from l8s_core.errors import PluginError


class BuiltIn(NamedTuple):
    """A subcommand that need not be imported to be listed: its module and name there, and its help in one line."""

    module: str
    attribute: str
    summary: str


SECTIONS: dict[str, dict[str, BuiltIn]] = {
    "Set up": {
        "init": BuiltIn("init", "init", "Connect to a server and write the configuration."),
        "server": BuiltIn("server", "server", "Set up a machine as a server for l8s."),
        "profile": BuiltIn("profile", "profile", "Show, add and choose profiles; works offline."),
        "trust": BuiltIn("trust", "trust", "Trust a server's new host key, after seeing both."),
        "test-connection": BuiltIn("connection", "test_connection", "Try each step of connecting to the server."),
        "build": BuiltIn("build", "build", "Build the image of the containers on the server."),
    },
    "Containers": {
        "create": BuiltIn("container", "create", "Create a development container on the server."),
        "list": BuiltIn("container", "list_", "List your containers."),
        "info": BuiltIn("container", "info", "Show one container and how to reach it."),
        "start": BuiltIn("container", "start", "Start stopped containers."),
        "stop": BuiltIn("container", "stop", "Stop running containers."),
        "restart": BuiltIn("container", "restart", "Stop and start containers."),
        "rm": BuiltIn("container", "rm", "Remove a container, its volumes and its ssh entry."),
    },
    "Work inside": {
        "ssh": BuiltIn("inside", "ssh", "Log in to a container, or run a command there through ssh."),
        "exec": BuiltIn("inside", "exec_", "Run a command in a container and return its exit code."),
        "cp": BuiltIn("copy", "cp", "Copy files and trees into and out of a container."),
        "remote": BuiltIn("remote", "remote", "Push to and fetch from a container with git."),
    },
    "More": {
        "doctor": BuiltIn("doctor", "doctor", "Check this machine, the link, the server and the containers."),
        "sync": BuiltIn("sync", "sync", "Rebuild this machine's ssh entries from what the server says."),
        "disconnect": BuiltIn("disconnect", "disconnect", "End the connection that is kept open for the next command."),
        "plugins": BuiltIn("plugins", "plugins", "List the plugins and what they provide."),
    },
}
BUILT_IN = {name: command for section in SECTIONS.values() for name, command in section.items()}
ALIASES = {"ls": "list", "remove": "rm"}


class Root(Group):
    """``l8s`` itself."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run, turn whatever is raised into text on stderr, and exit with its code."""
        extra["standalone_mode"] = False
        extra.setdefault("prog_name", "l8s")
        invocation = extra.setdefault("obj", Invocation())
        if completion.asked():
            with completion.quiet():
                return super().main(*args, **extra)
        code: object = 0
        try:
            code = super().main(*args, **extra)
        except OutputClosed as closed:
            code = _give_up(closed, invocation)
        except Exception as error:  # noqa: BLE001  the last place where an error can still be explained
            if isinstance(error, OSError) and _is_of_echo(error):
                code = _give_up(unwritten(error), invocation)
            else:
                code = _explain(error, invocation)
        sys.exit(code if isinstance(code, int) else 0)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, after looking for what must be known before the subcommand's own options are parsed.

        Plugins bring subcommands, so whether there are any decides what can be parsed at all; and an error in parsing
        is to be printed in the format that was asked for.
        """
        invocation = ctx.ensure_object(Invocation)
        ours = args[: args.index("--")] if "--" in args else args
        if "--no-plugins" in ours:
            invocation.third_party = False
        if _wants_json(ours):
            invocation.output = "json"
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand."""
        _show_log(ctx.ensure_object(Invocation))
        return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the built-in commands and of the plugins'."""
        return [*BUILT_IN, *(provider.name for _, provider in _plugin_commands(ctx))]

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """The commands, without importing them, and the options."""
        from click.shell_completion import CompletionItem

        from l8s_core import names

        commands = [(name, item.summary) for name, item in BUILT_IN.items()]
        commands += [(item.name, names.printable(item.summary)) for _, item in _plugin_commands(ctx)]
        return [
            *(CompletionItem(name, help=summary) for name, summary in commands if name.startswith(incomplete)),
            *click.Command.shell_complete(self, ctx, incomplete),
        ]

    def suggestions(self, ctx: click.Context) -> Iterable[str]:
        """As `list_commands`, with the aliases."""
        return [*self.list_commands(ctx), *ALIASES]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; plugins are asked only for what is not built in.

        Raises:
            PluginError: two plugins have a command of that name, or making it failed.
        """
        found = BUILT_IN.get(ALIASES.get(cmd_name, cmd_name))
        if found is not None:
            command: click.Command = getattr(import_module(f"l8s_cli.commands.{found.module}"), found.attribute)
            return add_global_options(command)
        offers = [(plugin, item) for plugin, item in _plugin_commands(ctx) if item.name == cmd_name]
        if not offers:
            return None
        if len(offers) > 1:
            plugins = [plugin for plugin, _ in offers]
            raise _plugin_error(
                f"More than one plugin has a command named {cmd_name!r}: {', '.join(plugins)}.",
                f"Block all but one of them, for example: L8S_BLOCK_PLUGINS={','.join(plugins[1:])}",
            )
        return add_global_options(_made(*offers[0]))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by section, without importing them."""
        also = {name: alias for alias, name in ALIASES.items()}
        sections = {
            title: [
                (f"{name}, {also[name]}" if name in also else name, item.summary) for name, item in commands.items()
            ]
            for title, commands in SECTIONS.items()
        }
        for plugin, item in _plugin_commands(ctx):
            from l8s_core import names

            sections["More"].append((item.name, f"{names.printable(item.summary)} (plugin {plugin})"))
        width = max(len(name) for rows in sections.values() for name, _ in rows)
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), summary) for name, summary in rows])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples and where to read on."""
        super().format_epilog(ctx, formatter)
        formatter.write("\nHelp for one command: l8s COMMAND --help\n")


def _plugin_commands(ctx: click.Context) -> Sequence[tuple[str, CommandProvider]]:
    """What the plugins bring, but for names that are built in, each with its plugin's name."""
    invocation = ctx.ensure_object(Invocation)
    if not invocation.may_have_commands_of_plugins():
        return []
    from l8s_cli import hookspecs

    return [
        (plugin, item)
        for plugin, item in invocation.session.plugins.collect(hookspecs, "l8s_cli_commands")
        if isinstance(item, hookspecs.CommandProvider) and item.name not in BUILT_IN and item.name not in ALIASES
    ]


def _made(plugin: str, provider: CommandProvider) -> click.Command:
    try:
        command = provider.factory()
    except Exception as error:
        raise _plugin_error(
            f"The command {provider.name!r} of plugin {plugin!r} could not be made: {type(error).__name__}: {error}",
            f"Mend the plugin, or block it: L8S_BLOCK_PLUGINS={plugin}",
        ) from error
    if not isinstance(command, click.Command):
        raise _plugin_error(
            f"The command {provider.name!r} of plugin {plugin!r} is no click command but {type(command).__name__}.",
            f"Mend the plugin, or block it: L8S_BLOCK_PLUGINS={plugin}",
        )
    return command


def _plugin_error(message: str, hint: str) -> PluginError:
    from l8s_core.errors import PluginError

    return PluginError(message, hints=(hint,))


def _wants_json(args: Sequence[str]) -> bool:
    wanted = False
    for index, word in enumerate(args):
        following = args[index + 1] if index + 1 < len(args) else ""
        if word in ("-o", "--output"):
            wanted = following == "json"
        elif word.startswith(("-o", "--output=")) and word.endswith(("json", "table")):
            wanted = word in ("-ojson", "--output=json")
    return wanted


def _explain(error: Exception, invocation: Invocation) -> int:
    """Print what went wrong; its exit code."""
    from l8s_cli.report import report
    from l8s_core.errors import L8sError

    known = report(error, profile=invocation.profile_in_use)
    expected = isinstance(error, L8sError | click.ClickException | click.Abort)
    if invocation.verbose and not expected:
        import traceback

        with suppress(OutputClosed):
            invocation.out.log("".join(traceback.format_exception(error)))
    with suppress(OutputClosed):  # the exit code is left to tell it
        invocation.out.error(known)
    return known.exit_code


def _is_of_echo(error: OSError) -> bool:
    """Whether it is `click.echo` that raised it: click writes the help and the version, and plugins may use it."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return last is not None and last.tb_frame.f_code is click.echo.__code__


def _give_up(closed: OutputClosed, invocation: Invocation) -> int:
    """Say that the output is lost, where there is anyone left to be told."""
    silence(sys.stdout)
    if isinstance(closed, OutputLost):
        from l8s_cli.report import output_lost

        with suppress(OutputClosed):  # stderr may be on the same disk
            invocation.out.error(output_lost(closed.reason, profile=invocation.profile_in_use))
    silence(sys.stderr)
    return 1


def _show_log(invocation: Invocation) -> None:
    from l8s_core.log import when_used

    def prepare(logger: Logger) -> None:
        from l8s_cli.log import show

        show(logger, invocation)

    when_used(prepare)


cli = Root(
    "l8s",
    help=(
        "Development containers on a remote server, reached only through SSH.\n\n"
        "l8s makes isolated containers with Podman on your server and gives each an ssh name: "
        "l8s create myapp, then ssh dev-myapp. Nothing runs on this machine: l8s ONLY supports remote container "
        "management for security isolation."
    ),
    examples=(
        ("l8s init", "connect to your server, once"),
        ("l8s build", "build the image of the containers, once"),
        ("l8s create myapp https://git.example.com/app.git", "a container with a clone of your repository"),
        ("ssh dev-myapp", "work in it"),
    ),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
add_global_options(cli)
