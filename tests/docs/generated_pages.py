"""The parts of docs/ that are made from the code: every command's help, and every hook with its example.

A page has its generated part between two markers; the words around it are written by hand. To bring the pages up to
date, run ``python tests/docs/generated_pages.py``. The tests compare them.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import click
from click.testing import CliRunner

from l8s_cli import hookspecs as cli_hookspecs
from l8s_cli.main import BUILT_IN, cli
from l8s_core import hookspecs

DOCS = Path(__file__).resolve().parents[2] / "docs"
BEGIN = "<!-- generated: run python tests/docs/generated_pages.py -->"
END = "<!-- end of what is generated -->"
WIDTH = 100
"""Columns of the help text, so that it does not depend on anyone's terminal."""


def hooks(module: ModuleType) -> Iterator[tuple[str, Callable[..., object]]]:
    """The hooks of a hookspec module, in the order in which they are written there."""
    for name, function in vars(module).items():
        if inspect.isfunction(function) and hasattr(function, "l8s_spec"):
            yield name, function


def hook_sections() -> str:
    """Every hook: its arguments, its words and its example."""
    sections = []
    for module in (hookspecs, cli_hookspecs):
        for name, function in hooks(module):
            words, _, example = (inspect.getdoc(function) or "").partition("Example::\n")
            arguments = ", ".join(inspect.signature(function).parameters)
            returned = str(inspect.signature(function).return_annotation)
            head = f"def {name}({arguments}) -> {returned}"
            sections.append(
                f"## {name}\n\nDeclared in `{module.__name__}`:\n\n    {head}\n\n{words.strip()}\n\n"
                f"```python\n{textwrap.dedent(example).strip()}\n```\n"
            )
    return "\n".join(sections)


def help_text(*words: str) -> str:
    """What ``l8s WORDS --help`` prints."""
    arguments = ["--no-plugins", *words, "--help"]
    result = CliRunner().invoke(cli, arguments, terminal_width=WIDTH, color=False)
    assert result.exit_code == 0, result.output
    return "\n".join(line.rstrip() for line in result.output.rstrip().splitlines())


def commands() -> Iterator[tuple[str, ...]]:
    """Every command line that has help: l8s itself, its commands, and the verbs under a noun."""
    yield ()
    context = click.Context(cli, info_name="l8s")
    for name in BUILT_IN:
        yield (name,)
        command = cli.get_command(context, name)
        if isinstance(command, click.Group):
            yield from ((name, verb) for verb in command.commands)


def command_sections() -> str:
    """Every command's help."""
    return "\n".join(f"## {' '.join(('l8s', *words))}\n\n```text\n{help_text(*words)}\n```\n" for words in commands())


PAGES: dict[str, Callable[[], str]] = {"hooks.md": hook_sections, "cli.md": command_sections}


def renewed(page: str) -> str:
    """The page with its generated part made anew."""
    before, begin, rest = (DOCS / page).read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin, f"{page} has no line {BEGIN}"
    assert end, f"{page} has no line {END}"
    return f"{before}{BEGIN}\n\n{PAGES[page]()}\n{END}{after}"


if __name__ == "__main__":
    for page in PAGES:
        (DOCS / page).write_text(renewed(page), "utf-8")
