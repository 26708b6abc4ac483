"""From an exception to what is said about it, to people and to programs. Pure.

Not here: printing it (`l8s_cli.main`), and the errors themselves (`l8s_core.errors`).
"""

from __future__ import annotations

import click
from attrs import frozen

from l8s_cli.problems import UsageProblem
from l8s_core import names
from l8s_core.errors import REMOTE_ONLY_NOTE, L8sError

ERRORS_PAGE = "docs/errors.md"
SENTENCE = 400
"""Characters."""


@frozen(kw_only=True)
class Report:
    """What is known about a failure; the text in it is exact and not yet escaped."""

    type: str
    exit_code: int
    message: str
    hints: tuple[str, ...] = ()
    hints_title: str = "Next:"
    profile: str | None = None
    step: str | None = None
    docs: str = ERRORS_PAGE
    remote_only: bool = False


def report(error: BaseException, *, profile: str | None = None) -> Report:
    """What there is to say about ``error``; ``profile`` is the one in use, for errors that do not name theirs."""
    if isinstance(error, L8sError):
        return Report(
            type=error.kind,
            exit_code=error.exit_code,
            message=error.message,
            hints=error.hints,
            hints_title=error.hints_title,
            profile=error.profile or profile,
            step=error.step,
            docs=f"{ERRORS_PAGE}#{_documented(error).lower()}",
            remote_only=error.remote_only,
        )
    if isinstance(error, click.ClickException):
        return Report(
            type="UsageError",
            exit_code=error.exit_code if isinstance(error, click.UsageError) else 2,
            message=_sentence(error.format_message()),
            hints=_usage_hints(error),
            docs=f"{ERRORS_PAGE}#usageerror",
        )
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return Report(
            type="Interrupted",
            exit_code=130,
            message="Interrupted.",
            profile=profile,
            docs=f"{ERRORS_PAGE}#interrupted",
        )
    return Report(
        type="UnexpectedError",
        exit_code=1,
        message=f"Unexpected {type(error).__name__}: {error}".strip(),
        hints=("Run the same command again with -v to see where it happened, and report it",),
        profile=profile,
        docs=f"{ERRORS_PAGE}#unexpectederror",
    )


def output_lost(reason: str, *, profile: str | None = None) -> Report:
    """What there is to say of output that could not be written, the system's ``reason`` being that."""
    return Report(
        type="OutputLost",
        exit_code=1,
        message=f"The output could not be written: {reason}. What the command did stands.",
        hints=(
            "Make room where the output goes, or send it elsewhere",
            "See what is there now, before a command that changes something is run again: l8s list",
        ),
        profile=profile,
        docs=f"{ERRORS_PAGE}#outputlost",
    )


def for_people(known: Report) -> str:
    """The error as text for a terminal, escaped, with a line break at its end."""
    paragraphs = [f"Error: {names.printable_lines(known.message)}"]
    if known.hints:
        lines = [known.hints_title]
        for number, hint in enumerate(known.hints, start=1):
            first, *more = names.printable_lines(hint).split("\n")
            lines.append(f"{number}. {first}")
            lines.extend(f"   {line}" for line in more)
        paragraphs.append("\n".join(lines))
    where = []
    if known.step is not None:
        where.append(f"At step: {names.printable(known.step)}")
    if known.profile is not None:
        where.append(f"Profile: {names.printable(known.profile)}")
    if where:
        paragraphs.append("\n".join(where))
    if known.remote_only and REMOTE_ONLY_NOTE not in known.message:
        paragraphs.append(f"Note: {REMOTE_ONLY_NOTE}")
    return "\n\n".join(paragraphs) + "\n"


def for_programs(known: Report) -> dict[str, object]:
    """The ``error`` member of the JSON envelope; the text in it is exact."""
    return {
        "type": known.type,
        "exit_code": known.exit_code,
        "message": known.message,
        "hints": list(known.hints),
        "profile": known.profile,
        "step": known.step,
        "docs": known.docs,
    }


def _sentence(text: str) -> str:
    """What click says, which may quote a word as it was typed: in one line, and not as long as that."""
    sentence = names.printable(text)
    return sentence if len(sentence) <= SENTENCE else sentence[:SENTENCE] + "..."


def _documented(error: L8sError) -> str:
    """The nearest class that the errors page has a section about; a plugin's own class has none."""
    for cls in type(error).__mro__:
        if cls.__module__ == L8sError.__module__:
            return cls.__name__
    return L8sError.__name__


def _usage_hints(error: click.ClickException) -> tuple[str, ...]:
    given = error.hints if isinstance(error, UsageProblem) else ()
    if not isinstance(error, click.UsageError) or error.ctx is None:
        return given
    return (*given, f"See how it is used: {error.ctx.command_path} --help")
