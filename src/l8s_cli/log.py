"""What the library logs, on stderr: warnings always, the rest with ``-v``. The text may come from a server.

Imported with the first record (`l8s_core.log`), and not before.
"""

from __future__ import annotations

import logging

from l8s_cli.invocation import Invocation


class LogToOutput(logging.Handler):
    """Prints records as an invocation prints."""

    def __init__(self, invocation: Invocation) -> None:
        super().__init__()
        self._invocation = invocation

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        if record.levelno >= logging.WARNING:
            self._invocation.out.warn(record.getMessage())
        elif self._invocation.verbose:
            self._invocation.out.note(f"{record.name}: {record.getMessage()}")


def show(logger: logging.Logger, invocation: Invocation) -> None:
    """Let ``invocation`` print what ``logger`` is given, in the place of an earlier one of this process."""
    for handler in [handler for handler in logger.handlers if isinstance(handler, LogToOutput)]:
        logger.removeHandler(handler)
    logger.addHandler(LogToOutput(invocation))
    logger.setLevel(logging.DEBUG)
