"""Health checks: the laptop, the link, the server, and the containers beside the laptop's own files.

Every finding that is not ok says what to run. What is read from the server comes from one script there (``look.sh``),
and is judged here by pure functions. Not here: repairing anything.
"""

from __future__ import annotations

import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from importlib import resources
from typing import Literal

from attrs import frozen

from l8s_core import agent, files, names, processes
from l8s_core.client import Client, Session
from l8s_core.errors import ContainerExists, HostKeyRejected, L8sError, OperationVetoed, UnsupportedOperation
from l8s_core.journal import Journal
from l8s_core.known_hosts import container_name
from l8s_core.model import ContainerInfo, HostFacts, Profile, Step
from l8s_core.providers import Finding
from l8s_core.steps import StepObserver

Group = Literal["laptop", "link", "server", "containers", "plugin"]

LOOK_TIMEOUT = 45.0
"""Seconds for the script on the server; asking an old Podman takes some of them."""

DISK_PROBLEM, DISK_WARNING = 200 * 1024**2, 2 * 1024**3
"""Bytes free where the containers' volumes are: a commit or a package no longer fits; an image no longer fits."""

INODES_PROBLEM, INODES_WARNING = 1_000, 20_000
"""Free inodes: one clone takes thousands."""

DAY = 86400.0
"""Seconds."""

SKEW_WARNING = 60.0
"""Seconds between the clocks at which file times, tokens and certificates begin to surprise."""

MIN_SESSIONS = 4
"""sshd's MaxSessions that a command with a fallback, a login and git beside it need."""

PODMAN_FLOOR = (4, 3)
"""The oldest Podman that l8s is tested with."""

_VERSION = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})")


@frozen(kw_only=True)
class Checked:
    """A finding, with the check that made it and its group."""

    group: Group
    check: str
    finding: Finding


def run_checks(session: Session, profile: Profile, *, on_step: StepObserver | None = None) -> Iterator[Checked]:
    """Check everything, in order; a check that raises becomes a problem, and the others go on.

    The laptop is checked also when the server cannot be reached. Every wait has a deadline.
    """
    for name, run in _Laptop(session, profile).checks():
        yield from _results("laptop", name, run)
    client = session.client(profile)
    try:
        link: list[Checked] = []
        facts = _connect(client, on_step, link)
        yield from link
        connected = not any(item.check != API and item.finding.state == "problem" for item in link)
        if connected:
            yield from _results("server", "server", partial(server_checks, client, facts))
            if facts is not None:
                yield from _results("containers", "containers", partial(container_checks, client))
        for plugin, check in session.plugins.checks():
            if connected or not check.needs_connection:
                yield from _results(
                    "plugin", f"{check.name} ({plugin})", partial(check.run, client if connected else None)
                )
    finally:
        client.close()


def healthy(results: Iterable[Checked]) -> bool:
    """Whether nothing is a problem; warnings are none."""
    return all(item.finding.state != "problem" for item in results)


def ok(message: str) -> Finding:
    """All is well."""
    return Finding(state="ok", message=message)


def warning(message: str, hint: str) -> Finding:
    """It will hurt later."""
    return Finding(state="warning", message=message, hint=hint)


def problem(message: str, hint: str) -> Finding:
    """It does not work."""
    return Finding(state="problem", message=message, hint=hint)


def from_error(error: L8sError) -> Finding:
    """An error as a finding: its message on one line, and what it says to do."""
    message = " ".join(line.strip() for line in error.message.splitlines() if line.strip())
    return problem(message, "; or: ".join(error.hints) or "l8s test-connection")


def _results(
    group: Group, name: str, run: Callable[[], Iterable[Finding] | Iterable[tuple[str, Finding]]]
) -> Iterator[Checked]:
    try:
        for item in run():
            check, finding = item if isinstance(item, tuple) else (name, item)
            if not isinstance(finding, Finding):
                raise TypeError(f"it yielded {type(finding).__name__} and no Finding")
            yield Checked(group=group, check=check, finding=finding)
    except L8sError as error:
        yield Checked(group=group, check=name, finding=from_error(error))
    except Exception as error:  # noqa: BLE001 - a plugin's check may raise anything, and the others go on
        finding = problem(f"the check itself failed: {type(error).__name__}: {error}", "l8s plugins")
        yield Checked(group=group, check=name, finding=finding)


# The laptop

OWN_FILES = ("config.yaml", "known_hosts", "ssh_config")


@frozen
class _Laptop:
    """The checks of the laptop; each is a method that yields findings."""

    session: Session
    profile: Profile

    def checks(self) -> tuple[tuple[str, Callable[[], Iterator[Finding]]], ...]:
        """All of them, by what they are called."""
        return (
            ("ssh", _ssh),
            ("ssh-agent", self.agent),
            ("l8s's files", _modes),
            ("known_hosts", self.known_hosts),
            ("ssh config", self.ssh_config),
            ("journal", self.journal),
        )

    def agent(self) -> Iterator[Finding]:
        """The ssh-agent, and the profile's key in it."""
        key = agent.select_key(self.profile)
        yield ok(f"holds {self.profile.ssh_key_path}: {key.type} {key.fingerprint}")

    def known_hosts(self) -> Iterator[Finding]:
        """That the pinned keys can be read."""
        self.session.known_hosts.keys(container_name("any"))
        yield ok(f"{files.display(self.session.known_hosts.path)} is readable")

    def ssh_config(self) -> Iterator[Finding]:
        """That ssh reads l8s's entries."""
        writer = self.session.ssh_config_writer(self.profile)
        blocks = writer.blocks()
        changes = writer.plan(add=blocks).files
        if not blocks:
            yield ok("there are no entries yet")
        for change in changes if blocks else ():
            yield problem(f"{files.display(change.path)} is not as ssh needs it: {change.summary}", "l8s sync")
        if blocks and not changes:
            yield ok(f"ssh knows {len(blocks)} entries of l8s's")

    def journal(self) -> Iterator[Finding]:
        """Creates that were cut off."""
        found = False
        prefix = f"{self.profile.container_prefix}-"
        for path in sorted((files.state_dir() / "journal").glob("*.json")):
            alias = path.stem.rpartition("-")[0]
            if not alias.startswith(prefix):
                continue
            journal = Journal(path, alias)
            try:
                with journal.held():
                    cut_off = journal.operation() is not None
            except ContainerExists:
                continue
            if cut_off:
                found = True
                yield warning(f"the creation of {alias} was cut off", f"l8s create {alias.removeprefix(prefix)}")
        if not found:
            yield ok("no creation was cut off")


def _ssh() -> Iterator[Finding]:
    """The system's ssh."""
    said = processes.run(["ssh", "-V"], timeout=10)
    version = (said.stderr or said.stdout).decode("utf-8", "replace").strip().split(",")[0]
    if not said.ok or not version.startswith("OpenSSH"):
        yield problem(
            f"ssh is not OpenSSH: {version}", "Install OpenSSH's client (Debian: apt-get install openssh-client)"
        )
    else:
        yield ok(version)


def _modes() -> Iterator[Finding]:
    """Who may read and change l8s's own files."""
    directory = files.state_dir()
    wrong = 0
    for path, allowed in [(directory, 0o700), *((directory / name, 0o600) for name in OWN_FILES)]:
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except FileNotFoundError:
            continue
        if mode & ~allowed:
            wrong += 1
            message = f"{files.display(path)} is open to others (mode {mode:04o})"
            hint = f"chmod {allowed:o} {names.shell_word(str(path))}"
            yield problem(message, hint) if mode & 0o022 else warning(message, hint)
    if not wrong:
        yield ok(f"{files.display(directory)} is yours alone")


# The link

API = "Podman's API"


def _connect(client: Client, on_step: StepObserver | None, results: list[Checked]) -> HostFacts | None:
    """Connect and reach the API, noting each step; the facts, or None."""

    def note(step: Step) -> None:
        if step.state == "done":
            results.append(Checked(group="link", check=step.name, finding=ok(step.detail or "works")))
        if on_step is not None:
            on_step(step)

    def fail(error: L8sError, check: str) -> None:
        finding = from_error(error)
        if isinstance(error, HostKeyRejected) and error.reason == "unknown":
            finding = problem(finding.message, f"l8s init --host {client.profile.remote_host}")
        results.append(Checked(group="link", check=check, finding=finding))

    try:
        client.open(note)
    except L8sError as error:
        fail(error, error.step or "connection")
        return None
    results += [
        Checked(group="link", check="remote-only proof", finding=warning(sentence, SETUP_PAGE))
        for sentence in client.warnings
    ]
    try:
        return client.facts(note)
    except L8sError as error:
        fail(error, API)
        return None


SETUP_PAGE = "read docs/REMOTE_SETUP.md"

# The server


def server_checks(client: Client, facts: HostFacts | None) -> Iterator[tuple[str, Finding]]:
    """What the server looks like from inside; ``facts`` are None where its API could not be reached."""
    profile = client.profile
    script = resources.files("l8s_core.server").joinpath("look.sh").read_bytes()
    before = time.time()
    try:
        result = client.run_on_server(
            ["sh", "-s", "--", profile.remote_socket, profile.base_image], stdin=script, timeout=LOOK_TIMEOUT
        )
    except UnsupportedOperation as error:
        yield "server", warning(f"not looked at: {error.message}", SETUP_PAGE)
        return
    found = read_look(result.stdout)
    if "end" not in found:
        yield "server", problem("the server could not be looked at: its shell ended early", "l8s test-connection")
        return
    yield from judge(found, profile, before=before, after=time.time())
    for sentence in facts.warnings if facts is not None else ():
        yield "Podman", warning(sentence, SETUP_PAGE)


def read_look(text: str) -> dict[str, str]:
    """The ``l8s-look KEY VALUE`` lines; a login shell may have printed anything else. Of equal keys the first stays."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("l8s-look "):
            key, _, value = line.removeprefix("l8s-look ").partition(" ")
            found.setdefault(key, value.strip()[:500])
    return found


def judge(found: Mapping[str, str], profile: Profile, *, before: float, after: float) -> Iterator[tuple[str, Finding]]:
    """Findings about what ``look.sh`` found; pure. ``before`` and ``after`` are this laptop's time around it."""
    setup = f"l8s server setup {profile.remote_host} --user {profile.remote_user}"
    if profile.remote_port is not None:
        setup += f" --port {profile.remote_port}"
    yield "Podman", _podman(found, setup)
    if found.get("systemd") == "no":
        yield "units", warning("systemd does not run on the server", SETUP_PAGE)
    else:
        yield "podman.socket", _socket_unit(found, profile, setup)
        restart = found.get("podman-restart.service.enabled", "")
        if restart != "enabled":
            message = f"podman-restart.service is {restart or 'not there'}: containers stay off after a reboot"
            yield "podman-restart.service", warning(message, f"{setup} --yes")
        else:
            yield "podman-restart.service", ok("enabled")
    yield "socket", _socket(found, profile, setup)
    yield "disk", _room(found.get("disk", ""), "disk", 1024, DISK_PROBLEM, DISK_WARNING)
    yield "inodes", _room(found.get("inodes", ""), "inodes", 1, INODES_PROBLEM, INODES_WARNING)
    yield "clock", _clock(found.get("time", ""), before, after, profile)
    yield from (("sshd", finding) for finding in _sshd(found, profile))
    if found.get("cgroup"):
        kind = found["cgroup"]
        version = {"cgroup2fs": "version 2", "tmpfs": "version 1 or hybrid"}.get(kind, kind)
        yield "cgroups", ok(version)
    if "image" in found:
        there = found["image"] == "yes"
        missing = warning(f"the image {profile.base_image} is not on the server", "l8s build")
        yield "image", ok(f"{profile.base_image} is there") if there else missing


def _podman(found: Mapping[str, str], setup: str) -> Finding:
    version = found.get("podman", "")
    if version == "none":
        return problem("Podman is not installed on the server", f"{setup} --yes")
    match = _VERSION.match(version)
    if match is None:
        return problem(f"Podman on the server does not say its version: {version!r}", f"{setup} --yes")
    if (int(match[1]), int(match[2])) < PODMAN_FLOOR:
        return problem(f"Podman {version} is too old; l8s needs {'.'.join(map(str, PODMAN_FLOOR))}", SETUP_PAGE)
    return ok(f"version {version}")


def _on_server(profile: Profile, command: str) -> str:
    """What to type on the laptop to run ``command`` on the server as root."""
    port = "" if profile.remote_port in (None, 22) else f"-p {profile.remote_port} "
    as_root = command if profile.remote_user == "root" else f"sudo sh -c {names.shell_word(command)}"
    return f"ssh {port}{profile.remote_user}@{profile.remote_host} {names.shell_word(as_root)}"


def _socket_unit(found: Mapping[str, str], profile: Profile, setup: str) -> Finding:
    enabled, active = found.get("podman.socket.enabled", ""), found.get("podman.socket.active", "")
    if enabled == "masked":
        command = "systemctl unmask podman.socket && systemctl enable --now podman.socket"
        return problem("podman.socket is masked on the server", _on_server(profile, command))
    if active != "active":
        return problem(f"podman.socket is {active or 'not there'} on the server", f"{setup} --yes")
    if enabled != "enabled":
        return warning(f"podman.socket is {enabled or 'not enabled'}: it is gone after a reboot", f"{setup} --yes")
    return ok("enabled and active")


def _socket(found: Mapping[str, str], profile: Profile, setup: str) -> Finding:
    path = profile.remote_socket
    restart = _on_server(profile, "systemctl restart podman.socket")
    match found.get("socket"):
        case "socket" if found.get("socket.access") == "yes":
            mode, *_ = found.get("socket.mode", "").split(" ") or [""]
            if mode[-1:] in tuple("234567"):
                hint = _on_server(profile, f"chmod o= {names.shell_word(path)}")
                return problem(f"anyone on the server may use {path}, and so be root there (mode {mode})", hint)
            return ok(f"{path} may be used")
        case "socket" | "hidden":
            place = found.get("socket.mode") or f"its directory is closed to {profile.remote_user}"
            user, host = names.shell_word(profile.remote_user), profile.remote_host
            return problem(
                f"{profile.remote_user} may not use {path} ({place})",
                f"l8s init --host {host} --user root; or make {profile.remote_user} as good as root there: "
                f"l8s server setup {host} --user root --group l8s --group-member {user}",
            )
        case "other":
            hint = _on_server(
                profile,
                f"mv -T {names.shell_word(path)} {names.shell_word(path)}.old && systemctl restart podman.socket",
            )
            return problem(f"{path} on the server is no socket", hint)
        case _ if found.get("podman.socket.active") == "active":
            return problem(f"{path} is not there on the server, though podman.socket runs", restart)
        case _:
            return problem(f"{path} is not there on the server", f"{setup} --yes")


def _room(text: str, what: str, unit: int, low: int, small: int) -> Finding:
    """``text`` is ``TOTAL FREE MOUNT``. A file system without inode counts says 0 or -."""
    words = text.split(" ", 2)
    if len(words) < 2 or not all(word.isascii() and word.isdigit() and len(word) < 19 for word in words[:2]):
        return ok(f"{what} are not counted")
    total, free = (int(word) * unit for word in words[:2])
    where = words[2] if len(words) > 2 else ""
    shown = f"{free / 1024**3:.1f} GiB" if unit > 1 else f"{free}"
    message = f"{shown} of {what} free on the server ({where})"
    if total == 0 or (free >= small or free >= total // 2):
        return ok(message)
    hint = "l8s list, and l8s rm for what is not needed; or: podman image prune, on the server"
    return problem(f"only {message}", hint) if free < low else warning(f"only {message}", hint)


def _clock(text: str, before: float, after: float, profile: Profile) -> Finding:
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        return warning("the server's time could not be read", _on_server(profile, "date"))
    # the server's whole second lies within the moments before and after
    ahead, behind = int(text) - after, before - int(text) - 1
    skew = max(ahead, behind)
    if skew <= SKEW_WARNING:
        return ok("the clocks agree")
    amount = f"{round(skew)} s" if skew < 2 * DAY else f"{round(skew / DAY)} days"
    return warning(
        f"the clocks differ: the server's is {amount} {'ahead of' if ahead > behind else 'behind'} this machine's",
        _on_server(profile, "timedatectl set-ntp true") + "; or set this machine's clock",
    )


def _sshd(found: Mapping[str, str], profile: Profile) -> Iterator[Finding]:
    settings = {key.removeprefix("sshd."): value for key, value in found.items() if key.startswith("sshd.")}
    if not settings:
        yield ok("not looked at: its settings are root's to read")
        return
    wrong = []

    def fix(setting: str) -> str:
        line = names.shell_word(setting)
        # sshd takes the first value that it reads, and its own file begins by including this directory on both systems
        command = (
            f"printf '%s\\n' {line} >> /etc/ssh/sshd_config.d/00-l8s.conf && "
            "{ systemctl reload ssh || systemctl reload sshd; }"
        )
        return _on_server(profile, command)

    sessions = settings.get("maxsessions", "")
    if sessions.isascii() and sessions.isdigit() and len(sessions) < 7 and int(sessions) < MIN_SESSIONS:
        message = f"sshd allows {sessions} sessions in a connection (MaxSessions)"
        wrong.append(warning(message, fix("MaxSessions 10")))
    if settings.get("disableforwarding") == "yes":
        message = (
            "sshd forbids forwarding (DisableForwarding): every call takes a slow way, through podman system dial-stdio"
        )
        wrong.append(warning(message, fix("DisableForwarding no")))
    elif settings.get("allowstreamlocalforwarding", "yes") not in ("yes", "all", "local"):
        message = "sshd forbids sockets to be forwarded: every call takes a slow way, through podman system dial-stdio"
        wrong.append(warning(message, fix("AllowStreamLocalForwarding yes")))
    yield from wrong or [ok("its settings suit l8s")]


# The containers


def container_checks(client: Client) -> Iterator[tuple[str, Finding]]:
    """The server's containers beside the laptop's entries and pins."""
    try:
        infos = client.list()
        would = client.sync(dry_run=True)
    except OperationVetoed as error:
        yield "containers", warning(f"not looked at: {error.message}", "l8s plugins")
        return
    wrong = {
        "add": problem("it has no ssh entry on this machine", "l8s sync"),
        "change": problem("its ssh entry leads elsewhere", "l8s sync"),
        "remove": warning("its container is gone from the server", "l8s sync"),
    }
    problems = [(entry.alias, wrong[entry.action]) for entry in would.entries]
    for pin in would.pins:
        what = "the key that is pinned is not its own" if pin.before else "its host key is not pinned on this machine"
        problems.append((pin.alias, problem(what, "l8s sync")))
    for left in would.skipped:
        by_hand = _on_server(client.profile, f"podman inspect {names.shell_word(left.alias)}")
        problems.append((left.alias, problem(left.reason, left.hint or by_hand)))
    yield from problems
    bad = {alias for alias, _ in problems}
    for info in infos:
        if info.name not in bad:
            yield info.name, _container(info)
    if not infos and not problems:
        yield "containers", ok("there are none yet")


def _container(info: ContainerInfo) -> Finding:
    if info.running:
        return ok(f"runs; port {info.ssh_port} leads to it, its key is pinned")
    return ok(f"{info.state}; l8s start {info.short_name} starts it")
