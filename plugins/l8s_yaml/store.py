"""The config file on the laptop: found, read, and changed under a lock.

Not here: YAML itself (`l8s_yaml.reading`, `l8s_yaml.writing`) and how a file is replaced (`l8s_core.files`).
"""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from l8s_core import files
from l8s_core.contracts import ConfigDocument
from l8s_core.errors import ConfigError, LocalFileError
from l8s_yaml import reading, writing


class YAMLStore:
    """A `ConfigStore` in one YAML file: ``location``, or ``~/.l8s/config.yaml``. Constructed without I/O."""

    def __init__(self, location: Path | None = None) -> None:
        self._location = location

    @property
    def path(self) -> Path:
        """The file, absolute; a symlink is not followed yet."""
        if self._location is None:
            return files.state_dir() / "config.yaml"
        return self._location.expanduser().absolute()

    def load(self) -> ConfigDocument:
        """Read it all; without a file, an empty document.

        Raises:
            ConfigError: it cannot be read as plain data, or others than its owner may write it.
            LocalFileError: the file cannot be opened.
        """
        path = self.path
        location = files.display(path)
        text = _text(path, location)
        if text is None:
            return ConfigDocument(location=location, exists=False)
        root = reading.read(text, location)
        data = root.plain()
        assert isinstance(data, dict)
        return ConfigDocument(location=location, exists=True, data=data, lines=reading.lines(root))

    def edit(self, change: Callable[[dict[str, object]], Mapping[str, object]]) -> None:
        """Change it as one step that no other writer can come between.

        ``change`` gets a copy of the present data and returns the new data; it is called again when another program
        wrote the file meanwhile. When the data is the same, the file is not touched.

        Raises:
            ConfigError: as `load`, or the change cannot be made without harm to what is written there.
            LocalFileError: the file cannot be written, or stays locked for too long.
        """
        path = self.path
        location = files.display(path)

        def changed(found: bytes | None) -> bytes | None:
            before = "" if found is None else reading.decode(found, location)
            data = reading.read(before, location).plain()
            assert isinstance(data, dict)
            after = writing.rewrite(before, change(data), location)
            if after == before:
                return None
            encoded = _byte_order_mark(found or b"") + after.encode("utf-8")
            if len(encoded) > reading.LIMIT:
                raise ConfigError(
                    f"{location}: it would grow to {len(encoded)} bytes, at most {reading.LIMIT} are read",
                    hints=("Remove profiles that are not needed: l8s profile remove NAME",),
                )
            files.private_dir(path.parent)
            _close_to_others(path)
            return encoded

        with files.locked(path):
            _text(path, location)  # which looks at its size, mode and owner before it is read
            files.update(path, changed, limit=reading.LIMIT)


def _text(path: Path, location: str) -> str | None:
    try:
        found = path.stat()
    except OSError:
        found = None  # read_limited says what is wrong, if anything is
    if found is not None and stat.S_ISREG(found.st_mode):
        if found.st_mode & 0o002 or (found.st_uid not in (0, os.geteuid()) and os.geteuid() != 0):
            raise ConfigError(
                f"{location} can be written by other users of this machine, who could send you to a server of theirs",
                hints=(f"Look through it, then make it yours alone: chmod 600 {location}",),
            )
        reading.check_size(found.st_size, location)
    data = files.read_limited(path, reading.LIMIT)
    return None if data is None else reading.decode(data, location)


def _byte_order_mark(data: bytes) -> bytes:
    """The byte order mark of ``data``, which an editor may rely on; b"" when it has none."""
    return codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""


def _close_to_others(path: Path) -> None:
    """Take away what others may do with the file; a stricter mode stays."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            path.chmod(mode & 0o700)
    except FileNotFoundError:
        return
    except OSError as error:
        location = files.display(path)
        raise LocalFileError(
            f"cannot make {location} private: {error.strerror}",
            hints=(f"Look at who owns it: ls -l {location}",),
        ) from error
