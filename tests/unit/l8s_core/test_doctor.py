"""doctor: what the server's answers mean, that a hostile answer harms nothing, and that one broken check stops none."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest

from l8s_core import doctor
from l8s_core.client import Client
from l8s_core.errors import HostUnreachable, L8sError
from l8s_core.hookspecs import hookimpl
from l8s_core.model import Profile
from l8s_core.plugins import PluginHost
from l8s_core.providers import BackendProvider, Check, Finding, SSHConfigWriterProvider
from l8s_core.testing import FakeBackend, FakeConfigStore, FakeServer, FakeSSHConfigWriter

PROFILE = Profile(name="dev", remote_host="build.example.com", remote_user="root", backend="fake")
HEALTHY = {
    "time": "1000",
    "uid": "0",
    "podman": "5.4.2",
    "podman.socket.enabled": "enabled",
    "podman.socket.active": "active",
    "podman-restart.service.enabled": "enabled",
    "socket": "socket",
    "socket.access": "yes",
    "socket.mode": "660 root root",
    "disk": "100000000 50000000 /",
    "inodes": "1000000 900000 /",
    "cgroup": "cgroup2fs",
    "sshd.maxsessions": "10",
    "sshd.allowstreamlocalforwarding": "yes",
    "image": "yes",
    "end": "yes",
}


def judged(before: float = 1000.2, after: float = 1000.9, **changes: str) -> dict[str, Finding]:
    found = {**HEALTHY, **{key.replace("__", "."): value for key, value in changes.items()}}
    return {
        check: finding
        for check, finding in doctor.judge(found, PROFILE, before=before, after=after)
        if finding.state != "ok"
    }


def test_a_healthy_server_has_nothing_wrong() -> None:
    assert judged() == {}


@pytest.mark.parametrize(
    ("changes", "check", "state"),
    [
        ({"podman": "none"}, "Podman", "problem"),
        ({"podman": "3.4.4"}, "Podman", "problem"),
        ({"podman": "\x1b[2J"}, "Podman", "problem"),
        ({"podman__socket__active": "inactive"}, "podman.socket", "problem"),
        ({"podman__socket__enabled": "masked"}, "podman.socket", "problem"),
        ({"podman__socket__enabled": "disabled"}, "podman.socket", "warning"),
        ({"socket": "other"}, "socket", "problem"),
        ({"socket": "missing"}, "socket", "problem"),
        ({"socket__access": "no"}, "socket", "problem"),
        ({"socket": "hidden", "socket__access": "no", "socket__mode": ""}, "socket", "problem"),
        ({"socket__mode": "666 root root"}, "socket", "problem"),
        ({"disk": "100000000 1000 /"}, "disk", "problem"),
        ({"disk": "100000000 1000000 /"}, "disk", "warning"),
        ({"inodes": "1000000 3 /"}, "inodes", "problem"),
        ({"time": "1"}, "clock", "warning"),
        ({"time": "not a time"}, "clock", "warning"),
        ({"sshd__maxsessions": "1"}, "sshd", "warning"),
        ({"sshd__allowstreamlocalforwarding": "no"}, "sshd", "warning"),
        ({"sshd__disableforwarding": "yes"}, "sshd", "warning"),
        ({"image": "no"}, "image", "warning"),
    ],
)
def test_each_fault_is_named_with_something_to_run(changes: dict[str, str], check: str, state: str) -> None:
    found = judged(**changes)
    assert list(found) == [check]
    assert found[check].state == state
    assert found[check].hint


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-70, "the server's is 69 s behind this machine's"),
        (70, "the server's is 69 s ahead of this machine's"),
        (3653 * 86400, "the server's is 3653 days ahead of this machine's"),
        (-3653 * 86400, "the server's is 3653 days behind this machine's"),
    ],
)
def test_the_clock_that_is_wrong_is_said_by_how_much(seconds: int, said: str) -> None:
    now = 2_000_000_000
    clock = judged(now + 0.2, now + 0.9, time=str(now + seconds))["clock"]
    assert said in clock.message
    assert "timedatectl set-ntp true" in clock.hint


@pytest.mark.parametrize("text", ["", "x", "1", "99999999999999999999 1 /", "- - /", "0 0 /", "1 2", "٣ ٣ /"])
def test_sizes_that_are_none_are_no_complaint(text: str) -> None:
    assert judged(disk=text, inodes=text) == {}


def test_a_small_file_system_that_is_mostly_empty_is_fine() -> None:
    assert judged(disk="100000 90000 /") == {}


def test_only_the_first_of_equal_keys_counts_and_other_text_does_not() -> None:
    assert doctor.read_look("motd\nl8s-look a 1\nl8s-look a 2\n l8s-look b 3\nl8s-look c\n") == {"a": "1", "c": ""}


class House:
    """A plugin with a fake of everything, and checks of its own."""

    def __init__(self) -> None:
        self.server = FakeServer()
        self.writer = FakeSSHConfigWriter()
        self.failure: L8sError | None = None

    def make(self, profile: Profile) -> FakeBackend:
        backend = FakeBackend(profile, self.server)
        if self.failure is not None:
            backend.fail("open", self.failure)
        return backend

    @hookimpl
    def l8s_remote_backends(self) -> Iterator[BackendProvider]:
        yield BackendProvider(name="fake", summary="in memory", factory=self.make)

    @hookimpl
    def l8s_ssh_config_writers(self) -> Iterator[SSHConfigWriterProvider]:
        yield SSHConfigWriterProvider(name="openssh", summary="in memory", factory=lambda: self.writer)

    @hookimpl
    def l8s_checks(self) -> Iterator[Check]:
        def broken(client: Client | None) -> Iterator[Finding]:
            raise ZeroDivisionError("oh")
            yield

        def connected(client: Client | None) -> Iterator[Finding]:
            assert client is not None
            yield Finding(state="ok", message=client.endpoint.host)

        def alone(client: Client | None) -> Iterator[Finding]:
            yield Finding(state="warning", message="alone" if client is None else "not", hint="x")

        yield Check(name="broken", summary="raises", run=broken, needs_connection=False)
        yield Check(name="connected", summary="uses the client", run=connected)
        yield Check(name="alone", summary="needs none", run=alone, needs_connection=False)


def checked(house: House) -> dict[tuple[str, str], Finding]:
    from l8s_core.client import Session

    plugins = PluginHost()
    plugins.register(house, "house")
    session = Session(plugins, environ={})
    session.store = FakeConfigStore({"remote_host": "h.example.com", "remote_user": "root", "backend": "fake"})
    return {(item.group, item.check): item.finding for item in doctor.run_checks(session, PROFILE)}


def test_one_broken_check_stops_no_other() -> None:
    found = checked(House())
    assert found["plugin", "broken (house)"].state == "problem"
    assert "ZeroDivisionError" in found["plugin", "broken (house)"].message
    assert found["plugin", "connected (house)"].message == "build.example.com"
    assert found["plugin", "alone (house)"].message == "not"


def test_without_a_link_the_laptop_and_what_needs_none_are_still_checked() -> None:
    house = House()
    house.failure = HostUnreachable("nobody\nanswers", hints=("Switch it on", "Or wait"))
    found = checked(house)
    assert ("laptop", "ssh") in found
    [link] = [f for (group, _), f in found.items() if group == "link" and f.state != "ok"]
    assert (link.state, link.message, link.hint) == ("problem", "nobody answers", "Switch it on; or: Or wait")
    assert found["plugin", "alone (house)"].message == "alone"
    assert ("plugin", "connected (house)") not in found
    assert "server" not in {group for group, _ in found}


def test_a_repair_is_roots_as_a_whole() -> None:
    user = Profile(name="dev", remote_host="h.example.com", remote_user="bob", remote_port=2222)
    found = dict(doctor.judge({**HEALTHY, "socket": "other"}, user, before=1000.2, after=1000.9))
    shown = shlex.split(found["socket"].hint)
    assert shown[:4] == ["ssh", "-p", "2222", "bob@h.example.com"]
    path = user.remote_socket
    command = f"mv -T {path} {path}.old && systemctl restart podman.socket"
    assert shlex.split(shown[4]) == ["sudo", "sh", "-c", command]


def test_a_server_that_says_nothing_is_a_problem() -> None:
    found = checked(House())
    assert found["server", "server"].state == "problem"
