"""Making a server out of a machine that SSH reaches: look, show what is to change, run the script, prove it.

The work is done by ``setup-server.sh`` beside this file, which also works without l8s. Not here: asking.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources

from attrs import evolve, field, frozen

from l8s_core import names
from l8s_core.client import Client
from l8s_core.errors import ConnectionFailed, OutcomeUnknown, SetupFailed
from l8s_core.model import HostFacts, OutputSink
from l8s_core.steps import StepObserver

PODMAN_FLOOR = (4, 3)
"""The oldest Podman that l8s is tested with."""

OLDEST = {"debian": (12,), "ubuntu": (24, 4), "fedora": (0,)}
"""The first release of each system whose own Podman is not older than that: Debian 11 has 3.0, Ubuntu 22.04 has 3.4."""

UNITS = {
    "podman.socket": "enable and start podman.socket: Podman as root, for whoever may log in as root",
    "podman-restart.service": "enable podman-restart.service: containers come back after a reboot",
}

LOOK_TIMEOUT = 60.0
"""Seconds; asking an old Podman through its socket takes some of them."""

RUN_TIMEOUT = 1800.0
"""Seconds; a slow mirror, and ten minutes of waiting for another installation."""

SETUP_PAGE = "docs/REMOTE_SETUP.md"


def _users(members: Iterable[str]) -> tuple[str, ...]:
    return tuple(names.remote_user(member) for member in members)


@frozen(kw_only=True)
class SocketGroup:
    """A group of the server's users that may use Podman's socket; ``members`` are to be in it, besides who is."""

    name: str = field(converter=names.server_group)
    members: tuple[str, ...] = field(default=(), converter=_users)


@frozen(kw_only=True)
class SetupPlan:
    """What a setup would do. ``changes`` are sentences, none when the server is ready; ``command`` runs as root."""

    system: str
    changes: tuple[str, ...]
    command: tuple[str, ...]
    group: SocketGroup | None = None


def plan(client: Client, group: SocketGroup | None = None) -> SetupPlan:
    """Look at the server, changing nothing, and say what is to be done.

    With a ``group``, Podman's socket is opened to that too; a login user who is not root becomes a member.

    Raises:
        SetupFailed: this machine cannot be set up; the message says why, the hints what to do by hand.
        ConnectionFailed: it cannot be reached.
    """
    profile = client.profile
    if group is not None and profile.remote_user not in ("root", *group.members):
        group = evolve(group, members=(profile.remote_user, *group.members))
    words = ["bash", "-s", "--", "--look", *_options(group)]
    result = client.run_on_server(words, stdin=script(), timeout=LOOK_TIMEOUT)
    found = _read(result.stdout)
    if result.exit_code != 0 or "end" not in found:
        said = result.stderr.strip()[-500:] or f"exit code {result.exit_code}"
        raise SetupFailed(
            f"The server could not be looked at: {said}",
            hints=("It needs bash and the usual tools of Debian, Ubuntu or Fedora", f"By hand: {SETUP_PAGE}"),
        )
    return planned(found, user=profile.remote_user, host=profile.remote_host, group=group)


def planned(found: Mapping[str, str], *, user: str, host: str, group: SocketGroup | None = None) -> SetupPlan:
    """The plan for what was ``found``; pure.

    Raises:
        SetupFailed: as `plan` does.
    """
    system = found.get("name") or "an unknown system"
    _refuse_unsupported(found, system)
    root = found.get("uid") == "0"
    if not root and found.get("sudo") != "yes":
        raise SetupFailed(
            f"{user} is not root on {host}, and may not use sudo without a password.",
            hints=(
                f"Log in as root: l8s server setup {host} --user root",
                f"Or copy scripts/setup-server.sh there and run: ssh -t {user}@{host} sudo bash setup-server.sh",
            ),
        )
    if not root and found.get("usable") != "yes" and group is None:
        raise SetupFailed(
            f"{user} could not use Podman's socket on {host} even after the setup: it is root's.",
            hints=(
                f"Log in as root: l8s server setup {host} --user root",
                f"Or let {user} use it, who is root there then: l8s server setup {host} --user {user} --group l8s",
            ),
        )
    changes = []
    missing = found.get("missing", "").split()
    if missing:
        changes.append(f"install from the packages of {system}: {' '.join(missing)}")
    changes += [sentence for unit, sentence in UNITS.items() if found.get(unit) != "yes"]
    if not changes and found.get("answers") != "yes":
        changes.append("restart podman.socket, which does not answer")
    if group is not None:
        changes += _group_changes(found, group, host)
    command = ("bash", "-s", "--", "--brief", *_options(group))
    return SetupPlan(
        system=system,
        changes=tuple(changes),
        command=command if root else ("sudo", "-n", *command),
        group=group,
    )


def _options(group: SocketGroup | None) -> tuple[str, ...]:
    """The script's options for a group."""
    if group is None:
        return ()
    return ("--group", group.name, *(word for member in group.members for word in ("--member", member)))


def _group_changes(found: Mapping[str, str], group: SocketGroup, host: str) -> Iterator[str]:
    """What is to be done for a group; it says what that means for who is in it."""
    unknown = found.get("group.unknown", "").split()
    if unknown:
        raise SetupFailed(
            f"There is no user {unknown[0]} on {host}.",
            hints=(f"Make one there: adduser {names.shell_word(names.printable(unknown[0]))}",),
        )
    if group.name == "root" or found.get("group.gid") == "0":
        raise SetupFailed(
            f"The group {group.name} is root's own on {host}.", hints=("Take a group that does not exist yet: l8s",)
        )
    if found.get("group.exists") != "yes":
        yield f"make the group {group.name}"
    outside = found.get("group.outside", "").split()
    if outside:
        yield f"add to the group {group.name}, whose members are root on this server: {' '.join(outside)}"
    if found.get("group.socket") != "yes":
        there = found.get("group.everyone", "").split()
        who = f" (members already: {' '.join(there)})" if there else ""
        yield f"let the group {group.name}{who} use Podman's socket, which makes each member root on this server"


def run(client: Client, plan: SetupPlan, *, on_output: OutputSink | None = None) -> None:
    """Carry out a plan. What was begun goes on when the connection is lost; running it again is always safe.

    Raises:
        SetupFailed: a step failed on the server.
        OutcomeUnknown: the connection was lost, or half an hour was not enough.
    """
    again = f"Run it again, which waits for the first: l8s server setup {client.profile.remote_host}"
    again += f" --group {plan.group.name}" if plan.group else ""
    client.open()
    try:
        result = client.run_on_server(plan.command, stdin=script(), timeout=RUN_TIMEOUT, on_output=on_output)
    except ConnectionFailed as error:
        raise OutcomeUnknown(
            f"The connection was lost while the server was being set up, which goes on there.\n{error.message}",
            hints=(again,),
        ) from error
    if result.exit_code != 0:
        last = "\n".join(result.stderr.strip().splitlines()[-5:]) or f"exit code {result.exit_code}"
        raise SetupFailed(
            f"The setup of {client.profile.remote_host} failed. The server's last words:\n{last}",
            hints=(again, f"Or by hand: {SETUP_PAGE}"),
        )


def prove(client: Client, on_step: StepObserver | None = None) -> HostFacts:
    """Connect afresh and reach Podman, as every command will from now on; with the connection's warnings too.

    Raises:
        ConnectionFailed: it does not work.
        BackendError: Podman is too old.
    """
    client.close()
    client.open(on_step)
    facts = client.facts(on_step)
    return evolve(facts, warnings=(*client.warnings, *facts.warnings))


def script() -> bytes:
    """The setup script."""
    return resources.files(__package__).joinpath("setup-server.sh").read_bytes()


def _read(text: str) -> dict[str, str]:
    """The ``l8s-look KEY VALUE`` lines; a login shell may have printed anything else."""
    lines = (line.removeprefix("l8s-look ") for line in text.splitlines() if line.startswith("l8s-look "))
    return {key: value.strip() for key, _, value in (line.partition(" ") for line in lines)}


def _version(text: str) -> tuple[int, ...]:
    match = re.match(r"[0-9]{1,6}(?:\.[0-9]{1,6}){0,3}", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def _refuse_unsupported(found: Mapping[str, str], system: str) -> None:
    """Raises: SetupFailed, for a system that the script does not know, or whose Podman is too old."""
    kind, podman, release = found.get("id", ""), _version(found.get("podman", "")), _version(found.get("version", ""))
    floor = ".".join(map(str, PODMAN_FLOOR))
    if kind not in OLDEST or found.get("systemd") != "yes":
        why = "systemd does not run on it" if kind in OLDEST else "it is neither Debian, Ubuntu nor Fedora"
        raise SetupFailed(
            f"The server ({system}) cannot be set up by l8s: {why}.",
            hints=(f"Install Podman {floor} or later by hand, and enable its socket: {SETUP_PAGE}",),
        )
    # Debian's testing has no release number, and everything that is new
    too_old = podman < PODMAN_FLOOR if podman else bool(release) and release < OLDEST[kind]
    if too_old:
        which = f"Podman {found['podman']}" if podman else f"the Podman in the packages of {system}"
        raise SetupFailed(
            f"The server ({system}) cannot be set up: {which} is too old; l8s needs {floor} or later.",
            hints=("Use Debian 12 or later, Ubuntu 24.04 or later, or Fedora", f"Read on: {SETUP_PAGE}"),
        )
