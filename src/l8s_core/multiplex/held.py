"""A backend whose connection is kept by another process: what a command uses in the place of one of its own.

The process is found or started (`reach`), and asked to do each call. Ctrl-C during a call is passed on, and raised when
the answer is there; a process that dies or falls silent is noticed, and replaced by the next call. Not here: that
process (`l8s_core.multiplex.holder`), and where it is found (`place`).
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import IO, Any, TypeVar

from l8s_core.connecting import Connected
from l8s_core.errors import ConnectionFailed, L8sError, OutcomeUnknown
from l8s_core.model import (
    ContainerInfo,
    ContainerRequest,
    Endpoint,
    ExecResult,
    HostFacts,
    MachineIdentity,
    OutputSink,
    Profile,
    Step,
    VolumeInfo,
)
from l8s_core.multiplex import place as places
from l8s_core.multiplex.place import Place
from l8s_core.multiplex.values import LOOKS, packed, unpacked, unpacked_error
from l8s_core.multiplex.wire import BEAT, CHUNK, DATA, MESSAGE, OUT, PROTOCOL, Wire, WireClosed, parse
from l8s_core.steps import Steps

SILENCE = 10.0
"""Seconds without a word from a holder that gives a sign of life every two."""

STARTING = 15.0
"""Seconds for the first word of a holder: one that was just started, on a busy machine, has to import itself."""

FIRST_WORD = 2.0
"""Seconds after which it is looked whether the holder is stopped."""

GIVING_UP = 8.0
"""Seconds in which one holder after the other went away just when it was found."""

PAUSE = 0.01
"""Seconds between two looks for a holder that another command is starting, or that is about to leave."""


T = TypeVar("T")


class Unusable(Exception):
    """No holder can be had; the command connects by itself."""


class HolderLost(Exception):
    """The holder died, or fell silent, during a call."""


class HeldBackend:
    """A `RemoteBackend` that is kept open between commands.

    ``idle`` is for how many seconds after its last use the connection stays. After `open`, it has the methods of the
    capabilities that the real backend has.
    """

    def __init__(self, profile: Profile, *, idle: float, third_party: bool, environ: Mapping[str, str]) -> None:
        self._profile = profile
        self._idle = idle
        self._third_party = third_party
        self._environ = environ
        self._wire: Wire | None = None
        self._number = 0
        self._cancelled = False
        self._since = 0.0
        self.round_trips = 0

    # The connection

    def open(self, steps: Steps) -> Endpoint:
        """See the contract, and `connect`."""
        return self.connect(steps).endpoint

    def connect(self, steps: Steps) -> Connected:
        """Find the holder or start one, and say what it is connected to; the proof has been made there.

        Raises:
            Unusable: there can be no holder.
            L8sError: as `l8s_core.connecting.connect` says.
        """
        place = self._place()
        deadline = time.monotonic() + GIVING_UP
        while True:
            connection = self._reach(place)
            wire = Wire(connection)
            done = len(steps.done)
            try:
                found = self._greet(wire, place, connection, steps)
            except BaseException:
                wire.close()
                raise
            if found is not None:
                self._wire = wire
                if len(steps.done) == done:  # it was there already
                    with steps.step("kept connection") as step:
                        step.detail = f"{max(0.0, time.time() - self._since):.0f} s old"
                return found
            wire.close()
            if time.monotonic() > deadline:
                raise Unusable("the process that keeps the connection went away again and again")
            time.sleep(PAUSE)

    def _place(self) -> Place:
        try:
            place = Place.of(self._profile, third_party=self._third_party, environ=self._environ)
        except (L8sError, OSError, RuntimeError) as error:
            raise Unusable(str(error)) from error
        if not place.usable:
            raise Unusable(f"the path {place.socket} is too long for a socket")
        return place

    def _reach(self, place: Place) -> socket.socket:
        from l8s_core.multiplex.starting import reach

        found = _connected(place)
        if found is not None:
            return found
        return reach(place, self._profile.name, third_party=self._third_party, environ=self._environ)

    def _greet(self, wire: Wire, place: Place, connection: socket.socket, steps: Steps) -> Connected | None:
        """Say hello, and listen until the connection is there; None when another holder must be found.

        Raises:
            Unusable: this backend cannot be held.
            L8sError: the holder could not connect.
        """
        wire.settimeout(STARTING)
        hello = {
            "protocol": PROTOCOL,
            "name": self._profile.name,
            "idle": self._idle,
            "connection": packed(places.connection_of(self._profile)),
        }
        try:
            wire.say({"hello": hello})
            self._refuse_stopped(place, connection)
            while True:
                kind, content = wire.receive()
                if kind != MESSAGE:
                    continue
                wire.settimeout(SILENCE)
                message = parse(content)
                if "step" in message:
                    steps.relay(unpacked(message["step"], Step))
                elif "connected" in message:
                    self._able(message["able"])
                    self._since = float(message["since"])
                    return Connected(
                        endpoint=unpacked(message["connected"], Endpoint), warnings=tuple(message["warnings"])
                    )
                elif "error" in message:
                    raise unpacked_error(message["error"])
                elif "unshared" in message:
                    raise Unusable("this backend does not share its connection")
                elif "dead" in message or "other" in message:
                    return None
        except WireClosed:
            from l8s_core.multiplex.starting import end_silent

            end_silent(place, connection)
            return None

    def _refuse_stopped(self, place: Place, connection: socket.socket) -> None:
        """Wait for the first word, but not for a process that is stopped (SIGSTOP).

        Raises:
            WireClosed: it is.
        """
        if select.select([connection], [], [], FIRST_WORD)[0]:
            return
        from l8s_core.multiplex.starting import is_stopped

        if is_stopped(place, connection):
            raise WireClosed("it is stopped")

    def _able(self, calls: Sequence[str]) -> None:
        for call in calls:
            method = getattr(self, f"_{call}", None)
            if method is not None:
                setattr(self, call, method)

    def session(self) -> HeldBackend:
        """Another one like this, for another thread; it finds the holder when it is first used."""
        return HeldBackend(self._profile, idle=self._idle, third_party=self._third_party, environ=self._environ)

    def interrupt(self) -> None:
        """See `BackendSession`."""
        if self._wire is not None:
            with suppress(WireClosed):
                self._wire.say({"cancel": self._number})

    def close(self) -> None:
        """Leave the holder; the connection stays."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    # The calls of the contract

    def machine(self) -> MachineIdentity:
        """See the contract."""
        return self._call("machine", MachineIdentity)

    def facts(self, steps: Steps) -> HostFacts:
        """See the contract."""
        return self._call("facts", HostFacts, steps=steps)

    def list(self, labels: Mapping[str, str]) -> Sequence[ContainerInfo]:
        """See the contract."""
        return self._call("list", list[ContainerInfo], {"labels": dict(labels)})

    def inspect(self, name: str) -> ContainerInfo:
        """See the contract."""
        return self._call("inspect", ContainerInfo, {"name": name})

    def ports_in_use(self) -> frozenset[int]:
        """See the contract."""
        return self._call("ports_in_use", frozenset[int])

    def create(self, request: ContainerRequest) -> str:
        """See the contract."""
        return self._call("create", str, {"request": packed(request)})

    def start(self, name: str) -> None:
        """See the contract."""
        self._call("start", type(None), {"name": name})

    def stop(self, name: str, *, grace: float = 10.0) -> None:
        """See the contract."""
        self._call("stop", type(None), {"name": name, "grace": grace})

    def remove(self, name: str) -> bool:
        """See the contract."""
        return self._call("remove", bool, {"name": name})

    def volumes(self, labels: Mapping[str, str]) -> Sequence[VolumeInfo]:
        """See the contract."""
        return self._call("volumes", list[VolumeInfo], {"labels": dict(labels)})

    def create_volume(self, name: str, labels: Mapping[str, str]) -> bool:
        """See the contract."""
        return self._call("create_volume", bool, {"name": name, "labels": dict(labels)})

    def remove_volume(self, name: str) -> bool:
        """See the contract."""
        return self._call("remove_volume", bool, {"name": name})

    def exec(
        self,
        name: str,
        argv: Sequence[str],
        *,
        user: str | None = None,
        workdir: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes | IO[bytes] | None = None,
        timeout: float | None = None,
        on_output: OutputSink | None = None,
    ) -> ExecResult:
        """See the contract."""
        given = None if stdin is None else "bytes" if isinstance(stdin, bytes) else "stream"
        arguments = {
            "name": name,
            "argv": [*argv],
            "user": user,
            "workdir": workdir,
            "env": None if env is None else dict(env),
            "timeout": timeout,
            "given": given,
            "streamed": on_output is not None,
        }
        return self._call("exec", ExecResult, arguments, given=stdin or b"", on_output=on_output)

    def upload(self, name: str, directory: str, archive: bytes) -> None:
        """See the contract."""
        self._call("upload", type(None), {"name": name, "directory": directory}, given=archive)

    def download(self, name: str, path: str) -> Iterator[bytes]:
        """See the contract."""
        conversation = self._conversation("download", {"name": name, "path": path})
        ended = False
        try:
            for kind, content in conversation:
                if kind == DATA:
                    yield content
            ended = True
        except HolderLost as error:
            raise self._lost("download", error) from error
        finally:
            if not ended:  # what is still to come must not be taken for the next call's answer
                self.close()

    def _build(
        self,
        tag: str,
        *,
        containerfile: str,
        context: bytes,
        build_args: Mapping[str, str],
        on_output: Callable[[str], None],
    ) -> str:
        arguments = {"tag": tag, "containerfile": containerfile, "build_args": dict(build_args)}
        return self._call(
            "build",
            str,
            arguments,
            given=context,
            on_output=lambda _stream, data: on_output(data.decode("utf-8", "surrogatepass")),
        )

    def _run_on_server(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float,
        on_output: OutputSink | None = None,
    ) -> ExecResult:
        arguments = {"argv": [*argv], "timeout": timeout, "streamed": on_output is not None}
        return self._call("run_on_server", ExecResult, arguments, given=stdin, on_output=on_output)

    def _server_time(self) -> datetime | None:
        try:
            told = self._ask("server_time", {}, b"", None, None)
        except HolderLost:
            self.close()
            return None
        return datetime.fromisoformat(told) if told else None

    # Asking

    def _call(
        self,
        name: str,
        kind: type[T],
        arguments: Mapping[str, Any] | None = None,
        *,
        given: bytes | IO[bytes] = b"",
        on_output: OutputSink | None = None,
        steps: Steps | None = None,
    ) -> T:
        """Have one call done; what it returns, of type ``kind``. A look is repeated when the holder went away."""
        try:
            return unpacked(self._ask(name, arguments or {}, given, on_output, steps), kind)
        except HolderLost as error:
            self.close()
            if name not in LOOKS:
                raise self._lost(name, error) from error
        try:
            self._reopen()
            return unpacked(self._ask(name, arguments or {}, given, on_output, steps), kind)
        except HolderLost as error:
            self.close()
            raise self._lost(name, error) from error

    def _reopen(self) -> None:
        try:
            self.open(Steps())
        except Unusable as error:
            raise HolderLost(str(error)) from error

    def _ask(
        self,
        name: str,
        arguments: Mapping[str, Any],
        given: bytes | IO[bytes],
        on_output: OutputSink | None,
        steps: Steps | None,
    ) -> Any:
        result: Any = None
        for kind, content in self._conversation(name, arguments, given):
            if kind == MESSAGE:
                message = parse(content)
                if "step" in message and steps is not None:
                    steps.relay(unpacked(message["step"], Step))
                elif "result" in message:
                    result = message["result"]
            elif on_output is not None:
                on_output("stdout" if kind == OUT else "stderr", content)
        return result

    def _conversation(
        self, name: str, arguments: Mapping[str, Any], given: bytes | IO[bytes] = b""
    ) -> Iterator[tuple[bytes, bytes]]:
        """What the holder says until its answer, which comes last; errors are raised.

        Raises:
            HolderLost: it is gone.
            KeyboardInterrupt: Ctrl-C was pressed meanwhile; the call has ended, one way or the other.
        """
        if self._wire is None:
            self._reopen()
        wire = self._wire
        assert wire is not None
        wire.settimeout(SILENCE)
        self._number += 1
        pump = _Pump(wire, given)
        answered = False
        try:
            with _interrupts_passed_on(wire, self._number) as interrupted:
                wire.say({"call": name, "arguments": dict(arguments), "number": self._number})
                while not answered:
                    kind, content = wire.receive()
                    if kind == BEAT:
                        continue
                    if kind == MESSAGE:
                        message = parse(content)
                        if "want" in message:
                            pump.wanted()
                            continue
                        answered = "result" in message or "error" in message or "interrupted" in message
                        self.round_trips += int(message.get("trips", 0))
                        if "error" in message and not interrupted:
                            raise unpacked_error(message["error"])
                        if "interrupted" in message:
                            raise KeyboardInterrupt
                    yield kind, content
            if interrupted:
                raise KeyboardInterrupt
        except WireClosed as error:
            raise HolderLost(str(error)) from error
        finally:
            if not answered:  # the holder ends the call when nobody waits for it
                self.close()

    def _lost(self, name: str, error: Exception) -> L8sError:
        what = f"The process that keeps the connection to {self._profile.remote_host} went away: {error}."
        if name in LOOKS:
            return ConnectionFailed(what, hints=("Try again", "See its log: l8s doctor"))
        return OutcomeUnknown(
            f"{what}\n\nWhether what was asked for was done is not known.",
            hints=("See what there is: l8s list", "Then run the command again", "See its log: l8s doctor"),
        )


class _Pump:
    """Gives a call its input, as it is asked for: bytes at once, a stream from a thread that waits for it."""

    def __init__(self, wire: Wire, source: bytes | IO[bytes]) -> None:
        self._wire = wire
        self._source = source
        self._sent = 0
        self._asked: threading.Semaphore | None = None

    def wanted(self) -> None:
        """Another piece is wanted."""
        if isinstance(self._source, bytes):
            piece = self._source[self._sent : self._sent + CHUNK]
            self._sent += len(piece)
            self._wire.send(DATA, piece)
            return
        if self._asked is None:
            self._asked = threading.Semaphore(0)
            threading.Thread(target=self._pump, args=(self._source, self._asked), name="l8s-stdin", daemon=True).start()
        self._asked.release()

    def _pump(self, source: IO[bytes], asked: threading.Semaphore) -> None:
        read: Callable[[int], bytes] = getattr(source, "read1", source.read)
        with suppress(WireClosed, OSError, ValueError):
            piece = b"-"
            while piece:
                asked.acquire()
                piece = read(CHUNK)
                self._wire.send(DATA, piece)


def _connected(place: Place) -> socket.socket | None:
    """A connection to the holder there; None when there is none.

    Raises:
        Unusable: somebody else listens there.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(place.socket))
        uid = places.peer_of(connection).uid
    except OSError:
        connection.close()
        return None
    if uid != os.geteuid():
        connection.close()
        raise Unusable(f"{place.socket} belongs to somebody else")
    return connection


@contextmanager
def _interrupts_passed_on(wire: Wire, number: int) -> Iterator[list[float]]:
    """While this lasts, Ctrl-C tells the holder to end the call, and is noted in the list.

    A second one, a moment later, is raised at once: the holder cleans up after a command that went away.
    """
    seen: list[float] = []
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return
    before = signal.getsignal(signal.SIGINT)
    if before in (signal.SIG_IGN, None):
        yield seen
        return

    def tell() -> None:
        with suppress(WireClosed):
            wire.say({"cancel": number})

    def note(*_: object) -> None:
        if seen and time.monotonic() - seen[0] > 1.0:
            raise KeyboardInterrupt
        seen.append(time.monotonic())
        # never in here: the main thread may be in the middle of a frame
        threading.Thread(target=tell, name="l8s-cancel", daemon=True).start()

    signal.signal(signal.SIGINT, note)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)
