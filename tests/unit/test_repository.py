"""What may stand nowhere in the repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# in parts, so that this file does not name them either
HOSTS = tuple(
    ".".join(parts).encode()
    for parts in (("pypi", "org"), ("pythonhosted", "org"), ("deb", "debian", "org"), ("registry", "npmjs", "org"))
)


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a checkout of git")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


def test_no_file_names_the_host_of_a_package_registry() -> None:
    """Where packages come from is the machine's own setting."""
    files = tracked()
    assert len(files) > 100
    found = [
        (path.relative_to(ROOT).as_posix(), host.decode())
        for path in files
        if path.is_file()
        for host in HOSTS
        if host in path.read_bytes()
    ]
    assert found == []
