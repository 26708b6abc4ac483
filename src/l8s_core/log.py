"""The logger ``l8s``. Importing logging takes a tenth of what a command may: it waits until there is something to log.

Not here: what becomes of the records; the command prints them, a program that uses the library decides itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logging import Logger

NAME = "l8s"

_waiting: list[Callable[[Logger], None]] = []


def logger() -> Logger:
    """The logger, prepared by whoever asked for that."""
    import logging

    found = logging.getLogger(NAME)
    while _waiting:
        _waiting.pop(0)(found)
    return found


def when_used(prepare: Callable[[Logger], None]) -> None:
    """Call ``prepare`` with the logger before it is first used: at once when logging is imported already."""
    _waiting.append(prepare)
    if "logging" in sys.modules:
        logger()
