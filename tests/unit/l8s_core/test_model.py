"""The values: defaults, derived parts, and that they stay as they are."""

from __future__ import annotations

import base64
import shutil
import subprocess

import attrs
import pytest

from l8s_core import model
from l8s_core.contracts import ConfigDocument
from l8s_core.model import ContainerInfo, ContainerSpec, Endpoint, ExecResult, Profile, PublicKey


def _profile(**changes: object) -> Profile:
    return Profile(**({"name": "dev", "remote_host": "build.example.com", "remote_user": "root"} | changes))  # type: ignore[arg-type]


def test_a_profiles_defaults_are_the_documented_ones() -> None:
    profile = _profile()
    assert profile.remote_socket == "/run/podman/podman.sock"
    assert profile.ssh_key_path == "~/.ssh/id_ed25519"
    assert profile.ssh_start_port == 2200
    assert profile.remote_port is None
    assert profile.host_key_checking
    assert not profile.forward_agent
    assert (profile.backend, profile.ssh_config_writer) == ("podman", "openssh")


def test_the_prefix_is_the_profiles_name_unless_it_is_set() -> None:
    assert _profile().alias("myapp") == "dev-myapp"
    assert _profile(name="staging").alias("myapp") == "staging-myapp"
    assert _profile(container_prefix="box").alias("myapp") == "box-myapp"


def test_values_cannot_be_assigned_to() -> None:
    values = (_profile(), ContainerSpec(name="x"), ExecResult(exit_code=0), PublicKey("a", "b"))
    for value in values:
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(value, attrs.fields(type(value))[0].name, "other")


def test_every_value_of_the_model_is_frozen() -> None:
    for name, kind in vars(model).items():
        if isinstance(kind, type) and attrs.has(kind):
            assert kind.__setattr__ is not object.__setattr__, name


def test_what_a_value_was_made_of_may_change_later() -> None:
    labels = {"team": "blue"}
    profile, spec = _profile(labels=labels), ContainerSpec(name="x", labels=labels)
    labels["team"] = "red"
    assert profile.labels == spec.labels == {"team": "blue"}


def test_where_values_came_from_does_not_make_profiles_differ() -> None:
    assert _profile(sources={"remote_host": "default"}) == _profile()


def test_a_repository_is_not_in_the_repr_of_a_spec() -> None:
    assert "secret" not in repr(ContainerSpec(name="x", repository="https://me:secret@git.example.com/app.git"))


@pytest.mark.parametrize(
    ("label", "port"),
    [
        ("2200", 2200),
        ("1", 1),
        ("65535", 65535),
        ("65536", None),
        ("99999", None),
        ("0", None),
        ("", None),
        ("-1", None),
        ("+22", None),
        ("22 ", None),
        ("1_000", None),
        ("\u0662\u0662", None),
        ("022000", None),
        ("9" * 5000, None),
        ("22\nUser root", None),
    ],
)
def test_the_ssh_port_is_a_port_or_none(label: str, port: int | None) -> None:
    info = ContainerInfo(id="1", name="dev-x", image="i", state="running", labels={"l8s.ssh-port": label})
    assert info.ssh_port == port


def test_a_container_is_called_by_its_label_and_else_by_its_name() -> None:
    info = ContainerInfo(id="1", name="dev-myapp", image="i", state="running", labels={"l8s.name": "myapp"})
    assert info.short_name == "myapp"
    assert attrs.evolve(info, labels={}).short_name == "dev-myapp"
    assert attrs.evolve(info, labels={}).ssh_port is None


@pytest.mark.parametrize(("state", "running"), [("running", True), ("exited", False), ("created", False), ("", False)])
def test_only_a_running_container_runs(state: str, running: bool) -> None:
    assert ContainerInfo(id="1", name="x", image="i", state=state).running is running


def test_an_endpoint_is_written_as_ssh_takes_it() -> None:
    endpoint = Endpoint(user="root", host="build", port=22, socket="/s")
    assert str(endpoint) == "root@build"
    assert str(attrs.evolve(endpoint, port=2222)) == "root@build:2222"


def test_output_is_exact_as_bytes_and_lenient_as_text() -> None:
    result = ExecResult(exit_code=3, stdout_bytes=b"caf\xc3\xa9\xff\n", stderr_bytes=b"\x80")
    assert result.stdout == "caf\u00e9\ufffd\n"
    assert result.stderr == "\ufffd"
    assert result.stdout_bytes == b"caf\xc3\xa9\xff\n"


KEY = PublicKey("ssh-ed25519", base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + b"k" * 32).decode(), "me@laptop")


def test_a_fingerprint_is_the_one_that_ssh_keygen_prints() -> None:
    assert shutil.which("ssh-keygen"), "l8s itself needs OpenSSH's tools"
    said = subprocess.run(
        ["ssh-keygen", "-l", "-f", "-"], input=f"{KEY.line}\n".encode(), capture_output=True, check=True
    ).stdout.decode()
    assert KEY.fingerprint == said.split()[1]


def test_a_key_is_itself_whatever_its_comment() -> None:
    assert attrs.evolve(KEY, comment="other") == KEY
    assert KEY.line == f"ssh-ed25519 {KEY.base64}"


def test_a_key_of_a_config_is_found_in_its_file() -> None:
    document = ConfigDocument(
        location="~/.l8s/config.yaml", exists=True, lines={("profiles",): 3, ("profiles", "dev", "labels"): 7}
    )
    assert document.where(("profiles", "dev", "labels")) == "~/.l8s/config.yaml:7"
    assert document.where(("profiles", "dev", "labels", "team")) == "~/.l8s/config.yaml:7"
    assert document.where(("profiles", "dev")) == "~/.l8s/config.yaml:3"
    assert document.where(("other",)) == document.where(()) == "~/.l8s/config.yaml"
