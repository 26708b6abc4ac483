"""Tab: what is offered, from files alone; and that nothing else is ever printed. bash asks as it does for people."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HEADER = "# Made by l8s.\n"
SSH_CONFIG = HEADER + "".join(
    f"Host {alias}\n    HostName server.example.com\n    Port 2200\n"
    for alias in ("dev-myapp", "dev-other", "dev-tools-x", "staging-web", "dev-a;touch /tmp/x", "dev-\x1b[31m")
)
CONFIG = """\
active_profile: dev
remote_user: root
profiles:
  dev:
    remote_host: dev.example.com
  staging:
    remote_host: staging.example.com
  dev-tools:
    remote_host: tools.example.com
"""
L8S = f"#!{sys.executable}\nfrom l8s_cli.start import run\nrun()\n"


class Laptop:
    """A home with two files, and ``l8s`` on PATH."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = path / ".l8s"
        self.state.mkdir(mode=0o700)
        self.config = self.state / "config.yaml"
        self.ssh_config = self.state / "ssh_config"
        self.config.write_text(CONFIG)
        self.ssh_config.write_text(SSH_CONFIG)
        command = path / "bin" / "l8s"
        command.parent.mkdir()
        command.write_text(L8S)
        command.chmod(0o755)
        self.environ = {
            "HOME": str(path),
            "PATH": f"{command.parent}:{os.environ['PATH']}",
            "PYTHONPATH": ":".join(sys.path),
        }

    def run(self, argv: list[str], **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(argv, env=self.environ | environ, capture_output=True, text=True, timeout=60)

    def offered(self, line: str, **environ: str) -> list[str]:
        """What l8s answers for Tab at the end of ``line``, through the protocol of click's script for bash."""
        place = len(line.split(" ")) - 1
        done = self.run(["l8s"], COMP_WORDS=line, COMP_CWORD=str(place), _L8S_COMPLETE="bash_complete", **environ)
        assert done.stderr == ""
        return [row.partition(",")[2] for row in done.stdout.splitlines() if row]


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    return Laptop(tmp_path)


@pytest.mark.parametrize(
    "command", ["info", "start", "stop", "restart", "rm", "ssh", "exec", "remote add", "remote remove"]
)
def test_commands_about_a_container_offer_those_of_the_profile_in_use(laptop: Laptop, command: str) -> None:
    assert laptop.offered(f"l8s {command} ") == ["myapp", "other"]
    assert laptop.offered(f"l8s {command} my") == ["myapp"]


def test_another_profile_has_other_containers(laptop: Laptop) -> None:
    assert laptop.offered("l8s --profile staging info ") == ["web"]
    assert laptop.offered("l8s info --profile staging ") == ["web"]
    assert laptop.offered("l8s info ", L8S_PROFILE="dev-tools") == ["x"]


def test_a_name_that_was_typed_is_not_offered_again(laptop: Laptop) -> None:
    assert laptop.offered("l8s start myapp ") == ["other"]
    assert laptop.offered("l8s rm myapp ") == []


def test_a_new_name_cannot_be_known(laptop: Laptop) -> None:
    assert laptop.offered("l8s create ") == []
    assert laptop.offered("l8s profile add ") == []


def test_the_command_inside_is_no_container(laptop: Laptop) -> None:
    assert laptop.offered("l8s exec myapp -- ") == []


@pytest.mark.parametrize("line", ["l8s --profile ", "l8s list --profile ", "l8s profile use ", "l8s profile remove "])
def test_profiles(laptop: Laptop, line: str) -> None:
    assert laptop.offered(line) == ["dev", "staging", "dev-tools"]
    assert laptop.offered(f"{line}st") == ["staging"]


def test_commands_and_options(laptop: Laptop) -> None:
    assert laptop.offered("l8s re") == ["restart", "remote"]
    assert laptop.offered("l8s profile re") == ["remove"]
    assert "--keep-volumes" in laptop.offered("l8s rm --")
    assert laptop.offered("l8s list -o ") == ["table", "json"]


@pytest.mark.parametrize(
    "config",
    ["", "remote_host: [\n", "remote_host: 127.0.0.1\nbogus: 1\n", CONFIG.replace("active_profile: dev\n", "")],
)
def test_a_config_that_is_wrong_offers_nothing_and_says_nothing(laptop: Laptop, config: str) -> None:
    laptop.config.write_text(config)
    assert laptop.offered("l8s info ") == []


@pytest.mark.parametrize("damage", ["missing", "binary", "directory", "huge"])
def test_an_ssh_config_that_is_wrong_offers_nothing_and_says_nothing(laptop: Laptop, damage: str) -> None:
    laptop.ssh_config.unlink()
    if damage == "binary":
        laptop.ssh_config.write_bytes(b"\xff\x00Host \xfe\nHost dev-\xff\n")
    elif damage == "directory":
        laptop.ssh_config.mkdir()
    elif damage == "huge":
        laptop.ssh_config.write_bytes(b"Host dev-x\n" * 200_000)
    assert laptop.offered("l8s info ") == []


def test_a_plugin_that_talks_and_breaks_is_not_heard(laptop: Laptop) -> None:
    info = laptop.path / "noisy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: noisy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[l8s]\nnoisy = noisy\n")
    (laptop.path / "noisy.py").write_text(
        "import os, sys, logging\nprint('plain,oops')\nprint('oops', file=sys.stderr)\nos.write(2, b'oops')\n"
        "logging.getLogger('l8s').warning('oops')\nraise RuntimeError('oops')\n"
    )
    laptop.environ["PYTHONPATH"] += f":{laptop.path}"
    assert laptop.offered("l8s info ") == ["myapp", "other"]


def test_profiles_of_plugins_are_offered(laptop: Laptop) -> None:
    info = laptop.path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[l8s]\nacme = acme_profiles\n")
    (laptop.path / "acme_profiles.py").write_text(
        "import l8s_core as l8s\n@l8s.hookimpl\ndef l8s_profiles():\n"
        "    yield l8s.Profile(name='acme', remote_host='acme.example.com', remote_user='root')\n"
    )
    laptop.environ["PYTHONPATH"] += f":{laptop.path}"
    assert "acme" in laptop.offered("l8s --profile ")
    assert "acme" not in laptop.offered("l8s --no-plugins --profile ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_line_for_the_shells_start_prints_a_script(laptop: Laptop, shell: str) -> None:
    done = laptop.run(["l8s"], _L8S_COMPLETE=f"{shell}_source")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"_L8S_COMPLETE={shell}_complete" in done.stdout


@pytest.mark.parametrize(
    ("shell", "environ", "answer"),
    [
        ("zsh", {"COMP_WORDS": "l8s info m", "COMP_CWORD": "2"}, "plain myapp _"),
        ("fish", {"COMP_WORDS": "l8s info ", "COMP_CWORD": "m"}, "plain,myapp"),
    ],
)
def test_zsh_and_fish_ask_in_their_own_way(laptop: Laptop, shell: str, environ: dict[str, str], answer: str) -> None:
    done = laptop.run(["l8s"], _L8S_COMPLETE=f"{shell}_complete", **environ)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == answer.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("line", "wanted"), [("l8s info ", ["myapp", "other"]), ("l8s info o", ["other"]), ("l8s --profile s", ["staging"])]
)
def test_bash_itself(laptop: Laptop, line: str, wanted: list[str]) -> None:
    """The documented line, and then what bash does when Tab is pressed: it calls the function of ``complete``."""
    words = line.split(" ")
    script = (
        'eval "$(_L8S_COMPLETE=bash_source l8s)"\n'
        "function=$(complete -p l8s | sed 's/.*-F \\([^ ]*\\) .*/\\1/')\n"
        f"COMP_WORDS=({' '.join(shlex.quote(word) for word in words)}) COMP_CWORD={len(words) - 1}\n"
        f'"$function" l8s {shlex.quote(words[-1])} {shlex.quote(words[-2])}\n'
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = laptop.run(["bash", "--norc", "-c", script])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == wanted
