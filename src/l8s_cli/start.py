"""The entry point: loads the command, looks after Ctrl-C and the garbage collector first, and ends the process.

Loading takes a moment, and to be interrupted in it is to be as quiet as later. Not here: the command (`l8s_cli.main`).
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys

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
    except SystemExit as done:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done and said
        _end(done.code if isinstance(done.code, int) else 0)


def _end(code: int) -> None:
    """End this process, after all that the interpreter does first, but for taking itself apart.

    That takes a while, and a thread that wakes up meanwhile, as those of a closed connection do, can crash it (Python's
    C API, "Cautions regarding runtime finalization").
    """
    if "threading" in sys.modules:
        import threading

        for thread in threading.enumerate():
            if not thread.daemon and thread is not threading.main_thread():
                thread.join()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except OSError:
            code = code or 1
    os._exit(code)
