"""``l8s create``, ``list``, ``info``, ``start``, ``stop``, ``restart`` and ``rm``.

Not here: what these mean on the server (`l8s_core`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from l8s_cli import prompts, tables
from l8s_cli.invocation import Invocation, invocation
from l8s_cli.parsing import Checked, Command, number
from l8s_cli.report import UsageProblem
from l8s_core import names
from l8s_core.errors import ContainerNotFound
from l8s_core.model import (
    LABEL_BRANCH,
    LABEL_PREFIX,
    LABEL_REPOSITORY,
    LABEL_USER,
    ContainerInfo,
    ContainerSpec,
    HostBlock,
    Removal,
    StreamName,
)

if TYPE_CHECKING:
    from l8s_core.client import Client


def described(info: ContainerInfo) -> dict[str, object]:
    """A container as JSON shows it."""
    return {
        "name": info.short_name,
        "alias": info.name,
        "id": info.id,
        "state": info.state,
        "image": info.image,
        "ssh_port": info.ssh_port,
        "ports": {str(outer): inner for outer, inner in sorted(info.ports.items())},
        "created": info.created,
        "exit_code": info.exit_code,
        "repository": info.labels.get(LABEL_REPOSITORY),
        "branch": info.labels.get(LABEL_BRANCH),
        "user": info.labels.get(LABEL_USER),
        "labels": dict(sorted(info.labels.items())),
    }


def ssh_commands(block: HostBlock) -> tuple[str, str]:
    """Both ways to log in: by the ssh entry, and by server and port."""
    jump = f"-J {block.proxy_jump} " if block.proxy_jump else ""
    return f"ssh {block.alias}", f"ssh {jump}-p {block.port} {block.user}@{block.hostname}"


def _with_ssh(client: Client, info: ContainerInfo) -> tuple[dict[str, object], list[tuple[str, str]]]:
    """The container for programs, and the two lines about ssh for people."""
    data = described(info)
    if info.ssh_port is None:
        return data | {"ssh_command": None, "direct_ssh": None}, []
    by_alias, direct = ssh_commands(client.host_block(info))
    data |= {"ssh_command": by_alias, "direct_ssh": direct}
    return data, [("SSH Command", by_alias), ("Direct SSH", direct)]


def _clonable(text: str) -> str:
    names.repository(text)
    return text


IMAGE_LABELS = ("io.buildah.",)
"""The beginnings of labels that builders put on every image, and that a container inherits."""


@click.command(
    "create",
    cls=Command,
    examples=(
        ("l8s create myapp", "an empty project"),
        ("l8s create myapp https://git.example.com/app.git main", "a clone of the branch main"),
        ("l8s create myapp --memory 4g --cpus 2 --label team=blue", "with limits and a label"),
    ),
)
@click.argument("name", type=Checked(names.container_name))
@click.argument("git_url", required=False, type=Checked(_clonable))
@click.argument("branch", required=False, type=Checked(names.branch))
@click.option(
    "--image",
    type=Checked(names.image),
    metavar="IMAGE",
    help="Use this image of the server instead of the profile's.",
)
@click.option(
    "--label",
    "labels",
    type=Checked(names.label_argument),
    multiple=True,
    metavar="K=V",
    help="Add a label; may be repeated.",
)
@click.option("--memory", type=Checked(names.memory), metavar="SIZE", help="Memory limit: 512m, 2g.")
@click.option("--cpus", type=Checked(names.cpus), metavar="N", help="How many cores it may use: 2, 0.5.")
@click.option("--pids", type=number(names.pids), metavar="N", help="How many processes it may have.")
@invocation
def create(
    run: Invocation,
    name: str,
    git_url: str | None,
    branch: str | None,
    image: str | None,
    labels: tuple[tuple[str, str], ...],
    memory: int | None,
    cpus: float | None,
    pids: int | None,
) -> None:
    """Create a development container on the server.

    GIT_URL is cloned into /workspace/project, by the container's user, at BRANCH (else the repository's default).
    Credentials in the URL are used for the clone and not stored. When this is done, ssh works: l8s tries it.
    Whatever fails, nothing is left behind.
    """
    spec = ContainerSpec(
        name=name,
        repository=git_url,
        branch=branch,
        image=image,
        labels=dict(labels),
        memory=memory,
        cpus=cpus,
        pids=pids,
    )
    steps = run.steps()

    def show(_stream: StreamName, data: bytes) -> None:
        if run.verbose:
            run.out.log(data.decode("utf-8", "replace"))

    with run.connected() as client:
        container = client.create(spec, on_step=steps, on_output=show)
        data, ssh_lines = _with_ssh(client, container.info)
    run.out.data("container", data, f"Created {container.name}.\n\n{tables.facts(ssh_lines)}")
    run.out.note()
    flag = f" --profile {run.profile}" if run.profile else ""
    run.out.note("Next:")
    run.out.note(f"  ssh {container.alias}")
    run.out.note(f"  l8s exec{flag} {container.name} -- uname -a")
    run.out.note(f"  l8s remote add{flag} {container.name}     (in a git repository: push to the container)")


@click.command(
    "list",
    cls=Command,
    examples=(
        ("l8s list", "the containers of the active profile"),
        ("l8s ls -o json --profile staging", "those of another one, for programs"),
    ),
)
@invocation
def list_(run: Invocation) -> None:
    """List your containers.

    Those that l8s made with this profile's prefix, in whatever state.
    """
    with run.connected() as client:
        infos = sorted(client.list(), key=lambda info: info.short_name)
        now = client.server_time()
    table = tables.Table(
        columns=("NAME", "STATE", "SSH PORT", "IMAGE", "CREATED", "ALIAS"),
        rows=[
            (
                info.short_name,
                info.state,
                "-" if info.ssh_port is None else str(info.ssh_port),
                info.image,
                tables.age(info.created, now),
                info.name,
            )
            for info in infos
        ],
    )
    run.out.data("containers", [described(info) for info in infos], table)
    if not infos:
        run.out.note("No containers yet. Create one: l8s create NAME")


@click.command(
    "info",
    cls=Command,
    examples=(
        ("l8s info myapp", "its state, its image and both ssh commands"),
        ("l8s info myapp -o json", "everything that is known, for programs"),
    ),
)
@click.argument("name", type=Checked(names.container_name))
@invocation
def info(run: Invocation, name: str) -> None:
    """Show one container and how to reach it.

    SSH Command goes through l8s's own ssh entry, which knows the container's host key and reuses connections.
    Direct SSH is for machines that do not have the entry.
    """
    with run.connected() as client:
        found = client.get(name).info
        data, ssh_lines = _with_ssh(client, found)
        server = str(client.endpoint)
        now = client.server_time()
    known = [
        (
            "State",
            found.state if found.exit_code in (None, 0) or found.running else f"{found.state} ({found.exit_code})",
        ),
        *ssh_lines,
        ("SSH Port", "-" if found.ssh_port is None else str(found.ssh_port)),
        ("Server", server),
        ("Image", found.image),
        ("Created", tables.age(found.created, now)),
        ("Repository", found.labels.get(LABEL_REPOSITORY, "")),
        ("Branch", found.labels.get(LABEL_BRANCH, "")),
        (
            "Labels",
            ", ".join(
                f"{k}={v}" for k, v in sorted(found.labels.items()) if not k.startswith((LABEL_PREFIX, *IMAGE_LABELS))
            ),
        ),
        ("ID", found.id),
    ]
    run.out.data(
        "container",
        data | {"server": server},
        f"{names.printable(found.short_name)}\n{tables.facts([pair for pair in known if pair[1]])}",
    )


def _for_each(run: Invocation, targets: tuple[str, ...], act: Callable[[Client, str], Any], done: str) -> None:
    """Do one thing to several containers, in order; the first failure stops, and what was done stays."""
    changed = []
    with run.connected() as client:
        for name in targets:
            act(client, name)
            changed.append(name)
            run.out.note(f"{done} {name}.")
    run.out.data("changed", [{"name": name, "done": done.lower()} for name in changed], "")


@click.command("start", cls=Command, examples=(("l8s start myapp", "start it"),))
@click.argument("names_", type=Checked(names.container_name), metavar="NAME...", nargs=-1, required=True)
@invocation
def start(run: Invocation, names_: tuple[str, ...]) -> None:
    """Start stopped containers.

    Starting one that runs succeeds and changes nothing.
    """
    _for_each(run, names_, lambda client, name: client.start(name), "Started")


@click.command("stop", cls=Command, examples=(("l8s stop myapp other", "stop both"),))
@click.argument("names_", type=Checked(names.container_name), metavar="NAME...", nargs=-1, required=True)
@invocation
def stop(run: Invocation, names_: tuple[str, ...]) -> None:
    """Stop running containers.

    Their volumes, ports and ssh entries stay. When the server reboots, stopped containers are started too.
    """
    _for_each(run, names_, lambda client, name: client.stop(name), "Stopped")


@click.command("restart", cls=Command, examples=(("l8s restart myapp", "end what runs in it, and start it"),))
@click.argument("names_", type=Checked(names.container_name), metavar="NAME...", nargs=-1, required=True)
@invocation
def restart(run: Invocation, names_: tuple[str, ...]) -> None:
    """Stop and start containers.

    Whatever runs in them ends; what is on their volumes stays.
    """
    _for_each(run, names_, lambda client, name: client.restart(name), "Restarted")


@click.command(
    "rm",
    cls=Command,
    examples=(
        ("l8s rm myapp", "show what goes, and ask"),
        ("l8s rm myapp --keep-volumes", "keep the home directory and the workspace for the next myapp"),
        ("l8s rm myapp --yes", "in a script"),
    ),
)
@click.argument("name", type=Checked(names.container_name))
@click.option("--keep-volumes", is_flag=True, help="Keep the home directory and the workspace.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@invocation
def rm(run: Invocation, name: str, keep_volumes: bool, yes: bool) -> None:
    """Remove a container, its volumes and its ssh entry.

    What a create that was killed has left behind is removed too.
    """
    if not yes and not prompts.interactive():
        raise UsageProblem(
            f"Removing {name} cannot be undone, and there is no terminal to ask on.",
            hints=(f"Say that you mean it: l8s rm {name} --yes",),
            ctx=click.get_current_context(),
        )
    with run.connected() as client:
        if not yes:
            _show_removal(run, client, name, keep_volumes)
            if not prompts.confirm("Remove?"):
                run.out.note("Nothing was removed.")
                return
        removal = client.remove(name, keep_volumes=keep_volumes, on_step=run.steps())
    data = {
        "name": name,
        "alias": removal.alias,
        "container": removal.container,
        "ssh_entry": removal.entry,
        "volumes": list(removal.volumes),
        "kept_volumes": list(removal.kept_volumes),
    }
    run.out.data("removal", data, lambda: _removed(name, removal))


def _show_removal(run: Invocation, client: Client, name: str, keep_volumes: bool) -> None:
    alias = client.profile.alias(name)
    try:
        state = client.get(name).info.state
        run.out.note(f"On {client.endpoint} this removes:")
        run.out.note(f"  the container {alias} ({state})")
    except ContainerNotFound:
        run.out.note(f"On {client.endpoint} there is no container {alias}. This removes what may be left of it:")
    if not keep_volumes:
        run.out.note("  its volumes: the home directory and /workspace, with everything in them")
    run.out.note(f"  the ssh entry {alias} and its host key on this machine")
    if keep_volumes:
        run.out.note("Its volumes are kept.")


def _removed(name: str, removal: Removal) -> str:
    parts = [f"the container {removal.alias}"] if removal.container else []
    parts += [f"the volume {volume}" for volume in removal.volumes]
    parts += ["the ssh entry"] if removal.entry else []
    lines = [f"Removed {name}: {', '.join(parts)}."]
    if removal.kept_volumes:
        lines.append(f"Kept: {', '.join(removal.kept_volumes)}.")
    return "\n".join(lines) + "\n"
