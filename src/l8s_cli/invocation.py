"""One run of the command: the global options, and what they lead to.

Not here: parsing them (`l8s_cli.parsing`), and what a subcommand does with them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import click

from l8s_cli.output import Output, OutputFormat

if TYPE_CHECKING:
    from l8s_core.client import Client, Session
    from l8s_core.model import Profile
    from l8s_core.steps import StepObserver


MULTIPLEX_VARIABLE = "L8S_MULTIPLEX"


def _load_session(third_party: bool, environ: Mapping[str, str]) -> Session:
    from l8s_core.client import Session

    return Session.load(third_party=third_party, environ=environ)


def _others_are_installed() -> bool:
    from l8s_core.installed import third_party

    return third_party()


class Invocation:
    """The global options as they were given, and the plugins and configuration behind them, loaded when needed.

    ``others_installed`` tells whether any plugin is there that l8s does not bring itself.
    """

    def __init__(
        self,
        *,
        environ: Mapping[str, str] = os.environ,
        load: Callable[[bool, Mapping[str, str]], Session] = _load_session,
        others_installed: Callable[[], bool] = _others_are_installed,
    ) -> None:
        self.profile: str | None = None
        self.output: OutputFormat = "table"
        self.verbose = False
        self.third_party = True
        self.environ = environ
        self.profile_in_use: str | None = None
        """The name of the profile once it was chosen, for the error messages."""
        self._load = load
        self._others_installed = others_installed
        self._session: Session | None = None

    @property
    def out(self) -> Output:
        """Where to print."""
        return Output(self.output, self.verbose)

    @property
    def session(self) -> Session:
        """The plugins and the configuration; no network."""
        if self._session is None:
            self._session = self._load(self.third_party, self.environ)
        return self._session

    def may_have_commands_of_plugins(self) -> bool:
        """Whether loading the plugins may bring commands; those of l8s itself have none that `main` does not list."""
        return self.third_party and self._others_installed()

    def chosen_profile(self) -> Profile:
        """The profile that ``--profile``, the environment or the configuration names."""
        profile = self.session.profile(self.profile)
        self.profile_in_use = profile.name
        return profile

    def steps(self) -> StepObserver | None:
        """What shows the steps of a job: None where only programs read."""
        if self.out.for_programs:
            return None
        from l8s_cli.progress import StepDisplay

        return StepDisplay()

    def warn_of_ignored_settings(self, profile: str) -> None:
        """Say which settings of podman and docker have no effect here."""
        from pathlib import Path

        from l8s_cli.ignored import ignored_settings, warning

        settings = ignored_settings(self.environ, Path.home())
        if settings:
            self.out.warn(warning(settings, profile))

    @contextmanager
    def connected(self) -> Iterator[Client]:
        """The client for the chosen profile, open. ``-v`` shows the steps of connecting."""
        profile = self.chosen_profile()
        self.warn_of_ignored_settings(profile.name)
        client = self.client(profile)
        try:
            client.open(self.steps() if self.verbose else None)
            yield client
            if self.verbose and client.round_trips is not None:
                trips = client.round_trips
                self.out.note(f"{trips} round trip{'' if trips == 1 else 's'} to the server")
        except BrokenPipeError as error:
            from l8s_core.errors import L8sError

            # Left alone it would look like a reader of stdout that went away, which is no failure.
            raise L8sError(f"The connection to the server broke: {error}") from error
        finally:
            client.close()

    def client(self, profile: Profile) -> Client:
        """A client for a profile, not connected yet, which uses and keeps open what the profile says."""
        return self.session.client(profile, multiplex=self._multiplex(profile))

    def _multiplex(self, profile: Profile) -> float:
        """For how long the connection is kept after its last use, in seconds.

        Raises:
            ConfigError: `MULTIPLEX_VARIABLE` is no such time.
        """
        wanted = self.environ.get(MULTIPLEX_VARIABLE)
        if not wanted:
            return profile.multiplex
        from l8s_core import names
        from l8s_core.errors import ConfigError

        try:
            return names.idle_time(wanted)
        except ConfigError as error:
            raise ConfigError(f"{MULTIPLEX_VARIABLE}: {error.message}", hints=error.hints) from error


invocation = partial(click.make_pass_decorator, Invocation, ensure=True)()
"""Decorator: hands a command the `Invocation` as its first argument."""
