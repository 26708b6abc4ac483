"""l8s installed by pip into an environment of its own, as its users have it, in this version or in a later one.

The later one is this one's code under another version, and says that no other's holder understands it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import zipfile
from importlib import metadata
from pathlib import Path

from attrs import define, field
from lab import REPOSITORY, complete

from l8s_core import __version__

CURRENT = __version__
NEXT = f"{CURRENT}.post1"
FOLDERS = ("src", "plugins")
CHANGES = {
    "l8s_core/__init__.py": (r'^__version__ = ".*"$', f'__version__ = "{NEXT}"'),
    "l8s_core/multiplex/wire.py": (r"^PROTOCOL = \d+$", "PROTOCOL = 4711"),
}
"""What the later version has in its files: a pattern that is found once, and what stands in its place."""


@define
class Installation:
    """A virtual environment at ``path``; what l8s depends on is taken from the one that runs this."""

    path: Path
    version: str = field(default="", init=False)
    """What is installed: `CURRENT` or `NEXT`."""

    @property
    def programs(self) -> Path:
        """Where its ``l8s`` is."""
        return self.path / "bin"

    def install(self, version: str) -> None:
        """Install `CURRENT` or `NEXT`, in the place of what is there."""
        python = self.programs / "python"
        if not python.exists():
            complete([sys.executable, "-m", "venv", "--without-pip", self.path], check=True, timeout=60)
            [site] = self.path.glob("lib/python*/site-packages")
            # a .pth file adds a directory without obeying those in there, and so without this checkout's l8s
            (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
        wheel = _wheel(self.path, version)
        pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install", "--quiet"]
        # what it can see outside its own environment, this checkout's l8s, pip leaves alone
        complete([*pip, "--no-index", "--no-deps", "--upgrade", wheel], check=True, timeout=120)
        shown = subprocess.run([self.programs / "l8s", "--version"], check=True, capture_output=True, text=True).stdout
        assert f"{version}\n" in shown, shown
        self.version = version


def _wheel(folder: Path, version: str) -> Path:
    """Build a wheel of the checkout, under that version (the packaging specification "Binary distribution format")."""
    wheel = folder / f"l8s-{version}-py3-none-any.whl"
    info = f"l8s-{version}.dist-info"
    here = metadata.distribution("l8s")
    described = re.sub(r"^Version: .*$", f"Version: {version}", here.read_text("METADATA") or "", count=1, flags=re.M)
    with zipfile.ZipFile(wheel, "w") as archive:
        for root in (REPOSITORY / folder for folder in FOLDERS):
            for file in sorted(path for path in root.rglob("*") if path.is_file() and path.suffix != ".pyc"):
                name = file.relative_to(root).as_posix()
                text = file.read_bytes()
                if version == NEXT and name in CHANGES:
                    pattern, replacement = CHANGES[name]
                    changed, count = re.subn(pattern, replacement, text.decode(), flags=re.M)
                    assert count == 1, name
                    text = changed.encode()
                archive.writestr(name, text)
        archive.writestr(f"{info}/METADATA", described)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/entry_points.txt", here.read_text("entry_points.txt") or "")
        listed = "".join(f"{name},,\n" for name in archive.namelist())
        archive.writestr(f"{info}/RECORD", listed + f"{info}/RECORD,,\n")
    return wheel
