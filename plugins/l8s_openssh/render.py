"""HostBlocks to the text of ``~/.l8s/ssh_config`` and back; pure.

Every value is checked again here, the last stop before ssh reads it: a line break would be a new directive,
and ``%`` starts a token in most values (ssh_config(5), TOKENS).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from attrs import define, field

from l8s_core import names, ssh_tools
from l8s_core.errors import InvalidValue, SSHConfigError
from l8s_core.model import HostBlock
from l8s_openssh.multiplexing import Multiplexing

HEADER = """\
# Made by l8s. Edits here are lost: the whole file is written anew when a container is created or removed.
# Put settings of your own into ~/.ssh/config, below its Include line.
"""
_MARK = HEADER.splitlines()[0].encode("ascii")

_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_JUMPS = re.compile(r"[A-Za-z0-9_\[][A-Za-z0-9._:@,\[\]-]*")
"""Without the ``ssh://`` form, which OpenSSH accepts in some places of the list only (seen with 9.2)."""
_PLAIN = re.compile(r"[A-Za-z0-9./_+,:@%~-]+")
_DIRECT = "none"
"""What ssh calls a connection without a jump host (ssh_config(5), ProxyJump)."""

_PINNED = "#UserKnownHostsFile"
"""Keeps the name of the known_hosts file in an entry that does not use it."""


def render(blocks: Iterable[HostBlock], place: Multiplexing) -> bytes:
    """The whole file, sorted by alias.

    Raises:
        SSHConfigError: a value cannot be written into an ssh configuration.
    """
    entries = [_entry(block, place) for block in sorted(blocks, key=lambda block: block.alias)]
    return "\n".join([HEADER, *entries]).encode("utf-8", "surrogateescape")


def parse(data: bytes) -> tuple[HostBlock, ...]:
    """The blocks of a file that `render` made; what it never writes is passed over.

    Raises:
        SSHConfigError: the file is another's, or has an entry that is not whole; the message has the line.
    """
    if not data.strip():
        return ()
    if not data.startswith(_MARK):
        raise SSHConfigError("line 1: it was not made by l8s")
    entries: list[_Entry] = []
    current: _Entry | None = None
    for number, line in enumerate(data.decode("utf-8", "surrogateescape").split("\n"), start=1):
        keyword, _, value = line.strip().partition(" ")
        if keyword == "Host":
            current = _Entry(number, value)
            entries.append(current)
        elif keyword == "Match":
            current = None
        elif current is not None and keyword:
            current.settings.setdefault(keyword, _unquoted(value))
    blocks = [entry.block() for entry in entries]
    if len({block.alias for block in blocks}) < len(blocks):
        raise SSHConfigError("an alias is in it twice")
    return tuple(blocks)


@define
class _Entry:
    """One Host entry while it is read."""

    line: int
    alias: str
    settings: dict[str, str] = field(factory=dict)

    def block(self) -> HostBlock:
        settings: Mapping[str, str] = self.settings
        try:
            checking = settings["StrictHostKeyChecking"] == "yes"
            block = HostBlock(
                alias=self.alias,
                hostname=_without_tokens(settings["HostName"]),
                port=int(settings["Port"]),
                user=settings["User"],
                host_key_alias=settings["HostKeyAlias"],
                known_hosts_file=_without_tokens(settings["UserKnownHostsFile" if checking else _PINNED]),
                identity_file=_without_tokens(settings.get("IdentityFile", "")),
                proxy_jump="" if settings.get("ProxyJump", _DIRECT) == _DIRECT else settings["ProxyJump"],
                host_key_checking=checking,
                forward_agent=settings.get("ForwardAgent") == "yes",
            )
            _check(block)
        except KeyError as error:
            raise SSHConfigError(f"line {self.line}: the entry of {self.alias!r} has no {error.args[0]}") from error
        except (ValueError, SSHConfigError) as error:
            raise SSHConfigError(f"line {self.line}: the entry of {self.alias!r} is damaged: {error}") from error
        return block


def _entry(block: HostBlock, place: Multiplexing) -> str:
    _check(block)
    known_hosts = _path(block.known_hosts_file)
    lines = [
        f"Host {block.alias}",
        f"HostName {_tokens_doubled(block.hostname)}",
        f"Port {block.port}",
        f"User {block.user}",
        f"HostKeyAlias {block.host_key_alias}",
    ]
    if block.host_key_checking:
        lines += [
            f"UserKnownHostsFile {known_hosts}",
            "GlobalKnownHostsFile /dev/null",
            "StrictHostKeyChecking yes",
        ]
    else:
        lines += [
            f"{_PINNED} {known_hosts}",
            "UserKnownHostsFile /dev/null",
            "GlobalKnownHostsFile /dev/null",
            "StrictHostKeyChecking no",
        ]
    lines += ["CheckHostIP no", "UpdateHostKeys no"]
    if block.identity_file:
        lines += ["IdentitiesOnly yes", f"IdentityFile {_path(block.identity_file)}"]
    lines += ["PasswordAuthentication no", f"ForwardAgent {'yes' if block.forward_agent else 'no'}"]
    # What the user's "Host *" says of these is meant for trusted machines, and would go for containers too.
    lines += ["ForwardX11 no", "Tunnel no", "PermitLocalCommand no", "RemoteCommand none"]
    lines.append(f"ProxyJump {block.proxy_jump or _DIRECT}")
    lines += ["ServerAliveInterval 15", "ServerAliveCountMax 3"]
    if place.guarded:
        own = f"test -d {place.directory} && test -O {place.directory} && test ! -L {place.directory}"
        lines.append(f'Match originalhost {block.alias} exec "{own}"')
    lines += ["ControlMaster auto", f"ControlPath {_path(place.directory, '/%C')}", "ControlPersist 10m"]
    return "".join(f"{line}\n" if line.startswith(("Host ", "Match ")) else f"    {line}\n" for line in lines)


def _check(block: HostBlock) -> None:
    try:
        if not _ALIAS.fullmatch(block.alias):
            raise InvalidValue(f"not an ssh alias: {names.shown(block.alias)}")
        names.host(block.hostname)
        names.port(block.port)
        names.remote_user(block.user)
        names.host_key_alias(block.host_key_alias)
        if block.proxy_jump and not (_JUMPS.fullmatch(block.proxy_jump) and ssh_tools.parse_jump(block.proxy_jump)):
            raise InvalidValue(f"not a list of jump hosts: {names.shown(block.proxy_jump)}")
        _check_path(block.known_hosts_file)
        if block.identity_file:
            _check_path(block.identity_file)
    except InvalidValue as error:
        raise SSHConfigError(
            f"the ssh entry of {names.shown(block.alias)}: {error.message}", hints=error.hints
        ) from error


def _check_path(path: str) -> None:
    """Refuse what no version of ssh can quote: quotes, backslashes, control characters, ``${...}``."""
    if not path.startswith("/") or not _quotable(path) or "${" in path:
        raise InvalidValue(f"not a path that an ssh configuration can hold: {names.shown(path)}")


def _quotable(text: str) -> bool:
    return not any(character in "\"'\\" or ord(character) < 32 or ord(character) == 127 for character in text)


def _path(path: str, tail: str = "") -> str:
    _check_path(path)
    text = _tokens_doubled(path) + tail
    return text if _PLAIN.fullmatch(text) else f'"{text}"'


def _tokens_doubled(text: str) -> str:
    return text.replace("%", "%%")


def _without_tokens(text: str) -> str:
    return text.replace("%%", "%")


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) >= 2 and value[0] == value[-1] == '"' else value
