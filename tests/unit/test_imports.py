"""Starting l8s stays fast: what it does not need is not imported. Each case is a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SSH_STACK = {"podman", "requests", "urllib3", "paramiko", "fabric", "invoke", "cryptography", "rich"}
HEAVY = (
    SSH_STACK
    | {"ruamel", "cattrs", "filelock", "stamina", "asyncio", "logging", "importlib.metadata", "tomllib"}
    | {
        "subprocess",
        "tempfile",
        "shutil",
        "tarfile",
        "zipfile",
        "hashlib",
        "secrets",
        "email",
        "ssl",
        "traceback",
    }
)
"""What no command needs before it connects, as long as all is well."""

_REPORT = """
import atexit, sys
atexit.register(lambda: print("\\nMODULES " + " ".join(sorted(sys.modules))))
"""

_RUN = """
import sys
from l8s_cli.start import run
sys.argv[1:] = {arguments!r}
run()
"""

_LIST = """
import sys
from l8s_cli import output
from l8s_cli.invocation import Invocation
from l8s_cli.main import cli

output.is_terminal = lambda *, err=False: {terminal}

class Nothing:
    "A connected backend, as far as a list needs one."
    def list(self, labels): return ()
    def close(self): pass

def load(third_party, environ):
    from l8s_core.client import Client, Session
    from l8s_core.hookspecs import hookimpl
    from l8s_core.providers import BackendProvider
    class Plugin:
        @hookimpl
        def l8s_remote_backends(self):
            yield BackendProvider(name="nothing", summary="for this test", factory=lambda profile: Nothing())
    Client.open = lambda client, on_step=None: None
    session = Session.load(third_party=third_party, environ=environ)
    session.plugins.register(Plugin(), "nothing")
    return session

try:
    cli({arguments!r}, obj=Invocation(load=load))
except SystemExit as exit:
    assert not exit.code, exit.code
"""


def _imported(code: str, home: Path, **environ: str) -> set[str]:
    """Every module that is there after ``code``."""
    done = subprocess.run(
        [sys.executable, "-c", f"{_REPORT}\n{code}"],
        env={"HOME": str(home), "PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin", **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("MODULES ")[2].split())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    state = tmp_path / ".l8s"
    state.mkdir(mode=0o700)
    (state / "config.yaml").write_text("remote_host: build.example.com\nremote_user: root\n")
    return tmp_path


def test_importing_the_library(home: Path) -> None:
    imported = _imported("import l8s_core", home)
    assert {name for name in imported if name.startswith("l8s_core")} == {"l8s_core", "l8s_core.on_demand"}
    assert "attr" not in imported


def test_importing_the_errors(home: Path) -> None:
    imported = _imported("import l8s_core.errors", home)
    assert imported & (HEAVY | {"attr", "pathlib", "l8s_core.model.profile"}) == set()


def test_importing_every_public_name(home: Path) -> None:
    imported = _imported("from l8s_core import *", home)
    assert "l8s_core.client" in imported
    assert imported & (SSH_STACK | {"ruamel", "click", "hypothesis", "pytest", "_pytest"}) == set()


def test_importing_the_fakes_needs_no_pytest(home: Path) -> None:
    imported = _imported("import l8s_core.testing", home)
    assert imported & (SSH_STACK | {"ruamel", "click", "hypothesis", "pytest", "_pytest"}) == set()


def test_loading_the_plugins(home: Path) -> None:
    code = "from l8s_core.plugins import PluginHost\nPluginHost.load(third_party=False).listing()"
    imported = _imported(code, home)
    assert {"l8s_podman", "l8s_yaml", "l8s_openssh"} <= imported
    assert imported & (HEAVY | {"click", "l8s_yaml.store", "l8s_openssh.writer", "l8s_podman.backend"}) == set()


@pytest.mark.parametrize("arguments", [["--help"], [], ["-h"]])
def test_help_is_click_and_little_else(home: Path, arguments: list[str]) -> None:
    imported = _imported(_RUN.format(arguments=arguments), home)
    assert "click" in imported
    assert imported & (HEAVY | {"attr", "pluggy", "pathlib", "json"}) == set()
    core = {name for name in imported if name.startswith("l8s_core")}
    assert core - {"l8s_core.log"} == {"l8s_core", "l8s_core.on_demand", "l8s_core.installed"}
    assert [name for name in imported if name.startswith("l8s_cli.commands.")] == []


@pytest.mark.parametrize(("arguments", "terminal"), [(["list"], False), (["list"], True), (["ls", "-o", "json"], True)])
def test_a_list_imports_nothing_that_only_other_commands_need(home: Path, arguments: list[str], terminal: bool) -> None:
    with (home / ".l8s" / "config.yaml").open("a") as config:
        config.write("backend: nothing\n")
    imported = _imported(_LIST.format(arguments=arguments, terminal=terminal), home)
    assert {"l8s_core.client", "l8s_podman", "l8s_yaml.plain"} <= imported
    assert imported & (HEAVY | {"socket", "l8s_yaml.reading", "l8s_core.known_hosts", "l8s_core.ssh_tools"}) == set()
    assert not imported & {
        "l8s_core.provision",
        "l8s_core.policy",
        "l8s_core.sync",
        "l8s_core.images",
        "l8s_core.agent",
    }
    assert {name for name in imported if name.startswith("l8s_cli.commands.")} == {"l8s_cli.commands.container"}
    assert {name for name in imported if name.startswith("l8s_core.model.")} == {
        f"l8s_core.model.{name}" for name in ("profile", "labels", "mappings", "operation")
    }


@pytest.mark.parametrize("arguments", [["profile", "list"], ["profile", "list", "-o", "json"]])
def test_profile_list(home: Path, arguments: list[str]) -> None:
    assert _imported(_RUN.format(arguments=arguments), home) & HEAVY == set()


def test_a_config_that_is_not_simple_has_its_parser(home: Path) -> None:
    (home / ".l8s" / "config.yaml").write_text("{remote_host: build.example.com, remote_user: root}\n")
    imported = _imported(_RUN.format(arguments=["profile", "list"]), home)
    assert "ruamel.yaml" in imported
    assert imported & SSH_STACK == set()


@pytest.mark.parametrize("line", ["l8s ", "l8s info ", "l8s --profile "])
def test_completion(home: Path, line: str) -> None:
    (home / ".l8s" / "ssh_config").write_text("# Made by l8s.\nHost dev-myapp\n")
    imported = _imported(
        _RUN.format(arguments=[]).replace("assert not code, code", ""),
        home,
        _L8S_COMPLETE="bash_complete",
        COMP_WORDS=line,
        COMP_CWORD=str(len(line.split(" ")) - 1),
    )
    assert "click.shell_completion" in imported
    assert imported & (HEAVY | {"l8s_openssh.writer", "l8s_core.provision", "l8s_core.ssh_tools"}) == set()
