"""``l8s cp``: files and trees into and out of a container.

Not here: what goes where (`l8s_core.copying`).
"""

from __future__ import annotations

import re
from pathlib import Path

import click
from attrs import frozen

from l8s_cli.invocation import Invocation, invocation
from l8s_cli.output import Output
from l8s_cli.parsing import Command
from l8s_cli.problems import UsageProblem
from l8s_cli.progress import TransferDisplay
from l8s_core import names
from l8s_core.model import Copied

_IN_CONTAINER = re.compile(r"([^/:]+):(.*)", re.DOTALL)
"""As scp has it: a colon before the first slash. A local name with a colon in it is written ./NAME."""


@frozen
class _Place:
    """An argument: a path, and the container that it is in ("" for this machine)."""

    container: str
    path: str

    @classmethod
    def of(cls, text: str) -> _Place:
        found = _IN_CONTAINER.fullmatch(text)
        return cls("", text) if found is None else cls(names.container_name(found[1]), found[2])


@click.command(
    "cp",
    cls=Command,
    examples=(
        ("l8s cp notes.txt myapp:", "a file into the project's directory"),
        ("l8s cp src myapp:/tmp/src", "a tree, under that name"),
        ("l8s cp config/. myapp:config", "what is in a directory"),
        ("l8s cp myapp:build/report.html .", "a file from the project's directory"),
        ("l8s cp myapp:~/.cache ./cache", "a tree from the home directory of the container's user"),
    ),
)
@click.argument("sources", metavar="SRC...", nargs=-1, required=True)
@click.argument("destination", metavar="DST")
@click.option("--user", metavar="USER", help="Read and write in the container as this user instead of its own.")
@invocation
def cp(run: Invocation, sources: tuple[str, ...], destination: str, user: str | None) -> None:
    """Copy files and trees into and out of a container.

    It is done as cp -a does it. One side is in a container and is written NAME:PATH. PATH starts from the
    project's directory, unless it is absolute or begins with ~/. An existing directory gets what is copied under its
    own name; anything else is the name that it gets. SRC/. means what is in SRC. Modes, times, links and holes are
    kept; what is in the container belongs to the container's user. Nothing has its name before it is whole.

    What comes out of a container is not trusted: it is written below DST and nowhere else.
    """
    target, places = _Place.of(destination), [_Place.of(source) for source in sources]
    containers = {place.container for place in places}
    if bool(target.container) == any(containers) or len(containers) > 1:
        raise UsageProblem(
            "One side of a copy is in one container, and the other on this machine.",
            hints=("Into a container: l8s cp SRC... NAME:DST", "Out of one: l8s cp NAME:SRC... DST"),
            ctx=click.get_current_context(),
        )
    if not target.container and len(places) > 1 and not Path(destination).is_dir():
        raise UsageProblem(
            f"{names.shown(destination)} must be a directory, for more than one file to go into it.",
            ctx=click.get_current_context(),
        )
    results: list[Copied] = []
    with run.connected() as client, TransferDisplay(silent=run.out.for_programs) as display:
        if target.container:
            paths = [place.path for place in places]
            results.append(
                client.copy_in(target.container, paths, target.path, user=user, on_progress=display.progress)
            )
        else:
            for place in places:
                results.append(
                    client.copy_out(place.container, place.path, destination, user=user, on_progress=display.progress)
                )
                display.more(results[-1])
    _tell(run.out, results)


def _tell(out: Output, results: list[Copied]) -> None:
    warnings = [warning for result in results for warning in result.warnings]
    data = {
        "files": sum(result.files for result in results),
        "bytes": sum(result.bytes for result in results),
        "warnings": warnings,
    }
    if out.for_programs:
        out.data("copied", data, "")
    for warning in () if out.for_programs else warnings:
        out.warn(warning)
