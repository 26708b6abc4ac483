"""Where what a command has to say goes: data on stdout, everything else on stderr.

With ``-o json`` stdout holds one JSON document, ``{"schema", "kind", "data"}``, and each line of stderr is one
too (a warning, or the error). Text for people is escaped on its way out; JSON holds the exact text, in ASCII with
JSON's own escapes. Not here: the wording of errors (`l8s_cli.report`) and of tables (`l8s_cli.tables`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, TextIO

import click

from l8s_cli.problems import OutputClosed, OutputLost

if TYPE_CHECKING:
    from l8s_cli.report import Report
    from l8s_cli.tables import Table
    from l8s_core.model import StreamName

SCHEMA = "l8s/1"
OutputFormat = Literal["table", "json"]


class Output(NamedTuple):
    """Writes for people (``table``) or for programs (``json``)."""

    format: OutputFormat = "table"
    verbose: bool = False

    @property
    def for_programs(self) -> bool:
        """Whether stdout holds JSON."""
        return self.format == "json"

    def data(self, kind: str, data: object, text: str | Table | Callable[[], str]) -> None:
        """The result of a command: ``data`` for programs, ``text`` (or what it returns) for people.

        Raises:
            OutputClosed: nobody reads stdout any more.
            OutputLost: stdout cannot be written.
        """
        if self.for_programs:
            import json

            envelope = {"schema": SCHEMA, "kind": kind, "data": data}
            write(json.dumps(envelope, indent=2, default=_plain) + "\n")
        elif isinstance(text, str) or callable(text):
            write(_escaped(text if isinstance(text, str) else text()))
        elif is_terminal():
            write(_on_terminal(text))
        else:
            from l8s_cli import tables

            write(tables.plain(text))

    def raw(self, stream: StreamName, data: bytes) -> None:
        """A command's own bytes, as they are.

        Raises:
            OutputClosed: nobody reads that stream any more.
            OutputLost: it cannot be written.
        """
        text = sys.stdout if stream == "stdout" else sys.stderr
        if text is None:  # closed before we started, as with >&-
            return
        try:
            text.buffer.write(data)
            text.buffer.flush()
        except OSError as error:
            raise unwritten(error) from error

    def note(self, text: str = "") -> None:
        """Something for people to know, on stderr; programs are not bothered with it."""
        if not self.for_programs:
            write(_escaped(text) + "\n", err=True)

    def warn(self, sentence: str) -> None:
        """Something that will hurt later, on stderr."""
        if self.for_programs:
            _one_line({"schema": SCHEMA, "kind": "warning", "message": sentence})
        else:
            write(f"Warning: {_escaped(sentence)}\n", err=True)

    def log(self, text: str) -> None:
        """Print a piece of a log as it comes, line breaks included, on stderr; for programs only with ``-v``."""
        if not self.for_programs or self.verbose:
            # A lone carriage return is how progress bars rewrite their line.
            write(_escaped(text.replace("\r\n", "\n").replace("\r", "\n")), err=True)

    def error(self, known: Report) -> None:
        """Why the command failed, on stderr."""
        from l8s_cli.report import for_people, for_programs

        if self.for_programs:
            _one_line({"schema": SCHEMA, "kind": "error", "error": for_programs(known)})
        else:
            write(for_people(known), err=True)


def is_terminal(*, err: bool = False) -> bool:
    """Whether stdout (or stderr) is a terminal; a closed one is none."""
    stream = sys.stderr if err else sys.stdout
    return stream is not None and stream.isatty()


def columns() -> int:
    """The terminal's width, found as `shutil.get_terminal_size` finds it; importing shutil imports every compressor."""
    try:
        wished = int(os.environ.get("COLUMNS", ""))
    except ValueError:
        wished = 0
    if wished > 0:
        return wished
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or 80  # type: ignore[union-attr]
    except (AttributeError, ValueError, OSError):  # stdout is closed, or no terminal
        return 80


def encodes(text: str, *, err: bool = False) -> bool:
    """Whether stdout (or stderr) can show ``text``."""
    encoding = getattr(sys.stderr if err else sys.stdout, "encoding", None) or "ascii"
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def write(text: str, *, err: bool = False) -> None:
    """Print ``text``, which is escaped already, to stdout or stderr; what the encoding cannot show is escaped here.

    Raises:
        OutputClosed: nobody reads there any more.
        OutputLost: it cannot be written.
    """
    encoding = getattr(sys.stderr if err else sys.stdout, "encoding", None) or "utf-8"
    try:
        click.echo(text.encode(encoding, "backslashreplace").decode(encoding), nl=False, err=err)
    except OSError as error:
        raise unwritten(error) from error


def unwritten(error: OSError) -> OutputClosed:
    """What to raise for an error in writing our output."""
    return OutputClosed() if isinstance(error, BrokenPipeError) else OutputLost(error.strerror or str(error))


def silence(*streams: TextIO | None) -> None:
    """Send what is left in the streams' buffers nowhere, so that the last flush does not complain.

    As https://docs.python.org/3/library/signal.html#note-on-sigpipe has it.
    """
    import contextlib

    for stream in streams:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # type: ignore[union-attr]


def _escaped(text: str) -> str:
    from l8s_core import names

    return names.printable_lines(text)


def _one_line(document: Mapping[str, object]) -> None:
    import json

    write(json.dumps(document, default=_plain) + "\n", err=True)


def _plain(value: object) -> object:
    """``json.dumps`` asks for what it does not know."""
    from datetime import datetime

    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence | set | frozenset):
        return list(value)
    return str(value)


def _on_terminal(table: Table) -> str:
    """With a bold header, and too wide cells folded; that is left to rich, whose import takes a third of a list."""
    from l8s_cli import tables

    text = tables.plain(table)
    if text.isascii() and max(map(len, text.splitlines())) <= columns():
        header, _, rows = text.partition("\n")
        plain = os.environ.get("TERM", "dumb") in ("dumb", "unknown")
        return text if plain else f"{click.style(header, bold=True)}\n{rows}"

    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    shown = RichTable(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in table.columns:
        shown.add_column(column, overflow="fold")
    for row in table.rows:
        shown.add_row(*(Text(cell) for cell in row))
    with console.capture() as captured:
        console.print(shown)
    return captured.get()
