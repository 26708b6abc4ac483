"""The RemoteBackend for Podman 4.3 to 5.x.

Podman's answers are read with care: 4.3 reports a taken name and a missing image with the same status 500 as a real
fault, so what a failure means is looked up rather than guessed from the status.

paramiko, fabric, requests and podman take a quarter of a second to import. Here they are imported by a thread while
`open` finds the way to the server and waits for it. Not here: the connection (`l8s_podman.link`), the wire
(`l8s_podman.api`), what a development container is (core).
"""

from __future__ import annotations

import json
import re
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from importlib import import_module
from typing import IO, TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from l8s_core import names, policy
from l8s_core.errors import (
    BackendError,
    ConnectionFailed,
    ContainerExists,
    ContainerNotFound,
    ContainerNotRunning,
    ExecTimeout,
    ImageNotFound,
    L8sError,
    OutcomeUnknown,
    PortInUse,
)
from l8s_core.model import (
    ContainerInfo,
    ContainerRequest,
    Endpoint,
    ExecResult,
    HostFacts,
    MachineIdentity,
    OutputSink,
    Profile,
    StreamName,
    VolumeInfo,
)
from l8s_core.on_demand import Later
from l8s_core.steps import Steps
from l8s_podman.answers import (
    NO_EXECUTABLE,
    RequestFailed,
    as_mapping,
    identity,
    inspected,
    label_filter,
    lines,
    listed,
    mapping,
    never_ran,
    number,
    parse_json,
    process_start,
    published,
    quoted,
    specification,
    text_mapping,
)
from l8s_podman.arrival import arrive

if TYPE_CHECKING:
    from podman.api.client import APIResponse

    from l8s_podman import api, channels, exec_stream, keepalive, link, streams, translate
else:
    api, channels, exec_stream, keepalive, link, streams, translate = (
        Later(f"l8s_podman.{name}")
        for name in ("api", "channels", "exec_stream", "keepalive", "link", "streams", "translate")
    )

T = TypeVar("T")

PORT_TABLE_LIMIT = 32 * 1024 * 1024
"""Bytes of /proc/net/tcp and tcp6; a line is 150, so this is a server with 200,000 connections."""

BUILD_TIMEOUT = 1800.0
"""Seconds that a build may be silent: a package manager can take that long behind one line."""

TRANSFER_TIMEOUT = 300.0
"""Seconds between two pieces of an upload's or download's answer."""

PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds before Podman is asked again because it is in the middle of something that passes."""

EXIT_PATIENCE = 2.0
"""Seconds after the end of a command's output until it is asked why there is no exit code."""

STOP_TIMEOUT = 15.0
"""Seconds for the command that stops another one."""

_IDENTITY_SCRIPT = "; ".join(
    (
        "exec 2>/dev/null",
        'echo "l8s-boot-id $(cat /proc/sys/kernel/random/boot_id)"',
        'echo "l8s-kernel $(uname -r -v)"',
        'echo "l8s-stat $(cat /proc/self/stat)"',
        'echo "l8s-ticks $(getconf CLK_TCK)"',
        'echo "l8s-machine-id $(cat /etc/machine-id)"',
        'echo "l8s-restarts $(systemctl is-enabled podman-restart.service)"',
    )
)
"""One command, so that the proof costs one round trip. ``cat`` is a fresh process: its start is the present moment.

Every line says what it is: what cannot be read stays empty, and a login script that prints does no harm."""

_PORT_TAKEN = re.compile(r"address already in use|port is already allocated|port \d+ is already", re.IGNORECASE)
_SERVICE_AGE_SCRIPT = "; ".join(
    (
        "pid=$(systemctl show --property MainPID --value podman.service)",
        'echo "l8s-service $(cat /proc/$pid/stat)"',
        'echo "l8s-now $(cat /proc/self/stat)"',
        'echo "l8s-ticks $(getconf CLK_TCK)"',
    )
)
"""The service's start and the start of a fresh process, by the same clock."""

_STORAGE_BUSY = re.compile(r"directory not empty|device or resource busy|cleaning up storage", re.IGNORECASE)
"""Why a container could not be removed now."""

_BEING_REMOVED = re.compile(r"no such container", re.IGNORECASE)
"""What Podman says, with a status 500, of a container that somebody is removing at this moment."""


class _Wiring:
    """What one caller talks through: its own channels on a connection, and the API over them once it is needed."""

    def __init__(self, connection: link.Link, ready: channels.Ready, profile: Profile) -> None:
        self.link = connection
        self.ready = ready
        self.channels = channels.Channels(connection, ready)
        self._profile = profile

    @cached_property
    def dialer(self) -> api.Dialer:
        return api.Dialer(self.channels, names.socket_path(self._profile.remote_socket))

    @cached_property
    def keepalive(self) -> keepalive.Keepalive:
        path = names.socket_path(self._profile.remote_socket)
        return keepalive.Keepalive(lambda: streams.ChannelSocket(self.link.streamlocal(path)), self.ready.drop)

    @cached_property
    def api(self) -> api.PodmanAPI:
        return api.PodmanAPI(self.channels, self.dialer, where=self._profile.remote_host)

    def close(self) -> None:
        """Close the caller's own: what it has open to the API."""
        if "keepalive" in vars(self):
            self.keepalive.stop()
        if "api" in vars(self):
            self.api.close()


class PodmanBackend:
    """Podman on a profile's server."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._restarts: bool | None = None
        self._wiring: _Wiring | None = None

    @property
    def _wired(self) -> _Wiring:
        """What it talks through, made when it is first needed."""
        if self._wiring is None:
            connection = link.Link(self._profile)
            ready = channels.Ready(connection, names.socket_path(self._profile.remote_socket))
            self._wiring = _Wiring(connection, ready, self._profile)
        return self._wiring

    @property
    def _link(self) -> link.Link:
        return self._wired.link

    @property
    def _channels(self) -> channels.Channels:
        return self._wired.channels

    @property
    def _api(self) -> api.PodmanAPI:
        return self._wired.api

    # The connection

    def open(self, steps: Steps) -> Endpoint:
        """Connect and authenticate; see the contract."""
        if "l8s_podman.api" not in sys.modules:
            # no daemon: an interpreter that ends in the middle of an import crashes, and so it waits for this one's end
            threading.Thread(target=_import_the_rest, name="l8s-import").start()
        arrival = arrive(self._profile, steps)
        try:
            return self._link.open(steps, arrival)
        except BaseException:
            arrival.connected.close()  # paramiko may be what is missing, and nothing else knows of it then
            raise

    def machine(self) -> MachineIdentity:
        """Read the machine's identity over the same connection; see the contract."""
        sent = policy.boot_clock()
        ran = self._channels.run(["sh", "-c", _IDENTITY_SCRIPT])
        received = policy.boot_clock()
        said = identity(ran.stdout.decode("utf-8", "replace"))
        self._restarts = {"enabled": True, "disabled": False}.get(said.get("restarts", ""))
        return MachineIdentity(
            boot_id=said.get("boot-id", ""),
            kernel=said.get("kernel", ""),
            process_start=process_start(said.get("stat", ""), said.get("ticks", "")),
            machine_id=said.get("machine-id", ""),
            sent=sent,
            received=received,
        )

    def facts(self, steps: Steps) -> HostFacts:
        """Reach the API and describe the server; see the contract."""
        with steps.step("socket") as step:
            version, api = self._api.ping()
            step.detail = f"{self._profile.remote_socket} ({self._wired.dialer.way})"
        with steps.step("API version") as step:
            step.detail = f"Podman {version}, API {api}"
        info = self._api.json("/info", doing="asking about the server")
        host = mapping(info, "host")
        distribution = mapping(host, "distribution")
        warnings = []
        if self._restarts is False:
            warnings.append(
                "podman-restart.service is not enabled on the server: containers will not come back when it reboots. "
                "On the server, run: systemctl enable podman-restart.service"
            )
        return HostFacts(
            backend="podman",
            version=version,
            api_version=api,
            os=f"{distribution.get('distribution', 'unknown')} {distribution.get('version', '')}".strip(),
            kernel=str(host.get("kernel", "")),
            cpus=number(host.get("cpus")),
            memory=number(host.get("memTotal")),
            warnings=tuple(warnings),
        )

    def close(self) -> None:
        """Close the API's connections and the link; `open` makes new ones."""
        wiring, self._wiring = self._wiring, None
        if wiring is not None:
            wiring.close()
            wiring.ready.close()
            wiring.link.close()

    @property
    def round_trips(self) -> int:
        """See `CountsRoundTrips`."""
        return self._channels.round_trips

    def session(self) -> PodmanSession:
        """See `SharedConnection`."""
        wired = self._wired
        wired.ready.keep()
        if wired.ready.forwards:
            wired.keepalive.want()
        return PodmanSession(self._profile, wired.link, wired.ready)

    def alive(self, *, within: float) -> bool:
        """See `SharedConnection`."""
        return self._link.alive(within=within)

    # Containers

    def list(self, labels: Mapping[str, str]) -> Sequence[ContainerInfo]:
        """All containers with all of ``labels``, in one request."""
        return [info for info in map(listed, self._rows(labels)) if labels.items() <= info.labels.items()]

    def _rows(self, labels: Mapping[str, str]) -> Sequence[Mapping[str, Any]]:
        params = {"all": "true", **label_filter(labels)}
        rows = self._api.json("/containers/json", doing="listing containers", params=params)
        return [row for row in rows or [] if isinstance(row, dict)]

    def inspect(self, name: str) -> ContainerInfo:
        """One container."""
        return _patiently(lambda: self._inspect(name), _BEING_REMOVED)

    def _inspect(self, name: str) -> ContainerInfo:
        doing = f"looking at container {name}"
        response = self._api.request("GET", f"/containers/{quoted(name)}/json", doing=doing, allowed=(404,))
        if response.status_code == 404:
            raise self._missing(name)
        return inspected(parse_json(response.content, doing=doing, where=self._api.where))

    def ports_in_use(self) -> frozenset[int]:
        """Listeners, from the kernel's tables (proc_net_tcp(5)), and every container's published ports."""
        used = {port for row in self._rows({}) for port in published(row.get("Ports"))}
        ran = self._channels.run(["cat", "/proc/net/tcp", "/proc/net/tcp6"], limit=PORT_TABLE_LIMIT)
        for line in ran.stdout.decode("ascii", "replace").splitlines():
            fields = line.split()
            if len(fields) > 3 and fields[3] == "0A":  # TCP_LISTEN
                with suppress(ValueError):
                    used.add(int(fields[1].rpartition(":")[2], 16))
        return frozenset(used)

    def create(self, request: ContainerRequest) -> str:
        """Create a container; see the contract."""
        doing = f"creating container {request.name}"
        try:
            response = self._api.request("POST", "/containers/create", doing=doing, body=specification(request))
        except RequestFailed as error:
            # Look again rather than trust the status: 4.3 says 500 for both of these.
            if self._exists("containers", request.name):
                raise ContainerExists(
                    f"The server has a container named {request.name} already.",
                    hints=("See what there is: l8s list",),
                ) from error
            if "external entity" in error.reason:
                raise ContainerExists(
                    f"Podman on {self._api.where} holds storage of an earlier {request.name} that it did not clear.",
                    hints=(f"On the server, run: podman rm --force --storage {request.name}",),
                ) from error
            if not self._image_exists(request.image):
                raise ImageNotFound(
                    f"The server does not have the image {request.image}.",
                    hints=("Build it there: l8s build", "Or name another one with --image"),
                ) from error
            raise
        answer = parse_json(response.content, doing=doing, where=self._api.where)
        return str(as_mapping(answer).get("Id", ""))

    def start(self, name: str) -> None:
        """Start a container; see the contract."""
        _patiently(lambda: self._start(name), _BEING_REMOVED)

    def _start(self, name: str) -> None:
        doing = f"starting container {name}"
        try:
            response = self._api.request(
                "POST", f"/containers/{quoted(name)}/start", doing=doing, allowed=(304, 404), timeout=120
            )
        except RequestFailed as error:
            if _PORT_TAKEN.search(error.reason):
                raise PortInUse(f"A port that {name} publishes is taken on the server: {error.reason}") from error
            if NO_EXECUTABLE.search(error.reason):
                raise BackendError(
                    f"The image of {name} has no usable /bin/sh: {error.reason}",
                    hints=("Use an image with a shell and sshd: l8s build",),
                ) from error
            raise
        if response.status_code == 404:
            raise self._missing(name)

    def stop(self, name: str, *, grace: float = 10.0) -> None:
        """Stop a container; see the contract."""
        _patiently(lambda: self._stop(name, grace), _BEING_REMOVED)

    def _stop(self, name: str, grace: float) -> None:
        response = self._api.request(
            "POST",
            f"/containers/{quoted(name)}/stop",
            doing=f"stopping container {name}",
            params={"timeout": str(round(grace))},
            allowed=(304, 404),
            timeout=grace + 60,
        )
        if response.status_code == 404:
            raise self._missing(name)

    def remove(self, name: str) -> bool:
        """Remove a container but none of its named volumes; whether there was one."""
        return _patiently(lambda: self._remove(name), _STORAGE_BUSY, _BEING_REMOVED)

    def _remove(self, name: str) -> bool:
        response = self._api.request(
            "DELETE",
            f"/containers/{quoted(name)}",
            doing=f"removing container {name}",
            params={"force": "true", "v": "false", "timeout": "5"},
            allowed=(404,),
            timeout=60,
        )
        if response.status_code == 404:
            return False
        self._raise_reported(response.content, name)
        return True

    def _raise_reported(self, content: bytes, name: str) -> None:
        """A removal is answered with a list of reports; one with an error in it has failed despite the status."""
        with suppress(ValueError):
            for report in json.loads(content or b"[]") or []:
                error = as_mapping(report).get("Err")
                if error:
                    raise BackendError(f"Podman on {self._api.where} did not remove {name}: {error}")

    # Volumes

    def volumes(self, labels: Mapping[str, str]) -> Sequence[VolumeInfo]:
        """All named volumes with all of ``labels``."""
        rows = self._api.json("/volumes/json", doing="listing volumes", params=label_filter(labels))
        found = [
            VolumeInfo(name=str(row["Name"]), labels=text_mapping(row.get("Labels")))
            for row in rows or []
            if isinstance(row, dict) and "Name" in row
        ]
        # Podman 4.3 answers with the volumes that have any of the labels.
        return [volume for volume in found if labels.items() <= volume.labels.items()]

    def create_volume(self, name: str, labels: Mapping[str, str]) -> bool:
        """Create a volume; False when the name is taken."""
        body = {"Name": name, "Labels": dict(labels), "Label": dict(labels)}
        try:
            self._api.request("POST", "/volumes/create", doing=f"creating volume {name}", body=body)
        except RequestFailed:
            if self._exists("volumes", name):
                return False
            raise
        return True

    def remove_volume(self, name: str) -> bool:
        """Remove a volume; whether there was one."""
        response = self._api.request(
            "DELETE", f"/volumes/{quoted(name)}", doing=f"removing volume {name}", allowed=(404,)
        )
        return int(response.status_code) != 404

    # Inside a container

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
        """Run a command; see the contract."""
        with self._channels.call():
            return self._exec(
                name, argv, user=user, workdir=workdir, env=env, stdin=stdin, timeout=timeout, on_output=on_output
            )

    def _exec(
        self,
        name: str,
        argv: Sequence[str],
        *,
        user: str | None,
        workdir: str | None,
        env: Mapping[str, str] | None,
        stdin: bytes | IO[bytes] | None,
        timeout: float | None,
        on_output: OutputSink | None,
    ) -> ExecResult:
        marker = secrets.token_hex(16)
        mark = None
        if stdin is not None and argv and not argv[0].startswith("-"):  # sh would take that for an option of its own
            argv, mark = exec_stream.reading_all(argv, secrets.token_hex(16))
        session = self._exec_session(
            name,
            argv,
            user=user,
            workdir=workdir,
            env={**(env or {}), exec_stream.MARKER: marker},
            stdin=stdin is not None,
        )
        kept: dict[StreamName, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}

        def keep(stream: StreamName, data: bytes) -> None:
            kept[stream] += data

        try:
            code = self._exec_run(name, session, stdin, timeout, on_output or keep, mark)
        except _DeadlinePassed:
            stopped = self._stop_marked(name, marker)
            assert timeout is not None
            raise ExecTimeout(
                f"The command did not end within {timeout:g} s and was stopped."
                if stopped
                else f"The command did not end within {timeout:g} s, and stopping it was not confirmed.",
                stdout_bytes=bytes(kept["stdout"]),
                stderr_bytes=bytes(kept["stderr"]),
                stopped=stopped,
                hints=("Allow more time with --timeout (timeout= in the library)",)
                + (() if stopped else ("Restart the container to be sure: l8s restart NAME",)),
            ) from None
        except _ServiceEndedError:
            self._stop_marked(name, marker)
            raise
        except (BackendError, ConnectionFailed):
            raise  # it never began, or it is over
        except BaseException:
            # The caller was interrupted, its output sink failed, or the output broke off: nothing must go on unseen.
            if not self._link.dead:
                self._stop_marked(name, marker)
            raise
        return ExecResult(exit_code=code, stdout_bytes=bytes(kept["stdout"]), stderr_bytes=bytes(kept["stderr"]))

    def _exec_session(
        self,
        name: str,
        argv: Sequence[str],
        *,
        user: str | None,
        workdir: str | None,
        env: Mapping[str, str],
        stdin: bool,
        privileged: bool = False,
    ) -> str:
        body: dict[str, Any] = {
            "AttachStdin": stdin,
            "AttachStdout": True,
            "AttachStderr": True,
            "Tty": False,
            "Cmd": list(argv),
            "Env": [f"{key}={value}" for key, value in env.items()],
            "Privileged": privileged,
        }
        if user is not None:
            body["User"] = user
        if workdir is not None:
            body["WorkingDir"] = workdir
        doing = f"running a command in {name}"
        try:
            response = self._api.request(
                "POST", f"/containers/{quoted(name)}/exec", doing=doing, body=body, allowed=(404,)
            )
        except RequestFailed as error:
            self._require_running(name, error)
            raise
        if response.status_code == 404:
            raise self._missing(name)
        answer = parse_json(response.content, doing=doing, where=self._api.where)
        return str(as_mapping(answer).get("Id", ""))

    def _exec_run(
        self,
        name: str,
        session: str,
        stdin: bytes | IO[bytes] | None,
        timeout: float | None,
        sink: OutputSink,
        mark: exec_stream.Mark | None = None,
    ) -> int:
        """Start the session and see it to its end; its exit code.

        Raises:
            _DeadlinePassed: ``timeout`` seconds went by.
            _ServiceEndedError: the output broke off, and the connection lives.
        """
        doing = f"running a command in {name}"
        connections = self._api.connections  # one of them made the session, and is the next to be used
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            stream, reader = self._api.hijack(
                f"/exec/{quoted(session)}/start", {"Detach": False, "Tty": False}, doing=doing, timeout=None
            )
        except RequestFailed as error:
            code = never_ran(error.reason)
            if code is None:
                self._require_running(name, error)
                raise
            sink("stderr", f"{names.printable(error.reason)}\n".encode())
            return code
        begun = time.monotonic()
        try:
            feed = None if stdin is None else exec_stream.Feed(stream, stdin)
            with self._channels.cuttable():
                for kind, data in self._frames_until(stream, reader, deadline, doing):
                    if mark is not None and kind == "stderr":
                        data = mark.without(data)
                        if mark.seen and feed is not None:
                            feed.stop()
                    if data:
                        sink(kind, data)
                if mark is not None and (left := mark.rest()):
                    sink("stderr", left)
        finally:
            reader.close()
            stream.close()
        return self._exit_code(session, begun, connections, deadline, doing)

    def _frames_until(
        self, stream: streams.ChannelSocket, reader: IO[bytes], deadline: float | None, doing: str
    ) -> Iterator[tuple[StreamName, bytes]]:
        """The frames until ``deadline``; what the consumer raises is not translated."""
        source = exec_stream.frames(reader)
        while True:
            if deadline is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise _DeadlinePassed
                stream.settimeout(left)
            try:
                with translate.translated(doing, write=True, where=self._api.where, link_dead=lambda: self._link.dead):
                    item = next(source, None)
            except OutcomeUnknown as error:
                if deadline is not None and isinstance(error.__cause__, TimeoutError) and not self._link.dead:
                    raise _DeadlinePassed from None
                if isinstance(error.__cause__, streams.BrokenOff):
                    raise self._service_ended(doing) from error
                raise
            if item is None:
                return
            yield item

    def _exit_code(self, session: str, begun: float, connections: int, deadline: float | None, doing: str) -> int:
        """Wait for the session's exit code: a command may close its output and go on.

        The output of a service that was killed ends as that of a command does, and the next service knows the exit
        code: so the code counts only with the service that the output came from. It is the same one when the connection
        on which the session was made still answers, which is that no more than ``connections`` were made. ``begun`` is
        when the command started, on this machine's monotonic clock.

        Raises:
            BackendError: the output did not end: Podman's service did, and another one took its place.
            _DeadlinePassed: it is ``deadline``.
        """
        pause = 0.02
        doubtful_from = time.monotonic() + EXIT_PATIENCE
        while True:
            answer = as_mapping(self._api.json(f"/exec/{quoted(session)}/json", doing=doing))
            ended = not answer.get("Running", False)
            if not ended and deadline is not None and time.monotonic() > deadline:
                raise _DeadlinePassed
            if not ended and self._channels.interrupted:
                raise KeyboardInterrupt
            if (ended and self._api.connections != connections) or time.monotonic() > doubtful_from:
                if self._service_started_after(begun):
                    raise self._service_ended(doing)
                doubtful_from += 10 * EXIT_PATIENCE
            if ended:
                return int(answer.get("ExitCode", -1))
            time.sleep(pause)
            pause = min(pause * 2, 1.0)

    def _service_started_after(self, moment: float) -> bool:
        """Whether the server's podman.service certainly started after ``moment``, on this machine's monotonic clock."""
        asked = time.monotonic()  # the age is that of a later moment
        age = self._service_age()
        return age is not None and age < asked - moment

    def _service_ended(self, doing: str) -> BackendError:
        return translate.service_ended(
            f"Podman's service on {self._api.where} ended while {doing}: the output was cut off, and the command does "
            "not run any more.",
            _ServiceEndedError,
        )

    def _service_age(self) -> float | None:
        """For how many seconds the server's podman.service has been running; None where that cannot be read."""
        ran = self._channels.run(["sh", "-c", _SERVICE_AGE_SCRIPT])
        said = identity(ran.stdout.decode("utf-8", "replace"))
        ticks = said.get("ticks", "")
        service = process_start(said.get("service", ""), ticks)
        now = process_start(said.get("now", ""), ticks)
        return None if service is None or now is None else now - service

    def _stop_marked(self, name: str, marker: str) -> bool:
        """End whatever carries the marker in the container; whether it was seen to be gone."""
        try:
            with self._channels.call():  # its own: that the command was interrupted is why it is stopped
                session = self._exec_session(
                    name,
                    ["/bin/sh", "-c", exec_stream.STOP_SCRIPT, "sh", f"{exec_stream.MARKER}={marker}"],
                    user="0",
                    workdir="/",
                    env={},
                    stdin=False,
                    privileged=True,
                )
                return self._exec_run(name, session, None, STOP_TIMEOUT, lambda _stream, _data: None) == 0
        except (L8sError, _DeadlinePassed):
            return False

    def upload(self, name: str, directory: str, archive: bytes) -> None:
        """Unpack a tar archive in a container; see the contract."""
        doing = f"uploading to {name}:{directory}"
        path = f"/containers/{quoted(name)}/archive"
        if directory != "/":
            # 4.3 accepts an archive for a directory that does not exist, and drops it.
            response = self._api.request(
                "GET", path, doing=doing, params={"path": directory}, allowed=(404,), stream=True
            )
            response.close()
            if response.status_code == 404:
                self.inspect(name)
                raise BackendError(f"There is no directory {directory} in {name}.")
        response = self._api.request(
            "PUT",
            path,
            doing=doing,
            params={"path": directory},
            data=archive,
            content_type="application/x-tar",
            allowed=(404,),
            timeout=TRANSFER_TIMEOUT,
        )
        if response.status_code == 404:
            raise self._missing(name)

    def download(self, name: str, path: str) -> Iterator[bytes]:
        """The tar archive of a path in a container, in chunks."""
        doing = f"downloading {name}:{path}"
        response = self._api.request(
            "GET",
            f"/containers/{quoted(name)}/archive",
            doing=doing,
            params={"path": path},
            allowed=(404,),
            stream=True,
            timeout=TRANSFER_TIMEOUT,
        )
        try:
            if response.status_code == 404:
                self.inspect(name)
                raise BackendError(f"There is no {path} in {name}.")
            with self._channels.call(), self._channels.cuttable():
                yield from self._api.chunks(response, doing=doing, write=False)
        finally:
            response.close()

    # Images

    def build(
        self,
        tag: str,
        *,
        containerfile: str,
        context: bytes,
        build_args: Mapping[str, str],
        on_output: Callable[[str], None],
    ) -> str:
        """Build an image on the server; see `ImageBuilder`."""
        doing = f"building {tag}"
        self._api.ping()  # a change must not be the first thing asked, see PodmanAPI
        response = self._api.request(
            "POST",
            "/build",
            doing=doing,
            params={
                "dockerfile": containerfile,
                "t": tag,
                "buildargs": json.dumps(dict(build_args)),
                "rm": "true",
                "forcerm": "true",
                "pullpolicy": "missing",
            },
            data=context,
            content_type="application/x-tar",
            stream=True,
            timeout=BUILD_TIMEOUT,
        )
        try:
            with self._channels.call(), self._channels.cuttable():
                image, last = self._build_log(response, tag, doing, on_output)
        finally:
            response.close()
        if not image or not self._image_exists(tag):
            raise BackendError(f"The build of {tag} ended without an image. The server's last words: {last[:300]}")
        return image

    def _build_log(
        self, response: APIResponse, tag: str, doing: str, on_output: Callable[[str], None]
    ) -> tuple[str, str]:
        """Hand on the log to its end; the image's id ("" where there is none) and the last words."""
        image = ""
        last = ""
        for line in lines(self._api.chunks(response, doing=doing, write=True)):
            entry = as_mapping(parse_json(line, doing=doing, where=self._api.where))
            text = str(entry.get("stream", ""))
            if text:
                on_output(text)
                last = text.strip() or last
                if re.fullmatch(r"[0-9a-f]{64}", last):
                    image = last
            if entry.get("error"):
                raise BackendError(
                    f"The build of {tag} failed: {entry['error']}",
                    hints=("Read the build log above", "Try another base image: l8s build --base IMAGE"),
                )
        return image, last

    # The server itself

    def run_on_server(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float,
        on_output: OutputSink | None = None,
    ) -> ExecResult:
        """Run a command on the server; see `ServerCommands`."""
        with self._channels.call(), self._channels.cuttable():
            ran = self._channels.run(argv, stdin=stdin, timeout=timeout, on_output=on_output)
        return ExecResult(exit_code=ran.exit_code, stdout_bytes=ran.stdout, stderr_bytes=ran.stderr)

    def server_time(self) -> datetime | None:
        """The server's clock, by the date of Podman's last answer; see `ServerClock`."""
        return self._api.time

    # Looking again

    def _exists(self, kind: str, name: str) -> bool:
        response = self._api.request(
            "GET", f"/{kind}/{quoted(name)}/exists", doing=f"looking for {name}", allowed=(404,)
        )
        return int(response.status_code) < 400

    def _image_exists(self, image: str) -> bool:
        # The name's slashes and colons belong to the path here; names.image has let nothing else through.
        path = quote(names.image(image), safe="/:@")
        response = self._api.request("GET", f"/images/{path}/exists", doing=f"looking for {image}", allowed=(404,))
        return int(response.status_code) < 400

    def _missing(self, name: str) -> ContainerNotFound:
        return ContainerNotFound(f"The server has no container named {name}.", hints=("See what there is: l8s list",))

    def _require_running(self, name: str, cause: Exception) -> None:
        info = self.inspect(name)
        if not info.running:
            raise ContainerNotRunning(
                f"The container {name} is not running (state: {info.state}).",
                hints=(f"Start it: l8s start {info.short_name}",),
            ) from cause


class PodmanSession(PodmanBackend):
    """One caller's face of a connection that others use too; see `BackendSession`."""

    def __init__(self, profile: Profile, connection: link.Link, ready: channels.Ready) -> None:
        super().__init__(profile)
        self._wiring = _Wiring(connection, ready, profile)

    def open(self, steps: Steps) -> Endpoint:
        """What the connection leads to; it is open already."""
        del steps
        return self._link.endpoint

    def interrupt(self) -> None:
        """See `BackendSession`."""
        self._channels.interrupt()

    def close(self) -> None:
        """Close what this caller has open; the connection stays."""
        self._wired.close()


def _patiently(ask: Callable[[], T], *passing: re.Pattern[str]) -> T:
    """What ``ask`` returns, asked again as long as it fails with a reason that passes, for some seconds."""
    for pause in PAUSES:
        try:
            return ask()
        except RequestFailed as error:
            if not any(reason.search(error.reason) for reason in passing):
                raise
            time.sleep(pause)
    return ask()


class _ServiceEndedError(BackendError):
    """Podman's service ended while a command ran."""


class _DeadlinePassed(Exception):
    """A command's time is up."""


def _import_the_rest() -> None:
    """In the order in which they are needed; what is wrong with one, its first use will say."""
    with suppress(Exception):
        import_module("l8s_podman.link")
        import_module("l8s_podman.api")
