"""What every command line of l8s shares: global options that go anywhere, help with examples, suggestions.

Not here: which subcommands there are (`l8s_cli.main`).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from l8s_cli.invocation import Invocation
from l8s_cli.output import write
from l8s_cli.report import UsageProblem
from l8s_core import names
from l8s_core.errors import InvalidValue

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # generic since click 8.2 only

Function = TypeVar("Function", bound=Callable[..., Any])


class Checked(_ParamType):
    """A word that ``check`` judges while the command line is parsed: before any file is read, before any network.

    What ``check`` returns is the value. Its refusal gets the name of the option or argument in front.
    """

    name = "text"

    def __init__(self, check: Callable[[str], object]) -> None:
        self._check = check

    def convert(self, value: Any, param: click.Parameter | None, _ctx: click.Context | None) -> Any:
        """The value.

        Raises:
            InvalidValue: ``check`` refuses it.
        """
        try:
            return self._check(value)
        except InvalidValue as error:
            raise InvalidValue(f"{_place(param)}{error.message}", hints=error.hints) from error


def number(check: Callable[[object], int]) -> Checked:
    """A whole number in plain digits that ``check`` judges."""
    return Checked(lambda text: check(names.written_number(text)))


def _place(param: click.Parameter | None) -> str:
    """``--user: `` or ``NAME: ``, as the help shows it."""
    if param is None:
        return ""
    if isinstance(param, click.Argument):
        return f"{param.human_readable_name.strip(' -.[]')}: "
    return f"{max(param.opts, key=len)}: "


class GlobalOption(click.Option):
    """An option that every command has; help lists these apart."""


def _set_profile(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None and not ctx.resilient_parsing:
        ctx.ensure_object(Invocation).profile = value


def _set_output(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None and not ctx.resilient_parsing:
        ctx.ensure_object(Invocation).output = "json" if value == "json" else "table"


def _set_verbose(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        ctx.ensure_object(Invocation).verbose = True


def _set_no_plugins(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        ctx.ensure_object(Invocation).third_party = False


def _show_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        ctx.ensure_object(Invocation).out.data("version", version("l8s"), f"l8s {version('l8s')}\n")
        ctx.exit()


def _global_options() -> list[GlobalOption]:
    return [
        GlobalOption(
            ["--profile"],
            type=Checked(names.profile_name),
            metavar="NAME",
            expose_value=False,
            is_eager=True,
            callback=_set_profile,
            help="Use this profile instead of the active one.",
        ),
        GlobalOption(
            ["-o", "--output"],
            type=click.Choice(["table", "json"]),
            expose_value=False,
            is_eager=True,
            callback=_set_output,
            help="Print for people (table) or for programs (json).",
        ),
        GlobalOption(
            ["-v", "--verbose"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_set_verbose,
            help="Show the steps of connecting, and where an unexpected error happened.",
        ),
        GlobalOption(
            ["--no-plugins"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_set_no_plugins,
            help="Load the built-in plugins only.",
        ),
        GlobalOption(
            ["--version"],
            is_flag=True,
            expose_value=False,
            callback=_show_version,
            help="Show the version and exit.",
        ),
    ]


def add_global_options(command: click.Command) -> click.Command:
    """Give ``command`` and its subcommands the global options, except those whose names it uses itself."""
    taken = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    for option in _global_options():
        if taken.isdisjoint(option.opts):
            command.params.append(option)
    if isinstance(command, click.Group):
        for subcommand in command.commands.values():
            add_global_options(subcommand)
    return command


class Command(click.Command):
    """A subcommand whose help ends with ``examples``: pairs of a command line and what it does."""

    def __init__(self, *args: Any, examples: Sequence[tuple[str, str]] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options, then the global ones."""
        write_options(self, ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, then the epilog if there is one."""
        write_examples(self.examples, formatter)
        super().format_epilog(ctx, formatter)


class CommandWithArguments(Command):
    """A subcommand that ends with another program's command line, which comes after ``--``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; an unknown option is most likely meant for the other program."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if "--" in args:
                raise
            raise UsageProblem(
                error.format_message(),
                hints=(f"Put the command after --: {ctx.command_path} NAME -- CMD...",),
                ctx=ctx,
            ) from error


@click.pass_context
def _help_when_alone(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is None:
        write(ctx.get_help() + "\n")


class Group(click.Group):
    """A noun with verbs under it. Without one it prints its help."""

    command_class = Command

    def __init__(self, *args: Any, examples: Sequence[tuple[str, str]] = (), **kwargs: Any) -> None:
        kwargs.update(invoke_without_command=True, callback=_help_when_alone)
        kwargs.setdefault("subcommand_metavar", "COMMAND [ARGS]...")
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def suggestions(self, ctx: click.Context) -> Iterable[str]:
        """Every name that can be typed."""
        return self.list_commands(ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with a suggestion for a name that is nearly right."""
        name = args[0]
        if ctx.resilient_parsing or name.startswith("-") or self.get_command(ctx, name) is not None:
            return super().resolve_command(ctx, args)
        close = difflib.get_close_matches(name, sorted(set(self.suggestions(ctx))), n=3, cutoff=0.5)
        raise UsageProblem(
            f"There is no command {names.shown(name)}.",
            hints=[f"Did you mean: {ctx.command_path} {guess}" for guess in close],
            ctx=ctx,
        )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the subcommands, then the options."""
        self.format_commands(ctx, formatter)
        write_options(self, ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, then the epilog if there is one."""
        write_examples(self.examples, formatter)
        super().format_epilog(ctx, formatter)


def write_options(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """Two sections: the command's own options, and the global ones with ``--help``."""
    own: list[tuple[str, str]] = []
    everywhere: list[tuple[str, str]] = []
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record is None or isinstance(param, click.Argument):
            continue
        shared = isinstance(param, GlobalOption) or "--help" in param.opts
        (everywhere if shared else own).append(record)
    for title, records in (("Options", own), ("Global options", everywhere)):
        if records:
            with formatter.section(title):
                formatter.write_dl(records)


def write_examples(examples: Sequence[tuple[str, str]], formatter: click.HelpFormatter) -> None:
    """Each example as it is typed, never wrapped, with what it does above it."""
    if not examples:
        return
    formatter.write_paragraph()
    formatter.write("Examples:\n")
    for line, meaning in examples:
        formatter.write(f"  # {meaning}\n  $ {line}\n")


_SERVER: dict[str, tuple[Checked, str, str]] = {
    "--host": (Checked(names.host), "HOST", "The server's name or address."),
    "--user": (Checked(names.remote_user), "USER", "Who to log in as [root]."),
    "--port": (number(names.port), "PORT", "The SSH port [your ssh config's, else 22]."),
    "--socket": (Checked(names.socket_path), "PATH", "Podman's socket on the server [/run/podman/podman.sock]."),
    "--key": (
        Checked(names.local_path),
        "FILE",
        "Which of the agent's keys to use, by its file [~/.ssh/id_ed25519].",
    ),
    "--image": (Checked(names.image), "IMAGE", "What containers are made from [l8s build's image]."),
}


def server_option(name: str, *, required: bool = False) -> Callable[[Function], Function]:
    """One of the options that describe a server: ``--user``."""
    kind, metavar, meaning = _SERVER[name]
    return click.option(name, type=kind, required=required, metavar=metavar, help=meaning)


def server_options(required: bool) -> Callable[[Function], Function]:
    """All of them, for ``init`` and ``profile add``; ``required`` is whether ``--host`` is."""

    def decorate(function: Function) -> Function:
        for name in reversed(_SERVER):
            function = server_option(name, required=required and name == "--host")(function)
        return function

    return decorate
