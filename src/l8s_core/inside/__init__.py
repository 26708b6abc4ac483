"""What l8s puts into a container: small POSIX sh programs, sshd's configuration, and the key that may log in.

Not here: when they are uploaded and run (`l8s_core.provision`).
"""

from __future__ import annotations

import shlex
from importlib import resources

from l8s_core import names
from l8s_core.archives import Member, tar_archive
from l8s_core.model import PublicKey

DIRECTORY = "etc/l8s"
"""Where it all goes, from the container's root."""

HOST_KEY_FILE = "/var/lib/l8s/ssh_host_ed25519_key.pub"
"""The public half of the container's host key, on the volume that keeps it (``start.sh``)."""


def archive(*, user: str, home: str, key: PublicKey, repository: str, branch: str) -> bytes:
    """The tar archive to unpack in a container's root; ``repository`` and ``branch`` may be empty.

    Raises:
        InvalidValue: ``user`` cannot be a user of a container.
    """
    names.container_user(user)
    settings = {"L8S_USER": user, "L8S_HOME": home, "L8S_REPOSITORY": repository, "L8S_BRANCH": branch}
    root = "PermitRootLogin prohibit-password" if user == "root" else "PermitRootLogin no"
    texts = {
        "settings": "".join(f"{name}={shlex.quote(value)}\n" for name, value in settings.items()),
        "sshd_config": f"{_shipped('sshd_config')}AllowUsers {user}\n{root}\n",
        "authorized_keys": f"{key.line}\n",
        "start": _shipped("start.sh"),
        "ready": _shipped("ready.sh"),
        "provision": _shipped("provision.sh"),
    }
    members = {f"{DIRECTORY}/{name}": Member(text.encode("utf-8")) for name, text in texts.items()}
    return tar_archive(members, {DIRECTORY: 0o755})


def script(name: str) -> str:
    """The text of a program that is run without being uploaded: ``receive.sh`` or ``send.sh``."""
    return _shipped(name)


def _shipped(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")
