"""The main job through the command, and the container from the laptop's own ssh, scp, sftp, rsync and git."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from lab import Laptop, Server


@pytest.fixture(autouse=True)
def _ready(server: Server, image: str, laptop: Laptop) -> Iterator[None]:
    laptop.configure(server)
    yield
    server.clear()


def strict(laptop: Laptop, alias: str) -> None:
    """Fail unless the effective ssh configuration of ``alias`` checks host keys and forwards nothing."""
    effective = laptop.ssh("-G", alias).stdout.lower().splitlines()
    assert "stricthostkeychecking true" in effective
    assert "forwardagent no" in effective
    assert "passwordauthentication no" in effective
    assert not any(line.startswith("userknownhostsfile /dev/null") for line in effective)


def test_from_create_to_rm(server: Server, laptop: Laptop) -> None:
    created = laptop.l8s("create", "myapp", "--label", "team=core", "--memory", "256m", "--cpus", "1", "--pids", "200")
    assert "ssh dev-myapp" in created.stdout + created.stderr
    listed = json.loads(laptop.l8s("-o", "json", "list").stdout)
    assert listed["schema"] == "l8s/1"
    (row,) = listed["data"]
    assert (row["name"], row["alias"], row["state"]) == ("myapp", "dev-myapp", "running")
    assert "dev-myapp" in laptop.l8s("ls").stdout
    info = laptop.l8s("info", "myapp").stdout
    assert "ssh dev-myapp" in info
    assert f"ssh -p {row['ssh_port']} dev@{server.host}" in info

    ran = laptop.l8s("exec", "myapp", "--", "sh", "-c", "id -un; pwd; echo oops >&2; exit 7", check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (7, "dev\n/workspace/project\n", "oops\n")
    assert laptop.l8s("exec", "myapp", "--", "cat", input="through\n").stdout == "through\n"
    strict(laptop, "dev-myapp")
    words = laptop.l8s("ssh", "myapp", "--", "printf", "%s|", "two words", "$HOME", "it's").stdout
    assert words == "two words|$HOME|it's|"

    assert server.run("podman inspect dev-myapp --format '{{.HostConfig.Memory}}'").stdout.strip() == str(256 * 1024**2)
    assert server.run("podman inspect dev-myapp --format '{{.HostConfig.PidsLimit}}'").stdout.strip() == "200"
    assert server.run("podman inspect dev-myapp --format '{{.Config.Labels.team}}'").stdout.strip() == "core"

    laptop.l8s("stop", "myapp")
    assert json.loads(laptop.l8s("-o", "json", "list").stdout)["data"][0]["state"] == "exited"
    failed = laptop.l8s("exec", "myapp", "--", "true", check=False)
    assert failed.returncode == 7
    assert "l8s start myapp" in failed.stderr
    laptop.l8s("start", "myapp")
    laptop.ssh("dev-myapp", "true")
    laptop.l8s("restart", "myapp")
    laptop.ssh("dev-myapp", "true")

    assert laptop.l8s("create", "myapp", check=False).returncode == 8
    assert laptop.l8s("rm", "myapp", check=False).returncode == 2, "without a terminal it needs --yes"
    laptop.l8s("rm", "myapp", "--yes")
    assert server.run("podman ps -aq; podman volume ls -q").stdout == ""
    assert "dev-myapp" not in (laptop.home / ".l8s" / "ssh_config").read_text()
    assert "dev-myapp" not in (laptop.home / ".l8s" / "known_hosts").read_text()
    assert laptop.l8s("rm", "myapp", "--yes", check=False).returncode == 8


def test_files_and_git(laptop: Laptop) -> None:
    laptop.l8s("create", "x")
    strict(laptop, "dev-x")
    laptop.ssh("dev-x", "true")
    source = laptop.home / "source"
    source.mkdir()
    (source / "a file").write_bytes(bytes(range(256)) * 100)

    laptop.scp(source / "a file", "dev-x:/tmp/copied")
    laptop.scp("dev-x:/tmp/copied", laptop.home / "back")
    assert (laptop.home / "back").read_bytes() == (source / "a file").read_bytes()
    laptop.sftp("dev-x", f'put "{source}/a file" /tmp/put\nget /tmp/put {laptop.home}/got\n')
    assert (laptop.home / "got").read_bytes() == (source / "a file").read_bytes()
    laptop.rsync("-a", f"{source}/", "dev-x:/workspace/synced/")
    assert laptop.ssh("dev-x", "stat -c %s '/workspace/synced/a file'").stdout.strip() == "25600"

    repository = laptop.home / "repository"
    laptop.git("init", "-q", "-b", "main", repository, cwd=laptop.home)
    (repository / "hello.txt").write_text("hello\n")
    laptop.git("add", ".", cwd=repository)
    laptop.git("commit", "-q", "-m", "First", cwd=repository)
    laptop.l8s("remote", "add", "x", cwd=repository)
    assert laptop.git("remote", "get-url", "x", cwd=repository).stdout.strip() == "dev-x:/workspace/project"
    laptop.git("push", "-q", "x", "main", cwd=repository)
    assert laptop.ssh("dev-x", "cat /workspace/project/hello.txt").stdout == "hello\n"
    (repository / "hello.txt").write_text("hello again\n")
    laptop.git("commit", "-q", "-a", "-m", "Second", cwd=repository)
    laptop.git("push", "-q", "x", "main", cwd=repository)
    assert laptop.ssh("dev-x", "cat /workspace/project/hello.txt").stdout == "hello again\n"
    assert laptop.ssh("dev-x", "git -C /workspace/project rev-parse main").stdout == (
        laptop.git("rev-parse", "main", cwd=repository).stdout
    )
    laptop.l8s("remote", "remove", "x", cwd=repository)
    assert laptop.git("remote", cwd=repository).stdout == ""


def test_a_recreated_container_is_pinned_anew_without_a_warning(laptop: Laptop) -> None:
    laptop.l8s("create", "x")
    first = laptop.ssh("dev-x", "cat /var/lib/l8s/ssh_host_ed25519_key.pub").stdout
    laptop.l8s("rm", "x", "--yes")
    laptop.l8s("create", "x")
    second = laptop.ssh("dev-x", "cat /var/lib/l8s/ssh_host_ed25519_key.pub")
    assert second.stdout != first
    assert second.stderr == ""
    pins = [line for line in (laptop.home / ".l8s" / "known_hosts").read_text().splitlines() if "dev-x" in line]
    assert [pin.split()[1:] for pin in pins] == [second.stdout.split()[:2]]


def test_volumes_are_kept_when_asked(laptop: Laptop) -> None:
    laptop.l8s("create", "x")
    laptop.ssh("dev-x", "echo precious > ~/note && echo work > /workspace/note")
    laptop.l8s("rm", "x", "--yes", "--keep-volumes")
    laptop.l8s("create", "x")
    assert laptop.ssh("dev-x", "cat ~/note /workspace/note").stdout == "precious\nwork\n"
    laptop.l8s("rm", "x", "--yes")


def test_another_machine_on_the_port_is_refused(server: Server, laptop: Laptop) -> None:
    laptop.l8s("create", "x")
    port = json.loads(laptop.l8s("-o", "json", "info", "x").stdout)["data"]["ssh_port"]
    laptop.l8s("stop", "x")
    # an sshd with another host key, on which the very same login would succeed
    server.run("rm -f /tmp/other-key && ssh-keygen -q -t ed25519 -N '' -f /tmp/other-key")
    server.start_sshd(f"-p {port} -o HostKey=/tmp/other-key", pid_file="/run/other-sshd.pid")
    try:
        for options in ((), ("-o", "ControlPath=none")):
            refused = laptop.ssh(*options, "dev-x", "true", check=False)
            assert refused.returncode == 255
            assert "verification failed" in refused.stderr.lower()
    finally:
        server.run("kill $(cat /run/other-sshd.pid)")
    laptop.l8s("start", "x")
    laptop.ssh("dev-x", "true")


def test_two_at_once_never_share_a_port(laptop: Laptop) -> None:
    running = [laptop.start("l8s", "-o", "json", "create", name) for name in ("one", "two", "three")]
    ports = set()
    for process in running:
        stdout, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
        ports.add(json.loads(stdout)["data"]["ssh_port"])
    assert len(ports) == 3
    for name in ("one", "two", "three"):
        laptop.ssh(f"dev-{name}", "true")


def test_ports_of_foreign_and_stopped_containers_and_of_listeners_are_left_alone(
    server: Server, image: str, laptop: Laptop
) -> None:
    server.run(f"podman create --name foreign -p 2200:80 {image} sleep 1000")
    server.start_sshd("-p 2201", pid_file="/run/other-sshd.pid")
    try:
        laptop.l8s("create", "x")
    finally:
        server.run("kill $(cat /run/other-sshd.pid)")
    assert json.loads(laptop.l8s("-o", "json", "info", "x").stdout)["data"]["ssh_port"] == 2202
    laptop.l8s("rm", "x", "--yes")
    assert server.run("podman ps -a --format '{{.Names}}'").stdout.split() == ["foreign"]
    taken = laptop.l8s("rm", "y", "--yes", check=False)
    assert taken.returncode == 8
