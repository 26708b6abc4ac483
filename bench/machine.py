"""What the figures were measured on: what a reader needs to judge them, and nothing that names a machine."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path


def described() -> dict[str, str]:
    """The processor, the memory and the versions of what takes part on the laptop's side."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    memory = re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(), re.M)
    ssh = subprocess.run(["ssh", "-V"], check=False, capture_output=True, text=True).stderr
    return {
        "processor": f"{len(os.sched_getaffinity(0))} x {model[1] if model else platform.machine()}",
        "memory": f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "?",
        "Linux": ".".join(platform.release().split(".")[:2]),
        "Python": platform.python_version(),
        "OpenSSH": ssh.partition(",")[0].removeprefix("OpenSSH_").split()[0],
        "podman-py": version("podman"),
        "paramiko": version("paramiko"),
        "l8s": version("l8s"),
    }


def load() -> str:
    """How busy the machine was in the last minute: with more than the bench's own work the figures are worth less."""
    return f"{os.getloadavg()[0]:.1f}"
