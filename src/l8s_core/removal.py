"""Removing an l8s container: the reverse of creating one. The local files go first, the volumes last.

Not here: rolling back a create that failed (`l8s_core.provision`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from operator import methodcaller

from l8s_core import names, ssh_tools
from l8s_core.contracts import RemoteBackend
from l8s_core.errors import ContainerNotFound
from l8s_core.journal import Journal
from l8s_core.known_hosts import container_name
from l8s_core.layout import is_ours, own_labels, volume_names
from l8s_core.model import ContainerInfo, Removal
from l8s_core.provision import Context
from l8s_core.side_by_side import beside


def remove(context: Context, name: str, *, keep_volumes: bool = False) -> Removal:
    """Remove a container, its volumes and its ssh entry; what is already gone is fine, so it can be run again.

    With ``keep_volumes`` the home and the workspace stay, for a new container of the same name.

    Raises:
        ContainerNotFound: there is nothing of that name, or it is not ours.
        ContainerExists: it is being created by another l8s on this laptop.
    """
    journal = Journal.of(context.endpoint, context.profile.alias(names.container_name(name)))
    with journal.held():
        removal = _remove(context, name, journal, keep_volumes=keep_volumes)
        journal.end()
        return removal


def _remove(context: Context, name: str, journal: Journal, *, keep_volumes: bool) -> Removal:
    profile, backend, steps, alias = context.profile, context.backend, context.steps, journal.alias
    with steps.step("check"):
        with beside(backend, lambda other: other.volumes(own_labels(profile))) as looking:
            try:
                info: ContainerInfo | None = backend.inspect(alias)
            except ContainerNotFound:
                info = None
        if info is not None and not is_ours(info.labels, profile):
            raise ContainerNotFound(f"The container {alias} on the server was not made by l8s; it stays.")
        wanted = volume_names(alias)
        found = {volume.name for volume in looking.result if volume.name in wanted.values()}
        entry = any(block.alias == alias for block in context.writer.blocks())
        kept = {wanted["home"], wanted["workspace"]} & found if keep_volumes else set()
        if info is None and not entry and not found - kept:
            journal.end()  # of a create that was cut off before it made anything
            raise ContainerNotFound(
                f"There is no container {name} (profile {profile.name}).",
                hints=("See what there is: l8s list",),
            )
    with steps.step("ssh config"):
        if entry:
            ssh_tools.stop_multiplexing(alias)
            context.writer.apply(context.writer.plan(remove=[alias]))
        context.known_hosts.forget(container_name(alias))
    with steps.step("container"):
        removed = info is not None and backend.remove(alias)
    with steps.step("volumes"):
        gone = _without(backend, sorted(found - kept))
    return Removal(alias=alias, container=removed, entry=entry, volumes=gone, kept_volumes=tuple(sorted(kept)))


def _without(backend: RemoteBackend, volumes: Sequence[str]) -> tuple[str, ...]:
    """Remove volumes, all at once; those that were there."""
    if not volumes:
        return ()
    first, *others = volumes
    with ExitStack() as stack:
        removing = [
            (volume, stack.enter_context(beside(backend, methodcaller("remove_volume", volume)))) for volume in others
        ]
        gone = [first] if backend.remove_volume(first) else []
    return (*gone, *(volume for volume, removed in removing if removed.result))
