"""The writer itself: reads and replaces ``~/.l8s/ssh_config``, and adds one line to ``~/.ssh/config``.

``~/.l8s/ssh_config`` is l8s's own and is written whole. The user's file gets one ``Include`` as its first line and
keeps it when the last alias is gone: ssh passes over an Include of nothing, and so the file is touched once in its
life.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from l8s_core import files, names, ssh_tools
from l8s_core.errors import LocalFileError, SSHConfigError
from l8s_core.model import ChangePlan, FileChange, HostBlock
from l8s_openssh import multiplexing
from l8s_openssh.include import add_include, host_line
from l8s_openssh.render import parse, render

SIZE_LIMIT = 16 * 1024 * 1024
"""Bytes of either file; the longest generated ones have a few."""


class OpenSSHWriter:
    """Makes ``ssh ALIAS`` work with the system's OpenSSH, for the home directory at construction."""

    def __init__(self) -> None:
        self.path = files.state_dir() / "ssh_config"
        self.user_path = Path.home() / ".ssh" / "config"
        self._place = multiplexing.choose(Path.home(), os.getuid())

    def blocks(self) -> tuple[HostBlock, ...]:
        """The aliases in ``~/.l8s/ssh_config``, sorted.

        Raises:
            SSHConfigError: the file is damaged or not l8s's.
        """
        return self._parsed(files.read_limited(self.path, SIZE_LIMIT))

    def plan(self, *, add: Sequence[HostBlock] = (), remove: Sequence[str] = ()) -> ChangePlan:
        """What adding (or replacing) blocks and removing aliases would change; nothing is written.

        Raises:
            SSHConfigError: a file is damaged, a value cannot be written, an alias is the user's own already,
                or the Include cannot be added (a hint has the line to add by hand).
        """
        before = files.read_limited(self.path, SIZE_LIMIT)
        present, wanted = self._entries(before, add, remove)
        after = self._rendered(before, wanted)
        changes: list[FileChange] = []
        if after is not None and after != before:
            summary = _summary(present, wanted)
            changes.append(FileChange(path=self.path, before=before, after=after, summary=summary))
        if add:
            users = files.read_limited(self.user_path, SIZE_LIMIT)
            included = self._included(users, [block.alias for block in add if block.alias not in present])
            if included != users:
                summary = f"add the first line: {self._include_line()}"
                changes.append(FileChange(path=self.user_path, before=users, after=included, summary=summary))
        return ChangePlan(add=tuple(add), remove=tuple(remove), files=tuple(changes))

    def apply(self, plan: ChangePlan) -> None:
        """Carry out a plan on the files as they are now, the aliases first and the Include last.

        Raises:
            SSHConfigError: as `plan`; or a file cannot be written, and is as it was.
        """
        with files.locked(self.path):
            fresh = self.plan(add=plan.add, remove=plan.remove)
            if plan.add:
                multiplexing.prepare(self._place)
            for change in fresh.files:
                files.private_dir(change.path.parent)
                if change.path == self.path:
                    files.update(self.path, lambda data: self._changed(data, plan), limit=SIZE_LIMIT)
                    continue
                try:
                    files.update(self.user_path, lambda data: self._included(data, ()), limit=SIZE_LIMIT)
                except LocalFileError as error:
                    raise self._by_hand(error.message, *error.hints) from error

    def _entries(
        self, data: bytes | None, add: Sequence[HostBlock], remove: Sequence[str]
    ) -> tuple[dict[str, HostBlock], dict[str, HostBlock]]:
        """The blocks of ``~/.l8s/ssh_config`` now and afterwards, by alias."""
        present = {block.alias: block for block in self._parsed(data)}
        wanted = {alias: block for alias, block in present.items() if alias not in remove}
        wanted.update((block.alias, block) for block in add)
        return present, wanted

    def _rendered(self, before: bytes | None, wanted: Mapping[str, HostBlock]) -> bytes | None:
        return render(wanted.values(), self._place) if wanted or before is not None else None

    def _changed(self, data: bytes | None, plan: ChangePlan) -> bytes | None:
        _, wanted = self._entries(data, plan.add, plan.remove)
        return self._rendered(data, wanted)

    def _included(self, data: bytes | None, new: Iterable[str]) -> bytes:
        """What ``~/.ssh/config`` shall be, when it is ``data``; ``new`` aliases must not be in it."""
        for alias in new:
            self._refuse_shadowing(data or b"", alias)
        spellings = {os.fsencode(self.path)}
        if ssh_tools.home_is_sshs():
            spellings.add(b"~/.l8s/ssh_config")
        try:
            after = add_include(data or b"", os.fsencode(self._include_line()), spellings)
        except SSHConfigError as error:
            raise self._by_hand(f"{files.display(self.user_path)} cannot be changed: {error.message}") from error
        if after != data:
            reason = _why_not_writable(self.user_path)
            if reason:
                raise self._by_hand(f"{files.display(self.user_path)} cannot be changed: {reason}")
        return after

    def _refuse_shadowing(self, data: bytes, alias: str) -> None:
        number = host_line(data, alias)
        if number is not None:
            raise SSHConfigError(
                f"{files.display(self.user_path)}:{number} has an entry for {names.printable(alias)}, "
                "which the new one would put out of use",
                hints=(
                    "Choose another name, or another container_prefix",
                    "Or remove that entry, if it is an old one",
                ),
            )

    def _include_line(self) -> str:
        if ssh_tools.home_is_sshs():
            return "Include ~/.l8s/ssh_config"
        path = str(self.path)
        if any(character in "\"'\\*?[%$" or not character.isprintable() for character in path):
            raise SSHConfigError(
                f"ssh cannot include {names.printable(path)}: it has a character that ssh interprets",
                hints=("Use a home directory with a plainer name: echo $HOME",),
            )
        return f'Include "{path}"'

    def _by_hand(self, message: str, *hints: str) -> SSHConfigError:
        line = self._include_line()
        return SSHConfigError(
            message,
            hints=(*hints, f"Add this by hand as the first line of {files.display(self.user_path)}: {line}"),
        )

    def _parsed(self, data: bytes | None) -> tuple[HostBlock, ...]:
        try:
            return parse(data or b"")
        except SSHConfigError as error:
            shown = files.display(self.path)
            raise SSHConfigError(
                f"{shown} cannot be read, {names.printable(error.message)}",
                hints=(f"Move it away, l8s makes a new one: mv {shown} {shown}.old",),
            ) from error


def _summary(before: dict[str, HostBlock], after: dict[str, HostBlock]) -> str:
    parts = [
        ("add", sorted(after.keys() - before.keys())),
        ("change", sorted(alias for alias in after.keys() & before.keys() if after[alias] != before[alias])),
        ("remove", sorted(before.keys() - after.keys())),
    ]
    return "; ".join(f"{verb} {', '.join(aliases)}" for verb, aliases in parts if aliases) or "write it anew"


def _why_not_writable(path: Path) -> str:
    """Why a file should not be replaced, or "". Root could replace a read-only one, and must not."""
    target = Path(os.path.realpath(path))
    directory = target.parent
    if path.is_symlink() and not directory.exists():
        return f"it leads to {files.display(target)}, and there is no such directory"
    while not directory.exists():  # ~/.ssh itself may be missing; it will be made
        directory = directory.parent
    for place, kind in ((target, "it"), (directory, f"its directory {files.display(directory)}")):
        try:
            found = place.stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            return error.strerror or str(error)
        if place == target and os.geteuid() not in (0, found.st_uid):
            return "it belongs to another user"
        if not found.st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) or not os.access(place, os.W_OK):
            return f"{kind} is read-only"
    return ""
