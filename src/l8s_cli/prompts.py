"""Asking the person at the terminal. Questions go to stderr, so that stdout holds data only.

Not here: what is asked (`l8s_cli.commands`).
"""

from __future__ import annotations

import sys

import click

from l8s_cli.output import write
from l8s_core import names


def interactive() -> bool:
    """Whether somebody is there to answer: stdin and stderr are terminals."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


def ask(question: str, *, default: str = "", shown_default: str | None = None) -> str:
    """The answer without surrounding spaces; ``default`` when it is empty.

    ``shown_default`` is what stands in the brackets, ``default`` itself unless given.

    Raises:
        click.Abort: the input ended.
    """
    offered = default if shown_default is None else shown_default
    brackets = f" [{names.printable(offered)}]" if offered else ""
    write(f"{question}{brackets}: ", err=True)
    line = sys.stdin.readline()
    if not line:
        write("\n", err=True)
        raise click.Abort
    return line.strip() or default


def confirm(question: str) -> bool:
    """Whether the answer is yes; it is no unless that is typed.

    Raises:
        click.Abort: the input ended.
    """
    while True:
        answer = ask(question, shown_default="y/N").lower()
        if answer in ("y", "yes"):
            return True
        if answer in ("", "n", "no"):
            return False
        write("Please answer y or n.\n", err=True)
