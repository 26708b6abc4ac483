"""What was copied into or out of a container."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

CopyProgress = Callable[[int, int], None]
"""Is told how many files and bytes have been copied so far, a few times a second at least while there are any."""


@frozen(kw_only=True)
class Copied:
    """What was copied: ``files`` counts links too, ``bytes`` leaves out holes. ``warnings`` are complete sentences."""

    files: int
    bytes: int
    warnings: tuple[str, ...] = ()
