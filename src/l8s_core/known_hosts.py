"""l8s's own ``~/.l8s/known_hosts``: the host keys of servers and of containers, pinned by name.

Not here: what the user's own known_hosts trusts (`l8s_core.ssh_tools.known_keys`), and checking a key that
a server offers (the backend's business).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from pathlib import Path

from attrs import field, frozen

from l8s_core import files
from l8s_core.errors import InvalidValue, LocalFileError
from l8s_core.model import DEFAULT_SSH_PORT, PublicKey

SIZE_LIMIT = 1024 * 1024
"""Bytes; thousands of containers fit."""

_KEY_TYPE = re.compile(r"[a-z0-9][a-z0-9.@-]{0,63}")
_KEY_LIMIT = 16 * 1024
_NAME = re.compile(r"[A-Za-z0-9_\[][A-Za-z0-9_.:%\[\]-]{0,299}")
"""What may stand for a host here: no pattern, no hash, no marker, no comma (sshd(8), SSH_KNOWN_HOSTS FILE
FORMAT)."""


def parse_public_key(line: str) -> PublicKey:
    """The key in ``TYPE BASE64 [COMMENT]``, as ``ssh-add -L`` and .pub files have it.

    Raises:
        InvalidValue: no such three words, bad base64, or a blob that is of another type than the line says
            (RFC 4253, section 6.6: the blob begins with its type).
    """
    words = line.split(None, 2)
    if len(words) < 2 or not _KEY_TYPE.fullmatch(words[0]) or len(line) > _KEY_LIMIT:
        raise InvalidValue(f"not an SSH public key: {line[:60]!r}", hints=("One looks like: ssh-ed25519 AAAA...",))
    kind, encoded = words[0], words[1]
    try:
        blob = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        blob = b""
    fields = _fields(blob)
    # Encoding again refuses the many spellings of one blob, which would compare as different keys.
    if base64.b64encode(blob).decode("ascii") != encoded or not fields:
        raise InvalidValue(f"not an SSH public key, its {kind} data is damaged: {encoded[:40]!r}")
    if fields[0] != kind.encode("ascii"):
        raise InvalidValue(f"not an SSH public key, it says {kind} and holds {fields[0][:40]!r}")
    # A certificate has numbers between its fields (PROTOCOL.certkeys), every plain key is fields to its end.
    if "-cert-" not in kind and (len(fields) < 2 or sum(4 + len(part) for part in fields) != len(blob)):
        raise InvalidValue(f"not an SSH public key, its {kind} data is cut short: {encoded[:40]!r}")
    return PublicKey(kind, encoded, words[2].strip() if len(words) > 2 else "")


def _fields(blob: bytes) -> list[bytes]:
    """The length-prefixed strings that ``blob`` begins with (RFC 4251, section 5)."""
    fields = []
    while len(blob) >= 4:
        length = int.from_bytes(blob[:4], "big")
        if length > len(blob) - 4:
            break
        fields.append(blob[4 : 4 + length])
        blob = blob[4 + length :]
    return fields


def server_name(host: str, port: int) -> str:
    """A server's name as OpenSSH writes it into known_hosts: ``host``, or ``[host]:port`` off port 22."""
    return host.lower() if port == DEFAULT_SSH_PORT else f"[{host.lower()}]:{port}"


def container_name(alias: str) -> str:
    """The name that a container's keys are pinned under, its HostKeyAlias; its address may change."""
    return f"{alias.lower()}.l8s"


@frozen
class _Line:
    """One line: its exact bytes, and what it pins (no names: a comment or a blank line)."""

    raw: bytes
    names: tuple[str, ...] = ()
    key: PublicKey | None = None

    def without(self, name: str) -> _Line | None:
        """The line when it no longer speaks of ``name``; None when nothing is left of it."""
        if name not in self.names:
            return self
        names = tuple(other for other in self.names if other != name)
        if not names or self.key is None:
            return None
        return _Line(f"{','.join(names)} {self.key.line}\n".encode("ascii"), names, self.key)


@frozen
class KnownHosts:
    """The file at ``path``, by default ``~/.l8s/known_hosts``; read afresh at every call.

    A line is ``NAME TYPE BASE64``. Comments and the lines of other names are kept byte for byte.
    """

    path: Path = field(factory=lambda: files.state_dir() / "known_hosts")

    def keys(self, name: str) -> tuple[PublicKey, ...]:
        """The keys that are pinned under ``name``, in the file's order.

        Raises:
            LocalFileError: the file cannot be read or has a line that is not understood.
        """
        wanted = _checked_name(name)
        return tuple(line.key for line in self._lines() if line.key is not None and wanted in line.names)

    def pin(self, name: str, keys: Iterable[PublicKey]) -> None:
        """Make ``keys`` the only ones of ``name``.

        Raises:
            InvalidValue: no key, or a name or key that cannot stand in a known_hosts file.
            LocalFileError: the file cannot be read or written; it is as it was.
        """
        wanted = _checked_name(name)
        pinned = tuple(dict.fromkeys(parse_public_key(key.line) for key in keys))
        if not pinned:
            raise InvalidValue(f"no host key to pin for {name}")
        self._change(wanted, pinned)

    def forget(self, name: str) -> None:
        """Remove every key of ``name``; there may be none.

        Raises:
            LocalFileError: the file cannot be read or written; it is as it was.
        """
        self._change(_checked_name(name), ())

    def _change(self, name: str, keys: tuple[PublicKey, ...]) -> None:
        def changed(data: bytes | None) -> bytes | None:
            lines = self._parsed(data or b"")
            kept = [left for line in lines if (left := line.without(name)) is not None]
            old = [line.key for line in lines if line.names == (name,)]
            if old == list(keys) and all(name not in line.names or len(line.names) == 1 for line in lines):
                return None
            added = [_Line(f"{name} {key.line}\n".encode("ascii")) for key in keys]
            if added and kept and not kept[-1].raw.endswith(b"\n"):
                kept[-1] = _Line(kept[-1].raw + b"\n")
            return b"".join(line.raw for line in kept + added)

        files.private_dir(self.path.parent)
        with files.locked(self.path):
            files.update(self.path, changed, limit=SIZE_LIMIT)

    def _lines(self) -> list[_Line]:
        return self._parsed(files.read_limited(self.path, SIZE_LIMIT) or b"")

    def _parsed(self, data: bytes) -> list[_Line]:
        # Only \n ends a line: bytes.splitlines would also cut at \r and others, and ssh does not.
        rows = data.split(b"\n")
        raws = [row + b"\n" for row in rows[:-1]] + ([rows[-1]] if rows[-1] else [])
        return [self._parse(number, raw) for number, raw in enumerate(raws, start=1)]

    def _parse(self, number: int, raw: bytes) -> _Line:
        text = raw.strip(b" \t\r\n")
        if not text or text.startswith(b"#"):
            return _Line(raw)
        where = f"{files.display(self.path)}:{number}"
        try:
            names, key = text.decode("ascii").split(None, 1)
            return _Line(raw, tuple(_checked_name(name) for name in names.split(",")), parse_public_key(key))
        except (ValueError, InvalidValue) as error:
            reason = error.message if isinstance(error, InvalidValue) else "it is not NAME TYPE BASE64"
            raise LocalFileError(
                f"{where}: this line is not understood: {reason}",
                hints=(f"Remove the line, or move the file away and trust the servers anew: l8s init ({where})",),
            ) from error


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidValue(f"not a host name for known_hosts: {name[:60]!r}")
    return name.lower()
