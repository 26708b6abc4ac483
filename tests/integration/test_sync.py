"""``l8s sync`` on real servers: what was lost is rebuilt, what is stale goes, and nothing else is touched."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import Laptop, Server

DRIVER = Path(__file__).with_name("dies.py")


@pytest.fixture(autouse=True)
def _ready(server: Server, image: str, laptop: Laptop) -> Iterator[None]:
    laptop.configure(server)
    yield
    server.clear()


def tree(laptop: Laptop) -> dict[str, bytes]:
    files = [laptop.ssh_config, *(laptop.home / ".l8s" / name for name in ("ssh_config", "known_hosts", "config.yaml"))]
    return {str(path): path.read_bytes() for path in files if path.exists()}


def test_lost_files_are_rebuilt_and_ssh_works(laptop: Laptop) -> None:
    laptop.l8s("create", "x")
    laptop.l8s("create", "stopped")
    laptop.l8s("stop", "stopped")
    whole = tree(laptop)
    laptop.l8s("sync")
    assert tree(laptop) == whole
    (laptop.home / ".l8s" / "ssh_config").unlink()
    pins = (laptop.home / ".l8s" / "known_hosts").read_text().splitlines(keepends=True)
    (laptop.home / ".l8s" / "known_hosts").write_text("".join(line for line in pins if ".l8s " not in line))
    laptop.ssh_config.write_text("Host mine\n  Port 2\n")
    lost = tree(laptop)
    (laptop.home / ".l8s" / "journal").rmdir()
    shown = laptop.l8s("sync", "--dry-run").stdout
    assert "+ ssh entry dev-x" in shown
    assert tree(laptop) == lost
    assert not (laptop.home / ".l8s" / "journal").exists(), "a dry run makes nothing"
    laptop.l8s("sync")
    laptop.ssh("dev-x", "true")
    laptop.l8s("start", "stopped")
    laptop.ssh("dev-stopped", "true")
    assert laptop.ssh_config.read_text().endswith("\nHost mine\n  Port 2\n")
    assert "nothing to do" in laptop.l8s("sync").stdout


def test_a_lost_include_is_put_back(laptop: Laptop) -> None:
    laptop.l8s("create", "x")
    whole = tree(laptop)
    laptop.ssh_config.write_text("")
    laptop.l8s("sync")
    assert tree(laptop) == whole


def test_putting_back_a_pin_ends_nobodys_session(laptop: Laptop) -> None:
    laptop.l8s("create", "x")
    options = ("-F", str(laptop.ssh_config), "-o", "BatchMode=yes")
    with laptop.start("ssh", *options, "dev-x", "echo in; sleep 8; echo out") as session:
        assert session.stdout is not None
        assert session.stdout.readline() == "in\n"
        pins = laptop.home / ".l8s" / "known_hosts"
        pins.write_text(pins.read_text().splitlines(keepends=True)[0])
        assert "+ host key of dev-x" in laptop.l8s("sync").stdout
        assert session.poll() is None, "it is in use while the pin is put back"
        assert session.stdout.read() == "out\n"
        assert session.wait(timeout=20) == 0


def test_a_container_without_a_key_gets_no_entry(laptop: Laptop) -> None:
    laptop.l8s("create", "x")
    laptop.l8s("exec", "--user", "root", "x", "--", "sh", "-c", "rm /var/lib/l8s/ssh_host_ed25519_key.pub")
    (laptop.home / ".l8s" / "ssh_config").unlink()
    ran = laptop.l8s("sync")
    assert "+ ssh entry" not in ran.stdout
    assert "could not be read" in ran.stderr


def test_what_was_removed_elsewhere_goes_and_nothing_else(server: Server, laptop: Laptop) -> None:
    laptop.l8s("create", "x")
    laptop.l8s("create", "y")
    laptop.configure(server, "dev-y", ssh_start_port=2300)
    laptop.l8s("create", "z", "--profile", "dev-y")
    server.run("podman rm --force --time 0 dev-x dev-y-z")
    data = json.loads(laptop.l8s("-o", "json", "sync", "--profile", "dev").stdout)["data"]
    assert data["entries"] == [{"alias": "dev-x", "action": "remove"}]
    entries = (laptop.home / ".l8s" / "ssh_config").read_text()
    assert "Host dev-x\n" not in entries
    assert "Host dev-y\n" in entries
    assert "Host dev-y-z\n" in entries, "another profile's"
    assert "dev-x.l8s" not in (laptop.home / ".l8s" / "known_hosts").read_text()
    laptop.ssh("dev-y", "true")


def test_a_container_with_a_new_key_is_shown_and_pinned_anew(laptop: Laptop) -> None:
    laptop.l8s("create", "x")
    new_key = "rm /var/lib/l8s/ssh_host*; ssh-keygen -q -t ed25519 -N '' -f /var/lib/l8s/ssh_host_ed25519_key"
    laptop.l8s("exec", "--user", "root", "x", "--", "sh", "-c", new_key)
    laptop.l8s("restart", "x")
    assert laptop.ssh("-o", "ControlPath=none", "dev-x", "true", check=False).returncode == 255
    assert "host key of dev-x: SHA256:" in laptop.l8s("sync").stdout
    laptop.ssh("dev-x", "true")


def test_a_create_that_was_cut_off_is_left_to_create(server: Server, laptop: Laptop) -> None:
    died = laptop.run(sys.executable, DRIVER, "create", "x", str(int(signal.SIGKILL)), "container", "done", check=False)
    assert died.returncode == -signal.SIGKILL
    ran = laptop.l8s("sync")
    assert "dev-x is left as it is: its create was cut off" in ran.stderr
    assert not (laptop.home / ".l8s" / "ssh_config").exists()
    laptop.l8s("create", "x")
    assert "nothing to do" in laptop.l8s("sync").stdout


def test_labels_that_lie_are_not_believed(server: Server, image: str, laptop: Laptop) -> None:
    labels = ["managed=true", "prefix=dev", "name=evil", "ssh-port=2200", "user=-oProxyCommand=x"]
    ours = " ".join(f"--label l8s.{label}" for label in labels)
    server.run(f"podman create --name dev-evil {ours} {image} true")
    ran = laptop.l8s("sync")
    assert "dev-evil is left as it is" in ran.stderr
    assert not (laptop.home / ".l8s" / "ssh_config").exists()
