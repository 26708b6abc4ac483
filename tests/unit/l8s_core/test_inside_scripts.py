"""What runs in a container, as far as it can be run outside one: in a temporary directory, with stand-ins on PATH."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import pytest
from attrs import define

SCRIPTS = ("start.sh", "ready.sh", "provision.sh", "receive.sh", "send.sh")
OWN_PATHS = re.compile("/proc/1/stat|/proc/net/tcp6?|/etc/l8s|/run/l8s|/var/lib/l8s|/workspace/project")
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"


def _text(name: str) -> str:
    return resources.files("l8s_core.inside").joinpath(name).read_text("utf-8")


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_scripts_are_sh(name: str) -> None:
    shells = [shell for shell in ("sh", "dash", "bash") if shutil.which(shell)]
    for shell in shells:
        checked = subprocess.run([shell, "-n"], input=_text(name).encode(), capture_output=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, b""), shell
    assert _text(name).startswith("#!/bin/sh\n")
    assert "\r" not in _text(name)
    assert "[[" not in _text(name)


@define
class Inside:
    """A directory that plays the container's root, with settings, a host key and an sshd that is ready."""

    root: Path

    def write(self, path: str, text: str, *, mode: int = 0o644) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    def program(self, name: str, body: str) -> None:
        self.write(f"bin/{name}", f"#!/bin/sh\n{body}\n", mode=0o755)

    def settings(self, repository: str = "", branch: str = "") -> None:
        self.write("etc/l8s/settings", f"L8S_USER=dev\nL8S_REPOSITORY='{repository}'\nL8S_BRANCH='{branch}'\n")

    def run(self, name: str, stdin: bytes = b"\n\n") -> subprocess.CompletedProcess[bytes]:
        script = self.write("script", OWN_PATHS.sub(lambda match: f"{self.root}{match[0]}", _text(name)))
        return subprocess.run(
            ["sh", str(script)], input=stdin, capture_output=True, check=False, env=self.environment, timeout=30
        )

    def git(self, *arguments: str) -> str:
        said = subprocess.run(["git", *arguments], capture_output=True, check=True, env=self.environment, timeout=30)
        return said.stdout.decode().strip()

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.root}/bin:{os.environ['PATH']}",
            "HOME": str(self.root),
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{role}_{part}": "a@example.com" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")},
        }

    @property
    def project(self) -> Path:
        return self.root / "workspace" / "project"


@pytest.fixture
def inside(tmp_path: Path) -> Inside:
    container = Inside(tmp_path)
    container.settings()
    container.write("proc/1/stat", "1 (sh) S " + " ".join(str(number) for number in range(4, 60)) + "\n")
    container.write("proc/net/tcp", "  sl  local_address rem_address   st\n   0: 00000000:0016 00000000:0000 0A 0\n")
    container.write("run/l8s/ready-22", "")
    container.write("etc/l8s/ready", "exit 0\n")
    container.write("var/lib/l8s/ssh_host_ed25519_key.pub", f"{HOST_KEY} comment\n")
    (tmp_path / "workspace").mkdir()
    # su -s SHELL -c COMMAND -- USER WORDS runs SHELL -c COMMAND WORDS as USER; here as whoever runs the tests.
    container.program("su", 'command=$4; echo "$6" >>"$HOME/su-users"; shift 6; exec /bin/sh -c "$command" "$@"')
    return container


@pytest.fixture
def origin(inside: Inside) -> Path:
    """A repository with the branches main and other."""
    path = inside.root / "origin"
    inside.git("init", "-q", "--initial-branch=main", str(path))
    for branch in ("main", "other"):
        inside.git("-C", str(path), "checkout", "-q", "-B", branch)
        (path / "file").write_text(branch)
        inside.git("-C", str(path), "add", "file")
        inside.git("-C", str(path), "commit", "-q", "-m", branch)
    inside.git("-C", str(path), "checkout", "-q", "main")
    return path


# ready


def test_ready_when_sshd_listens_and_this_start_says_so(inside: Inside) -> None:
    assert inside.run("ready.sh").returncode == 0


def test_why_sshd_did_not_start_is_passed_on(inside: Inside) -> None:
    (inside.root / "run/l8s/ready-22").unlink()
    inside.write("run/l8s/failed-22", "72\n/workspace cannot be given to dev\n")
    done = inside.run("ready.sh")
    assert (done.returncode, done.stderr) == (72, b"/workspace cannot be given to dev\n")


@pytest.mark.parametrize("missing", ["mark", "listener", "state"])
def test_it_waits_for_both_and_what_an_earlier_start_left_says_nothing(inside: Inside, missing: str) -> None:
    inside.write("run/l8s/failed-21", "70\nof an earlier start\n")
    inside.write("run/l8s/ready-21", "")
    ready, listening = "run/l8s/ready-22", "proc/net/tcp"
    line = (inside.root / listening).read_text()
    if missing == "mark":
        (inside.root / ready).unlink()
        inside.program("sleep", f'echo x >>"$HOME/slept"; : >"$HOME/{ready}"')
    else:
        other = line.replace(":0016", ":0017") if missing == "listener" else line.replace(" 0A ", " 01 ")
        inside.write(listening, other)
        inside.write("later", line)
        inside.program("sleep", f'echo x >>"$HOME/slept"; cp "$HOME/later" "$HOME/{listening}"')
    assert inside.run("ready.sh").returncode == 0
    assert (inside.root / "slept").read_text() == "x\n"


def test_it_does_not_wait_for_ever(inside: Inside) -> None:
    (inside.root / "run/l8s/ready-22").unlink()
    inside.program("sleep", "exit 0")
    done = inside.run("ready.sh")
    assert (done.returncode, done.stderr) == (74, b"sshd did not start within 30 s\n")


# provision


def test_without_a_repository_there_is_an_empty_one_to_push_to(inside: Inside) -> None:
    done = inside.run("provision.sh", stdin=b"")
    assert (done.returncode, done.stdout) == (0, f"l8s-host-key {HOST_KEY}\n".encode())
    assert inside.git("-C", str(inside.project), "config", "receive.denyCurrentBranch") == "updateInstead"
    assert set((inside.root / "su-users").read_text().split()) == {"dev"}


def test_an_image_without_git_gets_a_directory(inside: Inside) -> None:
    script = _text("provision.sh").replace("command -v git", "command -v no-such-git")
    inside.write("script", OWN_PATHS.sub(lambda match: f"{inside.root}{match[0]}", script))

    def run() -> subprocess.CompletedProcess[bytes]:
        argv = ["sh", str(inside.root / "script")]
        return subprocess.run(argv, input=b"", capture_output=True, check=False, env=inside.environment, timeout=30)

    assert run().returncode == 0
    assert list(inside.project.iterdir()) == []
    inside.settings("https://git.example.com/app.git")
    done = run()
    assert (done.returncode, done.stderr) == (75, b"the image has no git\n")


def test_the_repository_is_cloned_at_its_branch(inside: Inside, origin: Path) -> None:
    inside.settings(f"file://{origin}", "other")
    done = inside.run("provision.sh")
    assert (done.returncode, done.stdout) == (0, f"l8s-host-key {HOST_KEY}\n".encode())
    assert (inside.project / "file").read_text() == "other"
    assert inside.git("-C", str(inside.project), "branch", "--show-current") == "other"
    assert sorted(path.name for path in inside.project.parent.iterdir()) == ["project"]


def test_a_second_run_leaves_the_work_alone(inside: Inside, origin: Path) -> None:
    inside.settings(f"file://{origin}")
    assert inside.run("provision.sh").returncode == 0
    (inside.project / "file").write_text("my work")
    assert inside.run("provision.sh").returncode == 0
    assert (inside.project / "file").read_text() == "my work"


def test_a_clone_that_was_cut_off_is_done_again(inside: Inside, origin: Path) -> None:
    inside.settings(f"file://{origin}")
    inside.write("workspace/project.clone/.git/half", "")
    inside.project.mkdir()  # an empty directory in its place is no work of anyone's
    assert inside.run("provision.sh").returncode == 0
    assert (inside.project / "file").read_text() == "main"
    assert sorted(path.name for path in inside.project.parent.iterdir()) == ["project"]


def test_files_that_are_in_the_way_stay(inside: Inside, origin: Path) -> None:
    inside.settings(f"file://{origin}")
    inside.write("workspace/project/mine", "work")
    done = inside.run("provision.sh")
    assert done.returncode == 76
    assert b"exists already and is not a git repository" in done.stderr
    assert (inside.project / "mine").read_text() == "work"
    assert sorted(path.name for path in inside.project.parent.iterdir()) == ["project"]


@pytest.mark.parametrize(("repository", "branch"), [("/none", ""), ("", "no-such-branch")])
def test_a_clone_that_fails_leaves_nothing(inside: Inside, origin: Path, repository: str, branch: str) -> None:
    inside.settings(f"file://{origin}{repository}", branch)
    done = inside.run("provision.sh")
    assert done.returncode == 76
    assert b"fatal:" in done.stderr
    assert done.stdout == b""
    assert list(inside.project.parent.iterdir()) == []


def test_credentials_are_answered_to_git_and_stored_nowhere(inside: Inside, origin: Path) -> None:
    """A stand-in asks for the credentials with the very options that git itself would get, then clones."""
    real = shutil.which("git")
    question = r"printf 'protocol=https\nhost=git.example.com\n%s\n'"
    credential = f'{real} "$1" "$2" "$3" "$4" credential'
    inside.program(
        "git",
        'if [ "$5" = clone ]; then\n'
        f'  {question} "" | {credential} fill >"$HOME/answer"\n'
        f"  {question} 'username=me\npassword=p\n' | {credential} approve\n"
        "fi\n"
        f'exec {real} "$@"',
    )
    inside.settings(f"file://{origin}")
    done = inside.run("provision.sh", stdin=b"me%s\ns3cr$t 'x\"\n")
    assert done.returncode == 0, done.stderr
    answer = inside.root / "answer"
    assert answer.read_text().splitlines()[-2:] == ["username=me%s", "password=s3cr$t 'x\""]
    answer.unlink()
    kept = b"".join(path.read_bytes() for path in inside.root.rglob("*") if path.is_file())
    assert b"s3cr" not in kept + done.stdout + done.stderr
    settings = inside.git("-C", str(inside.project), "config", "--local", "--list", "--name-only").splitlines()
    assert not [name for name in settings if name.startswith("credential")]


def test_what_keeps_sshd_from_starting_ends_it(inside: Inside) -> None:
    inside.write("etc/l8s/ready", "echo no sshd >&2; exit 70\n")
    done = inside.run("provision.sh")
    assert (done.returncode, done.stdout, done.stderr) == (70, b"", b"no sshd\n")
    assert not inside.project.exists()
