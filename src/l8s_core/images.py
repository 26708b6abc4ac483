"""Building images on the server: which Containerfile, with which arguments.

Not here: running the build (an `ImageBuilder` does).
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Literal

from attrs import frozen

from l8s_core import files, names
from l8s_core.archives import Member, tar_archive
from l8s_core.errors import ConfigError
from l8s_core.model import Profile

Flavor = Literal["fedora", "debian"]

DEFAULT_FLAVOR: Flavor = "fedora"

CONTAINERFILE_LIMIT = 64 * 1024
"""Bytes; a Containerfile is text that somebody wrote."""


@frozen(kw_only=True)
class BuildPlan:
    """What is sent to the server: ``context`` is a tar archive with the file named ``containerfile`` in it."""

    tag: str
    containerfile: str
    context: bytes
    build_args: dict[str, str]
    source: str
    """Where the Containerfile came from, in words."""


def plan_build(
    profile: Profile,
    *,
    flavor: str | None = None,
    file: Path | None = None,
    base: str | None = None,
    tag: str | None = None,
) -> BuildPlan:
    """What to build for a profile.

    ``file`` is the user's own Containerfile (sent alone: it has no build context to COPY from). Otherwise ``flavor``
    names a Containerfile of the package, ``fedora`` when nothing is said, and ``base`` an image to build it on;
    ``base`` alone puts the least that l8s needs on any image. ``tag`` defaults to the profile's ``base_image``, so that
    ``create`` uses it.

    Raises:
        ConfigError: the options contradict each other, or the file cannot be used.
    """
    if file is not None and (base is not None or flavor is not None):
        other = "--base" if base is not None else "--flavor"
        raise ConfigError(
            f"--file and {other} cannot be used together.", hints=("Name the base in the Containerfile's FROM",)
        )
    arguments = {"CONTAINER_USER": names.container_user(profile.container_user)}
    context: dict[str, Member] = {}
    if file is not None:
        data = files.read_limited(file, CONTAINERFILE_LIMIT)
        if data is None:
            raise ConfigError(f"There is no Containerfile at {files.display(file)}.")
        source = files.display(file)
    else:
        if flavor not in (None, "fedora", "debian"):
            raise ConfigError(f"There is no flavor {flavor!r}.", hints=("Choose fedora or debian",))
        name = flavor or (DEFAULT_FLAVOR if base is None else "minimal")
        if base is not None:
            arguments["BASE"] = names.image(base)
        shipped = resources.files("l8s_core.containerfiles")
        data = shipped.joinpath(f"{name}.Containerfile").read_bytes()
        context["prepare.sh"] = Member(shipped.joinpath("prepare.sh").read_bytes())
        source = f"l8s's {name}" + (f" on {base}" if base is not None else "")
    return BuildPlan(
        tag=names.image(profile.base_image if tag is None else tag),
        containerfile="Containerfile",
        context=tar_archive({"Containerfile": Member(data), **context}),
        build_args=arguments,
        source=source,
    )
