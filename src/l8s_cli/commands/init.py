"""``l8s init``: ask for a server, trust its key, connect, reach Podman, and only then write the config.

Not here: trusting a key (`l8s_cli.trust`), keeping the answers of a failed try (`l8s_cli.draft`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import click
from attrs import evolve, frozen

from l8s_cli import draft, prompts, tables
from l8s_cli.commands.connection import described
from l8s_cli.commands.profile import DEFAULT_USER, checked_settings, settings_table
from l8s_cli.invocation import Invocation, invocation
from l8s_cli.parsing import Checked, Command, server_options
from l8s_cli.progress import StepDisplay
from l8s_cli.trust import Trust
from l8s_core import names, policy
from l8s_core.errors import (
    ConfigError,
    HostKeyRejected,
    InvalidValue,
    L8sError,
    LocalFileError,
    RemoteOnlyError,
)
from l8s_core.model import HostFacts, Profile, Step

if TYPE_CHECKING:
    from l8s_core.client import Session

MAX_HOST_KEYS = 8
"""How many unknown keys one connection may bring: the server's, and one for each jump host before it."""

NOTHING_WRITTEN = "Nothing was written."


@frozen(kw_only=True)
class Question:
    """One setting that is asked for: ``explain`` is said before, ``check`` refuses what cannot be right."""

    setting: str
    option: str
    text: str
    check: Callable[[str], object]
    explain: str = ""


def _host(text: str) -> str:
    names.host(text)
    policy.refuse_local_name(text)
    return text


def _port(text: str) -> int:
    return names.port(names.written_number(text))


QUESTIONS = (
    Question(setting="remote_host", option="host", text="Remote server hostname/IP", check=_host),
    Question(
        setting="remote_user",
        option="user",
        text="Remote server username",
        check=names.remote_user,
        explain="Podman runs as root on the server and its socket is root's, so root is the usual answer.",
    ),
    Question(setting="remote_port", option="port", text="SSH port", check=_port),
    Question(setting="remote_socket", option="socket", text="Podman socket on the server", check=names.socket_path),
    Question(
        setting="ssh_key_path",
        option="key",
        text="SSH key",
        check=names.local_path,
        explain="The key must be in your ssh-agent. The file only says which one; private keys are never read.",
    ),
    Question(setting="base_image", option="image", text="Image of the containers", check=names.image),
)
PORT_DEFAULT = "from ~/.ssh/config, else 22"


@click.command(
    "init",
    cls=Command,
    examples=(
        ("l8s init", "ask for everything, with defaults"),
        ("l8s init --profile staging", "one more server, as another profile"),
        (
            "l8s init --host server.example.com --user root --trust-host-key SHA256:... --yes",
            "without a question, for scripts",
        ),
    ),
)
@server_options(required=False)
@click.option(
    "--trust-host-key",
    "fingerprints",
    type=Checked(names.fingerprint),
    multiple=True,
    metavar="SHA256:...",
    help="Trust a server (or jump host) whose key has this fingerprint; may be repeated.",
)
@click.option("--yes", "-y", is_flag=True, help="Take the defaults without asking; a host key is still asked about.")
@invocation
def init(
    run: Invocation,
    host: str | None,
    user: str | None,
    port: int | None,
    socket: str | None,
    key: str | None,
    image: str | None,
    fingerprints: tuple[str, ...],
    yes: bool,
) -> None:
    """Connect to a server and write the configuration.

    Asks for the server, shows its host key's fingerprint and wants a yes, tests SSH and then Podman through it,
    and writes ~/.l8s/config.yaml when all of that worked. Otherwise nothing is written, and the answers are offered
    again next time. Without a terminal it needs --host and --user, and --trust-host-key for a server that your own
    ssh does not know.
    """
    from l8s_core.config import FLAT_PROFILE

    name = run.profile or FLAT_PROFILE
    run.profile_in_use = name
    given = checked_settings(host=host, user=user, port=port, socket=socket, key=key, image=image)
    can_ask = prompts.interactive()
    replace = _may_replace(run, name, yes=yes, can_ask=can_ask)
    if replace is None:
        run.out.note(NOTHING_WRITTEN)
        return
    # What the profile would be without these answers: the defaults to offer, and what need not be written.
    inherited = _profile_with(run.session, name, {})
    answers = _Answers(run, name, given, inherited, ask=can_ask, skip=yes)
    trust: Trust | None = None
    try:
        settings = answers.collect()
        profile = _profile_with(run.session, name, settings)
        trust = Trust(
            run.session.known_hosts,
            fingerprints,
            can_ask=can_ask,
            command=_command(run, settings, yes=yes),
            out=run.out,
        )
        facts = _try(run, profile, trust)
        from l8s_core.config import with_profile

        run.session.store.edit(lambda data: with_profile(data, name, settings, replace=replace))
    except BaseException:
        if trust is not None:
            trust.take_back()
        answers.keep()
        raise
    draft.forget()
    _report(run, name, profile, facts)


def _may_replace(run: Invocation, name: str, *, yes: bool, can_ask: bool) -> bool | None:
    """Whether the file has that profile and may lose it; None when the person said no.

    Raises:
        ConfigError: it is there, and nobody can be asked.
    """
    config = run.session.config
    if name not in config.profiles:
        return False
    if yes:
        return True
    run.out.note(f"There is a profile {name} already:")
    try:
        run.out.note(tables.plain(settings_table(config.profile(name))))
    except L8sError as error:
        run.out.note(f"  (not usable: {error.message})")
    if not can_ask:
        raise ConfigError(
            f"There is a profile {name} already, and no terminal to ask whether it may be replaced.",
            hints=(
                "Say so: l8s init --yes ...",
                "Or give the new one another name: l8s init --profile NAME ...",
            ),
        )
    return True if prompts.confirm("Replace its server?") else None


def _profile_with(session: Session, name: str, settings: Mapping[str, object]) -> Profile:
    """The profile as it will be read once ``settings`` are written; {} gives the defaults to offer."""
    from l8s_core.config import parse, with_profile

    config = session.config
    needed: dict[str, object] = {}
    layer = config.profiles.get(name)
    if not settings and (layer is None or layer.remote_host is None or layer.remote_user is None):
        needed = {"remote_host": "server.invalid", "remote_user": DEFAULT_USER}
    data = with_profile(config.document.data, name, {**needed, **settings}, replace=True)
    document = evolve(config.document, data=data, exists=True)
    return parse(document, config.plugin_profiles).profile(name)


class _Answers:
    """The settings, from the options, the person and the defaults."""

    def __init__(
        self,
        run: Invocation,
        profile: str,
        given: Mapping[str, object],
        inherited: Profile,
        *,
        ask: bool,
        skip: bool,
    ) -> None:
        self._run = run
        self._profile = profile
        self._given = given
        self._ask = ask
        self._skip = skip
        self._typed: dict[str, str] = {key: str(value) for key, value in given.items()}
        self._drafted = draft.load(profile) if ask and not skip else {}
        self._inherited = {question.setting: getattr(inherited, question.setting) for question in QUESTIONS}
        if self._inherited["remote_host"] == "server.invalid":
            self._inherited["remote_host"] = ""

    def collect(self) -> dict[str, object]:
        """What is to be written: the server always, the rest where it differs from what is inherited.

        Raises:
            ConfigError: there is no server, or what is needed cannot be asked for.
        """
        if self._ask and self._drafted:
            self._run.out.note("The answers of your last try are offered again.")
        values = {question.setting: self._answer(question) for question in QUESTIONS}
        always = ("remote_host", "remote_user")
        return {
            setting: value
            for setting, value in values.items()
            if setting in always or setting in self._given or value != self._inherited[setting]
        }

    def keep(self) -> None:
        """Keep what was typed, and say so; a disk that cannot take it is no second failure."""
        try:
            if self._typed:
                draft.save(self._profile, self._typed)
        except LocalFileError as error:
            self._run.out.warn(f"Your answers could not be kept: {error.message}")
            return
        self._run.out.note()
        kept = " Your answers are kept for the next 'l8s init'." if self._typed else ""
        self._run.out.note(NOTHING_WRITTEN + kept)

    def _answer(self, question: Question) -> object:
        if question.setting in self._given:
            return self._given[question.setting]
        inherited = self._inherited[question.setting]
        must_ask = question.setting == "remote_host" and not inherited
        if not self._ask:
            if must_ask:
                raise _no_server()
            if question.setting == "remote_user" and not self._skip:
                raise ConfigError(
                    "The user on the server is not given, and there is no terminal to ask on.",
                    hints=(
                        f"Add it: l8s init --host ... --user {inherited}",
                        f"Or take the default, {inherited}: --yes",
                    ),
                )
            return inherited
        if self._skip and not must_ask:
            return inherited
        return self._from_person(question, inherited)

    def _from_person(self, question: Question, inherited: object) -> object:
        default = self._drafted.get(question.setting, "" if inherited is None else str(inherited))
        if question.explain:
            self._run.out.note(question.explain)
        while True:
            shown = PORT_DEFAULT if question.setting == "remote_port" and not default else None
            text = prompts.ask(question.text, default=default, shown_default=shown)
            if not text:
                if question.setting == "remote_host":
                    raise _no_server()
                return inherited
            try:
                value = question.check(text)
            except (InvalidValue, RemoteOnlyError) as error:
                self._run.out.note(f"{error.message}")
                for hint in error.hints:
                    self._run.out.note(f"  {hint}")
                default = "" if default == text else default
                continue
            self._typed[question.setting] = text
            return value


def _no_server() -> ConfigError:
    return ConfigError(
        "remote server hostname is required",
        hints=(
            "Name your server: l8s init --host server.example.com --user root",
            "Set one up: docs/REMOTE_SETUP.md",
        ),
    )


class _AttemptDisplay:
    """Shows the steps of several attempts as one: a step that was shown is not shown again.

    A failure is shown at the end of its attempt, unless it was forgiven: a key that is trusted now was none.
    """

    def __init__(self, display: StepDisplay) -> None:
        self._display = display
        self._shown: set[tuple[str, str]] = set()
        self._failed: Step | None = None

    def __call__(self, step: Step) -> None:
        if step.state == "failed":
            self._display.clear()
            self._failed = step
        elif (step.name, step.detail) in self._shown:
            self._display.clear()
        else:
            if step.state == "done":
                self._shown.add((step.name, step.detail))
            self._display(step)

    def forgive(self) -> None:
        """The last failure was none."""
        self._failed = None

    def show_failure(self) -> None:
        """Show the last failure, if there is one."""
        if self._failed is not None:
            self._display(self._failed)
            self._failed = None


def _try(run: Invocation, profile: Profile, trust: Trust) -> HostFacts:
    """Connect, deciding on each unknown host key on the way, and reach Podman."""
    run.warn_of_ignored_settings(profile.name)
    run.out.note()
    run.out.note(f"Testing SSH connection to {profile.remote_user}@{profile.remote_host}...")
    steps = None if run.out.for_programs else _AttemptDisplay(StepDisplay())
    for _ in range(MAX_HOST_KEYS):
        client = run.session.client(profile)
        try:
            client.open(steps)
            facts = client.facts(steps)
            return evolve(facts, warnings=(*client.warnings, *facts.warnings))
        except HostKeyRejected as rejected:
            trust.decide(rejected)
            if steps is not None:
                steps.forgive()
        finally:
            if steps is not None:
                steps.show_failure()
            client.close()
    raise ConfigError(f"The way to {profile.remote_host} has more than {MAX_HOST_KEYS} host keys to trust.")


def _command(run: Invocation, settings: Mapping[str, object], *, yes: bool) -> str:
    """The command line that gives the same answers without questions."""
    words = ["l8s", "init"]
    if run.profile is not None:
        words += ["--profile", run.profile]
    for question in QUESTIONS:
        if question.setting in settings:
            words += [f"--{question.option}", str(settings[question.setting])]
    return names.shell_words(words) + (" --yes" if yes else "")


def _report(run: Invocation, name: str, profile: Profile, facts: HostFacts) -> None:
    location = run.session.config.document.location
    data = {"profile": name, "server": f"{profile.remote_user}@{profile.remote_host}", "location": location}
    run.out.data(
        "initialized",
        {**data, "version": facts.version, "api_version": facts.api_version},
        f"{described(facts)}Profile {name} is written to {location}.\n",
    )
    for sentence in facts.warnings:
        run.out.warn(sentence)
    run.out.note()
    run.out.note("Next:")
    run.out.note(f"  l8s build{_flag(run, name)}              build the containers' image on the server, once")
    run.out.note(f"  l8s create myapp{_flag(run, name)}       create a container; then: ssh {profile.alias('myapp')}")


def _flag(run: Invocation, name: str) -> str:
    """`` --profile NAME`` where that profile would not be chosen by itself after this."""
    return "" if run.profile is None else f" --profile {name}"
