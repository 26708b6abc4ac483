"""``l8s profile``: the profiles in the configuration and from plugins, without any network.

Not here: how a profile is put together, and which one is active (`l8s_core.config`).
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import click

from l8s_cli import tables
from l8s_cli.invocation import Invocation, invocation
from l8s_cli.parsing import Checked, Group, server_options
from l8s_core import names, policy
from l8s_core.errors import ConfigError, L8sError
from l8s_core.model import Profile

DEFAULT_USER = "root"
"""Podman runs as root on the server, inside its own LXC container or VM, and its socket is root's."""


def checked_settings(
    *,
    host: str | None,
    user: str | None,
    port: int | None,
    socket: str | None,
    key: str | None,
    image: str | None,
) -> dict[str, object]:
    """The options that were given, under the config's names.

    Raises:
        RemoteOnlyError: the host is this machine, by its name alone.
    """
    if host is not None:
        policy.refuse_local_name(host)
    settings = {
        "remote_host": host,
        "remote_user": user,
        "remote_port": port,
        "remote_socket": socket,
        "ssh_key_path": key,
        "base_image": image,
    }
    return {setting: value for setting, value in settings.items() if value is not None}


def settings_of(profile: Profile) -> dict[str, dict[str, object]]:
    """Each setting of a profile with its value and where that came from."""
    return {
        attribute.name: {
            "value": getattr(profile, attribute.name),
            "source": profile.sources.get(attribute.name, "default"),
        }
        for attribute in attrs.fields(Profile)
        if attribute.name not in ("name", "sources")
    }


def settings_table(profile: Profile) -> tables.Table:
    """The same for people."""
    return tables.Table(
        columns=("SETTING", "VALUE", "FROM"),
        rows=[(name, _shown(item["value"]), str(item["source"])) for name, item in settings_of(profile).items()],
    )


def _shown(value: object) -> str:
    if value is None or value == {}:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={item}" for key, item in value.items())
    return str(value)


@click.group(
    "profile",
    cls=Group,
    examples=(
        ("l8s profile list", "what there is, and which one is in use"),
        ("l8s profile add staging --host staging.example.com", "one more server"),
        ("l8s profile use staging", "use it from now on"),
        ("l8s list --profile dev", "use another one once"),
    ),
)
def profile() -> None:
    """Show, add and choose profiles; works offline.

    A profile is a server and how containers are made there. Which one is in use: --profile, else L8S_PROFILE,
    else active_profile in the configuration, else the only one.
    """


@profile.command("list", examples=(("l8s profile list", "the profiles; * marks the one in use"),))
@invocation
def list_(run: Invocation) -> None:
    """List the profiles and mark the one in use."""
    config = run.session.config
    active, reason = None, ""
    try:
        choice = run.session.choose(run.profile)
        active, reason = choice.name, choice.reason
    except ConfigError as error:
        if run.profile is not None:
            raise
        reason = error.message
    rows, data = [], []
    for name in config.names():
        try:
            found = config.profile(name)
            server, source, problem = (
                f"{found.remote_user}@{found.remote_host}",
                found.sources.get("remote_host", ""),
                None,
            )
        except L8sError as error:
            server, source, problem = "(not usable)", "", error.message
        rows.append(("*" if name == active else "", name, server, source))
        data.append(
            {
                "name": name,
                "active": name == active,
                "server": None if problem else server,
                "problem": problem,
            }
        )
    table = tables.Table(columns=("", "NAME", "SERVER", "FROM"), rows=rows)
    run.out.data("profiles", {"profiles": data, "active": active, "reason": reason}, table)
    if not rows:
        run.out.note("No profiles yet. Set one up: l8s init")
    elif active is not None:
        run.out.note(f"* in use: {reason}")
    else:
        run.out.note(f"None is in use. {reason}")


@profile.command(
    "show",
    examples=(
        ("l8s profile show", "the profile in use"),
        ("l8s profile show staging -o json", "another one, for programs"),
    ),
)
@click.argument("name", required=False, type=Checked(names.profile_name))
@invocation
def show(run: Invocation, name: str | None) -> None:
    """Show each setting of a profile and where it came from."""
    found = run.chosen_profile() if name is None else run.session.config.profile(name)
    run.out.data("profile", {"name": found.name, "settings": settings_of(found)}, settings_table(found))


@profile.command("current", examples=(("l8s profile current", "its name alone"),))
@invocation
def current(run: Invocation) -> None:
    """Print the name of the profile in use, and on stderr why it is that one."""
    choice = run.session.choose(run.profile)
    run.out.data("current-profile", {"name": choice.name, "reason": choice.reason}, f"{choice.name}\n")
    run.out.note(f"Because of: {choice.reason}")


@profile.command(
    "add",
    examples=(
        ("l8s profile add staging --host staging.example.com", "a server, reached as root"),
        ("l8s profile add lab --host 192.0.2.7 --user ops --port 2222", "with a user and a port"),
    ),
)
@click.argument("name", type=Checked(names.profile_name))
@server_options(required=True)
@invocation
def add(
    run: Invocation,
    name: str,
    host: str,
    user: str | None,
    port: int | None,
    socket: str | None,
    key: str | None,
    image: str | None,
) -> None:
    """Add a profile to the configuration without connecting.

    Nothing is tested and the server's host key stays unknown. To add a profile and test all of it, use
    l8s init --profile NAME.
    """
    from l8s_core.config import with_profile

    first = not run.session.config.names()
    settings = checked_settings(host=host, user=user or DEFAULT_USER, port=port, socket=socket, key=key, image=image)
    run.session.store.edit(lambda data: with_profile(data, name, settings))
    run.out.data("profile-added", {"name": name, "settings": settings}, f"Added profile {name}.\n")
    run.out.note("Next:")
    run.out.note(f"  l8s init --profile {name}     (trust the server's host key and test the connection)")
    if not first:
        run.out.note(f"  l8s profile use {name}")


@profile.command("use", examples=(("l8s profile use staging", "use staging from now on"),))
@click.argument("name", type=Checked(names.profile_name))
@invocation
def use(run: Invocation, name: str) -> None:
    """Make a profile the active one.

    --profile and L8S_PROFILE still come first.
    """
    from l8s_core.config import PROFILE_VARIABLE, with_active

    run.session.config.profile(name)
    run.session.store.edit(lambda data: with_active(data, name))
    run.out.data("active-profile", {"name": name}, f"Profile {name} is active.\n")
    overriding = run.environ.get(PROFILE_VARIABLE)
    if overriding and overriding != name:
        run.out.warn(f"{PROFILE_VARIABLE}={overriding} is set and comes first.")


@profile.command("remove", examples=(("l8s profile remove staging", "forget the server; its containers stay"),))
@click.argument("name", type=Checked(names.profile_name))
@invocation
def remove(run: Invocation, name: str) -> None:
    """Remove a profile from the configuration.

    Nothing is changed on the server: its containers stay, and can be reached again with a profile of the same name.
    """
    from l8s_core.config import without_profile

    run.session.store.edit(lambda data: without_profile(data, name))
    run.out.data("profile-removed", {"name": name}, f"Removed profile {name}. Its server is as it was.\n")
