"""The one place where exceptions of paramiko, requests, urllib3, podman and invoke become errors of l8s.

Every request to the server runs inside `translated`. What it means that a connection ended depends on what was being
done: a read simply failed, a write may have happened.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import paramiko
import podman.errors
import requests
import urllib3.exceptions

from l8s_core.errors import BackendError, ConnectionFailed, L8sError, OutcomeUnknown
from l8s_podman.streams import LinkLost


def translate(error: Exception, *, doing: str, write: bool, where: str, link_dead: bool) -> L8sError:
    """The error of l8s for ``error``, which happened while ``doing`` something at ``where``.

    ``write`` tells a change from a look; ``link_dead`` whether the SSH connection under it is gone.
    """
    if isinstance(error, L8sError):
        return error
    if isinstance(error, podman.errors.APIError) and isinstance(error.__cause__, Exception):
        # podman-py wraps whatever is an OSError, and with it every error of requests, as an error of the API.
        error = error.__cause__
    if isinstance(error, paramiko.ChannelException) and not link_dead:
        return ConnectionFailed(
            f"{where} refused another channel on the SSH connection while {doing}: {_reason(error)}",
            hints=("Look at MaxSessions in the server's /etc/ssh/sshd_config", "Run the command again"),
        )
    timed_out = isinstance(error, (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError))
    lost = (
        link_dead
        or isinstance(
            error,
            (
                LinkLost,
                ConnectionError,
                EOFError,
                requests.ConnectionError,
                urllib3.exceptions.ProtocolError,
                http.client.HTTPException,
                paramiko.SSHException,
                requests.exceptions.ChunkedEncodingError,
            ),
        )
        or timed_out
    )
    reason = _reason(error)
    if not lost:
        return BackendError(f"Podman on {where} failed while {doing}: {reason}")
    what = "gave no answer in time" if timed_out and not link_dead else f"was lost ({reason})"
    if write:
        return OutcomeUnknown(
            f"The connection to {where} {what} while {doing}. Whether it was done is not known.",
            hints=("Look at what is there now: l8s list", "Check the connection: l8s test-connection"),
        )
    return ConnectionFailed(
        f"The connection to {where} {what} while {doing}.",
        hints=("Check the connection: l8s test-connection", "Run the command again"),
    )


def _reason(error: BaseException) -> str:
    """The first line of the innermost cause that says something."""
    seen: list[str] = []
    current: BaseException | None = error
    for _ in range(10):
        if current is None:
            break
        try:
            text = str(current).strip().splitlines()
        except Exception:  # noqa: BLE001  some of paramiko's cannot be printed when they were made without arguments
            text = []
        if text:
            seen.append(text[0][:300])
        current = current.__cause__ or current.__context__
    return seen[-1] if seen else type(error).__name__


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
