"""Starting l8s stays fast: what it does not need is not imported. Each case is a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SSH_STACK = {"podman", "requests", "urllib3", "paramiko", "fabric", "invoke", "cryptography", "rich"}

_REPORT = """
import json, sys
def report(): print("\\nMODULES " + json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""

_RUN = """
import sys
from l8s_cli.start import run
sys.argv[1:] = {arguments!r}
try:
    code = run()
except SystemExit as exit:
    code = exit.code
assert not code, code
"""


def _imported(code: str, home: Path) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{_REPORT}\n{code}\nreport()"],
        env={"HOME": str(home), "PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.rpartition("MODULES ")[2]))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    state = tmp_path / ".l8s"
    state.mkdir(mode=0o700)
    (state / "config.yaml").write_text("remote_host: build.example.com\nremote_user: root\n")
    return tmp_path


def test_importing_the_library(home: Path) -> None:
    imported = _imported("import l8s_core", home)
    assert "l8s_core" in imported
    assert not imported & (SSH_STACK | {"ruamel", "click", "hypothesis", "pytest", "_pytest"})


def test_importing_the_fakes_needs_no_pytest(home: Path) -> None:
    imported = _imported("import l8s_core.testing", home)
    assert not imported & (SSH_STACK | {"ruamel", "click", "hypothesis", "pytest", "_pytest"})


def test_loading_the_plugins(home: Path) -> None:
    code = "from l8s_core.plugins import PluginHost\nPluginHost.load(third_party=False).listing()"
    imported = _imported(code, home)
    assert {"l8s_podman", "l8s_yaml", "l8s_openssh"} <= imported
    assert not imported & (SSH_STACK | {"ruamel", "click"})


def test_help(home: Path) -> None:
    imported = _imported(_RUN.format(arguments=["--help"]), home)
    assert "click" in imported
    assert not imported & (SSH_STACK | {"ruamel"})


@pytest.mark.parametrize("arguments", [["profile", "list"], ["profile", "list", "-o", "json"]])
def test_profile_list(home: Path, arguments: list[str]) -> None:
    imported = _imported(_RUN.format(arguments=arguments), home)
    assert "ruamel" in imported
    assert not imported & SSH_STACK
