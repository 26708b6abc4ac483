"""Where the process of ``l8s`` starts: the garbage collector is told that this is a short life, then `main` runs.

Not here: anything of the command itself. A program that has `l8s_cli.main` run in itself keeps its own collector.
"""

from __future__ import annotations

import gc

FEW_COLLECTIONS = 50_000
"""New objects that can be in cycles before they are looked through, Python's default is 700. What is imported makes
about that many, and next to no garbage; a longer command is still collected."""


def run() -> None:
    """Run the command with this process's arguments, and exit."""
    gc.set_threshold(FEW_COLLECTIONS)
    from l8s_cli import main

    try:
        main.run()
    finally:
        gc.freeze()  # or the interpreter would look through all of it once more, to throw it away
