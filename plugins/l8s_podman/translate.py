"""The one place where exceptions of paramiko, requests, urllib3, podman and invoke become errors of l8s.

Every request to the server runs inside `translated`. What it means that a connection ended depends on what was being
done: a read simply failed, a write may have happened. And it depends on which connection: a stream that broke off while
the SSH connection lives was ended by Podman's service.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import paramiko

from l8s_core.errors import BackendError, ConnectionFailed, L8sError, OutcomeUnknown
from l8s_podman.streams import BrokenOff

SERVICE_LOG = "See why: journalctl -u podman.service, on the server"


def translate(error: Exception, *, doing: str, write: bool, where: str, link_dead: bool) -> L8sError:
    """The error of l8s for ``error``, which happened while ``doing`` something at ``where``.

    ``write`` tells a change from a look; ``link_dead`` whether the SSH connection under it is gone.
    """
    if isinstance(error, L8sError):
        return error
    # nothing failed that would have needed them, and the connection is there before they are (`l8s_podman.backend`)
    import podman.errors
    import requests
    import urllib3.exceptions

    if isinstance(error, podman.errors.APIError) and isinstance(error.__cause__, Exception):
        # podman-py wraps whatever is an OSError, and with it every error of requests, as an error of the API.
        error = error.__cause__
    if isinstance(error, paramiko.ChannelException) and not link_dead:
        return ConnectionFailed(
            f"{where} refused another channel on the SSH connection while {doing}: {_reason([*causes(error)])}",
            hints=("Look at MaxSessions in the server's /etc/ssh/sshd_config", "Run the command again"),
        )
    chain = list(causes(error))
    timed_out = any(isinstance(one, (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)) for one in chain)
    # asked of the chain first: the transport tells its channels that it ended before it counts as ended itself
    lost = link_dead or any(map(_of_the_link, chain))
    reason = _reason(chain)
    if not lost and not timed_out:
        of_a_stream = (
            ConnectionError,
            requests.ConnectionError,
            urllib3.exceptions.ProtocolError,
            http.client.HTTPException,
            requests.exceptions.ChunkedEncodingError,
        )
        if not isinstance(error, of_a_stream):
            return BackendError(f"Podman on {where} failed while {doing}: {reason}")
        if not write:
            return service_ended(f"The answer of Podman on {where} broke off while {doing} ({reason}).")
        return OutcomeUnknown(
            f"The answer of Podman on {where} broke off while {doing} ({reason}). Whether it was done is not known.",
            hints=("Look at what is there now: l8s list", SERVICE_LOG),
        )
    what = f"was lost ({reason})" if lost else "gave no answer in time"
    if write:
        return OutcomeUnknown(
            f"The connection to {where} {what} while {doing}. Whether it was done is not known.",
            hints=("Look at what is there now: l8s list", "Check the connection: l8s test-connection"),
        )
    return ConnectionFailed(
        f"The connection to {where} {what} while {doing}.",
        hints=("Check the connection: l8s test-connection", "Run the command again"),
    )


def service_ended(message: str, cls: type[BackendError] = BackendError) -> BackendError:
    """The error for a look, or a command, that ended with Podman's service while the connection lived."""
    return cls(message, hints=(SERVICE_LOG, "Run the command again"))


def _of_the_link(error: BaseException) -> bool:
    """Whether it says that the SSH connection is gone. A clean end of a stream is Podman's, whatever http calls it."""
    of_a_stream = isinstance(error, BrokenOff | http.client.RemoteDisconnected)
    return isinstance(error, ConnectionError | EOFError | paramiko.SSHException) and not of_a_stream


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from, at most ten."""
    current: BaseException | None = error
    for _ in range(10):
        if current is None:
            return
        yield current
        current = current.__cause__ or current.__context__


def _reason(chain: Sequence[BaseException]) -> str:
    """The first line of the innermost cause that says something."""
    seen: list[str] = []
    for error in chain:
        try:
            text = str(error).strip().splitlines()
        except Exception:  # noqa: BLE001  some of paramiko's cannot be printed when they were made without arguments
            text = []
        if text:
            seen.append(text[0][:300])
    return seen[-1] if seen else type(chain[0]).__name__


@contextmanager
def translated(
    doing: str, *, write: bool = False, where: str, link_dead: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    """Let only errors of l8s out.

    Raises:
        L8sError: instead of whatever `Exception` came up.
    """
    try:
        yield
    except L8sError:
        raise
    except Exception as error:
        raise translate(error, doing=doing, write=write, where=where, link_dead=link_dead()) from error
