"""Values and errors cross the wire unchanged."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from l8s_core import errors
from l8s_core.errors import (
    BackendError,
    ContainerNotFound,
    ExecTimeout,
    HostKeyRejected,
    L8sError,
    ssh_connection_failed,
)
from l8s_core.model import (
    ContainerInfo,
    ContainerRequest,
    Endpoint,
    ExecResult,
    HostFacts,
    MachineIdentity,
    Step,
    VolumeInfo,
)
from l8s_core.multiplex.values import packed, packed_error, unpacked, unpacked_error

INFO = ContainerInfo(
    id="a" * 64,
    name="dev-x",
    image="localhost/x:1",
    state="running",
    labels={"l8s.name": "x", "note": "\x1b[31mé"},
    ports={2200: 22},
    created=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
)
VALUES = [
    (INFO, ContainerInfo),
    ([INFO, INFO], list[ContainerInfo]),
    (ContainerInfo(id="b", name="n", image="", state="created", exit_code=3), ContainerInfo),
    (Endpoint(user="root", host="h.example", port=22, socket="/s", jump="a@b"), Endpoint),
    (ExecResult(exit_code=3, stdout_bytes=b"\xff\x00", stderr_bytes=b""), ExecResult),
    (
        HostFacts(backend="p", version="5", api_version="5", os="o", kernel="k", cpus=2, memory=1, warnings=("w",)),
        HostFacts,
    ),
    (MachineIdentity(boot_id="b", kernel="k", process_start=1.5, machine_id="", sent=1, received=2), MachineIdentity),
    (VolumeInfo(name="v", labels={"a": "b"}), list[VolumeInfo]),
    (frozenset({22, 2200}), frozenset[int]),
    (Step(name="TCP", state="done", detail="d", seconds=0.25), Step),
    (
        ContainerRequest(
            name="n",
            image="i",
            hostname="h",
            command=("a", "b"),
            labels={},
            ports={1: 2},
            volumes={"v": "/m"},
            cpus=0.5,
        ),
        ContainerRequest,
    ),
    (True, bool),
    ("text", str),
    (None, type(None)),
]


@pytest.mark.parametrize(("value", "kind"), VALUES, ids=lambda value: getattr(type(value), "__name__", ""))
def test_a_value_comes_back_as_it_was(value: object, kind: type) -> None:
    value = [value] if kind == list[VolumeInfo] else value
    assert unpacked(json.loads(json.dumps(packed(value))), kind) == value


ERRORS = [
    ContainerNotFound("There is none.", hints=("l8s list", "or so"), profile="dev"),
    ExecTimeout("late", stdout_bytes=b"\xff", stderr_bytes=b"", stopped=False, hints=("x",)),
    HostKeyRejected(
        "no", host="h", key_type="t", key_base64="AAAA", reason="changed", expected=["SHA256:x"], hints=("trust",)
    ),
    ssh_connection_failed("root", "h", 22, "refused"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_comes_back_as_it_was(error: L8sError) -> None:
    error.step = "TCP"
    found = unpacked_error(json.loads(json.dumps(packed_error(error))))
    assert type(found) is type(error)
    assert vars(found) == vars(error)
    assert str(found) == str(error)


def test_every_class_of_error_crosses() -> None:
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, L8sError) and kind is not HostKeyRejected:
            assert type(unpacked_error(packed_error(kind("message")))) is kind, name


def test_an_error_of_a_plugins_own_becomes_the_one_that_it_extends() -> None:
    class Theirs(ContainerNotFound):
        pass

    assert type(unpacked_error(packed_error(Theirs("gone")))) is ContainerNotFound


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), SystemExit(3)])
def test_what_is_no_error_of_ours_is_a_backends_failure(error: BaseException) -> None:
    found = unpacked_error(packed_error(error))
    assert type(found) is BackendError
    assert type(error).__name__ in found.message


@pytest.mark.parametrize("data", [{}, {"kind": "REMOTE_ONLY_NOTE"}, {"kind": "os"}, {"kind": None, "values": {}}])
def test_an_unknown_error_is_one_all_the_same(data: dict[str, object]) -> None:
    assert type(unpacked_error(data)) is L8sError
