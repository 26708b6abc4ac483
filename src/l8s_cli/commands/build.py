"""``l8s build``: the containers' image, built on the server. Not here: the Containerfiles (`l8s_core`)."""

from __future__ import annotations

from pathlib import Path

import click

from l8s_cli.invocation import Invocation, invocation
from l8s_cli.parsing import Checked, Command
from l8s_cli.report import UsageProblem
from l8s_core import names


@click.command(
    "build",
    cls=Command,
    examples=(
        ("l8s build", "the Fedora image that comes with l8s"),
        ("l8s build --flavor debian", "the Debian one"),
        ("l8s build --base localhost/mine:latest", "only what ssh needs, on an image that the server has"),
        ("l8s build --flavor debian --base mirror.example.com/debian:bookworm", "all of it, on a base of your own"),
        ("l8s build --file ./Containerfile --tag localhost/mine:latest", "your own"),
    ),
)
@click.option(
    "--file",
    "containerfile",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Build your own Containerfile.",
)
@click.option(
    "--base",
    type=Checked(names.image),
    metavar="IMAGE",
    help="Build on this image; without --flavor, only what ssh needs.",
)
@click.option(
    "--flavor",
    type=click.Choice(["fedora", "debian"]),
    help="Which of the images that come with l8s [fedora].",
)
@click.option(
    "--tag",
    type=Checked(names.image),
    metavar="IMAGE",
    help="What to call it, instead of the profile's base_image.",
)
@invocation
def build(run: Invocation, containerfile: Path | None, base: str | None, flavor: str | None, tag: str | None) -> None:
    """Build the image of the containers on the server.

    Nothing is built on this machine and no image is sent; the server downloads what the image is made from.
    The log goes to stderr as it comes, and the image's name to stdout at the end.
    """
    chosen = [option for option, given in (("--base", base), ("--flavor", flavor)) if given]
    if containerfile and chosen:
        raise UsageProblem(
            f"--file and {chosen[0]} exclude each other.",
            hints=("Give one of them",),
            ctx=click.get_current_context(),
        )
    with run.connected() as client:
        image = client.build(
            flavor=flavor,
            containerfile=containerfile,
            base=base,
            tag=tag,
            on_output=run.out.log,
            on_step=run.steps(),
        )
    run.out.note()
    run.out.data("image", {"reference": image.reference, "id": image.id}, f"{image.reference}\n")
    run.out.note("Next: l8s create NAME [GIT_URL]")
