"""Creating, for whatever people ask for: the port, the content, the secrets, and nothing left behind."""

from __future__ import annotations

import base64
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from l8s_core import agent, files, layout, names, provision, removal, ssh_tools
from l8s_core.errors import BackendError
from l8s_core.known_hosts import KnownHosts
from l8s_core.model import ContainerInfo, ContainerSpec, Profile, PublicKey
from l8s_core.processes import Completed
from l8s_core.steps import Steps
from l8s_core.testing import FakeBackend, FakeServer, FakeSSHConfigWriter
from l8s_core.testing.strategies import container_specs, labels, profiles

KEY = PublicKey("ssh-ed25519", base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + b"k" * 32).decode())
PORTS = st.integers(1, 65535)

some = settings(max_examples=settings().max_examples // 3)
"""For whole creates, which take long."""


@given(start=PORTS, used=st.frozensets(PORTS, max_size=50), run=st.integers(0, 50))
def test_the_port_is_the_lowest_free_one_from_the_start(start: int, used: frozenset[int], run: int) -> None:
    used |= frozenset(range(start, min(start + run, 65535)))
    if used.issuperset(range(start, 65536)):
        with pytest.raises(BackendError):
            layout.choose_port(start, used)
        return
    port = layout.choose_port(start, used)
    assert start <= port <= 65535
    assert port not in used
    assert used.issuperset(range(start, port))


@given(profiles(), profiles(), st.booleans(), labels())
def test_what_is_ours_is_told_by_the_prefix(profile: Profile, other: Profile, alike: bool, own: dict[str, str]) -> None:
    if alike:  # two profiles for one prefix, as of two people
        other = evolve(other, container_prefix=profile.container_prefix)
    made = {**own, **layout.own_labels(profile)}
    assert layout.is_ours(made, profile)
    assert layout.is_ours(made, other) == (other.container_prefix == profile.container_prefix)
    assert not layout.is_ours(own, profile)


@contextmanager
def _laptop() -> Iterator[None]:
    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", home)
        patch.setattr(agent, "select_key", lambda profile: KEY)
        patch.setattr(agent, "public_key_file", lambda key: Path(home) / "key.pub")
        patch.setattr(ssh_tools, "login_works", lambda alias, timeout: Completed(("ssh",), 0, b"", b""))
        patch.setattr(ssh_tools, "stop_multiplexing", lambda alias: None)
        patch.setattr(files.os, "fsync", lambda descriptor: None)
        yield


def _context(profile: Profile, backend: FakeBackend) -> provision.Context:
    return provision.Context(
        backend=backend,
        profile=profile,
        endpoint=backend.open(Steps()),
        writer=FakeSSHConfigWriter(),
        known_hosts=KnownHosts(),
        steps=Steps(),
        reconnect=backend.close,
    )


def _with_branch_only_for_a_repository(spec: ContainerSpec) -> bool:
    return spec.branch is None or spec.repository is not None


def _for_shells(spec: ContainerSpec) -> ContainerSpec:
    """The same, with a URL and a branch that a shell would make something else of."""
    return evolve(spec, repository="https://git.example.com/$(id)'`id`\"&;.git", branch="a$HOME'b\";`id`")


@some
@given(
    profiles(),
    container_specs().filter(_with_branch_only_for_a_repository) | container_specs().map(_for_shells),
)
def test_whatever_is_asked_for_is_made_and_can_be_removed(profile: Profile, spec: ContainerSpec) -> None:
    with _laptop():
        images = (profile.base_image,) if spec.image is None else (spec.image,)
        backend = FakeBackend(profile, FakeServer(images=images))
        context = _context(profile, backend)
        wish = provision.validated(spec, profile)
        info: ContainerInfo = provision.create(context, wish)
        assert info.name == f"{profile.container_prefix}-{spec.name}"
        assert info.short_name == spec.name
        assert {**profile.labels, **spec.labels}.items() <= info.labels.items()
        assert info.ssh_port is not None
        assert info.ssh_port >= profile.ssh_start_port
        (block,) = context.writer.blocks()
        assert (block.hostname, block.user, block.port) == (
            profile.remote_host,
            profile.container_user,
            info.ssh_port,
        )
        box = backend.server.containers[info.name]
        settings_file = box.read("/etc/l8s/settings")
        assert settings_file is not None
        assert _sourced(settings_file) == [
            profile.container_user,
            layout.home_of(profile.container_user),
            "" if spec.repository is None else names.repository(spec.repository).url,
            spec.branch or "",
        ]
        removal.remove(context, spec.name)
        assert (backend.server.containers, backend.server.volumes, context.writer.blocks()) == ({}, {}, ())


def _sourced(data: bytes) -> list[str]:
    """What sh makes of the settings file."""
    script = data + b'\nprintf "%s\\0" "$L8S_USER" "$L8S_HOME" "$L8S_REPOSITORY" "$L8S_BRANCH"\n'
    said = subprocess.run(["sh", "-eu"], input=script, capture_output=True, check=True).stdout
    return said.decode().split("\0")[:-1]


# The prefix keeps it from being part of a tar header or of a hash by chance.
_SECRET = st.text("abcXYZ0123456789-_.~", max_size=20).map("s3cr3t-".__add__)


@some
@given(_SECRET, st.sampled_from(["", "upload", "start", "exec"]))
def test_a_password_is_given_to_one_process_and_is_nowhere_else(secret: str, failing: str) -> None:
    with _laptop():
        profile = Profile(name="dev", remote_host="build.example.com", remote_user="root")
        backend = FakeBackend(profile)
        context = _context(profile, backend)
        given_to_it: list[bytes] = []
        backend.on_exec(lambda call: given_to_it.append(call.stdin))  # type: ignore[func-returns-value]
        spec = ContainerSpec(name="myapp", repository=f"https://me:{secret}@git.example.com/app.git")
        said = ""
        if failing:
            backend.fail(failing, BackendError("no"))
        try:
            provision.create(context, provision.validated(spec, profile))
        except BackendError as error:
            said = f"{error!r} {error.message} {error.hints}"
        else:
            assert given_to_it == [f"me\n{secret}\n".encode()]
        archives = b"".join(bytes(call.arguments.get("archive", b"")) for call in backend.calls)  # type: ignore[call-overload]
        boxes = repr([(box.request, box.tree) for box in backend.server.containers.values()])
        kept = b"".join(path.read_bytes() for path in files.state_dir().rglob("*") if path.is_file())
        assert secret not in said + repr(backend.calls) + boxes + repr(context.writer.blocks()) + repr(spec)
        assert secret.encode() not in archives + kept
