"""The frozen descriptors that hooks yield.

A descriptor names a thing and knows how to make it; the factory is called only when the thing is needed, and it is
where heavy libraries are imported. All fields are keyword-only, so that new ones can be added without breaking
plugins. Not here: finding descriptors (`l8s_core.plugins`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from l8s_core.client import Client
    from l8s_core.contracts import ConfigStore, RemoteBackend, SSHConfigWriter
    from l8s_core.model import Profile


@frozen(kw_only=True)
class BackendProvider:
    """A backend by name.

    ``options_type`` is an attrs class that the profile's ``options`` must fit (None: it takes none); the factory gets
    its value with `l8s_core.options.structured_options`.

    ``factory`` constructs without I/O; `RemoteBackend.open` connects. ``shared`` says that the backend is a
    `SharedConnection`, whose connection may be kept open between commands.
    """

    name: str
    summary: str
    factory: Callable[[Profile], RemoteBackend]
    options_type: type | None = None
    shared: bool = False


@frozen(kw_only=True)
class ConfigStoreProvider:
    """A config store by name. ``factory`` takes the location that ``L8S_CONFIG`` names, or None for its default."""

    name: str
    summary: str
    factory: Callable[[Path | None], ConfigStore]


@frozen(kw_only=True)
class SSHConfigWriterProvider:
    """An ssh-config writer by name."""

    name: str
    summary: str
    factory: Callable[[], SSHConfigWriter]


@frozen(kw_only=True)
class Finding:
    """One thing that a `Check` found. ``hint`` is what to run, "" when all is well."""

    state: Literal["ok", "warning", "problem"]
    message: str
    hint: str = ""


@frozen(kw_only=True)
class Check:
    """A health check. ``run`` gets the connected client, or None when there is no connection."""

    name: str
    summary: str
    run: Callable[[Client | None], Iterable[Finding]]
    needs_connection: bool = True
