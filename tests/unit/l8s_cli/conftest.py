"""Runs the command in this process, on a fake session, with a home directory of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from click.testing import CliRunner, Result
from fake_session import Server, Session

from l8s_cli import prompts
from l8s_cli.invocation import Invocation
from l8s_cli.main import cli

DEV = {"remote_host": "server.example.com", "remote_user": "root"}


@define
class Command:
    """``l8s`` with its surroundings."""

    home: Path
    monkeypatch: pytest.MonkeyPatch
    server: Server = field(factory=Server)
    data: Mapping[str, object] = field(factory=lambda: dict(DEV))
    environ: dict[str, str] = field(factory=dict)
    plugins: list[tuple[object, str]] = field(factory=list)
    session: Any = None

    def __call__(self, *args: str, stdin: str | bytes | None = None) -> Result:
        loaded: list[bool] = []

        def load(third_party: bool, environ: Mapping[str, str]) -> Any:
            loaded.append(third_party)
            if self.session is None:
                self.session = Session(self.data, self.server, environ)
                for plugin, name in self.plugins:
                    self.session.plugins.register(plugin, name)
            return self.session

        invocation = Invocation(environ=self.environ, load=load, others_installed=lambda: bool(self.plugins))
        result = CliRunner().invoke(cli, list(args), obj=invocation, input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert len(loaded) <= 1, "plugins and configuration are loaded once"
        return result

    def json(self, *args: str, kind: str, stdin: str | bytes | None = None) -> Any:
        result = self(*args, "-o", "json", stdin=stdin)
        document = json.loads(result.stdout)
        assert set(document) == {"schema", "kind", "data"}
        assert document["schema"] == "l8s/1"
        assert document["kind"] == kind
        return document["data"]

    def error(self, *args: str) -> Any:
        """The ``error`` of a command that fails with ``-o json``, with its exit code checked."""
        result = self(*args, "-o", "json")
        document = json.loads(result.stderr.splitlines()[-1])
        assert (document["schema"], document["kind"]) == ("l8s/1", "error")
        assert result.exit_code == document["error"]["exit_code"] != 0
        return document["error"]

    def at_terminal(self) -> None:
        """Somebody answers: what is passed as ``stdin`` is typed."""
        self.monkeypatch.setattr(prompts, "interactive", lambda: True)


@pytest.fixture
def l8s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("L8S_PROFILE", "L8S_CONFIG", "CONTAINER_HOST", "DOCKER_HOST", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    return Command(home=home, monkeypatch=monkeypatch)
