"""The entry point: loads the command, and looks after Ctrl-C and the garbage collector first.

Loading takes a moment, and to be interrupted in it is to be as quiet as later. Not here: the command (`l8s_cli.main`).
"""

from __future__ import annotations

import gc
import os
import signal

FEW_COLLECTIONS = 50_000
"""So many new objects that could be in cycles are made before they are looked through; Python's default is 700. Imports
make about that many, and next to no garbage. What a longer command leaves behind is still collected."""


def _leave(*_: object) -> None:
    # at once, with nothing to take back: wherever an exception came up now, somebody's import would be half done
    os.write(2, b"\nError: Interrupted.\n")
    os._exit(130)


def run() -> None:
    """Run ``l8s`` with this process's arguments, and exit."""
    gc.set_threshold(FEW_COLLECTIONS)
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
        gc.freeze()  # else the interpreter looks through everything once more before it ends
