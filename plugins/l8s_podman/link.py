"""The one SSH connection: opened strictly, watched, and the carrier of everything else.

Host keys are compared with l8s's own known_hosts and nothing else; one key of the agent is offered and nothing else;
the address connected to is the one that was judged. Not here: how it got to the server (`l8s_podman.arrival`), and what
is said over it (`l8s_podman.api`).
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial

import fabric
import paramiko
from attrs import frozen
from paramiko.hostkeys import HostKeyEntry

from l8s_core import names
from l8s_core.errors import (
    AgentUnavailable,
    AuthenticationFailed,
    ConnectionFailed,
    HostKeyRejected,
    L8sError,
    ssh_connection_failed,
)
from l8s_core.known_hosts import KnownHosts, server_name
from l8s_core.model import DEFAULT_SSH_PORT, Endpoint, OutputSink, Profile, PublicKey, StreamName
from l8s_core.steps import Steps
from l8s_podman.arrival import Arrival, arrive, label
from l8s_podman.route import Hop, jump_option
from l8s_podman.streams import LinkLost
from l8s_podman.translate import translated
from l8s_podman.transport import SSHTransport, WatchedSocket

HANDSHAKE_TIMEOUT = 10.0
"""Seconds for the key exchange."""

BANNER_TIMEOUT = 3.0
"""Seconds for the server to say that it speaks SSH; on a busy machine too, a command then ends within 5."""

AUTH_TIMEOUT = 30.0
"""Seconds for authentication: a person may have to touch a security key."""

CHANNEL_TIMEOUT = 15.0
"""Seconds for the server to open a channel."""

SESSION_PATIENCE = 1.0
"""Seconds to ask again when the server has no session left."""

# A server's text reaches paramiko's log as it is, and without any handler logging prints warnings to stderr.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


@frozen(kw_only=True)
class Ran:
    """How a command on the server ended."""

    exit_code: int
    stdout: bytes
    stderr: bytes


class _Pinned(paramiko.MissingHostKeyPolicy):
    """Refuses a server of which no key is known, and keeps the offered key for whoever may ask the user."""

    def __init__(self, hop: Hop) -> None:
        self._hop = hop

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        del client, hostname
        raise unknown_host_key(self._hop, PublicKey(key.get_name(), key.get_base64()))


def unknown_host_key(hop: Hop, offered: PublicKey) -> HostKeyRejected:
    """The error for a server that l8s has never been told to trust."""
    return HostKeyRejected(
        f"The host key of {hop.host} is not known yet.\n\nIt offered: {offered.type} {offered.fingerprint}",
        host=server_name(hop.host, hop.port),
        key_type=offered.type,
        key_base64=offered.base64,
        reason="unknown",
        hints=(
            "Compare the fingerprint on the server: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
            "Then trust it: l8s init",
        ),
    )


def changed_host_key(hop: Hop, offered: PublicKey, expected: Sequence[PublicKey]) -> HostKeyRejected:
    """The error for a server that shows another key than the trusted one."""
    trusted = "\n".join(f"Trusted:    {key.type} {key.fingerprint}" for key in expected)
    name = server_name(hop.host, hop.port)
    return HostKeyRejected(
        f"The host key of {hop.host} is not the trusted one. Someone may be in between, or the server was replaced.\n\n"
        f"{trusted}\nIt offered: {offered.type} {offered.fingerprint}",
        host=name,
        key_type=offered.type,
        key_base64=offered.base64,
        reason="changed",
        expected=[key.fingerprint for key in expected],
        hints=(
            "Ask whoever runs the server whether its key changed, over another way than this connection",
            "Only if it did, see both keys and decide: l8s trust (with the --profile that you gave here)",
            f"Where no profile leads to it: remove the lines of {name} from ~/.l8s/known_hosts",
        ),
    )


class Link:
    """An SSH connection to a profile's server, through jump hosts where the ssh configuration says so."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._connections: list[fabric.Connection] = []
        self._transport: SSHTransport | None = None
        self._agent: paramiko.Agent | None = None
        self._endpoint: Endpoint | None = None

    # Opening

    def open(self, steps: Steps, arrival: Arrival | None = None) -> Endpoint:
        """Authenticate on the connection of ``arrival``, which is made unless it is given; closed when that fails.

        Raises: as `l8s_core.contracts.RemoteBackend.open` says.
        """
        arrived = arrival or arrive(self._profile, steps)
        try:
            return self._open(arrived, steps)
        except BaseException:
            self.close()  # first: to close what is inside another connection is said on that one
            arrived.connected.close()
            raise

    def _open(self, arrived: Arrival, steps: Steps) -> Endpoint:
        profile, hops = self._profile, arrived.hops
        key = self._agent_key(arrived.key)
        self._connect(hops[0], arrived.connected, key, steps, label(hops[0], hops))
        for hop in hops[1:]:
            with steps.step(f"TCP{label(hop, hops)}") as step:
                inner = self._dial_on(hop)
                step.detail = f"{hop.host}, port {hop.port}"
            self._connect(hop, inner, key, steps, label(hop, hops))
        assert self._transport is not None
        server = hops[-1]
        self._endpoint = Endpoint(
            user=server.user,
            host=server.host,
            port=server.port,
            socket=profile.remote_socket,
            address="" if hops[1:] else arrived.address,  # what a jump host connects to is its to resolve
            jump=jump_option(hops),
        )
        return self._endpoint

    def _agent_key(self, wanted: PublicKey) -> paramiko.AgentKey:
        self._agent = paramiko.Agent()
        for key in self._agent.get_keys():
            if key.get_base64() == wanted.base64:
                return key
        raise AgentUnavailable(
            f"The ssh-agent no longer holds the key {wanted.fingerprint}.",
            hints=(f"Add it again: ssh-add {names.printable(self._profile.ssh_key_path)}",),
        )

    def _connect(
        self, hop: Hop, inner: socket.socket | paramiko.Channel, key: paramiko.AgentKey, steps: Steps, of_hop: str
    ) -> None:
        """Add one hop to the connection, over ``inner``, a stream to it."""
        known = KnownHosts().keys(server_name(hop.host, hop.port))
        config = fabric.Config(lazy=True, overrides={"load_ssh_configs": False})
        with ExitStack() as stage:
            checking = stage.enter_context(steps.step(f"host key{of_hop}"))
            checking.detail = ", ".join(item.fingerprint for item in known)

            def authenticating() -> None:
                stage.close()  # the host key was accepted: that step is done
                stage.enter_context(steps.step(f"authentication{of_hop}")).detail = f"as {hop.user}"

            connection = fabric.Connection(
                host=hop.host,
                user=hop.user,
                port=hop.port,
                config=config,
                connect_timeout=HANDSHAKE_TIMEOUT,
                connect_kwargs={
                    "sock": WatchedSocket(inner),
                    "transport_factory": partial(SSHTransport, on_authenticate=authenticating),
                    "pkey": key,
                    "allow_agent": False,
                    "look_for_keys": False,
                    "banner_timeout": BANNER_TIMEOUT,
                    "auth_timeout": AUTH_TIMEOUT,
                    "channel_timeout": CHANNEL_TIMEOUT,
                },
            )
            self._connections.append(connection)
            client: paramiko.SSHClient = connection.client
            client.set_missing_host_key_policy(_Pinned(hop))
            for item in known:
                entry = HostKeyEntry.from_line(f"{server_name(hop.host, hop.port)} {item.line}")
                if entry is not None and entry.key is not None:
                    # The name under which SSHClient.connect looks: its own spelling of host and port.
                    name = hop.host if hop.port == DEFAULT_SSH_PORT else f"[{hop.host}]:{hop.port}"
                    client.get_host_keys().add(name, item.type, entry.key)
            try:
                connection.open()
            except L8sError:
                raise
            except Exception as error:
                raise self._refused(hop, known, error) from error
        transport = client.get_transport()
        assert isinstance(transport, SSHTransport)
        transport.watch()
        self._transport = transport

    def _dial_on(self, hop: Hop) -> paramiko.Channel:
        """A stream to the next hop, from the one before it."""
        try:
            return self.transport().open_channel("direct-tcpip", (hop.host, hop.port), ("", 0), timeout=CHANNEL_TIMEOUT)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise ssh_connection_failed(hop.user, hop.host, hop.port, f"the jump host says: {error}") from error

    def _refused(self, hop: Hop, known: Sequence[PublicKey], error: Exception) -> ConnectionFailed:
        """What a failed handshake means."""
        if isinstance(error, paramiko.BadHostKeyException):
            offered = PublicKey(error.key.get_name(), error.key.get_base64())
            return changed_host_key(hop, offered, known)
        transport = self._connections[-1].client.get_transport()
        if isinstance(error, paramiko.AuthenticationException) and isinstance(transport, SSHTransport):
            # paramiko says "authentication failed" of a connection that broke meanwhile, too
            if transport.died_silent:
                return ssh_connection_failed(hop.user, hop.host, hop.port, "the server stopped answering in the login")
            if str(error).endswith("transport shut down or saw EOF") and not transport.dismissed:
                return ssh_connection_failed(hop.user, hop.host, hop.port, "the connection ended in the login")
        if isinstance(error, paramiko.AuthenticationException):
            return ssh_connection_failed(
                hop.user,
                hop.host,
                hop.port,
                f"the server did not accept the key for user {hop.user} ({names.printable(str(error))})",
                cls=AuthenticationFailed,
            )
        if "cannot be used for signing" in str(error):  # as paramiko's AgentKey puts every answer but a signature
            return AgentUnavailable(
                "The ssh-agent holds the key and did not sign with it: the request was declined, or it is locked.",
                hints=(
                    "Confirm the use of the key when the agent asks, or touch the security key",
                    "Unlock the agent: ssh-add -X",
                    f"Test SSH manually: ssh {hop.user}@{hop.host}",
                ),
            )
        reason = names.printable(str(error)) or type(error).__name__
        return ssh_connection_failed(hop.user, hop.host, hop.port, reason)

    # Using

    @property
    def where(self) -> str:
        """The server, for messages."""
        return self._profile.remote_host

    @property
    def dead(self) -> bool:
        """Whether the connection is gone."""
        return self._transport is None or not self._transport.is_active()

    @property
    def endpoint(self) -> Endpoint:
        """What it is connected to."""
        assert self._endpoint is not None, "it was never opened"
        return self._endpoint

    def alive(self, *, within: float) -> bool:
        """Whether the server is there; it is asked, for at most ``within`` seconds, when it was silent lately.

        With 0 it is not asked: only a connection that has ended is none.
        """
        return not self.dead and (within <= 0 or self.transport().answers(within))

    def transport(self) -> SSHTransport:
        """The authenticated transport.

        Raises:
            LinkLost: the connection is gone.
        """
        if self._transport is None or not self._transport.is_active():
            silent = self._transport is not None and self._transport.died_silent
            raise LinkLost("the server stopped answering" if silent else "the SSH connection is closed")
        return self._transport

    def streamlocal(self, path: str) -> paramiko.Channel:
        """A channel to a unix socket on the server.

        Raises:
            paramiko.ChannelException: it refused; code 1 is "not allowed", 2 "could not connect" (RFC 4254, 5.1).
        """
        return self.transport().open_streamlocal(path, timeout=CHANNEL_TIMEOUT)

    def command(self, words: Sequence[str]) -> paramiko.Channel:
        """A channel on which a command of the server runs; each word is quoted for the login shell."""
        channel = self._session()
        channel.exec_command(names.shell_words(words))
        return channel

    def _session(self) -> paramiko.Channel:
        """A channel for a command. sshd frees a session a moment after it was closed, and has few (MaxSessions)."""
        end = time.monotonic() + SESSION_PATIENCE
        while True:
            try:
                return self.transport().open_session(timeout=CHANNEL_TIMEOUT)
            except paramiko.ChannelException:
                if time.monotonic() >= end:
                    raise
            time.sleep(0.05)

    def run(
        self,
        words: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float = 15.0,
        limit: int = 1024 * 1024,
        on_output: OutputSink | None = None,
        on_open: Callable[[paramiko.Channel], None] | None = None,
    ) -> Ran:
        """Run a command on the server to its end. At most ``limit`` bytes of each stream are kept.

        ``on_open`` gets the channel: whoever closes it ends the wait.

        ``stdin`` must fit into the server's window (2 MiB with OpenSSH): it is sent before anything is read.

        Raises:
            ConnectionFailed: the connection died, or the command took longer than ``timeout`` seconds.
        """
        with translated("running a command on the server", where=self.where, link_dead=lambda: self.dead):
            channel = self.command(words)
            if on_open is not None:
                on_open(channel)
            try:
                channel.settimeout(timeout)
                channel.sendall(stdin)
                channel.shutdown_write()
                stdout, stderr = _drain(channel, time.monotonic() + timeout, limit, on_output)
                if not channel.status_event.wait(timeout) or channel.exit_status < 0:
                    raise LinkLost("the command ended without an exit status")
                return Ran(exit_code=channel.exit_status, stdout=stdout, stderr=stderr)
            finally:
                channel.close()

    def close(self) -> None:
        """Close every hop, last first, and the connection to the agent."""
        for connection in reversed(self._connections):
            # Closing the connection to a server behind a jump host is said to the jump host, which may be gone.
            with suppress(EOFError, OSError, paramiko.SSHException):
                # connection.close() does nothing for a connection that was never fully opened, but its threads run.
                connection.client.close()
        self._connections.clear()
        if self._agent is not None:
            self._agent.close()
            self._agent = None


def _drain(channel: paramiko.Channel, deadline: float, limit: int, on_output: OutputSink | None) -> tuple[bytes, bytes]:
    """Both streams of a command until they end, each piece as it comes.

    Raises:
        TimeoutError: they did not end by ``deadline``.
        LinkLost: the connection ended first.
    """
    kept: dict[StreamName, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
    # Set whenever either has something to read, and for good when the channel ends.
    news = threading.Event()
    channel.in_buffer.set_event(news)
    channel.in_stderr_buffer.set_event(news)
    while True:
        ended = channel.eof_received or channel.closed
        news.clear()
        pieces = _available(channel)
        for name, data in pieces:
            kept[name] += data[: max(0, limit - len(kept[name]))]
            if on_output is not None:
                on_output(name, data)
        if not pieces and ended:
            break
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the command did not end in time")
        if not pieces:
            news.wait(min(left, 1.0))
    if not channel.eof_received:
        raise LinkLost("the SSH connection ended in the middle of a command")
    return bytes(kept["stdout"]), bytes(kept["stderr"])


def _available(channel: paramiko.Channel) -> list[tuple[StreamName, bytes]]:
    """What can be read without waiting."""
    pieces: list[tuple[StreamName, bytes]] = []
    if channel.recv_ready():
        pieces.append(("stdout", channel.recv(64 * 1024)))
    if channel.recv_stderr_ready():
        pieces.append(("stderr", channel.recv_stderr(64 * 1024)))
    return pieces
