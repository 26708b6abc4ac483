"""Deciding on a server's host key that l8s has not seen: import it, compare it, or ask. It is never guessed.

What is pinned is taken back unless all ends well. Not here: checking keys on a connection (the backend).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from l8s_cli import prompts
from l8s_cli.output import Output
from l8s_core import known_hosts, ssh_tools
from l8s_core.errors import HostKeyRejected, LocalFileError
from l8s_core.known_hosts import KnownHosts
from l8s_core.model import DEFAULT_SSH_PORT, PublicKey

ON_THE_SERVER = "ssh-keygen -lf /etc/ssh/ssh_host_{kind}_key.pub"
"""What shows a host key's fingerprint on the server itself."""


class Trust:
    """The keys that were pinned during one command.

    ``fingerprints`` are what ``option`` gave; ``command`` is what to run again with such a fingerprint. Only with
    ``replaces`` may a key take the place of another that was trusted, and never without a person or a fingerprint.
    """

    def __init__(
        self,
        pins: KnownHosts,
        fingerprints: Collection[str],
        *,
        can_ask: bool,
        command: str,
        out: Output,
        option: str = "--trust-host-key",
        replaces: bool = False,
    ) -> None:
        self._pins = pins
        self._fingerprints = tuple(fingerprints)
        self._can_ask = can_ask
        self._command = command
        self._out = out
        self._option = option
        self._replaces = replaces
        self._before: dict[str, tuple[PublicKey, ...]] = {}

    def decide(self, rejected: HostKeyRejected) -> None:
        """Pin the offered key if there is a reason to trust it.

        Raises:
            HostKeyRejected: there is none, or the key is not merely unknown.
        """
        if rejected.host in self._before or (rejected.reason == "changed" and not self._replaces):
            raise rejected
        key = known_hosts.parse_public_key(f"{rejected.key_type} {rejected.key_base64}")
        host, port = split_name(rejected.host)
        if key in ssh_tools.revoked_keys(host, port):
            raise self._refused(rejected, key, "Your ~/.ssh/known_hosts marks this key as revoked.")
        if self._fingerprints:
            if key.fingerprint not in self._fingerprints:
                wanted = " or ".join(self._fingerprints)
                raise self._refused(rejected, key, f"{self._option} says {wanted}: this is another machine's key.")
            for old in self._pins.keys(rejected.host):
                self._out.note(f"Trusted until now for {rejected.host}: {old.fingerprint}")
            self._out.note(f"Host key of {rejected.host}: {key.fingerprint}, as {self._option} says.")
        elif rejected.reason == "changed":
            self._replacement(rejected, key)
        else:
            self._from_person(rejected, key, ssh_tools.known_keys(host, port))
        self._before[rejected.host] = self._pins.keys(rejected.host)
        self._pins.pin(rejected.host, [key])

    @property
    def pinned(self) -> Mapping[str, tuple[PublicKey, ...]]:
        """The servers whose key was pinned, with the keys that were trusted before."""
        return self._before

    def take_back(self) -> None:
        """Make the pins what they were before."""
        for name, keys in self._before.items():
            try:
                self._pins.pin(name, keys) if keys else self._pins.forget(name)
            except LocalFileError as error:
                self._out.warn(f"The host key of {name} stays pinned: {error.message}")

    def _from_person(self, rejected: HostKeyRejected, key: PublicKey, theirs: Collection[PublicKey]) -> None:
        if key in theirs and not self._replaces:
            self._out.note(f"Host key of {rejected.host}: {key.fingerprint}, imported from ~/.ssh/known_hosts.")
            return
        other = [known.fingerprint for known in theirs if known.type == key.type]
        if other:
            raise self._refused(
                rejected,
                key,
                f"Your ~/.ssh/known_hosts has another {key.type} key for it: {', '.join(other)}.",
            )
        if not self._can_ask:
            raise self._refused(rejected, key, "It is not known, and there is no terminal to ask on.")
        self._out.note()
        self._out.note(f"The host key of {rejected.host} is not known yet.")
        self._out.note(f"  Type:         {key.type}")
        self._out.note(f"  Fingerprint:  {key.fingerprint}")
        self._out.note(f"Compare it with what the server itself says: {_shown_by(key)}")
        if not prompts.confirm("Trust this key?"):
            raise self._refused(rejected, key, "You did not trust it.")

    def _replacement(self, rejected: HostKeyRejected, key: PublicKey) -> None:
        """Ask whether ``key`` may take the place of what is trusted."""
        if not self._can_ask:
            raise self._refused(rejected, key, "It is not the trusted one, and there is no terminal to ask on.")
        self._out.note()
        self._out.note(f"The host key of {rejected.host} is not the trusted one.")
        for old in self._pins.keys(rejected.host):
            self._out.note(f"  Trusted until now:  {old.fingerprint} ({old.type})")
        self._out.note(f"  Offered now:        {key.fingerprint} ({key.type})")
        self._out.note("Either the server was installed anew or given a new key, or somebody is in between.")
        self._out.note(f"Compare it with what the server itself says, over another way: {_shown_by(key)}")
        if not prompts.confirm("Trust the new key instead of the old one?"):
            raise self._refused(rejected, key, "You did not trust it; the old one stays.")

    def _refused(self, rejected: HostKeyRejected, key: PublicKey, why: str) -> HostKeyRejected:
        refused = HostKeyRejected(
            f"The host key of {rejected.host} is not trusted.\n\n"
            + "".join(f"Trusted until now: {old.fingerprint}\n" for old in self._pins.keys(rejected.host))
            + f"The server offers: {key.type} {key.fingerprint}\n{why}",
            host=rejected.host,
            key_type=rejected.key_type,
            key_base64=rejected.key_base64,
            reason=rejected.reason,
            expected=rejected.expected or self._fingerprints,
            hints=(
                f"See the true fingerprint, on the server: {_shown_by(key)}",
                f"If it is the same, run: {self._command} {self._option} {key.fingerprint}",
            ),
            profile=rejected.profile,
        )
        refused.step = rejected.step
        return refused


def split_name(name: str) -> tuple[str, int]:
    """Host and port of a name as known_hosts writes it: ``host`` or ``[host]:port``."""
    if name.startswith("[") and "]:" in name:
        host, _, port = name[1:].rpartition("]:")
        return host, int(port)
    return name, DEFAULT_SSH_PORT


def _shown_by(key: PublicKey) -> str:
    kind = key.type.removeprefix("ssh-").partition("-")[0]
    return ON_THE_SERVER.format(kind=kind)
