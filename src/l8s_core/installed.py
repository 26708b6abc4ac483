"""Which entry points of l8s the installed distributions have, found without reading all of their metadata.

`importlib.metadata` does this too, in a fifth of the time that a whole command should take: importing it is most of
that, and it parses the entry points of everything that is installed. Here the directories of ``sys.path`` are listed
as it lists them, and only an ``entry_points.txt`` that speaks of l8s is parsed
(https://packaging.python.org/specifications/entry-points/). Where modules come from anything but plain directories,
it is asked after all. Not here: loading what was found (`l8s_core.plugins`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import Distribution

GROUP = "l8s"
"""The group of the entry points, which is pluggy's project name too."""

OWN_DISTRIBUTION = "l8s"
"""The distribution whose plugins are the built-in ones."""

_INFOS = (".dist-info", ".egg-info")


class EntryPoint:
    """A plugin as a distribution declares it: what to import, and whose it is.

    ``distribution`` and ``version`` are "" where the distribution's metadata cannot be read.
    """

    def __init__(self, name: str, value: str, distribution: str, version: str) -> None:
        self.name = name
        self.value = value
        self.distribution = distribution
        self.version = version

    @property
    def built_in(self) -> bool:
        """Whether l8s itself brings it."""
        return _normalized(self.distribution) == OWN_DISTRIBUTION

    def load(self) -> object:
        """Import the module and return it, or the object in it that ``module:object`` names.

        Raises: whatever importing raises.
        """
        module, _, attributes = self.value.partition("[")[0].partition(":")
        found: object = import_module(module.strip())
        for attribute in filter(None, attributes.strip().split(".")):
            found = getattr(found, attribute)
        return found


def entry_points() -> tuple[Sequence[EntryPoint], Sequence[str]]:
    """Every entry point of l8s, in the order of ``sys.path``, and a sentence about each one that cannot be read."""
    unreadable: list[str] = []
    try:
        return list(_scanned(unreadable)), unreadable
    except _NotPlainError:
        unreadable.clear()
        return list(_asked(unreadable)), unreadable


def third_party() -> bool:
    """Whether any distribution but l8s itself has an entry point of l8s."""
    return any(not entry_point.built_in for entry_point in entry_points()[0])


class _NotPlainError(Exception):
    """Distributions may be where only `importlib.metadata` finds them."""


def _scanned(unreadable: list[str]) -> Iterator[EntryPoint]:
    # Only PathFinder looks into directories; another finder knows of distributions that are elsewhere.
    if any(hasattr(finder, "find_distributions") and finder is not PathFinder for finder in sys.meta_path):
        raise _NotPlainError
    seen: set[str] = set()
    for place in sys.path:
        if place.endswith(".egg"):
            raise _NotPlainError
        try:
            children = os.listdir(place or ".")  # noqa: PTH208  pathlib costs more than all of this
        except NotADirectoryError:
            raise _NotPlainError from None  # a zip file, most likely
        except OSError:
            continue  # as importlib does: sys.path always names a zip file that is not there
        for child in children:
            stem, dot, kind = child.rpartition(".")
            if f"{dot}{kind}".lower() not in _INFOS:
                continue
            # Of two distributions of one name the first counts, as for importing.
            name = _normalized(stem.partition("-")[0])
            if name not in seen:
                seen.add(name)
                yield from _declared(os.path.join(place, child), unreadable)  # noqa: PTH118


def _declared(info: str, unreadable: list[str]) -> Iterator[EntryPoint]:
    """The entry points in a directory of metadata."""
    data = _read(f"{info}/entry_points.txt")
    if GROUP.encode() not in data:
        return
    try:
        pairs = list(_pairs(data.decode("utf-8")))
    except ValueError as error:
        unreadable.append(f"The entry points in {info} cannot be read: {error}")
        return
    if pairs:
        name, version = _name_and_version(info)
        for key, value in pairs:
            yield EntryPoint(key, value, name, version)


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """Name and value of each entry point of our group.

    Raises:
        ValueError: a line is not ``name = value``.
    """
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = line.strip("[]")
        elif section == GROUP and line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            if not equals:
                raise ValueError(f"{line!r} is not NAME = VALUE")
            yield name.strip(), value.strip()


def _name_and_version(info: str) -> tuple[str, str]:
    """What the metadata's header says (https://packaging.python.org/specifications/core-metadata/); "" for neither."""
    data = _read(f"{info}/METADATA") or _read(f"{info}/PKG-INFO")
    found: dict[str, str] = {}
    try:
        for line in data.decode("utf-8").splitlines():
            key, colon, value = line.partition(":")
            if not line:
                break  # the description follows
            if colon:
                found.setdefault(key.lower(), value.strip())
    except UnicodeDecodeError:
        return "", ""
    return found.get("name", ""), found.get("version", "")


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return b""


def _normalized(name: str) -> str:
    """``name`` as distributions' names compare (the packaging specification on name normalization), with ``_``."""
    plain = name.lower().replace("-", "_").replace(".", "_")
    while "__" in plain:
        plain = plain.replace("__", "_")
    return plain


def _asked(unreadable: list[str]) -> Iterator[EntryPoint]:
    """As `_scanned`, by `importlib.metadata`."""
    from importlib.metadata import distributions

    seen: set[str] = set()
    for distribution in distributions():
        try:
            name = str(distribution.metadata["Name"] or "")
            version = str(distribution.metadata["Version"] or "")
        except Exception:  # noqa: BLE001  metadata that cannot be read is no reason to lose the plugin
            name, version = "", ""
        if name and _normalized(name) in seen:
            continue
        seen.add(_normalized(name))
        yield from _listed(distribution, name, version, unreadable)


def _listed(distribution: Distribution, name: str, version: str, unreadable: list[str]) -> Iterator[EntryPoint]:
    try:
        found = [(item.name, item.value) for item in distribution.entry_points if item.group == GROUP]
    except Exception as error:  # noqa: BLE001  the broken one; the others still count
        unreadable.append(f"The entry points of {name or 'some distribution'} cannot be read: {error}")
        return
    for key, value in found:
        yield EntryPoint(key, value, name, version)
