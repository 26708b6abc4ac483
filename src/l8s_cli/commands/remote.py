"""``l8s remote``: the container as a git remote of the repository that one stands in.

Not here: the git in the container, which ``git push`` and ``git fetch`` reach through ssh.
"""

from __future__ import annotations

import click

from l8s_cli.commands.inside import known_alias
from l8s_cli.invocation import Invocation, invocation
from l8s_cli.parsing import Checked, Group
from l8s_core import names, processes
from l8s_core.errors import GitError

PROJECT = "/workspace/project"
"""Where a container has its repository."""

GIT_TIMEOUT = 20.0
"""Seconds; these are all local and quick, but a repository may be on a slow disk."""


@click.group(
    "remote",
    cls=Group,
    examples=(
        ("l8s remote add myapp", "add the git remote myapp"),
        ("git push myapp HEAD", "send your work into the container"),
    ),
)
def remote() -> None:
    """Push to and fetch from a container with git.

    The remote has the container's name and leads to /workspace/project in it, through the container's ssh entry.
    """


@remote.command("add", examples=(("l8s remote add myapp", "add the git remote myapp"),))
@click.argument("name", type=Checked(names.container_name))
@invocation
def add(run: Invocation, name: str) -> None:
    """Add the container as a git remote of the current repository.

    A remote of that name with another URL is never touched.
    """
    alias = known_alias(run, run.chosen_profile(), name)
    url = f"{alias}:{PROJECT}"
    existing = _urls(name)
    if existing and existing != [url]:
        raise _other_remote(name, existing, url)
    if not existing:
        _git("remote", "add", "--", name, url)
    data = {"name": name, "url": url, "added": not existing}
    run.out.data("git-remote", data, f"{'Added' if not existing else 'There already:'} {name}  {url}\n")
    run.out.note(f"Send your work into the container: git push {name} HEAD")


@remote.command("remove", examples=(("l8s remote remove myapp", "remove the git remote myapp"),))
@click.argument("name", type=Checked(names.container_name))
@invocation
def remove(run: Invocation, name: str) -> None:
    """Remove the git remote of a container from the current repository.

    Only a remote that leads to the container is removed; the container itself stays, and need not exist any more.
    """
    url = f"{run.chosen_profile().alias(name)}:{PROJECT}"
    existing = _urls(name)
    if not existing:
        raise GitError(f"This repository has no git remote named {name}.", hints=("See what there is: git remote -v",))
    if existing != [url]:
        raise _other_remote(name, existing, url)
    _git("remote", "remove", name)
    run.out.data("git-remote", {"name": name, "url": url, "removed": True}, f"Removed {name}  {url}\n")


def _other_remote(name: str, existing: list[str], url: str) -> GitError:
    return GitError(
        f"The git remote {name} leads elsewhere and is left alone: {', '.join(existing)}",
        hints=(
            f"Rename it: git remote rename {name} {name}-old",
            f"Or add the container under another name: git remote add {name}-l8s {url}",
        ),
    )


def _urls(name: str) -> list[str]:
    """The URLs of a remote as they stand in the repository's configuration; [] when there is none.

    Raises:
        GitError: this is no git repository.
    """
    _git("rev-parse", "--git-dir", hint="Go into your repository first: cd PATH (or make one: git init)")
    # git config answers 1 when the key is not there (git-config(1)).
    answer = _git("config", "--get-all", f"remote.{name}.url", allowed=(0, 1))
    return answer.splitlines()


def _git(*arguments: str, allowed: tuple[int, ...] = (0,), hint: str | None = None) -> str:
    done = processes.run(["git", *arguments], timeout=GIT_TIMEOUT)
    if done.exit_code not in allowed:
        said = done.stderr.decode("utf-8", "replace").strip() or f"exit code {done.exit_code}"
        raise GitError(f"git {names.shell_words(arguments)} failed: {said}", hints=() if hint is None else (hint,))
    return done.stdout.decode("utf-8", "replace")
