"""The root: help, unknown commands, global options anywhere, errors as text and as JSON, exit codes."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
from fake_session import container

from l8s_cli.hookspecs import CommandProvider
from l8s_cli.main import ALIASES, BUILT_IN, cli
from l8s_core.errors import (
    REMOTE_ONLY_NOTE,
    HostUnreachable,
    Interrupted,
    L8sError,
    local_connection,
    ssh_connection_failed,
)
from l8s_core.hookspecs import hookimpl

RUN = "from l8s_cli.start import run; run()"


def commands() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, built_in in BUILT_IN.items():
        command = getattr(import_module(f"l8s_cli.commands.{built_in.module}"), built_in.attribute)
        found.append((name,))
        found += [(name, sub) for sub in getattr(command, "commands", {})]
    return found


def test_without_arguments_prints_help(l8s: Any) -> None:
    result = l8s()
    assert result.exit_code == 0
    assert result.stdout == l8s("--help").stdout
    assert all(name in result.stdout for name in BUILT_IN)
    assert "list, ls" in result.stdout
    assert "rm, remove" in result.stdout


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_has_help_with_examples(l8s: Any, words: tuple[str, ...]) -> None:
    result = l8s(*words, "--help")
    assert result.exit_code == 0
    assert f"Usage: l8s {' '.join(words)}" in result.stdout
    assert "\nExamples:\n" in result.stdout
    assert result.stdout.count("  $ ") == result.stdout.count("  # ") >= 1
    assert "\nGlobal options:\n" in result.stdout
    for option in ("--profile NAME", "--output", "--verbose", "--no-plugins", "--version", "--help"):
        assert option in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100


@pytest.mark.parametrize("name", BUILT_IN)
def test_summary_in_the_table_is_the_commands_own(name: str) -> None:
    built_in = BUILT_IN[name]
    command = getattr(import_module(f"l8s_cli.commands.{built_in.module}"), built_in.attribute)
    assert command.get_short_help_str(limit=200) == built_in.summary


def test_help_imports_no_subcommand_and_no_rich() -> None:
    code = (
        "import sys\n"
        "from l8s_cli.main import cli\n"
        "try: cli(['--help'])\n"
        "except SystemExit: pass\n"
        "unwanted = ('l8s_cli.commands.', 'rich', 'paramiko', 'podman', 'ruamel')\n"
        "loaded = [name for name in sys.modules if name.startswith(unwanted)]\n"
        "sys.exit(repr(loaded) if loaded else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("typed", "meant"), [("lst", "list"), ("creat", "create"), ("sssh", "ssh"), ("remov", "remove")]
)
def test_unknown_command_suggests(l8s: Any, typed: str, meant: str) -> None:
    result = l8s(typed)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: There is no command '{typed}'.\n\n")
    assert f"Did you mean: l8s {meant}" in result.stderr
    assert result.stdout == ""


def test_unknown_subcommand_suggests(l8s: Any) -> None:
    result = l8s("profile", "lst")
    assert result.exit_code == 2
    assert "Did you mean: l8s profile list" in result.stderr


def test_unknown_command_name_is_escaped(l8s: Any) -> None:
    result = l8s("\x1b[31mred")
    assert result.exit_code == 2
    assert "\x1b" not in result.stderr


@pytest.mark.parametrize("alias", ALIASES)
def test_aliases_are_the_same_command(alias: str) -> None:
    context = click.Context(cli)
    assert cli.get_command(context, alias) is cli.get_command(context, ALIASES[alias])


@pytest.mark.parametrize(
    "words",
    [("--profile", "two", "list"), ("list", "--profile", "two"), ("--profile", "one", "ls", "--profile", "two")],
    ids=" ".join,
)
def test_profile_is_accepted_before_and_after(l8s: Any, words: tuple[str, ...]) -> None:
    host = {"remote_user": "root"}
    l8s.data = {
        "profiles": {"one": {"remote_host": "one.example", **host}, "two": {"remote_host": "two.example", **host}}
    }
    l8s.server.containers["app"] = container("app")
    result = l8s(*words)
    assert result.exit_code == 0, result.stderr
    l8s.server.open_error = HostUnreachable("no")
    assert "Profile: two" in l8s(*words).stderr


@pytest.mark.parametrize(
    "words", [("-o", "json", "list"), ("list", "-o", "json"), ("list", "--output=json")], ids=" ".join
)
def test_output_is_accepted_before_and_after(l8s: Any, words: tuple[str, ...]) -> None:
    assert l8s(*words).stdout.startswith("{")


@pytest.mark.parametrize("words", [("--version",), ("list", "--version"), ("profile", "--version")], ids=" ".join)
def test_version(l8s: Any, words: tuple[str, ...]) -> None:
    result = l8s(*words)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("l8s ")
    assert l8s.server.opened == 0


def test_usage_errors_look_like_all_errors(l8s: Any) -> None:
    result = l8s("info")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: Missing argument")
    assert "See how it is used: l8s info --help" in result.stderr
    error = l8s.error("info", "--bogus")
    assert error["type"] == "UsageError"
    assert error["docs"] == "docs/errors.md#usageerror"


def test_invalid_output_format_is_a_usage_error(l8s: Any) -> None:
    assert l8s("list", "-o", "xml").exit_code == 2


def test_library_error_for_people_has_the_seeds_wording(l8s: Any) -> None:
    l8s.server.open_error = ssh_connection_failed("root", "server.example.com", 22, "connection refused")
    result = l8s("list")
    assert result.exit_code == 4
    assert result.stdout == ""
    assert result.stderr == (
        "Error: Cannot establish SSH connection to server.\n"
        "\n"
        "Failed to connect to: root@server.example.com\n"
        "Reason: connection refused\n"
        "\n"
        "Troubleshooting:\n"
        "1. Test SSH manually: ssh root@server.example.com\n"
        "2. Add SSH key: ssh-copy-id root@server.example.com\n"
        "3. Check server is accessible and SSH is running\n"
        "\n"
        "At step: TCP\n"
        "Profile: dev\n"
        "\n"
        f"Note: {REMOTE_ONLY_NOTE}\n"
    )
    assert l8s.server.opened == l8s.server.closed == 1


def test_library_error_for_programs(l8s: Any) -> None:
    l8s.server.open_error = ssh_connection_failed("root", "h", 22, "a\x1b[31m")
    assert l8s.error("list") == {
        "type": "HostUnreachable",
        "exit_code": 4,
        "message": "Cannot establish SSH connection to server.\n\nFailed to connect to: root@h\nReason: a\x1b[31m",
        "hints": [
            "Test SSH manually: ssh root@h",
            "Add SSH key: ssh-copy-id root@h",
            "Check server is accessible and SSH is running",
        ],
        "profile": "dev",
        "step": "TCP",
        "docs": "docs/errors.md#hostunreachable",
    }


def test_no_configuration_is_the_seeds_first_scenario(l8s: Any) -> None:
    l8s.data = {}
    result = l8s("list")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: l8s requires remote server configuration.\n\nPlease configure")
    assert result.stderr.count(REMOTE_ONLY_NOTE) == 1


def test_remote_only_note_is_not_repeated(l8s: Any) -> None:
    l8s.server.open_error = local_connection("it is here")
    result = l8s("list")
    assert result.exit_code == 3
    assert result.stderr.count(REMOTE_ONLY_NOTE) == 1


def test_hostile_text_in_an_error_is_escaped(l8s: Any) -> None:
    l8s.server.open_error = L8sError("bad\x1b]0;title\x07\nsecond", hints=("do\x1b[2J\nthis",), step="s\x9b1m")
    result = l8s("list")
    assert not set("\x1b\x07\x9b") & set(result.stderr)
    assert "second" in result.stderr.splitlines()
    assert "   this" in result.stderr.splitlines()


def test_a_word_that_click_quotes_stays_in_one_short_line(l8s: Any) -> None:
    lines = l8s("list", "a\nError: b\t\x1b[2J", "c" * 5000).stderr.splitlines()
    assert lines[0].startswith("Error: Got unexpected extra arguments (a\\x0aError: b\\x09\\x1b[2J ccc")
    assert lines[0].endswith("...")
    assert len(lines[0]) < 500


def test_unexpected_error_has_no_traceback_unless_asked(l8s: Any) -> None:
    l8s.server.open_error = ZeroDivisionError("oops\x1b")
    result = l8s("list")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: Unexpected ZeroDivisionError: oops\\x1b\n")
    assert "Traceback" not in result.stderr
    assert "-v" in result.stderr
    loud = l8s("list", "-v")
    assert "Traceback" in loud.stderr
    assert "\x1b" not in loud.stderr
    assert loud.exit_code == 1


def test_interrupt_ends_with_130(l8s: Any) -> None:
    l8s.server.open_error = KeyboardInterrupt()
    assert l8s("list").exit_code == 130
    l8s.server.open_error = Interrupted("What was made was taken back.")
    result = l8s("list")
    assert result.exit_code == 130
    assert "taken back" in result.stderr
    assert l8s.error("list")["type"] == "Interrupted"


def test_a_broken_connection_is_not_taken_for_a_closed_stdout(l8s: Any) -> None:
    l8s.server.open_error = BrokenPipeError(32, "Broken pipe")
    result = l8s("list")
    assert result.exit_code == 1
    assert "The connection to the server broke" in result.stderr


def test_closed_stdout_is_quiet() -> None:
    done = subprocess.run(
        f"{sys.executable} -c '{RUN}' --help | true; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize(
    "words", [["--help"], ["list", "--help"], ["--version"], ["plugins"], ["-o", "json", "plugins"]]
)
def test_output_on_a_full_disk_is_a_failure_with_a_next_step(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", RUN, *words], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert done.returncode == 1
    assert "The output could not be written: No space left on device." in done.stderr
    assert "send it elsewhere" in done.stderr
    assert "Unexpected" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_errors_on_a_full_disk_keep_quiet() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", RUN, "nosuch"], stdout=full, stderr=full, timeout=60)
    assert done.returncode == 2


# Commands from plugins


class Greeting:
    def __init__(self, *names: str, fail: bool = False) -> None:
        self._names = names or ("hello",)
        self._fail = fail

    @hookimpl
    def l8s_cli_commands(self) -> Any:
        for name in self._names:
            yield CommandProvider(name=name, summary="Say hello.", factory=self._make)

    def _make(self) -> click.Command:
        if self._fail:
            raise RuntimeError("no voice")

        @click.command()
        @click.option("-o", "other", default="x")
        def hello(other: str) -> int:
            "Say hello."
            click.echo(f"hello {other}")
            return 7

        return hello


def test_plugin_command_is_listed_and_runs(l8s: Any) -> None:
    l8s.plugins.append((Greeting(), "greeter"))
    assert "Say hello. (plugin greeter)" in l8s("--help").stdout
    result = l8s("hello", "-o", "me", "--profile", "dev")
    assert (result.stdout, result.exit_code) == ("hello me\n", 7)
    assert "Did you mean: l8s hello" in l8s("helo").stderr


def test_plugin_cannot_take_a_built_in_name(l8s: Any) -> None:
    l8s.plugins.append((Greeting("list", "ls"), "thief"))
    assert "hello" not in l8s("list").stdout
    assert "The command 'list' of plugin 'thief' is not used" in l8s("plugins").stderr


def test_two_plugins_with_one_command_are_both_named(l8s: Any) -> None:
    l8s.plugins += [(Greeting(), "first"), (Greeting(), "second")]
    result = l8s("hello")
    assert result.exit_code == 2
    assert "first, second" in result.stderr
    assert l8s("list").exit_code == 0


def test_plugin_command_that_cannot_be_made(l8s: Any) -> None:
    l8s.plugins.append((Greeting(fail=True), "mute"))
    result = l8s("hello")
    assert result.exit_code == 2
    assert "of plugin 'mute' could not be made: RuntimeError: no voice" in result.stderr
