"""The system's OpenSSH tools on the laptop: ``ssh -G``, ``ssh-add``, ``ssh-keygen``, and ssh itself.

ssh finds ``~`` through the password database and not through ``$HOME``; where the two differ, every call
here names the config file, so that ssh and l8s always speak of the same one.

Not here: choosing the agent's key (`l8s_core.agent`), and writing ssh's configuration (the ssh-config
writer).
"""

from __future__ import annotations

import os
import pwd
import re
from pathlib import Path
from urllib.parse import unquote

from attrs import frozen

from l8s_core import known_hosts, names, processes
from l8s_core.errors import (
    AgentUnavailable,
    CommandFailed,
    CommandTimedOut,
    InvalidValue,
    SSHConfigError,
)
from l8s_core.model import DEFAULT_KEY_PATH, PublicKey
from l8s_core.processes import Completed

RESOLVE_TIMEOUT = 5.0
"""Seconds for ``ssh -G``, which asks no network but runs the user's ``Match exec`` commands."""

AGENT_TIMEOUT = 3.0
"""Seconds for ``ssh-add -L``: an agent answers in milliseconds, and a stopped one never."""


@frozen(kw_only=True)
class AliasSettings:
    """What ssh would do for a host, by the user's whole configuration; "" is a setting that is not made."""

    hostname: str
    user: str
    port: int
    proxy_jump: str = ""
    proxy_command: str = ""
    host_key_alias: str = ""


@frozen
class Jump:
    """One jump host. None leaves the choice to the user's ssh configuration of that host."""

    user: str | None
    host: str
    port: int | None


def home_is_sshs() -> bool:
    """Whether ``Path.home()`` is the home directory that ssh itself takes for ``~``."""
    try:
        theirs = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return False
    return os.path.realpath(theirs) == os.path.realpath(Path.home())


def config_option() -> tuple[str, ...]:
    """The option that makes ssh read ``~/.ssh/config`` of `Path.home`; nothing where it does so by itself."""
    if home_is_sshs():
        return ()
    config = Path.home() / ".ssh" / "config"
    return ("-F", str(config) if config.exists() else "/dev/null")


def ssh_command(*arguments: str) -> list[str]:
    """The argv of ssh with ``arguments``, reading the right configuration."""
    return ["ssh", *config_option(), *arguments]


def resolve_alias(host: str, *, user: str | None = None) -> AliasSettings:
    """What the user's ssh configuration makes of ``host``, as ``ssh -G`` says it.

    A ``user`` stays as given; None leaves it to the configuration.

    Raises:
        InvalidValue: ``host`` would be an option.
        SSHConfigError: ssh rejects the configuration, or takes longer than `RESOLVE_TIMEOUT`.
        CommandNotFound: there is no ssh.
    """
    _refuse_option(host)
    login: tuple[str, ...] = ()
    if user is not None:
        _refuse_option(user)
        login = ("-l", user)
    argv = ssh_command("-G", *login, "--", host)
    try:
        completed = processes.run(argv, timeout=RESOLVE_TIMEOUT)
    except CommandTimedOut as error:
        raise SSHConfigError(
            f"ssh did not say within {RESOLVE_TIMEOUT:g} s what {host} means",
            hints=(
                "A 'Match exec' or 'Include' in ~/.ssh/config may be waiting for something",
                f"Try it: ssh -G {host}",
            ),
        ) from error
    if not completed.ok:
        complaint = names.printable(_first_complaint(completed))
        raise SSHConfigError(
            f"ssh does not accept its configuration for {host}:\n  {complaint}",
            hints=(f"Mend it and try: ssh -G {host}",),
        )
    settings: dict[str, str] = {}
    for line in completed.output.splitlines():
        keyword, _, value = line.partition(" ")
        settings.setdefault(keyword, value.strip())
    try:
        port = int(settings["port"])
        hostname, login_user = settings["hostname"], settings["user"]
    except (KeyError, ValueError) as error:
        raise SSHConfigError(
            f"ssh -G {host} did not print a host name, user and port", hints=("Check the version: ssh -V",)
        ) from error
    return AliasSettings(
        hostname=hostname,
        user=login_user,
        port=port,
        proxy_jump=_unless_none(settings.get("proxyjump", "")),
        proxy_command=_unless_none(settings.get("proxycommand", "")),
        host_key_alias=_unless_none(settings.get("hostkeyalias", "")),
    )


def parse_jump(text: str) -> tuple[Jump, ...]:
    """The jump hosts of a ProxyJump value, first hop first; none for "" and ``none`` (ssh_config(5)).

    Raises:
        InvalidValue: it is not ``[user@]host[:port]`` or ``ssh://[user@]host[:port]``, comma separated.
    """
    if _unless_none(text.strip()) == "":
        return ()
    return tuple(_parse_hop(hop.strip()) for hop in text.split(","))


def agent_keys(key_path: str = DEFAULT_KEY_PATH) -> tuple[PublicKey, ...]:
    """The keys that the agent holds, at least one; ``key_path`` is what messages tell the reader to add.

    Raises:
        AgentUnavailable: there is no agent, it is dead, it is silent, or it is empty.
        CommandNotFound: there is no ssh-add.
    """
    socket = os.environ.get("SSH_AUTH_SOCK", "")
    if not socket:
        raise AgentUnavailable(
            "ssh-agent is required but not running.\n"
            "\n"
            "Please start ssh-agent and add your key:\n"
            "  eval $(ssh-agent)\n"
            f"  ssh-add {key_path}\n"
            "\n"
            "l8s requires ssh-agent for secure remote connections."
        )
    try:
        completed = processes.run(["ssh-add", "-L"], timeout=AGENT_TIMEOUT)
    except CommandTimedOut as error:
        raise AgentUnavailable(
            f"ssh-agent does not answer: {socket} is there, but was silent for {AGENT_TIMEOUT:g} s",
            hints=(
                "It may be stopped (Ctrl-Z, kill -STOP) or waiting for you elsewhere: pgrep -a ssh-agent",
                f"Start another one: eval $(ssh-agent) && ssh-add {key_path}",
            ),
        ) from error
    if completed.exit_code == 1:  # ssh-add(1): 1 when the command fails, 2 when the agent cannot be reached
        raise AgentUnavailable(
            "ssh-agent is running but holds no key",
            hints=(f"Add your key: ssh-add {key_path}", "Look: ssh-add -l"),
        )
    if not completed.ok:
        state = "nothing is listening on it" if Path(socket).exists() else "it does not exist"
        raise AgentUnavailable(
            f"ssh-agent is not running: SSH_AUTH_SOCK names {socket}, and {state}",
            hints=(
                f"Start one in this shell: eval $(ssh-agent) && ssh-add {key_path}",
                "In tmux or screen the variable may be from an older login: echo $SSH_AUTH_SOCK",
            ),
        )
    keys = _parse_keys(completed.output.splitlines())
    if not keys:
        raise AgentUnavailable(
            "ssh-agent holds no key of a kind that l8s can use",
            hints=(f"Add one: ssh-add {key_path}", "Look: ssh-add -L"),
        )
    return keys


def known_keys(host: str, port: int) -> tuple[PublicKey, ...]:
    """The host keys that the user's own ``~/.ssh/known_hosts`` trusts for a server, hashed entries included.

    Keys that it marks as revoked are left out; certificate authorities are no host keys and are left out too.
    """
    found = _find_in_known_hosts(host, port)
    revoked = {key for marker, key in found if marker == "@revoked"}
    return tuple(dict.fromkeys(key for marker, key in found if marker == "" and key not in revoked))


def revoked_keys(host: str, port: int) -> tuple[PublicKey, ...]:
    """The host keys that the user's own ``~/.ssh/known_hosts`` marks as revoked for a server."""
    return tuple(dict.fromkeys(key for marker, key in _find_in_known_hosts(host, port) if marker == "@revoked"))


def login_works(alias: str, *, timeout: float = 20.0) -> Completed:
    """How ``ssh ALIAS true`` ends: on a new connection, asking nothing, host keys checked strictly.

    Raises:
        CommandTimedOut: after ``timeout`` seconds.
        CommandNotFound: there is no ssh.
    """
    _refuse_option(alias)
    options = (
        "BatchMode=yes",
        "ControlMaster=no",
        "ControlPath=none",
        "StrictHostKeyChecking=yes",
        "ConnectTimeout=5",
    )
    flags = [word for option in options for word in ("-o", option)]
    return processes.run(ssh_command(*flags, "--", alias, "true"), timeout=timeout)


def stop_multiplexing(alias: str) -> None:
    """End the shared connection of an alias, if any; it would go on reaching a container of the past."""
    _refuse_option(alias)
    try:
        processes.run(ssh_command("-O", "exit", "--", alias), timeout=5)
    except CommandFailed:
        return


def _refuse_option(word: str) -> None:
    if not word or word.startswith("-") or not word.isprintable() or " " in word:
        raise InvalidValue(f"not a name that ssh may be given: {word[:60]!r}")


def _unless_none(value: str) -> str:
    return "" if value.lower() == "none" else value


def _first_complaint(completed: Completed) -> str:
    """What ssh complains about first; its next lines only count the errors."""
    lines = [line for line in completed.complaint.splitlines() if not line.startswith("Pseudo-terminal will not")]
    return lines[0] if lines else f"exit code {completed.exit_code}"


_HOP = re.compile(r"(?:(?P<user>[^/]*)@)?(?:\[(?P<literal>[^\[\]]+)\]|(?P<host>[^:@\[\]/]+))(?::(?P<port>[0-9]{1,5}))?")


def _parse_hop(hop: str) -> Jump:
    url = hop.lower().startswith("ssh://")
    found = _HOP.fullmatch(hop[6:].removesuffix("/") if url else hop)
    if found is None:
        raise InvalidValue(
            f"not a jump host: {hop[:80]!r}",
            hints=("ProxyJump is [user@]host[:port]; IPv6 goes into brackets",),
        )
    user, port = found["user"], found["port"]
    if user is not None and url:
        user = unquote(user)
    return Jump(
        None if user is None else names.remote_user(user),
        names.host(found["literal"] or found["host"]),
        None if port is None else names.port(int(port)),
    )


def _parse_keys(lines: list[str]) -> tuple[PublicKey, ...]:
    """The lines that are keys; a kind that this l8s does not understand is no key to it."""
    keys = []
    for line in lines:
        try:
            keys.append(known_hosts.parse_public_key(line))
        except InvalidValue:
            continue
    return tuple(keys)


def _find_in_known_hosts(host: str, port: int) -> list[tuple[str, PublicKey]]:
    """The (marker, key) pairs that ``ssh-keygen -F`` finds; none without a file that can be read."""
    file = Path.home() / ".ssh" / "known_hosts"
    if not file.exists():
        return []
    _refuse_option(host)
    argv = ["ssh-keygen", "-F", known_hosts.server_name(host, port), "-f", str(file)]
    found: list[tuple[str, PublicKey]] = []
    for line in processes.run(argv, timeout=RESOLVE_TIMEOUT).output.splitlines():
        if line.startswith("#"):
            continue
        marker = line.split(None, 1)[0] if line.startswith("@") else ""
        parts = line.removeprefix(marker).split(None, 1)
        found += [(marker, key) for key in _parse_keys(parts[1:])]
    return found
