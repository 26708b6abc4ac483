"""What the shell offers when Tab is pressed: names of containers and of profiles, from the files of this machine alone.

The containers are those that ``~/.l8s/ssh_config`` has an entry for. No connection is ever made, nothing is printed
but what is offered, and whatever goes wrong offers nothing: an error has no place in the line that somebody types. Not
here: commands and options (click), and the shell's side (click's scripts).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from l8s_cli.invocation import Invocation

if TYPE_CHECKING:
    from l8s_core.config import Config

VARIABLE = "_L8S_COMPLETE"
"""What click's scripts ask through: ``bash_source`` prints the script, ``bash_complete`` is one Tab."""

SSH_CONFIG_LIMIT = 1024 * 1024
"""Bytes; some thousands of containers, and more would take longer than somebody waits for a Tab."""


def asked() -> bool:
    """Whether this process is to answer one Tab."""
    return os.environ.get(VARIABLE, "").endswith("_complete")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Send stderr nowhere, whoever writes to it, and end without a word whatever is raised."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
    try:
        yield
    except Exception:  # noqa: BLE001  there is nobody to tell
        sys.exit(1)


def containers(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The containers of the profile in use that have an ssh entry here, but for those that were typed already."""
    run = ctx.ensure_object(Invocation)
    typed = {word for value in ctx.params.values() for word in (value if isinstance(value, tuple) else (value,))}
    prefix, longer = _prefixes(run)
    found = (
        alias.removeprefix(prefix) for alias in _aliases() if alias.startswith(prefix) and not alias.startswith(longer)
    )
    return [name for name in found if name.startswith(incomplete) and name not in typed and _is_name(name)]


def profiles(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The profiles of the configuration and of plugins."""
    return [name for name in _config(ctx.ensure_object(Invocation)).names() if name.startswith(incomplete)]


def _config(run: Invocation) -> Config:
    # what a plugin prints while it is imported would be taken for something to offer
    with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):  # noqa: PTH123
        return run.session.config


def _prefixes(run: Invocation) -> tuple[str, tuple[str, ...]]:
    """What the aliases of the profile in use begin with, and those longer beginnings that are other profiles'."""
    from l8s_core.errors import L8sError

    config = _config(run)
    own = f"{config.profile(run.session.choose(run.profile).name).container_prefix}-"
    others = []
    for name in config.names():
        with contextlib.suppress(L8sError):
            others.append(f"{config.profile(name).container_prefix}-")
    return own, tuple(other for other in others if other != own and other.startswith(own))


def _aliases() -> list[str]:
    """The aliases in ``~/.l8s/ssh_config``, by the format that ssh itself reads (ssh_config(5), Host).

    The writer's plugin would read and check whole entries, which takes longer than this whole module may.
    """
    from l8s_core import files

    data = files.read_limited(files.state_dir() / "ssh_config", SSH_CONFIG_LIMIT) or b""
    return [line[5:].strip() for line in data.decode("utf-8", "replace").split("\n") if line.startswith("Host ")]


def _is_name(name: str) -> bool:
    from l8s_core import names
    from l8s_core.errors import InvalidValue

    try:
        return names.container_name(name) == name
    except InvalidValue:
        return False
