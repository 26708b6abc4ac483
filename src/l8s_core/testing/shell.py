"""Enough of sh for a fake container: the handful of commands that the contract suites use, on a fake's own files.

Nothing is run on this machine and nothing waits: ``sleep`` only moves the clock that a timeout is measured by.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from attrs import define, field

from l8s_core.errors import ExecTimeout
from l8s_core.model import ExecResult
from l8s_core.testing.server import FakeContainer

SHELLS = ("/bin/sh", "sh")
_SEPARATORS = frozenset({";", "\n"})
_ESCAPE = re.compile(r"\\([0-7]{1,3}|[\\nrt])")
_NAMED = {"\\": b"\\", "n": b"\n", "r": b"\r", "t": b"\t"}
_VARIABLE = re.compile(r"\$(\w+)")


@define
class _Shell:
    container: FakeContainer
    workdir: str
    stdin: bytes
    timeout: float | None
    clock: float = 0.0
    stdout: bytearray = field(factory=bytearray)
    stderr: bytearray = field(factory=bytearray)

    def run(self, script: str, arguments: Sequence[str], env: Mapping[str, str]) -> int:
        """Run ``script`` and return its exit code; LookupError for a command that is not known here."""
        variables = {**env, **{str(number): word for number, word in enumerate(arguments)}}
        code = 0
        for command in _commands(script):
            words = [_VARIABLE.sub(lambda match: variables.get(match[1], ""), word) for word in command]
            words, target = _redirected(words)
            if words[0] == "exit":
                return int(words[1])
            output = bytearray()
            code = self._one(words, env, output)
            self._deliver(output, target)
        return code

    def _one(self, words: Sequence[str], env: Mapping[str, str], output: bytearray) -> int:
        name, *rest = words
        if name in SHELLS and rest[:1] == ["-c"]:
            return self.run(rest[1], rest[2:], env)
        if name == "printf":
            output += _formatted(*rest)
        elif name == "pwd":
            output += self.workdir.encode() + b"\n"
        elif name == "cat":
            data = self.container.read(rest[0]) if rest else self.stdin
            if data is None:
                self.stderr += f"cat: {rest[0]}: No such file or directory\n".encode()
                return 1
            output += data
        elif name == "sleep":
            self.clock += float(rest[0])
            if self.timeout is not None and self.clock > self.timeout:
                raise ExecTimeout(
                    f"The command was stopped after {self.timeout:g} s",
                    stdout_bytes=bytes(self.stdout),
                    stderr_bytes=bytes(self.stderr),
                )
        elif name == "test" and rest[:1] == ["-e"]:
            return 0 if self.container.exists(rest[1]) else 1
        elif name != ":":
            raise LookupError(name)
        return 0

    def _deliver(self, output: bytearray, target: str) -> None:
        if target == "stderr":
            self.stderr += output
        elif target:
            self.container.write(target, bytes(output))
        else:
            self.stdout += output


def run(
    container: FakeContainer,
    argv: Sequence[str],
    *,
    workdir: str,
    env: Mapping[str, str],
    stdin: bytes,
    timeout: float | None,
) -> ExecResult | None:
    """Run ``sh -c SCRIPT [NAME ARGUMENTS]``; None when this shell does not know a command in it.

    Raises:
        ExecTimeout: the script sleeps for longer than ``timeout``.
    """
    if len(argv) < 3 or argv[0] not in SHELLS or argv[1] != "-c":
        return None
    shell = _Shell(container=container, workdir=workdir, stdin=stdin, timeout=timeout)
    try:
        code = shell.run(argv[2], argv[3:], env)
    except (LookupError, ValueError):
        return None
    return ExecResult(exit_code=code, stdout_bytes=bytes(shell.stdout), stderr_bytes=bytes(shell.stderr))


def _commands(script: str) -> Sequence[Sequence[str]]:
    lexer = shlex.shlex(script, posix=True, punctuation_chars=";<>&|()")
    lexer.whitespace_split = True
    lexer.commenters = ""
    commands: list[list[str]] = [[]]
    for word in lexer:
        if word in _SEPARATORS:
            commands.append([])
        else:
            commands[-1].append(word)
    return [command for command in commands if command]


def _redirected(words: list[str]) -> tuple[list[str], str]:
    """The words without a redirection of standard output, and where it goes: a path, ``stderr`` or ""."""
    if len(words) > 2 and words[-2] == ">":
        return words[:-2], words[-1]
    if len(words) > 2 and words[-2:] == [">&", "2"]:
        return words[:-2], "stderr"
    return words, ""


def _formatted(template: str, *arguments: str) -> bytes:
    """What printf(1) makes of a template with ``%s`` and backslash escapes."""
    values = iter(arguments)
    parts = [
        b"".join(
            _NAMED[piece] if piece in _NAMED else bytes([int(piece, 8)]) if index % 2 else piece.encode()
            for index, piece in enumerate(_ESCAPE.split(part))
        )
        for part in template.split("%s")
    ]
    first, *others = parts
    return first + b"".join(next(values, "").encode() + part for part in others)
