"""What ssh on the laptop needs to know: keys and aliases."""

from __future__ import annotations

import base64
import hashlib

from attrs import field, frozen


@frozen
class PublicKey:
    """An SSH public key, as one line of authorized_keys or known_hosts holds it (RFC 4253, section 6.6)."""

    type: str
    base64: str
    comment: str = field(default="", eq=False)

    @property
    def fingerprint(self) -> str:
        """``SHA256:...`` as ssh-keygen -l prints it (RFC 4648 base64 without padding)."""
        digest = hashlib.sha256(base64.b64decode(self.base64)).digest()
        return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")

    @property
    def line(self) -> str:
        """``type base64``, without the comment."""
        return f"{self.type} {self.base64}"


@frozen(kw_only=True)
class HostBlock:
    """One ssh alias: what ``ssh dev-myapp`` needs to know.

    ``host_key_alias`` is the name in ``known_hosts_file`` under which the container's key is pinned; ``identity_file``
    holds the public half of the agent's key ("" to leave the choice to ssh); ``proxy_jump`` is "" for none.
    """

    alias: str
    hostname: str
    port: int
    user: str
    host_key_alias: str
    known_hosts_file: str
    identity_file: str = ""
    proxy_jump: str = ""
    host_key_checking: bool = True
    forward_agent: bool = False
