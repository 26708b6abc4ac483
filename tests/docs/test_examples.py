"""The scripts and plugins under examples/ do what they say."""

from __future__ import annotations

import runpy
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import l8s_core as l8s
from l8s_core import agent, ssh_tools
from l8s_core.processes import Completed

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
KEY = l8s.PublicKey(
    "ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f", "somebody@laptop"
)


def _install(example: str, site: Path) -> None:
    """What pip does with an example's pyproject.toml: its module and its metadata, on sys.path."""
    project = tomllib.loads((EXAMPLES / example / "pyproject.toml").read_text())
    name, version = project["project"]["name"], project["project"]["version"]
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    points = project["project"]["entry-points"]["l8s"]
    (info / "entry_points.txt").write_text("[l8s]\n" + "".join(f"{key} = {value}\n" for key, value in points.items()))
    for file in project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]:
        (site / file).write_text((EXAMPLES / example / file).read_text())


@pytest.fixture
def laptop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home directory with both example plugins installed."""
    home, site = tmp_path / "home", tmp_path / "site"
    (home / ".l8s").mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("HOME", str(home))
    for example in ("staging_profile", "third_party_backend"):
        _install(example, site)
    monkeypatch.syspath_prepend(str(site))
    yield home
    for module in ("l8s_staging", "l8s_rehearsal"):
        sys.modules.pop(module, None)


def test_the_one_file_plugin_adds_a_profile(laptop: Path) -> None:
    profile = l8s.Session.load(environ={}).profile("staging")
    assert (profile.remote_host, profile.labels) == ("staging.example.com", {"team": "platform"})
    assert profile.sources["remote_host"] == "plugin staging"
    assert profile.alias("myapp") == "staging-myapp"


def test_the_command_sees_the_profile_and_no_plugins_hides_it(laptop: Path) -> None:
    def listed(*options: str) -> str:
        code = "import sys; from l8s_cli.start import run; sys.exit(run())"
        command = [sys.executable, "-c", code, *options, "profile", "list", "-o", "json"]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60,
            env={"PYTHONPATH": ":".join(sys.path), "HOME": str(laptop)},
        )
        return done.stdout

    assert '"staging"' in listed()
    assert '"staging"' not in listed("--no-plugins")


def test_the_example_script_creates_and_execs(
    laptop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (laptop / ".l8s" / "config.yaml").write_text("profiles:\n  staging:\n    backend: rehearsal\n")
    # A server in memory has no sshd to log in to, and this test's laptop no agent.
    monkeypatch.setattr(agent, "select_key", lambda profile: KEY)
    monkeypatch.setattr(ssh_tools, "login_works", lambda alias, **options: Completed(("ssh", alias), 0, b"", b""))
    main = runpy.run_path(str(EXAMPLES / "create_and_exec.py"))["main"]
    main()
    assert capsys.readouterr().out == "Python 3.13.5\n 0\n"
    assert "Host staging-myapp" in (laptop / ".l8s" / "ssh_config").read_text()
    assert "staging-myapp.l8s ssh-ed25519 " in (laptop / ".l8s" / "known_hosts").read_text()


def test_the_script_is_the_documented_example() -> None:
    script = (EXAMPLES / "create_and_exec.py").read_text()
    lines = [line.strip() for line in script.splitlines()]
    start = lines.index("with l8s.connect(profile=profile) as client:")
    assert lines[start : start + 4] == [
        "with l8s.connect(profile=profile) as client:",
        'container = client.create(l8s.ContainerSpec(name="myapp", repository=repository, branch="main"))',
        'result = container.exec(["python3", "--version"], timeout=30)',
        "print(result.stdout, result.exit_code)",
    ]


def test_the_third_party_backend_keeps_the_contract(laptop: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "tests"],
        cwd=EXAMPLES / "third_party_backend",
        env={"PYTHONPATH": ":".join(sys.path), "HOME": str(laptop), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


def test_both_plugins_are_listed(laptop: Path) -> None:
    assert {point.name for point in entry_points(group="l8s")} >= {"staging", "rehearsal"}
    listing = {info.name: info for info in l8s.PluginHost.load(environ={}).listing()}
    assert listing["staging"].provides == ("profile staging",)
    assert listing["rehearsal"].provides == ("backend rehearsal",)
    assert listing["rehearsal"].distribution == "l8s-rehearsal"
