"""Which of the agent's keys a profile means. Only public halves are read; private keys and passphrases never.

Not here: talking to the agent (`l8s_core.ssh_tools`), and authenticating with it (the backend).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from l8s_core import files, ssh_tools
from l8s_core.errors import AgentUnavailable, InvalidValue
from l8s_core.known_hosts import parse_public_key
from l8s_core.model import Profile, PublicKey

PUBLIC_KEY_LIMIT = 16 * 1024
"""Bytes of a .pub file; an RSA key of 16384 bits takes 3 KiB."""


def select_key(profile: Profile) -> PublicKey:
    """The agent's key that the profile's ``ssh_key_path`` names, found by comparing public halves.

    Without a .pub file the default path means the agent's only key, as ssh itself would use it.

    Raises:
        AgentUnavailable: no usable agent, the key is not in it, or it is not clear which one is meant.
        InvalidValue: the .pub file holds no public key.
        LocalFileError: the .pub file cannot be read.
    """
    path = profile.ssh_key_path
    held = ssh_tools.agent_keys(path)
    public = _public_half(path)
    data = files.read_limited(public, PUBLIC_KEY_LIMIT)
    if data is None:
        return _without_file(profile, public, held)
    wanted = _parse_file(public, data)
    for key in held:
        if key == wanted:
            return key
    raise AgentUnavailable(
        f"the key {path} ({wanted.fingerprint}) is not in the agent, which holds:\n{_listing(held)}",
        hints=(f"Add it: ssh-add {path.removesuffix('.pub')}", "Or name one of these as ssh_key_path"),
        profile=profile.name,
    )


def public_key_file(key: PublicKey) -> Path:
    """A file with the public half of ``key``, made if need be: the IdentityFile for a key in the agent.

    Raises:
        LocalFileError: it cannot be written.
    """
    digest = hashlib.sha256(base64.b64decode(key.base64)).hexdigest()[:16]
    path = files.state_dir() / "keys" / f"{digest}.pub"
    content = f"{key.line}\n".encode("ascii")
    files.private_dir(files.state_dir())
    files.private_dir(path.parent)
    if files.read_limited(path, PUBLIC_KEY_LIMIT) != content:
        files.write_atomic(path, content)
    return path


def _public_half(path: str) -> Path:
    try:
        expanded = Path(path).expanduser()
    except RuntimeError as error:
        raise InvalidValue(f"ssh_key_path {path!r}: there is no such user's home directory") from error
    return expanded if expanded.suffix == ".pub" else expanded.with_name(expanded.name + ".pub")


def _parse_file(public: Path, data: bytes) -> PublicKey:
    for line in data.decode("utf-8", "replace").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                return parse_public_key(line)
            except InvalidValue as error:
                raise InvalidValue(f"{files.display(public)}: {error.message}", hints=error.hints) from error
    raise InvalidValue(f"{files.display(public)} is empty", hints=("A .pub file holds: ssh-ed25519 AAAA...",))


def _without_file(profile: Profile, public: Path, held: Sequence[PublicKey]) -> PublicKey:
    """The agent's only key when nobody asked for another one."""
    path = profile.ssh_key_path
    if profile.sources.get("ssh_key_path", "default") != "default":
        raise AgentUnavailable(
            f"there is no {files.display(public)}, and l8s tells by it which key of the agent is {path}",
            hints=(
                f"Make it from the private key: ssh-keygen -y -f {path} > {files.display(public)}",
                "Or from the agent, one line of: ssh-add -L",
            ),
            profile=profile.name,
        )
    if len(held) == 1:
        return held[0]
    raise AgentUnavailable(
        f"the agent holds {len(held)} keys, and no {files.display(public)} tells which one is meant:\n{_listing(held)}",
        hints=(
            "Name yours in the config: ssh_key_path: ~/.ssh/YOUR_KEY",
            f"If you have {path}: ssh-keygen -y -f {path} > {files.display(public)}",
        ),
        profile=profile.name,
    )


def _listing(held: Sequence[PublicKey]) -> str:
    return "\n".join(f"  {key.fingerprint} {key.type} {key.comment}".rstrip() for key in held)
