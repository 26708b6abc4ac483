"""``l8s server``: making a server out of a machine that SSH reaches.

Not here: what is done there (`l8s_core.server.setup`).
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click
from attrs import asdict

from l8s_cli import prompts
from l8s_cli.commands.connection import described
from l8s_cli.commands.init import MAX_HOST_KEYS
from l8s_cli.commands.profile import DEFAULT_USER, checked_settings
from l8s_cli.invocation import Invocation, invocation
from l8s_cli.parsing import Checked, Group, server_option
from l8s_cli.report import UsageProblem
from l8s_cli.trust import Trust
from l8s_core import names
from l8s_core.errors import ConfigError, HostKeyRejected, L8sError
from l8s_core.model import HostFacts, OutputSink, Profile, StreamName

if TYPE_CHECKING:
    from l8s_core.server.setup import SetupPlan

NOTHING_CHANGED = "Nothing was changed on the server."


@click.group(
    "server", cls=Group, examples=(("l8s server setup server.example.com", "make a machine a server for l8s"),)
)
def server() -> None:
    """Set up a machine as a server for l8s."""


@server.command(
    "setup",
    examples=(
        ("l8s server setup server.example.com", "show what is to be done, ask, and do it"),
        ("l8s server setup server.example.com --yes --trust-host-key SHA256:...", "without a question, for scripts"),
        (
            "l8s server setup server.example.com --group l8s --group-member me",
            "let the user me use it, who is then root",
        ),
    ),
)
@click.argument("host", type=Checked(names.host))
@server_option("--user")
@server_option("--port")
@server_option("--key")
@click.option(
    "--trust-host-key",
    "fingerprints",
    type=Checked(names.fingerprint),
    multiple=True,
    metavar="SHA256:...",
    help="Trust a server (or jump host) whose key has this fingerprint; may be repeated.",
)
@click.option(
    "--group",
    type=Checked(names.server_group),
    metavar="NAME",
    help="Let a group of the server use Podman too; its members are root there.",
)
@click.option(
    "--group-member",
    "members",
    type=Checked(names.remote_user),
    multiple=True,
    metavar="USER",
    help="Who is to be in that group; may be repeated [--user, unless that is root].",
)
@click.option("--yes", "-y", is_flag=True, help="Do it without asking; a host key is still asked about.")
@invocation
def setup(
    run: Invocation,
    host: str,
    user: str | None,
    port: int | None,
    key: str | None,
    fingerprints: tuple[str, ...],
    group: str | None,
    members: tuple[str, ...],
    yes: bool,
) -> None:
    """Install Podman on a server and enable its socket.

    Needs no profile. Looks at the server first and shows what it will do; Debian 12 or later, Ubuntu 24.04 or later,
    or Fedora, as root or with sudo. Safe to run again, also after it was interrupted: what is there already stays
    as it is. Ends by reaching Podman. Without a terminal it needs --yes.

    The socket is root's. With --group, a group may use it as well, so that a user can log in who is not root. That
    is convenience and no protection: whoever may use the socket is root on the server.
    """
    if run.profile is not None:
        raise UsageProblem(
            "The server is given by its name, not by a profile.",
            hints=("Leave out --profile: l8s server setup HOST",),
            ctx=click.get_current_context(),
        )
    if members and group is None:
        raise UsageProblem(
            "--group-member needs --group.", hints=("Name the group: --group l8s",), ctx=click.get_current_context()
        )
    wish = None if group is None else (group, members)
    settings = checked_settings(host=host, user=user or DEFAULT_USER, port=port, socket=None, key=key, image=None)
    try:
        profile = Profile(name="setup", **settings)  # type: ignore[arg-type]
        _set_up(run, profile, _words(settings), fingerprints, wish, yes=yes)
    except L8sError as error:
        error.profile = None  # there is none: the name above is in nobody's configuration
        raise


def _words(settings: Mapping[str, object]) -> list[str]:
    """The options of ``l8s init`` that mean the same server."""
    options = {"remote_user": "--user", "remote_port": "--port", "ssh_key_path": "--key"}
    return [word for key, option in options.items() if key in settings for word in (option, str(settings[key]))]


def _set_up(
    run: Invocation,
    profile: Profile,
    words: list[str],
    fingerprints: tuple[str, ...],
    wish: tuple[str, tuple[str, ...]] | None,
    *,
    yes: bool,
) -> None:
    from l8s_core.server import setup as server_setup

    can_ask = prompts.interactive()
    group = None if wish is None else server_setup.SocketGroup(name=wish[0], members=wish[1])
    more = (
        [] if wish is None else ["--group", wish[0], *(word for user in wish[1] for word in ("--group-member", user))]
    )
    command = names.shell_words(["l8s", "server", "setup", profile.remote_host, *words, *more])
    trust = Trust(
        run.session.known_hosts,
        fingerprints,
        can_ask=can_ask,
        command=command + (" --yes" if yes else ""),
        out=run.out,
    )
    run.warn_of_ignored_settings(profile.name)
    client = run.session.client(profile)
    try:
        try:
            for _ in range(MAX_HOST_KEYS):
                try:
                    client.open(run.steps() if run.verbose else None)
                    break
                except HostKeyRejected as rejected:
                    trust.decide(rejected)
            plan = server_setup.plan(client, group)
            agreed = not plan.changes or _agreed(run, profile, plan, command, yes=yes, can_ask=can_ask)
        except BaseException:
            trust.take_back()
            raise
        if not agreed:
            trust.take_back()
            run.out.note(NOTHING_CHANGED)
            return
        if plan.changes:
            try:
                server_setup.run(client, plan, on_output=_shown(run))
            except KeyboardInterrupt:
                run.out.note(f"What was begun goes on on the server. Run it again to wait for its end: {command}")
                raise
        else:
            run.out.note(f"{profile.remote_host} ({plan.system}) is set up already; there is nothing to do.")
        run.out.note()
        facts = server_setup.prove(client, run.steps())
        from l8s_core.doctor import server_checks

        # an image comes next; all else that doctor would say of the server is said now
        remarks = [
            finding
            for check, finding in server_checks(client, facts)
            if finding.state != "ok" and check != "image" and finding.message not in facts.warnings
        ]
    finally:
        client.close()
    _report(run, profile, plan, facts, words)
    for finding in remarks:
        run.out.warn(f"{finding.message}. Run: {finding.hint}")


def _agreed(run: Invocation, profile: Profile, plan: SetupPlan, command: str, *, yes: bool, can_ask: bool) -> bool:

    listed = "\n".join(f"  - {change}" for change in plan.changes)
    if not yes and not can_ask:
        raise ConfigError(
            f"The server {profile.remote_host} needs changes, and there is no terminal to ask whether to make them:\n"
            f"{listed}",
            hints=(f"Say so: {command} --yes",),
        )
    run.out.note(f"{profile.remote_host} runs {plan.system}. To be done there, as root:")
    run.out.note(listed)
    return yes or prompts.confirm("Do it?")


def _shown(run: Invocation) -> OutputSink:
    """Prints what the server says as it comes; a character may be cut in two between pieces."""
    decoders = {stream: codecs.getincrementaldecoder("utf-8")("replace") for stream in ("stdout", "stderr")}

    def show(stream: StreamName, data: bytes) -> None:
        run.out.log(decoders[stream].decode(data))

    return show


def _report(run: Invocation, profile: Profile, plan: SetupPlan, facts: HostFacts, words: list[str]) -> None:

    data = {
        "server": f"{profile.remote_user}@{profile.remote_host}",
        "system": plan.system,
        "changes": list(plan.changes),
        "facts": asdict(facts),
    }
    run.out.data("server-setup", data, described(facts))
    for sentence in facts.warnings:
        run.out.warn(sentence)
    run.out.note()
    if plan.group is not None:
        run.out.note(f"Members of the group {plan.group.name} may use Podman there, and so are root on the server.")
        # sshd gives a user's new groups to new logins only
        run.out.note("Who was logged in before must log in again.")
        if profile.remote_user == "root" and plan.group.members:
            words = ["--user", plan.group.members[0], *words[2:]] if words[:1] == ["--user"] else words
    run.out.note(f"Next: {names.shell_words(['l8s', 'init', '--host', profile.remote_host, *words])}")
