"""The answers of an ``l8s init`` that did not succeed, kept for the next try in ``~/.l8s/init-draft.json``.

Nothing secret is in it. Not here: the questions (`l8s_cli.commands.init`).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

from l8s_core import files
from l8s_core.errors import LocalFileError

LIMIT = 16 * 1024


def path() -> Path:
    """Where the draft is."""
    return files.state_dir() / "init-draft.json"


def load(profile: str) -> dict[str, str]:
    """What was typed for ``profile`` last time, by setting; {} when there is nothing, or nothing readable."""
    try:
        data = json.loads(files.read_limited(path(), LIMIT) or b"{}")
    except (LocalFileError, ValueError, RecursionError):
        return {}
    if not isinstance(data, dict) or data.get("profile") != profile:
        return {}
    answers = data.get("answers")
    if not isinstance(answers, dict):
        return {}
    return {key: value for key, value in answers.items() if isinstance(value, str)}


def save(profile: str, answers: Mapping[str, str]) -> None:
    """Keep ``answers`` for the next try.

    Raises:
        LocalFileError: it cannot be written.
    """
    files.private_dir(files.state_dir())
    text = json.dumps({"profile": profile, "answers": dict(answers)}, indent=2)
    files.write_atomic(path(), f"{text}\n".encode())


def forget() -> None:
    """Remove the draft; there may be none."""
    with contextlib.suppress(OSError):
        path().unlink(missing_ok=True)
