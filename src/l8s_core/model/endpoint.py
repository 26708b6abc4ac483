"""Where a backend is connected."""

from __future__ import annotations

from attrs import frozen

from l8s_core.model.profile import DEFAULT_SSH_PORT


@frozen(kw_only=True)
class Endpoint:
    """Where a backend is really connected, after ssh's own alias resolution.

    ``host`` is the resolved host name (for ssh entries), ``address`` the IP address that was checked and connected
    to ("" behind a jump host), ``jump`` the chain of jump hosts as ssh's ProxyJump writes it ("" for none).
    """

    user: str
    host: str
    port: int
    socket: str
    address: str = ""
    jump: str = ""

    def __str__(self) -> str:
        return f"{self.user}@{self.host}" + ("" if self.port == DEFAULT_SSH_PORT else f":{self.port}")
