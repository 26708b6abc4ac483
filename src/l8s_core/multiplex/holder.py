"""The process that keeps a connection: it connects, proves that the server is another machine, and serves commands.

    python -m l8s_core.multiplex.holder NAME LISTENER LOCK THIRD_PARTY

``LISTENER`` and ``LOCK`` are descriptors that whoever starts it has opened: it is found before it is up, and there is
never a second of its name, since the lock is held from before its start to its end. It ends when nobody has used it for
as long as the last user asked, when the connection dies, when it is told to, and when it could not connect.

Each command has a connection of its own to this process, and behind it a session of the backend. A command that goes
away, by Ctrl-C or by kill -9, ends what it had running, and nothing else. Not here: the command's side
(`l8s_core.multiplex.held`).
"""

from __future__ import annotations

import io
import os
import queue
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import IO, Any, cast

import l8s_core
from l8s_core import policy
from l8s_core.connecting import Connected, connect
from l8s_core.contracts import (
    BackendSession,
    ImageBuilder,
    RemoteBackend,
    ServerClock,
    ServerCommands,
    SharedConnection,
)
from l8s_core.errors import L8sError
from l8s_core.model import ContainerRequest, Profile, Step, StreamName
from l8s_core.multiplex import place as places
from l8s_core.multiplex.place import Place
from l8s_core.multiplex.values import packed, packed_error, unpacked
from l8s_core.multiplex.wire import CHUNK, DATA, ERR, OUT, PROTOCOL, Wire, WireClosed, parse
from l8s_core.steps import Steps

FIRST_WORD = 10.0
"""Seconds for a command that connected to say what it wants."""

UNUSED = 30.0
"""Seconds after its start in which the first command must have come."""

ASKING = 2.5
"""Seconds for a server that was silent lately to answer, before a command is served."""

BEAT = 2.0
"""Seconds between two signs of life to a command that waits."""

LOG_LIMIT = 256 * 1024
"""Bytes of the log."""

CAPABILITIES: dict[str, type] = {
    "build": ImageBuilder,
    "run_on_server": ServerCommands,
    "server_time": ServerClock,
}
"""What a backend may be able to do besides, by the call that it takes."""


class Holder:
    """The keeper of one connection."""

    def __init__(
        self, place: Place, listener: socket.socket, lock: int, *, make_backend: Callable[[Profile], RemoteBackend]
    ) -> None:
        self._place = place
        self._listener = listener
        self._lock = lock
        self._make_backend = make_backend
        self._connection = _Connection()
        self._guests: set[_Guest] = set()
        self._changed = threading.Lock()
        self._ended = threading.Event()
        self._started = time.time()
        self._last_used = policy.boot_clock()
        self._idle = UNUSED
        self._leaving = ""
        self._waker, self._woken = socket.socketpair()
        self._profiles: set[str] = set()
        self.served = 0

    def serve(self) -> None:
        """Serve until it is time to leave."""
        self._listener.listen(128)  # from here on it is this process whom the system names as the other end
        self._listener.setblocking(False)
        self._note_state()
        threading.Thread(target=self._beat, name="l8s-beat", daemon=True).start()
        while not (self._leaving or self._time_to_leave()):
            with suppress(InterruptedError):
                select.select([self._listener, self._woken], [], [], 0.5)
            try:
                connection, _ = self._listener.accept()
            except OSError:
                continue
            connection.setblocking(True)
            self._welcome(connection)
        self._log(f"leaving: {self._leaving}")
        self._waker.close()
        self._woken.close()
        # Nobody new from here on. The lock stays to the end: there is no second one before this one is gone.
        self._listener.close()
        self._place.socket.unlink(missing_ok=True)
        while self._guests:
            time.sleep(0.05)
        self._ended.set()
        self._connection.close()
        if not self._connection.failed:
            self._place.log.unlink(missing_ok=True)
        self._place.lock.unlink(missing_ok=True)

    def leave(self, why: str) -> None:
        """End, as soon as those who are served are done."""
        self._leaving = self._leaving or why
        with suppress(OSError):
            self._waker.send(b"x", socket.MSG_DONTWAIT)

    def _time_to_leave(self) -> bool:
        if self._connection.failed or self._connection.dead:
            self.leave("it could not connect" if self._connection.failed else "the connection died")
        elif not self._guests and policy.boot_clock() - self._last_used >= self._idle:
            self.leave(f"unused for {self._idle:g} s")
        return bool(self._leaving)

    def _welcome(self, connection: socket.socket) -> None:
        try:
            allowed = places.peer_of(connection).uid == os.geteuid()
        except OSError:
            allowed = False
        if not allowed:
            self._log("another user was refused")
            connection.close()
            return
        guest = _Guest(self, Wire(connection))
        with self._changed:
            self._guests.add(guest)
        threading.Thread(target=guest.serve, name="l8s-guest", daemon=True).start()

    def gone(self, guest: _Guest) -> None:
        """Note that a command has left."""
        with self._changed:
            self._guests.discard(guest)
            self._last_used = policy.boot_clock()

    def connected(self, hello: Mapping[str, Any], tell: Callable[[Step], None]) -> Connected | L8sError | None:
        """The connection for a command that said ``hello``, made now when it is the first; or why there is none.

        None: making it has failed before this command came, which is none of its concern.
        """
        with self._changed:
            if self._connection.failed:
                return None
            self.served += 1
            self._idle = float(hello["idle"])
            self._profiles.add(str(hello["name"]))
            first = not self._connection.begun
            if first:
                profile = Profile(name=str(hello["name"]), container_prefix="x", **hello["connection"])
                self._connection.begin(profile, self._make_backend, self._log)
        self._note_state()
        return self._connection.wait(tell, from_the_start=first)

    @property
    def backend(self) -> RemoteBackend:
        """The backend, connected."""
        return self._connection.backend

    def alive(self) -> bool:
        """Whether the connection can be used; else this process leaves."""
        backend = self._connection.backend
        if isinstance(backend, SharedConnection) and backend.alive(within=ASKING):
            return True
        self.leave("the connection died")
        return False

    def status(self) -> dict[str, Any]:
        """What `l8s doctor` shows."""
        return {
            "protocol": PROTOCOL,
            "pid": os.getpid(),
            "version": l8s_core.__version__,
            "started": self._started,
            "profiles": sorted(self._profiles),
            "connection": self._connection.said,
            "connected": self._connection.ready,
            "served": self.served,
            "serving": len(self._guests) - 1,
            "idle": self._idle,
            "unused": policy.boot_clock() - self._last_used,
            "leaving": self._leaving,
        }

    def retire(self, profile: str) -> None:
        """A profile is no longer served from here; with the last one this process leaves."""
        self._profiles.discard(profile)
        if not self._profiles:
            self.leave("its profile is served by another")

    def _note_state(self) -> None:
        places.write_state(
            self._lock,
            {
                "pid": os.getpid(),
                "started": self._started,
                "profiles": sorted(self._profiles),
                "connection": self._connection.said,
            },
        )

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            with self._changed:
                guests = list(self._guests)
            for guest in guests:
                guest.beat()

    def _log(self, text: str) -> None:
        with suppress(OSError):
            if os.fstat(2).st_size > LOG_LIMIT:
                os.ftruncate(2, 0)
        print(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}", file=sys.stderr, flush=True)  # noqa: T201 - it is the log


class _Connection:
    """The connection, and all who wait for it to be made."""

    def __init__(self) -> None:
        self.begun = False
        self.ready = False
        self.failed = False
        self.said: dict[str, Any] = {}
        self._backend: RemoteBackend | None = None
        self._outcome: Connected | L8sError | None = None
        self._steps: list[Step] = []
        self._news = threading.Condition()

    @property
    def backend(self) -> RemoteBackend:
        assert self._backend is not None
        return self._backend

    @property
    def dead(self) -> bool:
        """Whether it was made and is known to be gone."""
        if not self.ready:
            return False
        backend = self.backend
        return isinstance(backend, SharedConnection) and not backend.alive(within=0)

    def begin(
        self, profile: Profile, make_backend: Callable[[Profile], RemoteBackend], log: Callable[[str], None]
    ) -> None:
        """Start to connect, in a thread of its own."""
        self.begun = True
        self.said = places.said_of(profile)
        threading.Thread(
            target=self._connect, args=(profile, make_backend, log), name="l8s-connect", daemon=True
        ).start()

    def _connect(
        self, profile: Profile, make_backend: Callable[[Profile], RemoteBackend], log: Callable[[str], None]
    ) -> None:
        outcome: Connected | L8sError
        try:
            self._backend = make_backend(profile)
            outcome = connect(self._backend, Steps(self._note), where=profile.remote_host)
            self.ready = True
            log(f"connected to {outcome.endpoint}")
        except L8sError as error:
            outcome = error
            log(f"not connected: {error.message.splitlines()[0]}")
        except Exception as error:  # noqa: BLE001 - whoever waits must be told
            outcome = L8sError(f"{type(error).__name__}: {error}")
            log(f"not connected: {type(error).__name__}: {error}")
        with self._news:
            self._outcome = outcome
            self.failed = isinstance(outcome, L8sError)
            self._news.notify_all()

    def _note(self, step: Step) -> None:
        with self._news:
            self._steps.append(step)
            self._news.notify_all()

    def wait(self, tell: Callable[[Step], None], *, from_the_start: bool) -> Connected | L8sError:
        """Wait until it is made, telling each step; or why it was not. Who comes when it is made is told none."""
        told = len(self._steps) if self._outcome is not None and not from_the_start else 0
        while True:
            with self._news:
                while len(self._steps) == told and self._outcome is None:
                    self._news.wait()
                news, outcome = self._steps[told:], self._outcome
            for step in news:
                tell(step)
            told += len(news)
            if outcome is not None and told == len(self._steps):
                return outcome

    def close(self) -> None:
        if self._backend is not None:
            with suppress(Exception):
                self._backend.close()


def installed_backend(profile: Profile, *, third_party: bool) -> RemoteBackend:
    """The backend that a plugin has for ``profile``."""
    from l8s_core.options import check_options
    from l8s_core.plugins import PluginHost

    provider = PluginHost.load(third_party=third_party).backend(profile.backend)
    check_options(profile, provider.options_type)
    return provider.factory(profile)


class _Input(io.RawIOBase):
    """What a command sends into a call, asked for piece by piece."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._pieces: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._ended = False
        self._rest = memoryview(b"")

    def arrived(self, piece: bytes | None) -> None:
        """A piece; b"" is the end, and None means that the command is gone."""
        self._pieces.put(piece)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Some bytes; 0 at the end.

        Raises:
            OSError: the command is gone.
        """
        if not self._rest and not self._ended:
            try:
                self._wire.say({"want": True})
            except WireClosed as error:
                raise OSError(str(error)) from error
            piece = self._pieces.get()
            if piece is None:
                raise OSError("the command that sent this is gone")
            self._ended = not piece
            self._rest = memoryview(piece)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


class _Guest:
    """A command that is served."""

    def __init__(self, holder: Holder, wire: Wire) -> None:
        self._holder = holder
        self._wire = wire
        self._session: BackendSession | None = None
        self._input: _Input | None = None
        self._waiting = False
        self._number = 0
        """Of the call that runs now; 0 for none."""
        self._lock = threading.Lock()
        self._worker: threading.Thread | None = None

    def beat(self) -> None:
        """Tell a command that waits for something that this process lives."""
        if self._waiting:
            with suppress(WireClosed):
                self._wire.beat()

    def serve(self) -> None:
        """Serve it until it leaves."""
        try:
            self._wire.settimeout(FIRST_WORD)
            message = parse(self._wire.receive()[1])
            self._wire.settimeout(None)
            if "status" in message:
                self._wire.say(self._holder.status())
            elif "retire" in message:
                self._holder.retire(str(message["retire"]))
                self._wire.say({"retired": True})
            elif "leave" in message:
                self._holder.leave("it was told to")
                self._wire.say({"leaving": True, "pid": os.getpid()})
            elif "hello" in message:
                self._greet(message["hello"])
        except WireClosed:
            pass
        except Exception as error:  # noqa: BLE001 - one command's trouble is not the others'
            self._holder._log(f"a command was not served: {type(error).__name__}: {error}")
        finally:
            self._end()

    def _greet(self, hello: Mapping[str, Any]) -> None:
        if hello.get("protocol") != PROTOCOL:
            self._wire.say({"other": PROTOCOL})
            return
        self._wire.say({"here": os.getpid()})
        self._waiting = True
        outcome = self._holder.connected(hello, lambda step: self._wire.say({"step": packed(step)}))
        self._waiting = False
        if outcome is None:
            self._holder.leave("it could not connect")
            self._wire.say({"dead": True})
            return
        if isinstance(outcome, L8sError):
            self._wire.say({"error": packed_error(outcome)})
            self._holder.leave("it could not connect")
            return
        backend = self._holder.backend
        if not isinstance(backend, SharedConnection):
            self._holder.leave("the backend cannot share its connection")
            self._wire.say({"unshared": True})
            return
        if not self._holder.alive():
            self._wire.say({"dead": True})
            return
        self._session = backend.session()
        able = [call for call, kind in CAPABILITIES.items() if isinstance(backend, kind)]
        self._wire.say(
            {
                "connected": packed(outcome.endpoint),
                "warnings": list(outcome.warnings),
                "able": able,
                "since": self._holder._started,
            }
        )
        while True:
            kind, content = self._wire.receive()
            if kind == DATA:
                if self._input is not None:
                    self._input.arrived(content)
                continue
            message = parse(content)
            if "call" in message:
                self._begin(message)
            elif "cancel" in message:
                self._cancel(message["cancel"])

    def _begin(self, message: Mapping[str, Any]) -> None:
        if self._worker is not None:
            self._worker.join()
        self._input = _Input(self._wire)
        self._number = int(message["number"])
        self._waiting = True
        self._worker = threading.Thread(target=self._work, args=(message, self._input), name="l8s-call", daemon=True)
        self._worker.start()

    def _cancel(self, number: object) -> None:
        with self._lock:
            if number == self._number and self._session is not None:
                self._session.interrupt()

    def _work(self, message: Mapping[str, Any], given: _Input) -> None:
        session = self._session
        assert session is not None
        before = session.round_trips
        answer: dict[str, Any]
        try:
            result = _Call(session, self._wire, given).run(str(message["call"]), message["arguments"])
            answer = {"result": packed(result)}
        except KeyboardInterrupt:
            answer = {"interrupted": True}
        except WireClosed:
            return
        except BaseException as error:  # noqa: BLE001 - it is the command's to handle
            answer = {"error": packed_error(error)}
        finally:
            with self._lock:
                self._number = 0
            self._waiting = False
        with suppress(WireClosed):
            self._wire.say(answer | {"trips": session.round_trips - before})

    def _end(self) -> None:
        """The command is gone: whatever it had running ends, and is waited for."""
        if self._input is not None:
            self._input.arrived(None)
        self._cancel(self._number or None)
        self._wire.close()
        if self._worker is not None:
            self._worker.join()
        if self._session is not None:
            with suppress(Exception):
                self._session.close()
        self._holder.gone(self)


class _Call:
    """One call of a command's, done on its session."""

    def __init__(self, session: BackendSession, wire: Wire, given: _Input) -> None:
        self._session = session
        self._wire = wire
        self._given = given

    def run(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """What the call returns.

        Raises: what it raises; `WireClosed` when the command is gone.
        """
        if name in PLAIN:
            return getattr(self._session, name)(**arguments)
        if name in OTHERS:
            return getattr(self, f"_{name}")(**arguments)
        raise L8sError(f"There is no call {name!r}.")

    def _output(self, stream: StreamName, data: bytes) -> None:
        self._wire.send(OUT if stream == "stdout" else ERR, data)

    def _text(self, text: str) -> None:
        self._wire.send(OUT, text.encode("utf-8", "surrogatepass"))

    def _facts(self) -> Any:
        return self._session.facts(Steps(lambda step: self._wire.say({"step": packed(step)})))

    def _create(self, request: Any) -> str:
        return self._session.create(unpacked(request, ContainerRequest))

    def _exec(self, *, given: str | None, streamed: bool, **arguments: Any) -> Any:
        stdin: bytes | IO[bytes] | None = None
        if given == "bytes":
            stdin = self._given.readall()
        elif given == "stream":
            stdin = io.BufferedReader(self._given, CHUNK)
        return self._session.exec(stdin=stdin, on_output=self._output if streamed else None, **arguments)

    def _upload(self, **arguments: Any) -> None:
        self._session.upload(archive=self._given.readall(), **arguments)

    def _download(self, **arguments: Any) -> None:
        chunks = self._session.download(**arguments)
        try:
            for chunk in chunks:
                self._wire.send(DATA, chunk)
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()

    def _build(self, **arguments: Any) -> str:
        builder = cast(ImageBuilder, self._session)
        return builder.build(context=self._given.readall(), on_output=self._text, **arguments)

    def _run_on_server(self, *, streamed: bool, **arguments: Any) -> Any:
        server = cast(ServerCommands, self._session)
        sink = self._output if streamed else None
        return server.run_on_server(stdin=self._given.readall(), on_output=sink, **arguments)


PLAIN = frozenset(
    {
        "machine",
        "list",
        "inspect",
        "ports_in_use",
        "start",
        "stop",
        "remove",
        "volumes",
        "create_volume",
        "remove_volume",
        "server_time",
    }
)
"""The calls whose arguments are plain data."""

OTHERS = frozenset({"facts", "create", "exec", "upload", "download", "build", "run_on_server"})
"""Those that take or give more than that; each has a method of `_Call`."""


def main(arguments: list[str]) -> None:
    """Be a holder, as the module's docstring says."""
    name, listener, lock, third_party = arguments
    holder = Holder(
        Place(name),
        socket.socket(fileno=int(listener)),
        int(lock),
        make_backend=partial(installed_backend, third_party=third_party == "yes"),
    )
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: holder.leave("SIGTERM"))
    holder.serve()
    # threads that wait for a person's input must not keep the process
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
