"""The entry point: loads the command, and looks after Ctrl-C first.

Loading takes a moment, and to be interrupted in it is to be as quiet as later. Not here: the command (`l8s_cli.main`).
"""

from __future__ import annotations

import os
import signal


def _leave(*_: object) -> None:
    # at once, with nothing to take back: wherever an exception came up now, somebody's import would be half done
    os.write(2, b"\nError: Interrupted.\n")
    os._exit(130)


def run() -> None:
    """Run ``l8s`` with this process's arguments, and exit."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # else whoever started this has it ignored
        signal.signal(signal.SIGINT, _leave)
    from l8s_cli.main import cli

    signal.signal(signal.SIGINT, before)
    try:
        cli()
    finally:
        # All is done and said. What is left is Python's own end, and that would die of the signal.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
