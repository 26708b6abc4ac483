"""Which Containerfile is built, with which arguments."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from l8s_core.errors import ConfigError, InvalidValue, LocalFileError
from l8s_core.images import CONTAINERFILE_LIMIT, BuildPlan, plan_build
from l8s_core.model import Profile

PROFILE = Profile(
    name="dev",
    remote_host="build.example.com",
    remote_user="root",
    base_image="localhost/ours:1",
    container_user="coder",
)


def _sent(plan: BuildPlan) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(plan.context)) as tar:
        return {name: (tar.extractfile(name) or io.BytesIO()).read().decode() for name in tar.getnames()}


@pytest.mark.parametrize("flavor", ["fedora", "debian"])
def test_a_flavor_of_the_package(flavor: str) -> None:
    plan = plan_build(PROFILE, flavor=flavor)
    assert plan.tag == "localhost/ours:1"
    assert plan.build_args == {"CONTAINER_USER": "coder"}
    assert plan.source == f"l8s's {flavor}"
    text = _sent(plan)[plan.containerfile]
    (base,) = [line for line in text.splitlines() if line.startswith("ARG BASE=")]
    assert f"/{flavor}:" in base
    assert "FROM ${BASE}" in text.splitlines()
    assert "ARG CONTAINER_USER" in text


def test_fedora_is_the_default() -> None:
    assert plan_build(PROFILE) == plan_build(PROFILE, flavor="fedora")


def test_the_least_on_any_base() -> None:
    plan = plan_build(PROFILE, base="docker.io/library/alpine:3")
    assert plan.build_args == {"CONTAINER_USER": "coder", "BASE": "docker.io/library/alpine:3"}
    assert plan.source == "l8s's minimal on docker.io/library/alpine:3"
    text = _sent(plan)["Containerfile"]
    assert "ARG BASE" in text
    assert "FROM ${BASE}" in text.splitlines()


def test_a_flavor_on_a_base_of_ones_own() -> None:
    plan = plan_build(PROFILE, flavor="debian", base="localhost/debian:bookworm")
    assert plan.build_args == {"CONTAINER_USER": "coder", "BASE": "localhost/debian:bookworm"}
    assert plan.source == "l8s's debian on localhost/debian:bookworm"
    assert _sent(plan) == _sent(plan_build(PROFILE, flavor="debian"))


def test_the_users_own_file_is_sent_alone(tmp_path: Path) -> None:
    file = tmp_path / "My.Containerfile"
    file.write_text("FROM fedora\n")
    (tmp_path / "secret").write_text("not sent")
    plan = plan_build(PROFILE, file=file)
    assert _sent(plan) == {"Containerfile": "FROM fedora\n"}
    assert plan.containerfile == "Containerfile"
    assert plan.source == str(file)
    assert plan.build_args == {"CONTAINER_USER": "coder"}


def test_a_tag_of_its_own() -> None:
    assert plan_build(PROFILE, tag="localhost/x:2").tag == "localhost/x:2"


def test_a_file_and_a_base_contradict_each_other(tmp_path: Path) -> None:
    file = tmp_path / "Containerfile"
    file.write_text("FROM fedora\n")
    with pytest.raises(ConfigError, match="--file and --base") as caught:
        plan_build(PROFILE, file=file, base="fedora")
    assert caught.value.hints
    with pytest.raises(ConfigError, match="--file and --flavor"):
        plan_build(PROFILE, file=file, flavor="debian")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no Containerfile at .*none"):
        plan_build(PROFILE, file=tmp_path / "none")


def test_a_file_that_is_no_containerfile_is_refused(tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(b"#" * (CONTAINERFILE_LIMIT + 1))
    for path in (big, tmp_path):
        with pytest.raises(LocalFileError):
            plan_build(PROFILE, file=path)


@pytest.mark.parametrize("flavor", ["alpine", "", "../fedora", "minimal"])
def test_an_unknown_flavor_lists_the_choices(flavor: str) -> None:
    with pytest.raises(ConfigError, match="flavor") as caught:
        plan_build(PROFILE, flavor=flavor)
    assert caught.value.hints == ("Choose fedora or debian",)


@pytest.mark.parametrize("bad", ["docker://x", "a b", "-x", "UPPER/x"])
def test_images_are_validated(bad: str) -> None:
    with pytest.raises(InvalidValue):
        plan_build(PROFILE, base=bad)
    with pytest.raises(InvalidValue):
        plan_build(PROFILE, tag=bad)
