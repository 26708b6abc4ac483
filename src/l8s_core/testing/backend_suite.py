# ruff: noqa: ARG002, ARG005, D102  (the tests' names say what they check)
"""The contract suite of a `RemoteBackend`: what every backend must do, checked on a server of its own.

Subclass it in a test module and override two fixtures::

    from l8s_core.testing.backend_suite import RemoteBackendContract

    class TestMyBackend(RemoteBackendContract):
        @pytest.fixture
        def make_backend(self):
            return lambda: MyBackend(profile)      # not opened yet

        @pytest.fixture
        def image(self):
            return "localhost/debian:trixie"       # on the server already; has /bin/sh, cat and sleep

Capabilities that a backend lacks are skipped. The suite makes only containers, volumes and an image whose names
start with ``l8s-contract-``, and removes them again.
"""

from __future__ import annotations

import io
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from attrs import evolve

from l8s_core import copying
from l8s_core.contracts import (
    CountsRoundTrips,
    ImageBuilder,
    RemoteBackend,
    ServerClock,
    ServerCommands,
    Sessions,
    SharedConnection,
)
from l8s_core.errors import (
    BackendError,
    ContainerExists,
    ContainerNotFound,
    ContainerNotRunning,
    ExecTimeout,
    ImageNotFound,
    L8sError,
    PortInUse,
)
from l8s_core.model import ContainerInfo, ContainerRequest, Endpoint, Step, StreamName
from l8s_core.steps import Steps

LABEL = "l8s-contract"
COMMAND = ("/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1 & wait; done")
"""Runs until it is told to end, and then ends with 0."""

DEAF_COMMAND = ("/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done")
"""Runs until it is killed."""

NOBODY = "l8s-contract-nobody"


def tar(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    """A tar archive of ``name -> (bytes, mode)``; a name that ends with / is a directory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, (data, mode) in files.items():
            header = tarfile.TarInfo(name.rstrip("/"))
            header.mode, header.size = mode, len(data)
            header.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            archive.addfile(header, io.BytesIO(data))
    return buffer.getvalue()


def untar(chunks: Iterator[bytes]) -> dict[str, tuple[bytes, int]]:
    """The regular files of a tar archive, as `tar` takes them."""
    files = {}
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None:
                files[member.name.removeprefix("./")] = (content.read(), member.mode)
    return files


def alive(backend: object) -> bool:
    """Whether a backend's connection works, as far as it can say."""
    return not isinstance(backend, SharedConnection) or backend.alive(within=5.0)


class RemoteBackendContract:
    """Inherit from it in a test class; see the module."""

    # Fixtures to override

    @pytest.fixture
    def make_backend(self) -> Callable[[], RemoteBackend]:
        """A function that constructs a backend, without opening it."""
        raise NotImplementedError("override the fixture make_backend")

    @pytest.fixture
    def image(self) -> str:
        """An image on the server with /bin/sh, cat and sleep."""
        raise NotImplementedError("override the fixture image")

    @pytest.fixture
    def backend(self, make_backend: Callable[[], RemoteBackend]) -> Iterator[RemoteBackend]:
        """An open backend; override it to share one connection between the tests."""
        backend = make_backend()
        backend.open(Steps())
        yield backend
        backend.close()

    @pytest.fixture
    def pause(self) -> Callable[[float], None]:
        """How to wait for things to happen on the server."""
        return time.sleep

    # Fixtures of the suite's own

    @pytest.fixture
    def token(self) -> str:
        """A word that no other test uses."""
        return uuid.uuid4().hex[:12]

    @pytest.fixture
    def volume(self, backend: RemoteBackend, token: str) -> Iterator[str]:
        """The name of a volume that is not there yet."""
        name = f"l8s-contract-{token}-volume"
        yield name
        backend.remove_volume(name)

    @pytest.fixture
    def request_for(
        self, volume: str, backend: RemoteBackend, image: str, token: str
    ) -> Iterator[Callable[[str], ContainerRequest]]:
        """Make a request of a container; what came of it is removed at the end, before the volume."""
        names: list[str] = []

        def make(suffix: str = "a") -> ContainerRequest:
            names.append(f"l8s-contract-{token}-{suffix}")
            return ContainerRequest(
                name=names[-1],
                image=image,
                hostname="contract",
                command=COMMAND,
                labels={LABEL: token},
                ports={},
                volumes={},
            )

        yield make
        for name in names:
            backend.remove(name)

    @pytest.fixture
    def created(self, backend: RemoteBackend, request_for: Callable[[str], ContainerRequest]) -> str:
        """The name of a container that was never started."""
        request = request_for("a")
        backend.create(request)
        return request.name

    @pytest.fixture
    def running(self, backend: RemoteBackend, created: str) -> str:
        """The name of a running container."""
        backend.start(created)
        return created

    @pytest.fixture
    def port(self, backend: RemoteBackend) -> int:
        """A port of the server that nothing holds."""
        used = backend.ports_in_use()
        return next(number for number in range(42200, 43200) if number not in used)

    # Connecting

    def test_it_is_a_remote_backend(self, backend: RemoteBackend) -> None:
        assert isinstance(backend, RemoteBackend)

    def test_open_reports_its_steps_and_says_where_it_is(self, make_backend: Callable[[], RemoteBackend]) -> None:
        seen: list[Step] = []
        backend = make_backend()
        try:
            endpoint = backend.open(Steps(seen.append))
        finally:
            backend.close()
        assert isinstance(endpoint, Endpoint)
        assert endpoint.host
        assert endpoint.user
        started = [step.name for step in seen if step.state == "started"]
        assert started
        assert started == [step.name for step in seen if step.state == "done"]

    def test_closing_twice_is_fine(self, make_backend: Callable[[], RemoteBackend]) -> None:
        backend = make_backend()
        backend.open(Steps())
        backend.close()
        backend.close()

    def test_closing_without_opening_is_fine(self, make_backend: Callable[[], RemoteBackend]) -> None:
        make_backend().close()

    def test_the_machine_is_read_afresh(self, backend: RemoteBackend) -> None:
        first, second = backend.machine(), backend.machine()
        assert first.boot_id
        assert first.boot_id == second.boot_id
        assert first.kernel == second.kernel
        assert first.sent <= first.received <= second.sent <= second.received
        assert first.process_start is not None
        assert second.process_start is not None
        assert first.process_start <= second.process_start

    def test_facts_describe_the_server_and_report_steps(self, backend: RemoteBackend) -> None:
        seen: list[Step] = []
        facts = backend.facts(Steps(seen.append))
        assert facts.backend
        assert facts.version
        assert facts.cpus >= 1
        assert facts.memory > 1024**2
        assert [step for step in seen if step.state == "done"]

    # Containers

    def test_a_created_container_is_as_requested(
        self, backend: RemoteBackend, request_for: Callable[[str], ContainerRequest], port: int, token: str
    ) -> None:
        request = evolve(
            request_for("a"),
            labels={LABEL: token, "text": "a b='c' {ü}"},
            ports={port: 22},
            memory=64 * 1024**2,
            cpus=0.5,
            pids=64,
        )
        identifier = backend.create(request)
        info = backend.inspect(request.name)
        assert identifier
        assert info.id == identifier
        assert info.name == request.name
        assert info.state == "created"
        assert not info.running
        assert info.ports == {port: 22}
        assert info.labels["text"] == "a b='c' {ü}"
        assert info.labels[LABEL] == token
        assert info.created is not None
        assert info.created.utcoffset() == timedelta(0)

    def test_a_taken_name_is_refused(
        self, backend: RemoteBackend, created: str, request_for: Callable[[str], ContainerRequest]
    ) -> None:
        before = backend.inspect(created)
        with pytest.raises(ContainerExists):
            backend.create(request_for("a"))
        assert backend.inspect(created).id == before.id

    def test_a_missing_image_is_refused(
        self, backend: RemoteBackend, request_for: Callable[[str], ContainerRequest]
    ) -> None:
        request = evolve(request_for("a"), image="localhost/l8s-contract-missing:latest")
        with pytest.raises(ImageNotFound):
            backend.create(request)
        with pytest.raises(ContainerNotFound):
            backend.inspect(request.name)

    def test_starting_and_stopping(self, backend: RemoteBackend, created: str) -> None:
        backend.start(created)
        assert backend.inspect(created).running
        backend.stop(created)
        info = backend.inspect(created)
        assert not info.running
        assert info.exit_code == 0
        backend.start(created)
        assert backend.inspect(created).running

    def test_starting_a_running_container_succeeds(self, backend: RemoteBackend, running: str) -> None:
        backend.start(running)
        assert backend.inspect(running).running

    def test_stopping_a_stopped_container_succeeds(self, backend: RemoteBackend, running: str) -> None:
        backend.stop(running)
        backend.stop(running)
        assert not backend.inspect(running).running

    def test_a_container_that_will_not_stop_is_killed(
        self, backend: RemoteBackend, request_for: Callable[[str], ContainerRequest]
    ) -> None:
        request = evolve(request_for("a"), command=DEAF_COMMAND)
        backend.create(request)
        backend.start(request.name)
        began = time.monotonic()
        backend.stop(request.name, grace=1.0)
        assert time.monotonic() - began < 15
        assert not backend.inspect(request.name).running

    def test_what_is_not_there_is_not_found(self, backend: RemoteBackend) -> None:
        with pytest.raises(ContainerNotFound):
            backend.inspect(NOBODY)
        with pytest.raises(ContainerNotFound):
            backend.start(NOBODY)
        with pytest.raises(ContainerNotFound):
            backend.stop(NOBODY)
        with pytest.raises(ContainerNotFound):
            backend.exec(NOBODY, ["/bin/sh", "-c", ":"])
        with pytest.raises(ContainerNotFound):
            backend.upload(NOBODY, "/tmp", tar({}))  # noqa: S108  a path in a container
        with pytest.raises(ContainerNotFound):
            list(backend.download(NOBODY, "/etc"))

    def test_removing_a_running_container(self, backend: RemoteBackend, running: str) -> None:
        assert backend.remove(running) is True
        with pytest.raises(ContainerNotFound):
            backend.inspect(running)

    def test_removing_nothing_says_so(self, backend: RemoteBackend) -> None:
        assert backend.remove(NOBODY) is False

    def test_listing_by_labels_in_any_state(
        self, backend: RemoteBackend, request_for: Callable[[str], ContainerRequest], token: str
    ) -> None:
        first, second = request_for("a"), request_for("b")
        second = evolve(second, labels={LABEL: token, "colour": "blue"})
        for request in (first, second):
            backend.create(request)
        backend.start(second.name)

        def found(labels: Mapping[str, str]) -> dict[str, ContainerInfo]:
            return {info.name: info for info in backend.list(labels)}

        both = found({LABEL: token})
        assert set(both) == {first.name, second.name}
        assert both[second.name].running
        assert not both[first.name].running
        assert both[second.name].labels["colour"] == "blue"
        assert set(found({LABEL: token, "colour": "blue"})) == {second.name}
        assert found({LABEL: token, "colour": "red"}) == {}

    # Ports

    def test_a_stopped_containers_port_is_in_use(
        self, backend: RemoteBackend, request_for: Callable[[str], ContainerRequest], port: int
    ) -> None:
        backend.create(evolve(request_for("a"), ports={port: 22}))
        assert port in backend.ports_in_use()

    def test_a_port_that_was_taken_meanwhile(
        self, backend: RemoteBackend, request_for: Callable[[str], ContainerRequest], port: int
    ) -> None:
        first, second = (evolve(request_for(suffix), ports={port: 22}) for suffix in ("a", "b"))
        for request in (first, second):
            backend.create(request)
        backend.start(first.name)
        with pytest.raises(PortInUse):
            backend.start(second.name)
        assert backend.inspect(first.name).running
        assert not backend.inspect(second.name).running

    # Volumes

    def test_of_two_racers_one_makes_the_volume(self, backend: RemoteBackend, volume: str, token: str) -> None:
        assert backend.create_volume(volume, {LABEL: token, "winner": "first"}) is True
        assert backend.create_volume(volume, {LABEL: token, "winner": "second"}) is False
        (info,) = backend.volumes({LABEL: token})
        assert info.name == volume
        assert info.labels["winner"] == "first"

    def test_volumes_are_listed_by_labels(self, backend: RemoteBackend, volume: str, token: str) -> None:
        backend.create_volume(volume, {LABEL: token})
        assert volume in [info.name for info in backend.volumes({})]
        assert list(backend.volumes({LABEL: token, "colour": "blue"})) == []

    def test_removing_a_volume(self, backend: RemoteBackend, volume: str) -> None:
        backend.create_volume(volume, {})
        assert backend.remove_volume(volume) is True
        assert backend.remove_volume(volume) is False

    def test_a_volume_outlives_its_container_and_is_kept_while_in_use(
        self,
        backend: RemoteBackend,
        volume: str,
        request_for: Callable[[str], ContainerRequest],
    ) -> None:
        backend.create_volume(volume, {})
        request = evolve(request_for("a"), volumes={volume: "/l8s-data"})
        backend.create(request)
        backend.start(request.name)
        backend.exec(request.name, ["/bin/sh", "-c", "printf kept > /l8s-data/file"])
        with pytest.raises(BackendError):
            backend.remove_volume(volume)
        assert backend.remove(request.name) is True
        backend.create(request)
        backend.start(request.name)
        assert backend.exec(request.name, ["/bin/sh", "-c", "cat /l8s-data/file"]).stdout == "kept"

    # Commands

    def test_output_apart_and_the_true_exit_code(self, backend: RemoteBackend, running: str) -> None:
        result = backend.exec(running, ["/bin/sh", "-c", "printf out; printf err >&2; exit 3"])
        assert (result.exit_code, result.stdout, result.stderr) == (3, "out", "err")

    def test_output_is_exact_bytes(self, backend: RemoteBackend, running: str) -> None:
        result = backend.exec(running, ["/bin/sh", "-c", r"printf '\000\001\377\r\n'"])
        assert result.stdout_bytes == b"\x00\x01\xff\r\n"

    @pytest.mark.parametrize("word", ["a b", "$(id)", "'; exit 9 #", '"', "line\nbreak", "", "ü"])
    def test_words_reach_the_command_untouched(self, backend: RemoteBackend, running: str, word: str) -> None:
        result = backend.exec(running, ["/bin/sh", "-c", 'printf %s "$1"', "sh", word])
        assert (result.exit_code, result.stdout) == (0, word)

    def test_environment_and_directory(self, backend: RemoteBackend, running: str) -> None:
        result = backend.exec(
            running,
            ["/bin/sh", "-c", 'printf %s "$GREETING"; printf : ; pwd'],
            env={"GREETING": "a 'b' $c"},
            workdir="/tmp",  # noqa: S108  a path in a container
            user="0",
        )
        assert result.stdout == "a 'b' $c:/tmp\n"

    def test_without_stdin_there_is_end_of_file_at_once(self, backend: RemoteBackend, running: str) -> None:
        result = backend.exec(running, ["/bin/sh", "-c", "cat"], timeout=20)
        assert (result.exit_code, result.stdout_bytes) == (0, b"")

    @pytest.mark.parametrize("kind", ["bytes", "stream"])
    def test_stdin_arrives_whole(self, backend: RemoteBackend, running: str, kind: str) -> None:
        data = bytes(range(256)) * 2048
        stdin = data if kind == "bytes" else io.BytesIO(data)
        result = backend.exec(running, ["/bin/sh", "-c", "cat"], stdin=stdin, timeout=60)
        assert result.exit_code == 0
        assert result.stdout_bytes == data

    def test_stdin_that_nobody_reads_does_no_harm(self, backend: RemoteBackend, running: str) -> None:
        for _ in range(10):  # where the end of such input is handled badly, it shows now and then
            result = backend.exec(
                running, ["/bin/sh", "-c", "printf out; printf err >&2; exit 4"], stdin=b"x" * 1_000_000, timeout=60
            )
            assert (result.exit_code, result.stdout_bytes, result.stderr_bytes) == (4, b"out", b"err")

    def test_streamed_output_is_not_kept(self, backend: RemoteBackend, running: str) -> None:
        seen: dict[StreamName, bytes] = {"stdout": b"", "stderr": b""}

        def sink(stream: StreamName, data: bytes) -> None:
            seen[stream] += data

        result = backend.exec(running, ["/bin/sh", "-c", "printf one; printf two >&2; exit 5"], on_output=sink)
        assert seen == {"stdout": b"one", "stderr": b"two"}
        assert (result.exit_code, result.stdout_bytes, result.stderr_bytes) == (5, b"", b"")

    def test_a_deadline_ends_the_command(self, backend: RemoteBackend, running: str) -> None:
        began = time.monotonic()
        with pytest.raises(ExecTimeout) as raised:
            backend.exec(running, ["/bin/sh", "-c", "printf early; sleep 60"], timeout=1)
        assert time.monotonic() - began < 15
        assert raised.value.stdout_bytes == b"early"
        assert raised.value.stopped

    def test_a_deadline_stops_descendants_on_the_server_too(
        self, backend: RemoteBackend, running: str, pause: Callable[[float], None]
    ) -> None:
        # The ":" keeps the outer shell from becoming the inner one.
        script = "/bin/sh -c 'sleep 3; printf late > /tmp/late'; :"
        with pytest.raises(ExecTimeout):
            backend.exec(running, ["/bin/sh", "-c", script], timeout=1)
        pause(3.5)
        assert backend.exec(running, ["/bin/sh", "-c", "test -e /tmp/late"]).exit_code == 1

    def test_the_connection_outlives_a_deadline(self, backend: RemoteBackend, running: str) -> None:
        with pytest.raises(ExecTimeout):
            backend.exec(running, ["/bin/sh", "-c", "sleep 60"], timeout=0.5)
        assert backend.exec(running, ["/bin/sh", "-c", "printf still"], timeout=20).stdout == "still"

    def test_a_container_that_does_not_run_runs_no_command(self, backend: RemoteBackend, created: str) -> None:
        with pytest.raises(ContainerNotRunning):
            backend.exec(created, ["/bin/sh", "-c", ":"])

    # Files

    def test_upload_into_a_container_that_was_never_started(self, backend: RemoteBackend, created: str) -> None:
        backend.upload(created, "/tmp", tar({"early": (b"first", 0o644)}))  # noqa: S108  a path in a container
        backend.start(created)
        assert backend.exec(created, ["/bin/sh", "-c", "cat /tmp/early"]).stdout == "first"

    def test_upload_and_download_are_inverse(self, backend: RemoteBackend, running: str) -> None:
        files = {"tree/one": (b"\x00\xff" * 70_000, 0o640), "tree/deep/run": (b"#!/bin/sh\n", 0o755)}
        directories: dict[str, tuple[bytes, int]] = {"tree/": (b"", 0o755), "tree/deep/": (b"", 0o755)}
        backend.upload(running, "/tmp", tar(directories | files))  # noqa: S108  a path in a container
        assert untar(backend.download(running, "/tmp/tree")) == files  # noqa: S108  a path in a container
        assert untar(backend.download(running, "/tmp/tree/one")) == {  # noqa: S108  a path in a container
            "one": files["tree/one"]
        }

    def test_upload_into_a_mounted_volume(
        self, backend: RemoteBackend, volume: str, request_for: Callable[[str], ContainerRequest]
    ) -> None:
        backend.create_volume(volume, {})
        request = evolve(request_for("a"), volumes={volume: "/l8s-data"})
        backend.create(request)
        backend.start(request.name)
        backend.upload(request.name, "/l8s-data", tar({"file": (b"data", 0o600)}))
        assert untar(backend.download(request.name, "/l8s-data/file")) == {"file": (b"data", 0o600)}

    def test_a_missing_directory_is_an_error(self, backend: RemoteBackend, running: str) -> None:
        with pytest.raises(L8sError):
            backend.upload(running, "/l8s-contract-missing", tar({"file": (b"", 0o600)}))

    def test_a_missing_file_is_an_error(self, backend: RemoteBackend, running: str) -> None:
        with pytest.raises(L8sError):
            list(backend.download(running, "/tmp/l8s-contract-missing"))  # noqa: S108  a path in a container

    # Copying, which is exec with streams on both sides

    @pytest.fixture
    def with_tar(self, backend: RemoteBackend, running: str) -> ContainerInfo:
        """A running container whose image has tar."""
        if backend.exec(running, ["/bin/sh", "-c", "command -v tar"]).exit_code:
            pytest.skip("the image has no tar")
        return backend.inspect(running)

    def test_a_tree_survives_the_way_in_and_out(
        self, backend: RemoteBackend, with_tar: ContainerInfo, tmp_path: Path
    ) -> None:
        tree = tmp_path / "tree"
        (tree / "empty").mkdir(parents=True)
        (tree / "data").write_bytes(bytes(range(256)) * 4000)
        (tree / "ü \n").write_bytes(b"odd")
        (tree / "data").chmod(0o640)
        (tree / "link").symlink_to("data")
        copied = copying.copy_in(backend, with_tar, copying.local_sources([str(tree)]), "/tmp/new", user="0")  # noqa: S108
        assert (copied.files, copied.bytes) == (3, 1_024_003)
        assert copying.copy_out(backend, with_tar, "/tmp/new", str(tmp_path / "back"), user="0") == copied  # noqa: S108
        back = tmp_path / "back"
        assert sorted(path.name for path in back.iterdir()) == ["data", "empty", "link", "ü \n"]
        assert (back / "data").read_bytes() == bytes(range(256)) * 4000
        assert (back / "data").stat().st_mode & 0o777 == 0o640
        assert (back / "link").readlink() == Path("data")

    def test_what_a_copy_finds_in_its_way(
        self, backend: RemoteBackend, with_tar: ContainerInfo, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_bytes(b"x" * 1_000_000)
        sources = copying.local_sources([str(tmp_path / "file")])
        with pytest.raises(BackendError, match="no directory"):
            copying.copy_in(backend, with_tar, sources, "/l8s-contract-missing/new", user="0")
        with pytest.raises(BackendError, match="there is no"):
            copying.copy_out(backend, with_tar, "/l8s-contract-missing", str(tmp_path / "new"), user="0")
        assert [path.name for path in tmp_path.iterdir()] == ["file"]

    # Capability: building images

    def test_building_an_image(
        self,
        backend: RemoteBackend,
        image: str,
        token: str,
        request_for: Callable[[str], ContainerRequest],
    ) -> None:
        if not isinstance(backend, ImageBuilder):
            pytest.skip("the backend builds no images")
        log: list[str] = []
        tag = "localhost/l8s-contract-built:latest"
        containerfile = f"ARG BASE\nFROM ${{BASE}}\nLABEL l8s-contract={token}\n"
        identifier = backend.build(
            tag,
            containerfile="Containerfile",
            context=tar({"Containerfile": (containerfile.encode(), 0o644)}),
            build_args={"BASE": image},
            on_output=log.append,
        )
        assert identifier
        assert "FROM" in "".join(log)
        backend.create(evolve(request_for("a"), image=tag))

    def test_a_build_that_fails_says_why(self, backend: RemoteBackend, image: str) -> None:
        if not isinstance(backend, ImageBuilder):
            pytest.skip("the backend builds no images")
        with pytest.raises(BackendError, match="false"):
            backend.build(
                "localhost/l8s-contract-broken:latest",
                containerfile="Containerfile",
                context=tar({"Containerfile": (f"FROM {image}\nRUN false\n".encode(), 0o644)}),
                build_args={},
                on_output=lambda text: None,
            )

    # ServerClock

    def test_a_new_container_is_new_by_the_servers_clock(
        self, backend: RemoteBackend, request_for: Callable[[str], ContainerRequest]
    ) -> None:
        if not isinstance(backend, ServerClock):
            pytest.skip("the backend does not know the server's clock")
        request = request_for("a")
        backend.create(request)
        created, now = backend.inspect(request.name).created, backend.server_time()
        assert created is not None
        assert now is not None
        assert abs(now - created) < timedelta(minutes=1)

    # ServerCommands

    def test_a_command_on_the_server_gets_its_input_and_tells_its_end(self, backend: RemoteBackend) -> None:
        if not isinstance(backend, ServerCommands):
            pytest.skip("the backend runs no commands on the server")
        said: list[StreamName] = []
        result = backend.run_on_server(
            ["sh", "-c", "cat"], stdin=b"in \x00 out", timeout=30, on_output=lambda stream, _: said.append(stream)
        )
        assert result.exit_code == 0
        assert (result.stdout_bytes, set(said)) == (b"in \x00 out", {"stdout"})

    # Sharing a connection

    @pytest.fixture
    def shared(self, backend: RemoteBackend) -> Sessions:
        """The backend, if it serves several callers."""
        if not isinstance(backend, Sessions):
            pytest.skip("this backend serves one caller at a time")
        assert alive(backend)
        return backend

    def test_a_session_is_open_and_leads_to_the_same_place(
        self, shared: Sessions, backend: RemoteBackend, running: str
    ) -> None:
        session = shared.session()
        try:
            assert isinstance(session.open(Steps()), Endpoint)
            assert session.inspect(running).id == backend.inspect(running).id
        finally:
            session.close()
        assert alive(shared)
        assert backend.inspect(running).running

    def test_sessions_are_used_side_by_side(self, shared: Sessions, running: str) -> None:
        sessions = [shared.session() for _ in range(4)]
        try:
            with ThreadPoolExecutor(len(sessions)) as pool:
                scripts = [["/bin/sh", "-c", f"printf {number}"] for number in range(len(sessions))]
                results = pool.map(lambda session, argv: session.exec(running, argv), sessions, scripts)
                assert [result.stdout for result in results] == ["0", "1", "2", "3"]
        finally:
            for session in sessions:
                session.close()

    def test_round_trips_are_counted(self, backend: RemoteBackend) -> None:
        if not isinstance(backend, CountsRoundTrips):
            pytest.skip("this backend does not count its round trips")
        backend.list({})
        before = backend.round_trips
        backend.list({})
        assert backend.round_trips == before + 1
