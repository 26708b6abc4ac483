"""``l8s doctor`` on real servers: healthy ones, and broken ones, whose repair is followed as it is printed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attrs import frozen
from lab import Laptop, Run, Server


@pytest.fixture(autouse=True)
def _ready(server: Server, image: str, laptop: Laptop) -> Iterator[None]:
    laptop.configure(server)
    yield
    server.clear()


def findings(laptop: Laptop, code: int) -> list[dict[str, str]]:
    ran = laptop.l8s("-o", "json", "doctor", check=False)
    assert ran.returncode == code, ran.stdout + ran.stderr
    data: dict[str, Any] = json.loads(ran.stdout)["data"]
    assert data["ok"] == (code == 0)
    found: list[dict[str, str]] = data["findings"]
    return found


def complaints(laptop: Laptop, code: int) -> list[dict[str, str]]:
    found = [finding for finding in findings(laptop, code) if finding["state"] != "ok"]
    assert all(finding["hint"] for finding in found)
    return found


def test_a_healthy_server(laptop: Laptop) -> None:
    laptop.l8s("create", "x")
    assert complaints(laptop, 0) == []
    text = laptop.l8s("doctor")
    assert "0 wrong, 0 to mind" in text.stdout
    checked = {finding["check"] for finding in findings(laptop, 0)}
    assert {"ssh-agent", "authentication", "podman.socket", "disk", "clock", "sshd", "image", "dev-x"} <= checked


@frozen
class Breakage:
    """``on_server`` (a shell command) or ``on_laptop`` breaks it; then ``check`` is not ok, and says ``words``."""

    check: str
    words: str
    code: int = 1
    on_server: str = ""
    on_laptop: Callable[[Laptop], object] | None = None


def _no_include(laptop: Laptop) -> None:
    laptop.ssh_config.write_text("")


def _no_entries(laptop: Laptop) -> None:
    (laptop.home / ".l8s" / "ssh_config").unlink()


def _no_pins(laptop: Laptop) -> None:
    path = laptop.home / ".l8s" / "known_hosts"
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if ".l8s " not in line))


def _other_pin(laptop: Laptop) -> None:
    path = laptop.home / ".l8s" / "known_hosts"
    server, container = path.read_text().splitlines()
    path.write_text(f"{server}\n{container.split()[0]} {' '.join(server.split()[1:])}\n")


def _wrong_port(laptop: Laptop) -> None:
    path = laptop.home / ".l8s" / "ssh_config"
    text = path.read_text()
    path.write_text(text.replace("Port 2200", "Port 2999"))
    assert path.read_text() != text


def _empty_agent(laptop: Laptop) -> None:
    laptop.run("ssh-add", "-q", "-D")


SSHD = "/etc/ssh/sshd_config.d/50-broken.conf"
RELOAD = "systemctl reload ssh"

BREAKAGES = {
    "socket stopped": Breakage("podman.socket", "inactive", on_server="systemctl stop podman.socket podman.service"),
    "socket disabled": Breakage("podman.socket", "disabled", code=0, on_server="systemctl disable podman.socket"),
    "socket masked": Breakage(
        "podman.socket", "masked", on_server="systemctl stop podman.socket podman.service; systemctl mask podman.socket"
    ),
    "a plain file": Breakage(
        "socket", "is no socket", on_server="rm /run/podman/podman.sock; touch /run/podman/podman.sock"
    ),
    "socket deleted": Breakage("socket", "is not there", on_server="rm /run/podman/podman.sock"),
    "socket open to all": Breakage("socket", "be root there", on_server="chmod 666 /run/podman/podman.sock"),
    "no restart at boot": Breakage(
        "podman-restart.service", "disabled", code=0, on_server="systemctl disable podman-restart.service"
    ),
    "few sessions": Breakage("sshd", "MaxSessions", code=0, on_server=f"echo MaxSessions 2 > {SSHD}; {RELOAD}"),
    "no forwarding": Breakage(
        "sshd", "slow way", code=0, on_server=f"echo AllowStreamLocalForwarding no > {SSHD}; {RELOAD}"
    ),
    "no include": Breakage("ssh config", "add the first line", on_laptop=_no_include),
    "no entries": Breakage("dev-x", "no ssh entry", on_laptop=_no_entries),
    "no pins": Breakage("dev-x", "not pinned", on_laptop=_no_pins),
    "another pin": Breakage("dev-x", "is not its own", on_laptop=_other_pin),
    "wrong port": Breakage("dev-x", "leads elsewhere", on_laptop=_wrong_port),
    "open directory": Breakage(
        "l8s's files", "open to others", on_laptop=lambda laptop: (laptop.home / ".l8s").chmod(0o777)
    ),
    "open config": Breakage(
        "l8s's files",
        "config.yaml is open",
        code=0,
        on_laptop=lambda laptop: (laptop.home / ".l8s" / "config.yaml").chmod(0o644),
    ),
    "empty agent": Breakage("ssh-agent", "holds no key", on_laptop=_empty_agent),
    "stale entry": Breakage("dev-x", "gone from the server", code=0, on_server="podman rm --force --time 0 dev-x"),
}


def follow(hint: str, laptop: Laptop, run: Run) -> None:
    """Do what a hint says, as a person would who pastes it into a shell on the laptop."""
    key = str(laptop.home / ".ssh" / "id_ed25519")
    command = hint.partition("; or: ")[0].removeprefix("Add your key: ").replace("~/.ssh/id_ed25519", key)
    program = command.split()[0]
    assert program in ("ssh", "l8s", "chmod", "ssh-add"), hint
    if program == "ssh":
        # the person's own ssh knows the server
        laptop.run("cp", laptop.home / ".l8s" / "known_hosts", laptop.home / ".ssh" / "known_hosts")
        options = f"-F /dev/null -o UserKnownHostsFile={shlex.quote(str(laptop.home / '.ssh' / 'known_hosts'))}"
        command = command.replace("ssh ", f"ssh {options} ", 1)
    if program == "ssh-add":
        # the private half is kept elsewhere, so that nothing can read it in the home
        command = command.replace(key, str(run.key_file))
    laptop.run("sh", "-c", command, timeout=120)


@pytest.mark.parametrize("which", BREAKAGES)
def test_names_what_is_broken_and_its_repair_works(server: Server, laptop: Laptop, run: Run, which: str) -> None:
    broken = BREAKAGES[which]
    laptop.l8s("create", "x")
    try:
        if broken.on_server:
            server.run(broken.on_server)
        if broken.on_laptop is not None:
            broken.on_laptop(laptop)
        [finding] = [
            found
            for found in complaints(laptop, broken.code)
            if found["check"] == broken.check and broken.words in found["message"]
        ]
        follow(finding["hint"], laptop, run)
        assert complaints(laptop, 0) == []
    finally:
        mended(server)


def mended(server: Server) -> None:
    """The server as it was; without SSH, which may be what is broken."""
    units = "podman.socket podman-restart.service"
    server.exec(
        "sh",
        "-ec",
        f"rm -f {SSHD} /etc/ssh/sshd_config.d/00-l8s.conf; {RELOAD}; systemctl unmask podman.socket; "
        # many starts in a few seconds are refused, and that is remembered
        f"systemctl reset-failed podman.socket podman.service || true; systemctl enable {units}; "
        "systemctl restart podman.socket; systemctl is-active podman.socket",
        check=True,
    )


def test_a_full_disk(server: Server, laptop: Laptop) -> None:
    volumes = "/var/lib/containers/storage/volumes"
    server.run(f"mount -t tmpfs -o size=4m tmpfs {volumes} && head -c 3500000 /dev/zero > {volumes}/filler")
    try:
        [finding] = complaints(laptop, 1)
        assert finding["check"] == "disk"
        assert volumes in finding["message"]
    finally:
        server.run(f"umount {volumes}")
    assert complaints(laptop, 0) == []


def test_a_missing_image(server: Server, laptop: Laptop) -> None:
    laptop.configure(server, base_image="localhost/l8s-dev:doctor")
    [finding] = complaints(laptop, 0)
    assert (finding["check"], finding["hint"]) == ("image", "l8s build")
    # as `l8s build` does, from an image that is there: a server of the lab reaches no registry
    containerfile = laptop.home / "Containerfile"
    containerfile.write_text(f"FROM {server.image}\n")
    laptop.l8s("build", "--file", containerfile)
    assert complaints(laptop, 0) == []
    server.run("podman rmi --force localhost/l8s-dev:doctor")


def test_a_server_that_is_off(server: Server, laptop: Laptop) -> None:
    laptop.configure(server, remote_port=2299)
    found = findings(laptop, 1)
    assert {finding["group"] for finding in found} == {"laptop", "link"}
    [finding] = [finding for finding in found if finding["state"] != "ok"]
    assert "refused" in finding["message"]


def test_podman_is_not_installed(server: Server, laptop: Laptop) -> None:
    program = server.run("command -v podman").stdout.strip()
    server.run(
        f"systemctl stop podman.socket podman.service; mv {program} {program}.away; rm -f /run/podman/podman.sock"
    )
    try:
        found = {finding["check"]: finding for finding in complaints(laptop, 1)}
        assert "not installed" in found["Podman"]["message"]
        assert found["Podman"]["hint"].startswith("l8s server setup ")
    finally:
        server.exec("mv", f"{program}.away", program, check=True)
        mended(server)
    assert complaints(laptop, 0) == []
