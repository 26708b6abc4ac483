"""What a value keeps of a mapping that it is given: a copy, so that whoever gave it cannot change the value."""

from __future__ import annotations

from collections.abc import Mapping


def texts(value: Mapping[str, str]) -> Mapping[str, str]:
    """A copy of a mapping of text to text."""
    return dict(value)


def ports(value: Mapping[int, int]) -> Mapping[int, int]:
    """A copy of a mapping of ports to ports."""
    return dict(value)
