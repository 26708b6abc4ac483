"""Starting a holder, and ending one: by whom it was started first, and only ever the one that was meant.

Apart from `l8s_core.multiplex.held`, since a command that finds its holder needs none of this.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from attrs import frozen

from l8s_core import processes
from l8s_core.errors import L8sError
from l8s_core.model import Profile
from l8s_core.multiplex import place as places
from l8s_core.multiplex.held import PAUSE, STARTING, Unusable, _connected
from l8s_core.multiplex.place import Place
from l8s_core.multiplex.wire import Wire, WireClosed, parse

LEAVING = 3.0
"""Seconds for a holder that was told to leave, and serves nobody, to be gone."""


def reach(place: Place, profile: str, *, third_party: bool, environ: Mapping[str, str]) -> socket.socket:
    """A connection to the holder of ``place``, which is started when there is none.

    Raises:
        Unusable: there can be none.
    """
    deadline = time.monotonic() + STARTING
    try:
        places.prepare()
        while True:
            found = _connected(place)
            if found is not None:
                return found
            lock = place.lock_descriptor()
            if lock is not None:
                try:
                    _start(place, lock, third_party=third_party, environ=environ)
                finally:
                    os.close(lock)
                _retire_others(place, profile)
                continue
            if time.monotonic() > deadline:
                raise Unusable("the process that keeps the connection does not let anybody in, and does not end")
            time.sleep(PAUSE)
    except (L8sError, OSError) as error:
        raise Unusable(str(error)) from error


def _start(place: Place, lock: int, *, third_party: bool, environ: Mapping[str, str]) -> None:
    """Start a holder that listens already: its socket is made here, and handed on with the lock."""
    listener = places.listen(place.socket)
    places.write_state(lock, {})  # an earlier holder's
    log = os.open(place.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    # -P: never from the directory that the person happens to be in, which may be untrusted
    argv = [sys.executable, "-P", "-m", "l8s_core.multiplex.holder", place.name]
    argv += [str(listener.fileno()), str(lock), "yes" if third_party else "no"]
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=dict(environ),
            pass_fds=(listener.fileno(), lock),
            start_new_session=True,
        )
        process.returncode = 0  # it outlives this process, which therefore does not wait for it
    finally:
        os.close(log)
        listener.close()


def ask(place: Place, message: Mapping[str, Any], *, timeout: float = 3.0) -> dict[str, Any] | None:
    """What the holder of ``place`` answers to one message; None when there is none, or none that answers."""
    try:
        connection = _connected(place)
    except Unusable:
        return None
    if connection is None:
        return None
    wire = Wire(connection)
    try:
        wire.settimeout(timeout)
        wire.say(message)
        return parse(wire.receive()[1])
    except WireClosed:
        return None
    finally:
        wire.close()


@frozen(kw_only=True)
class Ended:
    """A holder that was told to leave; ``gone`` is False while it still serves somebody."""

    server: str
    profiles: tuple[str, ...]
    pid: int | None
    gone: bool


def end_all(profile: Profile | None = None) -> tuple[Ended, ...]:
    """End the holders that serve ``profile``, or all of them; one that does not answer is killed.

    Those whom it serves are served to their end, and it leaves then.
    """
    wanted = None if profile is None else json.loads(json.dumps(places.said_of(profile)))
    return tuple(ended for place in places.all_places() if (ended := _end(place, wanted)) is not None)


def _end(place: Place, wanted: Mapping[str, Any] | None) -> Ended | None:
    if not place.is_held():
        _sweep(place)
        return None
    state = place.state()
    connection = state.get("connection") or {}
    if wanted is not None and connection and connection != wanted:
        return None
    if ask(place, {"leave": True}) is None:
        _kill(place, state.get("pid"))
    deadline = time.monotonic() + LEAVING
    while place.is_held() and time.monotonic() < deadline:
        time.sleep(PAUSE)
    return Ended(
        server=f"{connection.get('remote_user', '?')}@{connection.get('remote_host', '?')}",
        profiles=tuple(map(str, state.get("profiles", ()))),
        pid=state.get("pid"),
        gone=not place.is_held(),
    )


def end_silent(place: Place, connection: socket.socket) -> None:
    """Kill the holder that was connected to and said nothing, if it is still there and no other took its place."""
    with suppress(OSError):
        _kill(place, places.peer_of(connection).pid)


def is_stopped(place: Place, connection: socket.socket) -> bool:
    """Whether the holder that was connected to is stopped, as by SIGSTOP."""
    try:
        pid = places.peer_of(connection).pid
    except OSError:
        return False
    return pid is not None and _process(pid, place).startswith("T")


def _kill(place: Place, pid: object) -> None:
    """Kill the process ``pid`` if it is the holder of ``place``, and wait until it is gone."""
    if not isinstance(pid, int) or pid <= 1 or pid == os.getpid() or place.state().get("pid") != pid:
        return
    if not _process(pid, place):
        return
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + LEAVING
    while place.is_held() and time.monotonic() < deadline:
        time.sleep(PAUSE)


def _process(pid: int, place: Place) -> str:
    """The state (ps(1)) of the process ``pid`` if it is a holder of that name, by its command line; else "".

    Pids are used again.
    """
    try:
        said = processes.run(["ps", "-o", "state=", "-o", "args=", "-p", str(pid)], timeout=5).output
    except L8sError:
        return ""
    state, *words = said.split() or [""]
    return state if place.name in words else ""


def _retire_others(place: Place, profile: str) -> None:
    """Tell the holders of what this profile was before that it is served elsewhere now."""
    for other in places.all_places():
        if other == place:
            continue
        if not other.is_held():
            _sweep(other)
        elif profile in (state := other.state()).get("profiles", ()):
            pid = state.get("pid")
            unheard = ask(other, {"retire": profile}, timeout=1.0) is None
            # one that is stopped would stay for ever
            if unheard and isinstance(pid, int) and _process(pid, other).startswith("T"):
                _kill(other, pid)


def _sweep(place: Place) -> None:
    """Remove what a holder that is gone has left."""
    with suppress(OSError):
        lock = place.lock_descriptor()
        if lock is None:
            return
        try:
            for path in (place.socket, place.log, place.lock):
                path.unlink(missing_ok=True)
        finally:
            os.close(lock)
