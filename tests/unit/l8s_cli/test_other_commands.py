"""test-connection, build, plugins, and the warning about other tools' settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from l8s_cli.ignored import ignored_settings
from l8s_cli.main import cli
from l8s_core.errors import BackendError, SocketUnavailable, socket_unavailable
from l8s_core.hookspecs import hookimpl
from l8s_core.plugins import PluginHost


def test_connection_shows_each_step_with_its_time(l8s: Any) -> None:
    result = l8s("test-connection")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "dev: root@server.example.com"
    assert lines[1].split()[1:3] == ["address", "192.0.2.1"]
    assert lines[1].endswith(" ms)")
    assert lines[-1] == "Podman 5.4.2 (API 5.4.2) on debian 13, kernel 6.12, 4 CPUs, 8 GiB of memory."
    assert l8s.server.opened == l8s.server.closed == 1


def test_connection_stops_at_the_first_failure(l8s: Any) -> None:
    l8s.server.facts_error = socket_unavailable("/run/podman/podman.sock", "no such file")
    result = l8s("test-connection")
    assert result.exit_code == 7
    assert result.stdout.splitlines()[-1].split()[1:3] == ["API", "version"]
    assert "✗" in result.stdout
    assert "Podman socket not accessible on remote server." in result.stderr
    assert "sudo systemctl enable --now podman.socket" in result.stderr
    assert l8s.server.closed == 1


def test_connection_for_programs(l8s: Any) -> None:
    data = l8s.json("test-connection", kind="connection")
    assert data["ok"] is True
    assert [step["name"] for step in data["steps"]] == ["address", "host key", "TCP", "API version"]
    assert set(data["steps"][0]) == {"name", "state", "detail", "seconds"}
    assert data["facts"]["version"] == "5.4.2"
    assert data["server"] == "root@server.example.com"


def test_failed_connection_for_programs_has_steps_and_error(l8s: Any) -> None:
    l8s.server.facts_error = SocketUnavailable("no")
    result = l8s("test-connection", "-o", "json")
    data = json.loads(result.stdout)["data"]
    assert data["ok"] is False
    assert data["steps"][-1]["state"] == "failed"
    assert json.loads(result.stderr)["error"]["step"] == "API version"


def test_build_streams_the_log_and_prints_the_image(l8s: Any) -> None:
    result = l8s("build")
    assert result.exit_code == 0
    assert result.stdout == "localhost/l8s-dev:latest\n"
    assert "STEP 1/2\nSTEP\\x1b[2J 2/2\n" in result.stderr
    assert l8s.server.calls == [("build", {"flavor": None, "containerfile": None, "base": None, "tag": None})]


def test_build_options(l8s: Any, tmp_path: Path) -> None:
    file = tmp_path / "Containerfile"
    file.write_text("FROM scratch\n")
    l8s("build", "--file", str(file), "--tag", "localhost/x:1")
    l8s("build", "--base", "localhost/debian:trixie")
    l8s("build", "--flavor", "debian", "--base", "x")
    assert [options for _, options in l8s.server.calls] == [
        {"flavor": None, "containerfile": file, "base": None, "tag": "localhost/x:1"},
        {"flavor": None, "containerfile": None, "base": "localhost/debian:trixie", "tag": None},
        {"flavor": "debian", "containerfile": None, "base": "x", "tag": None},
    ]


@pytest.mark.parametrize("option", ["--base", "--tag"])
def test_build_refuses_a_bad_image_before_connecting(l8s: Any, option: str) -> None:
    result = l8s("build", f"{option}=../x")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {option}: image '../x' is refused: ")
    assert l8s.server.opened == 0


def test_build_for_programs(l8s: Any) -> None:
    assert l8s.json("build", kind="image") == {"reference": "localhost/l8s-dev:latest", "id": "sha256:1234"}
    assert l8s("build", "-o", "json").stderr == ""
    assert "STEP 1/2" in l8s("build", "-o", "json", "-v").stderr


@pytest.mark.parametrize(
    "words",
    [("--file", __file__, "--flavor", "debian"), ("--file", "nowhere"), ("--flavor", "arch")],
    ids=["file and flavor", "no file", "no flavor"],
)
def test_build_refuses(l8s: Any, words: tuple[str, ...]) -> None:
    assert l8s("build", *words).exit_code == 2
    assert l8s.server.opened == 0


def test_plugins_lists_and_explains(l8s: Any) -> None:
    class Broken:
        @hookimpl
        def l8s_profiles(self) -> Any:
            raise RuntimeError("no \x1b profile")

    l8s.plugins.append((Broken(), "broken"))
    result = l8s("plugins")
    assert result.exit_code == 0
    assert "ssh config writer openssh" in result.stdout
    assert "broken" in result.stdout
    assert "no \\x1b profile" in result.stderr
    data = l8s.json("plugins", kind="plugins")
    assert {item["name"]: item["state"] for item in data} == {"openssh": "loaded", "broken": "failed"}
    assert set(data[0]) == {"name", "distribution", "version", "state", "reason", "provides"}


def test_no_plugins_is_known_before_the_session_is_loaded(l8s: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def load(cls: Any, *, third_party: bool = True, environ: Any = None) -> PluginHost:
        seen.append(third_party)
        raise BackendError("enough")

    monkeypatch.setattr(PluginHost, "load", classmethod(load))
    for words in (
        ["list", "--no-plugins"],
        ["nonsense", "--no-plugins"],
        ["list"],
        ["exec", "a", "--", "--no-plugins"],
    ):
        CliRunner().invoke(cli, words)
    assert seen == [False, False, True, True]


def test_settings_of_other_tools_are_warned_about(l8s: Any) -> None:
    l8s.environ["CONTAINER_HOST"] = "unix:///run/podman/podman.sock"
    result = l8s("list")
    assert result.exit_code == 0
    warnings = [line for line in result.stderr.splitlines() if line.startswith("Warning: ")]
    assert len(warnings) == 1
    assert "CONTAINER_HOST is ignored" in warnings[0]
    assert "remote-only" in warnings[0]
    assert "unix://" not in warnings[0]
    assert "Warning" not in l8s("profile", "list").stderr
    program = json.loads(l8s("list", "-o", "json").stderr)
    assert (program["kind"], program["schema"]) == ("warning", "l8s/1")


def test_ignored_settings(tmp_path: Path) -> None:
    assert ignored_settings({}, tmp_path) == ()
    assert ignored_settings({"DOCKER_HOST": ""}, tmp_path) == ()
    assert ignored_settings({"DOCKER_HOST": "tcp://x"}, tmp_path) == ("DOCKER_HOST",)
    folder = tmp_path / ".config" / "containers"
    folder.mkdir(parents=True)
    conf = folder / "containers.conf"
    conf.write_text("[containers]\nlog_size_max = 1\n")
    assert ignored_settings({}, tmp_path) == ()
    conf.write_text('[engine]\nactive_service = "a"\n[engine.service_destinations.a]\nuri = "ssh://x"\n')
    (folder / "podman-connections.json").write_text("{}")
    assert len(ignored_settings({}, tmp_path)) == 2
    conf.write_bytes(b"\xff[")
    assert len(ignored_settings({}, tmp_path)) == 1
    assert ignored_settings({"XDG_CONFIG_HOME": str(tmp_path / "none")}, tmp_path) == ()
