"""Names of a package that live in its modules, and modules, each imported when it is first used (PEP 562).

Defining a class of attrs costs half a millisecond, and the library has dozens of them; a command uses few.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def names_of(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of ``package``.

    ``homes`` has the names, with spaces between, by the module that defines them.
    """
    home_of = {name: module for module, found in homes.items() for name in found.split()}

    def look_up(name: str) -> object:
        module = home_of.get(name)
        if module is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(import_module(module), name)
        setattr(sys.modules[package], name, value)  # from now on it is found without us
        return value

    def listing() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home_of})

    return look_up, listing


class Later:
    """The module of that name, imported when something of it is first used. For the type checker, import it too."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __getattr__(self, name: str) -> object:
        """What the module has of that name."""
        return getattr(import_module(self.__name__), name)
