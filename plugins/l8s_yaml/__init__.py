"""The built-in config store ``yaml``: ``~/.l8s/config.yaml``, or the file that ``L8S_CONFIG`` names.

Not here: what the keys mean (`l8s_core.config`). ruamel.yaml is imported when a file is read, never before.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from l8s_core.hookspecs import hookimpl
from l8s_core.providers import ConfigStoreProvider

if TYPE_CHECKING:
    from l8s_core.contracts import ConfigStore


def _store(location: Path | None) -> ConfigStore:
    from l8s_yaml.store import YAMLStore

    return YAMLStore(location)


@hookimpl
def l8s_config_stores() -> Iterable[ConfigStoreProvider]:
    """Yield the store."""
    yield ConfigStoreProvider(name="yaml", summary="~/.l8s/config.yaml, comments kept", factory=_store)
