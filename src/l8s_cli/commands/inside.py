"""``l8s exec`` and ``l8s ssh``: running something in a container.

Not here: how a command gets there (`l8s_core.client`; for ssh, the system's own OpenSSH).
"""

from __future__ import annotations

import base64
import sys

import click

from l8s_cli.invocation import Invocation, invocation
from l8s_cli.parsing import Checked, CommandWithArguments
from l8s_cli.report import UsageProblem
from l8s_core import names
from l8s_core.errors import ContainerNotFound
from l8s_core.model import ExecResult, Profile


@click.command(
    "exec",
    cls=CommandWithArguments,
    examples=(
        ("l8s exec myapp -- python3 --version", "run one command"),
        ("tar c src | l8s exec myapp --workdir /workspace -- tar x", "with standard input"),
        ("l8s exec myapp --timeout 60 -- sh -c 'make test 2>&1 | tail'", "a pipeline needs a shell"),
    ),
)
@click.argument("name", type=Checked(names.container_name))
@click.argument("command", metavar="-- CMD...", nargs=-1, type=Checked(names.argument))
@click.option(
    "--user",
    type=Checked(names.container_account),
    metavar="USER",
    help="Run as this user of the container instead of its own.",
)
@click.option(
    "--workdir", type=Checked(names.container_directory), metavar="DIR", help="Run in this directory of the container."
)
@click.option(
    "--env",
    "env",
    type=Checked(names.environment_argument),
    multiple=True,
    metavar="K=V",
    help="Set a variable; may be repeated.",
)
@click.option(
    "--timeout",
    type=Checked(names.seconds),
    metavar="SECONDS",
    help="Stop it, on the server too, after this long.",
)
@invocation
def exec_(
    run: Invocation,
    name: str,
    command: tuple[str, ...],
    user: str | None,
    workdir: str | None,
    env: tuple[tuple[str, str], ...],
    timeout: float | None,
) -> int:
    """Run a command in a container and return its exit code.

    No shell is involved and no terminal; for those: l8s ssh. Standard input is passed on unless it is a
    terminal. With -o json the output is collected, and printed when the command has ended.
    """
    # The output is passed on byte for byte, to a terminal as well, as ssh does: it is what the person asked to see
    # of their own command, and a filter would break what is piped. What l8s itself prints is always escaped.
    if not command:
        raise UsageProblem(
            "The command is missing.",
            hints=(f"Put it after --: l8s exec {name} -- python3 --version",),
            ctx=click.get_current_context(),
        )
    source = None if sys.stdin is None or sys.stdin.isatty() else sys.stdin.buffer
    with run.connected() as client:
        result = client.exec(
            name,
            command,
            user=user,
            workdir=workdir,
            env=dict(env),
            stdin=source,
            timeout=timeout,
            on_output=None if run.out.for_programs else run.out.raw,
        )
    if run.out.for_programs:
        run.out.data("exec", _described(result), "")
    return result.exit_code


def _described(result: ExecResult) -> dict[str, object]:
    return {
        "exit_code": result.exit_code,
        "stdout": result.stdout,
        "stderr": result.stderr,
        "stdout_base64": base64.b64encode(result.stdout_bytes).decode("ascii"),
        "stderr_base64": base64.b64encode(result.stderr_bytes).decode("ascii"),
    }


def known_alias(run: Invocation, profile: Profile, name: str) -> str:
    """The ssh alias of a container that this machine has an entry for; the server is not asked.

    Raises:
        InvalidValue: no container can have that name.
        ContainerNotFound: there is no entry.
    """
    alias = profile.alias(names.container_name(name))
    writer = run.session.ssh_config_writer(profile)
    if alias not in {block.alias for block in writer.blocks()}:
        raise ContainerNotFound(
            f"There is no ssh entry for {name} ({alias}) on this machine.",
            hints=("See what there is: l8s list", f"Create it: l8s create {name}"),
            profile=profile.name,
        )
    return alias


@click.command(
    "ssh",
    cls=CommandWithArguments,
    examples=(
        ("l8s ssh myapp", "a shell in the container"),
        ("l8s ssh myapp -- git -C /workspace/project status", "one command"),
        ("ssh dev-myapp", "the same as the first, without l8s"),
    ),
)
@click.argument("name", type=Checked(names.container_name))
@click.argument("command", metavar="[-- CMD...]", nargs=-1, type=Checked(names.argument))
@invocation
def ssh(run: Invocation, name: str, command: tuple[str, ...]) -> None:
    """Log in to a container, or run a command there through ssh.

    This becomes the system's ssh, so its exit code is the command's. The words after -- reach the command as they
    are; no shell takes them apart again.
    """
    from l8s_core import processes, ssh_tools

    alias = known_alias(run, run.chosen_profile(), name)
    # After -- the first word is the host, and ssh takes no further word for an option of its own.
    words = (names.shell_words(command),) if command else ()
    processes.replace(ssh_tools.ssh_command("--", alias, *words))
