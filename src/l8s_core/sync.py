"""Making the laptop's files say what the server's labels say: ssh entries and container host keys.

What is written is only ever an entry or a pin of this profile's; what is removed besides is an entry of this profile's
prefix, on this server, whose container is gone. Not here: the server's own host key, which nothing renews by itself.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import ExitStack
from typing import Literal

from attrs import evolve, frozen

from l8s_core import agent, files, names, ssh_tools
from l8s_core.contracts import RemoteBackend
from l8s_core.errors import BackendError, ContainerExists, InvalidValue
from l8s_core.inside import HOST_KEY_FILE
from l8s_core.journal import Journal
from l8s_core.known_hosts import container_name, parse_public_key
from l8s_core.layout import SSHD_PORT, host_block, is_ours
from l8s_core.model import (
    LABEL_MANAGED,
    LABEL_NAME,
    LABEL_USER,
    ChangePlan,
    ContainerInfo,
    Endpoint,
    HostBlock,
    Profile,
    PublicKey,
)
from l8s_core.provision import Context

KEY_LIMIT = 64 * 1024
"""Bytes of the archive with a container's host key; one of an ed25519 key has 10 KiB at most."""


@frozen(kw_only=True)
class EntryChange:
    """One ssh entry: ``add``, ``change``, or ``remove`` because its container is gone from the server."""

    alias: str
    action: Literal["add", "change", "remove"]


@frozen(kw_only=True)
class PinChange:
    """One container's pinned host key: the fingerprints ``before`` (none: it was not pinned) and ``after``."""

    alias: str
    before: tuple[str, ...]
    after: str


@frozen(kw_only=True)
class Skipped:
    """A container whose entry or key is left as it is, why, and what to run ("" for nothing)."""

    alias: str
    reason: str
    hint: str = ""


@frozen(kw_only=True)
class SyncResult:
    """What a sync changed, or with ``dry_run`` would change; ``files`` tells for each file of the writer's what.

    Nothing in ``pins`` and ``files``: all was right.
    """

    dry_run: bool
    entries: tuple[EntryChange, ...] = ()
    pins: tuple[PinChange, ...] = ()
    files: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()


@frozen(kw_only=True)
class EntryState:
    """The laptop's ssh entries beside the server's containers."""

    missing: tuple[HostBlock, ...]
    different: tuple[HostBlock, ...]
    stale: tuple[HostBlock, ...]
    skipped: tuple[Skipped, ...]
    wanted: Mapping[str, HostBlock]


def sync(context: Context, *, other_prefixes: Collection[str], dry_run: bool = False) -> SyncResult:
    """Write the entries and pins that are missing or different, and remove this profile's stale entries.

    ``other_prefixes`` are those of the other profiles: an alias that one of them explains better is not ours. A
    container that another l8s on this laptop is creating or removing at the moment is left to it.

    Raises:
        SSHConfigError: a local file cannot be read or changed.
        AgentUnavailable: an entry is to be written, and its key is not known.
    """
    with context.steps.step("containers") as step:
        state = _look(context, other_prefixes)
        step.detail = f"{len(state.wanted)} of profile {context.profile.name}"
    with ExitStack() as locks:
        free, busy = _held(locks, context, [*state.wanted, *(block.alias for block in state.stale)], dry_run=dry_run)
        # looked at again under the locks: a create may have ended since
        state = _look(context, other_prefixes)
        present = context.writer.blocks()
        skipped = [*state.skipped, *busy]
        with context.steps.step("host keys"):
            keys = dict(_host_keys(context, [alias for alias in state.wanted if alias in free], skipped))
        # an entry without a key to check leads nowhere
        added = [block for block in state.missing if block.alias in keys]
        different = [block for block in state.different if block.alias in keys]
        removed = [block.alias for block in state.stale if block.alias in free]
        changing = {block.alias for block in (*added, *different)} | set(removed)
        right = [block for block in present if block.alias in keys and block.alias not in changing]
        pins = tuple(
            PinChange(alias=alias, before=tuple(old.fingerprint for old in before), after=key.fingerprint)
            for alias, key in keys.items()
            if (before := context.known_hosts.keys(container_name(alias))) != (key,)
        )
        plan = _plan(context, right, [*added, *different], removed)
        if not dry_run and (plan.files or pins):
            # these may have connections that lead to a container of the past; others may be in use
            outdated = {*removed, *(block.alias for block in different), *(pin.alias for pin in pins if pin.before)}
            with context.steps.step("ssh config"):
                _write(context, plan, outdated, {pin.alias: keys[pin.alias] for pin in pins})
    entries = [
        *(EntryChange(alias=block.alias, action="add") for block in added),
        *(EntryChange(alias=block.alias, action="change") for block in different),
        *(EntryChange(alias=alias, action="remove") for alias in removed),
    ]
    changes = tuple(f"{files.display(change.path)}: {change.summary}" for change in plan.files)
    return SyncResult(dry_run=dry_run, entries=tuple(entries), pins=pins, files=changes, skipped=tuple(skipped))


def _look(context: Context, other_prefixes: Collection[str]) -> EntryState:
    """The laptop's entries beside all of l8s's containers on the server; one request."""
    infos = sorted(context.backend.list({LABEL_MANAGED: "true"}), key=lambda info: info.name)
    entries = context.writer.blocks()
    return entry_state(entries, infos, context.profile, context.endpoint, other_prefixes=other_prefixes)


def entry_state(
    present: Collection[HostBlock],
    infos: Collection[ContainerInfo],
    profile: Profile,
    endpoint: Endpoint,
    *,
    other_prefixes: Collection[str],
) -> EntryState:
    """Compare the entries that are ``present`` with ``infos``, all of l8s's containers on the server; pure."""
    wanted: dict[str, HostBlock] = {}
    skipped = []
    for info in infos:
        if is_ours(info.labels, profile):
            block = _wanted(info, profile, endpoint)
            if isinstance(block, Skipped):
                skipped.append(block)
            else:
                wanted[info.name] = block
    entries = {block.alias: block for block in present}
    on_server = {info.name for info in infos}
    longer = tuple(f"{prefix}-" for prefix in other_prefixes if prefix.startswith(f"{profile.container_prefix}-"))
    return EntryState(
        missing=tuple(block for alias, block in wanted.items() if alias not in entries),
        different=tuple(
            block for alias, block in wanted.items() if alias in entries and not _leads_there(entries[alias], block)
        ),
        stale=tuple(
            block
            for alias, block in entries.items()
            if alias not in on_server
            and alias.startswith(f"{profile.container_prefix}-")
            and not alias.startswith(longer)
            and (block.hostname, block.proxy_jump) == (endpoint.host, endpoint.jump)
        ),
        skipped=tuple(skipped),
        wanted=wanted,
    )


def _wanted(info: ContainerInfo, profile: Profile, endpoint: Endpoint) -> HostBlock | Skipped:
    """The entry for a container, if what its labels say can be believed: they are text from the server."""
    try:
        alias = profile.alias(names.container_name(info.labels.get(LABEL_NAME, "")))
        names.container_user(info.labels.get(LABEL_USER, profile.container_user))
        block = host_block(info, profile, endpoint)
    except (InvalidValue, BackendError) as error:
        return Skipped(alias=info.name, reason=f"its labels are not l8s's: {error.message.rstrip('.')}")
    if alias != info.name:
        return Skipped(alias=info.name, reason=f"its labels name another container: {alias}")
    if info.ports.get(block.port) != SSHD_PORT:
        return Skipped(
            alias=info.name,
            reason=f"the server's port {block.port} does not lead to its sshd",
            hint=f"l8s rm {info.short_name} --keep-volumes, then: l8s create {info.short_name}",
        )
    return block


def _leads_there(entry: HostBlock, wanted: HostBlock) -> bool:
    """Whether an entry is as it should be; which key it offers was decided when it was written."""
    return evolve(entry, identity_file="") == evolve(wanted, identity_file="")


def _held(
    locks: ExitStack, context: Context, aliases: Collection[str], *, dry_run: bool
) -> tuple[set[str], list[Skipped]]:
    """The aliases that no other l8s is busy with, kept so until ``locks`` is closed; and the others.

    A dry run takes no lock, since a lock is a file.
    """
    free: set[str] = set()
    busy = []
    for alias in sorted(aliases):
        name = alias.removeprefix(f"{context.profile.container_prefix}-")
        journal = Journal.of(context.endpoint, alias)
        try:
            if not dry_run:
                locks.enter_context(journal.held())
        except ContainerExists:
            reason = "another l8s command on this laptop is busy with it"
            busy.append(Skipped(alias=alias, reason=reason, hint="l8s sync, when it has ended"))
            continue
        if journal.operation() is not None:
            hint = f"l8s create {name}, which finishes it, or: l8s rm {name}"
            busy.append(Skipped(alias=alias, reason="its create was cut off", hint=hint))
            continue
        free.add(alias)
    return free, busy


def _host_keys(context: Context, aliases: Collection[str], skipped: list[Skipped]) -> Iterator[tuple[str, PublicKey]]:
    """The host key of each container, read over the verified connection; nothing is run in the container for it."""
    for alias in aliases:
        try:
            yield alias, _host_key(context.backend, alias)
        except (BackendError, InvalidValue):
            name = alias.removeprefix(f"{context.profile.container_prefix}-")
            hint = f"l8s restart {name}, then: l8s sync"
            skipped.append(Skipped(alias=alias, reason="its host key could not be read", hint=hint))


def _host_key(backend: RemoteBackend, alias: str) -> PublicKey:
    """The public half that is in the container.

    Raises:
        BackendError: it has none.
        InvalidValue: what it has is no key.
    """
    data = b""
    chunks = backend.download(alias, HOST_KEY_FILE)
    try:
        for chunk in chunks:
            data += chunk
            if len(data) > KEY_LIMIT:
                raise InvalidValue(f"the host key of {alias} is longer than a key can be")
    finally:
        if isinstance(chunks, Generator):  # which ends the transfer
            chunks.close()
    try:
        # never decompressed, and sparse files may claim any size: the text may be a container's
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            member = archive.next()
            if member is None or not member.isreg() or member.size > KEY_LIMIT:
                raise InvalidValue(f"the host key of {alias} is no file with a key")
            file = archive.extractfile(member)
            text = file.read() if file is not None else b""
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InvalidValue(f"the host key of {alias} cannot be read: {error}") from error
    key = parse_public_key(text.decode("ascii", "replace"))
    return PublicKey(key.type, key.base64)


def _plan(context: Context, kept: Collection[HostBlock], new: list[HostBlock], removed: list[str]) -> ChangePlan:
    """What the writer would do; also where an entry is right and the user's own file no longer leads to it."""
    if new:
        identity_file = str(agent.public_key_file(agent.select_key(context.profile)))
        new = [evolve(block, identity_file=identity_file) for block in new]
    return context.writer.plan(add=[*kept, *new], remove=removed)


def _write(context: Context, plan: ChangePlan, outdated: Collection[str], keys: Mapping[str, PublicKey]) -> None:
    """The pins first: cut off here, what is left of a stale entry is still found and removed by the next run."""
    for alias in sorted(outdated):
        ssh_tools.stop_multiplexing(alias)
    for alias in plan.remove:
        context.known_hosts.forget(container_name(alias))
    for alias, key in keys.items():
        context.known_hosts.pin(container_name(alias), [key])
    context.writer.apply(plan)
