"""Whatever happens in whatever order, on a fake server: the machine of ``lifecycle.py``, cut off at every effect."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import define, evolve, field
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from lifecycle import Command, Ended, Lifecycle, Seen, ServerState, ended

import l8s_openssh
from l8s_core import agent, files, provision, ssh_tools
from l8s_core.client import Client, Session
from l8s_core.errors import HostUnreachable, OutcomeUnknown
from l8s_core.hookspecs import hookimpl
from l8s_core.known_hosts import KnownHosts
from l8s_core.model import LABEL_OPERATION, ContainerRequest, Profile, PublicKey
from l8s_core.plugins import PluginHost
from l8s_core.processes import Completed
from l8s_core.providers import BackendProvider, ConfigStoreProvider
from l8s_core.testing import FakeBackend, FakeConfigStore, FakeServer, FakeVolume
from l8s_openssh.writer import OpenSSHWriter

SETTINGS = {"remote_host": "build.example.com", "remote_user": "root", "backend": "fake"}
PROFILE = Profile(name="dev", **SETTINGS)  # type: ignore[arg-type]
KEY = PublicKey("ssh-ed25519", base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + b"k" * 32).decode())
KEY_FILE = "/ssh_host_ed25519_key.pub"

EFFECTS = {"inspect", "list", "ports_in_use", "create", "start", "stop", "remove", "volumes", "create_volume"}
EFFECTS |= {"remove_volume", "exec", "upload", "download"}


class Killed(BaseException):
    """The process is gone."""


@define
class Fate:
    """What happens at one of the moments before and after each effect that a command has."""

    fault: str = ""
    at: int = -1
    seen: int = 0
    struck: bool = False
    broken: bool = False
    """Whether there is no connection."""

    def around(self, effect: Callable[..., Any], *, remote: bool) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.moment(remote, HostUnreachable("the line is dead"))
            result = effect(*arguments, **named)
            self.moment(remote, OutcomeUnknown("no answer came"))
            return result

        return call

    def moment(self, remote: bool, loss: Exception) -> None:
        if self.fault == "kill" and self.struck:  # nothing happens after it, whatever tries to
            raise Killed
        if self.broken and remote:
            raise HostUnreachable("the line is dead")
        if not self.fault or (self.fault == "lose_link" and not remote):
            return
        self.seen += 1
        if self.seen - 1 == self.at:
            self.struck = True
            if self.fault == "kill":
                raise Killed
            self.broken = True
            raise loss


class Linked:
    """A backend at the end of a line."""

    def __init__(self, backend: FakeBackend, fate: Fate) -> None:
        self._backend, self._fate = backend, fate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._backend, name)
        return self._fate.around(found, remote=True) if name in EFFECTS else found

    def open(self, *arguments: Any) -> Any:
        self._fate.broken = False
        return self._backend.open(*arguments)


@define
class FakeWorld:
    """A fake server, and a home with real files: ssh's configuration, pins, the journal."""

    profile: Profile = PROFILE
    fate: Fate = field(factory=Fate)
    fake: FakeServer = field(factory=FakeServer)
    _patch: pytest.MonkeyPatch = field(factory=pytest.MonkeyPatch)
    _home: tempfile.TemporaryDirectory[str] = field(factory=tempfile.TemporaryDirectory)
    _client: Client | None = None

    def __attrs_post_init__(self) -> None:
        clock = SimpleNamespace(now=0.0)
        patch = self._patch
        patch.setenv("HOME", self._home.name)
        patch.setattr(agent, "select_key", lambda profile: KEY)
        patch.setattr(ssh_tools, "login_works", self._login)
        patch.setattr(ssh_tools, "stop_multiplexing", lambda alias: None)
        patch.setattr(files.os, "fsync", lambda descriptor: None)
        patch.setattr(provision, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=_sleeper(clock)))
        write, remove = files.write_atomic, files.remove
        patch.setattr(files, "write_atomic", lambda *a, **n: self.fate.around(write, remote=False)(*a, **n))
        patch.setattr(files, "remove", lambda *a, **n: self.fate.around(remove, remote=False)(*a, **n))

    def _login(self, alias: str, *, timeout: float) -> Completed:
        """What ssh would find: an entry, a container that listens there, and its key pinned."""
        entry = {block.alias: block for block in self.writer().blocks()}.get(alias)
        if entry is None:
            return Completed(("ssh",), 255, b"", b"ssh: Could not resolve hostname")
        listening = [box for box in self.fake.containers.values() if entry.port in box.request.ports]
        key = listening[0].read(f"/var/lib/l8s{KEY_FILE}") if listening else None
        pinned = [key.line.encode() for key in KnownHosts().keys(entry.host_key_alias)]
        if [box.state for box in listening] != ["running"] or key is None or pinned != [key]:
            return Completed(("ssh",), 255, b"", b"Host key verification failed.")
        return Completed(("ssh",), 0, b"", b"")

    # l8s's hooks: a plugin with the fake, so that all above the backend is the product's own

    @hookimpl
    def l8s_remote_backends(self) -> Iterator[BackendProvider]:
        yield BackendProvider(name="fake", summary="in memory", factory=self._backend)

    @hookimpl
    def l8s_config_stores(self) -> Iterator[ConfigStoreProvider]:
        yield ConfigStoreProvider(name="yaml", summary="in memory", factory=lambda path: FakeConfigStore(SETTINGS))

    def _backend(self, profile: Profile) -> Any:
        return Linked(FakeBackend(profile, self.fake), self.fate)

    def _new_client(self) -> Client:
        plugins = PluginHost()
        plugins.register(self, "fake")
        plugins.register(l8s_openssh, "openssh")
        return Session(plugins, environ={}).client(PROFILE)

    # What the machine needs

    def client(self) -> Client:
        if self._client is None:
            self._client = self._new_client()
        return self._client

    def kill(self, command: Command, point: int) -> Ended:
        self.fate = Fate("kill", point)
        try:
            return ended(command, self._new_client())
        except Killed:
            return Ended(-9, struck=True)
        finally:
            self.fate = Fate()

    def lose_link(self, command: Command, point: int) -> Ended:
        self.fate = Fate("lose_link", point)
        try:
            return evolve(ended(command, self._new_client()), struck=self.fate.struck)
        finally:
            self.fate = Fate()

    def writer(self) -> OpenSSHWriter:
        return OpenSSHWriter()

    def server(self) -> ServerState:
        return ServerState(
            containers={
                name: Seen(
                    box.id,
                    box.state == "running",
                    tuple(box.request.ports),
                    box.request.labels.get(LABEL_OPERATION, ""),
                )
                for name, box in self.fake.containers.items()
            },
            volumes={name: dict(volume.labels) for name, volume in self.fake.volumes.items()},
            host_keys={
                name: volume.tree[KEY_FILE].data.decode()
                for name, volume in self.fake.volumes.items()
                if KEY_FILE in volume.tree
            },
        )

    def add_container(self, name: str, labels: Mapping[str, str], port: int) -> None:
        self.fake.add_container(
            ContainerRequest(
                name=name, image="other", hostname="other", command=(), labels=labels, ports={port: 80}, volumes={}
            )
        )

    def add_volume(self, name: str, labels: Mapping[str, str]) -> None:
        self.fake.volumes[name] = FakeVolume(labels=dict(labels))

    def take_container(self, name: str) -> None:
        del self.fake.containers[name]

    def take_volume(self, name: str) -> None:
        del self.fake.volumes[name]

    def close(self) -> None:
        self._patch.undo()
        self._home.cleanup()


def _sleeper(clock: SimpleNamespace) -> Callable[[float], None]:
    def sleep(seconds: float) -> None:
        clock.now += seconds

    return sleep


class OnAFake(Lifecycle):
    def make_world(self) -> FakeWorld:
        return FakeWorld()


@pytest.mark.hypothesis
def test_any_history_leaves_what_the_model_says() -> None:
    run_state_machine_as_test(
        OnAFake, settings=settings(max_examples=settings().max_examples // 2, stateful_step_count=30)
    )
