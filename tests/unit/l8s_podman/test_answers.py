"""Reading what Podman and the kernel say, however odd, and writing what Podman is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l8s_core.errors import BackendError
from l8s_core.model import ContainerRequest
from l8s_podman.answers import (
    MAX_LINE,
    error_text,
    identity,
    inspected,
    label_filter,
    lines,
    listed,
    moment,
    never_ran,
    parse_json,
    process_start,
    published,
    specification,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def stat(comm: str, start: str = "12345") -> str:
    """A line of /proc/PID/stat: 22 is the start, behind the name in parentheses."""
    return f"4711 ({comm}) R " + " ".join(str(number) for number in range(4, 22)) + f" {start} 23 24"


@pytest.mark.parametrize("comm", ["cat", "a b", ")", "a) R 1 2 3 (", "", ") S 9 9", "\t", "(((", "cat)\\n"])
def test_a_process_start_behind_any_name(comm: str) -> None:
    assert process_start(stat(comm), "100") == 123.45


@pytest.mark.parametrize(
    ("line", "ticks"),
    [
        ("", "100"),
        (stat("cat"), ""),
        (stat("cat"), "0"),
        (stat("cat"), "many"),
        (stat("cat", "soon"), "100"),
        ("4711 (cat) R 1 2 3", "100"),
        ("100", stat("cat")),
    ],
)
def test_a_process_start_that_cannot_be_read(line: str, ticks: str) -> None:
    assert process_start(line, ticks) is None


def test_an_identity_is_read_by_name_and_what_is_missing_stays_empty() -> None:
    text = "Welcome!\nl8s-boot-id\nl8s-kernel 6.1 #1\nl8s-stat 1 (a b) R\n\nl8s-machine-id  abc \nbye"
    assert identity(text) == {"boot-id": "", "kernel": "6.1 #1", "stat": "1 (a b) R", "machine-id": "abc"}
    assert identity("") == {}
    assert identity("l8s-boot-id forged by .bashrc\nl8s-boot-id real") == {"boot-id": "real"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.123456789Z", datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
        ("2026-01-02T03:04:05.1+02:00", datetime(2026, 1, 2, 1, 4, 5, 100000, tzinfo=UTC)),
        ("2026-01-02T03:04:05-05:30", datetime(2026, 1, 2, 8, 34, 5, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00+01:00", None),  # before the first day
        ("2026-13-02T03:04:05Z", None),
        ("2026-01-02T03:04:05", None),
        ("2026-01-02 03:04:05Z", None),
        ("yesterday", None),
        (None, None),
        (0, None),
        ([], None),
    ],
)
def test_moments(text: object, expected: datetime | None) -> None:
    assert moment(text) == expected


@given(JSON)
def test_nothing_in_place_of_a_moment_breaks(value: object) -> None:
    moment(value)


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1)))
def test_every_moment_reads_back(when: datetime) -> None:
    utc = when.replace(tzinfo=UTC)
    assert moment(utc.isoformat().replace("+00:00", "Z")) == utc


def port(host: object, inner: object, **more: object) -> dict[str, object]:
    return {"host_ip": "", "host_port": host, "container_port": inner, "range": 1, "protocol": "tcp", **more}


@pytest.mark.parametrize(
    ("ports", "found"),
    [
        (None, {}),
        ([], {}),
        ([port(2200, 22)], {2200: 22}),
        ([port(2200, 22), port(8000, 80, protocol="udp")], {2200: 22}),
        ([port(2200, 22, range=3)], {2200: 22, 2201: 23, 2202: 24}),
        ([port(2200, 22, range=0)], {2200: 22}),
        ([port(0, 22)], {}),
        ([port(0, 22, range=5)], {}),
        ([port(None, None, range=None)], {}),
        ([port("2200", "22")], {}),
        ([port(65530, 1, range=10**12)], {65530 + n: 1 + n for n in range(6)}),
        ([{"container_port": 22}, "x", None, 5], {}),
        ([{"host_port": 5, "container_port": 6}], {5: 6}),
        ("2200", {}),
        ({"host_port": 1}, {}),
    ],
)
def test_published_ports(ports: object, found: Mapping[int, int]) -> None:
    assert published(ports) == found


@given(
    st.lists(
        st.fixed_dictionaries({}, optional=dict.fromkeys(("host_port", "container_port", "range", "protocol"), JSON))
    )
)
def test_no_ports_that_a_server_claims_break(ports: list[object]) -> None:
    assert len(published(ports)) <= 65536 * max(1, len(ports))


@given(
    st.dictionaries(
        st.sampled_from(["Id", "Names", "Image", "State", "Labels", "Ports", "Created", "ExitCode", "Exited"]), JSON
    )
)
def test_no_row_breaks(row: dict[str, Any]) -> None:
    info = listed(row)
    assert isinstance(info.name, str)
    assert info.exit_code is None or isinstance(info.exit_code, int)


@given(JSON | st.fixed_dictionaries({"State": JSON, "Config": JSON, "HostConfig": JSON, "Created": JSON, "Name": JSON}))
def test_no_inspection_breaks(value: object) -> None:
    assert isinstance(inspected(value).state, str)


def test_a_row() -> None:
    info = listed(
        {
            "Id": "abc",
            "Names": ["dev-app"],
            "Image": "localhost/x:latest",
            "State": "exited",
            "Labels": {"l8s.name": "app"},
            "Ports": [port(2200, 22)],
            "Created": "2026-01-02T03:04:05Z",
            "ExitCode": 3,
            "Exited": True,
        }
    )
    assert (info.id, info.name, info.short_name, info.state, info.exit_code) == ("abc", "dev-app", "app", "exited", 3)
    assert (info.ports, info.running) == ({2200: 22}, False)
    assert listed({"Names": ["a"], "ExitCode": 3}).exit_code is None


def inspection(**bindings: object) -> dict[str, object]:
    return {
        "Id": "abc",
        "Name": "/dev-app",
        "ImageName": "x",
        "State": {"Status": "running", "ExitCode": 0},
        "Config": {"Labels": {"a": "b"}},
        "HostConfig": {"PortBindings": bindings},
    }


def test_an_inspection() -> None:
    ports = {"22/tcp": [{"HostIp": "", "HostPort": "2200"}], "53/udp": [{"HostPort": "53"}], "80/tcp": None}
    info = inspected(inspection(**ports))
    assert (info.name, info.labels, info.ports) == ("dev-app", {"a": "b"}, {2200: 22})
    assert (info.running, info.exit_code) == (True, None)


@pytest.mark.parametrize(
    "bindings",
    [{"²/tcp": [{"HostPort": "1"}]}, {"22/tcp": [{"HostPort": "²"}]}, {"22/tcp": 5}, {"22/tcp": ["x"]}, {"/": [{}]}],
)
def test_odd_bindings_are_left_out(bindings: dict[str, object]) -> None:
    assert inspected(inspection(**bindings)).ports == {}


def request(**more: Any) -> ContainerRequest:
    base: dict[str, Any] = {
        "name": "dev-app",
        "image": "x",
        "hostname": "app",
        "command": ("/bin/sh", "-c", "run"),
        "labels": {"a": "b"},
        "ports": {2200: 22},
        "volumes": {"dev-app-home": "/home"},
    }
    return ContainerRequest(**{**base, **more})


def test_a_specification() -> None:
    body = specification(request())
    assert body["name"] == "dev-app"
    assert (body["entrypoint"], body["command"]) == (["/bin/sh", "-c", "run"], [])
    assert body["portmappings"] == [{"host_port": 2200, "container_port": 22, "protocol": "tcp"}]
    assert body["volumes"] == [{"Name": "dev-app-home", "Dest": "/home"}]
    assert body["restart_policy"] == "always"
    assert "resource_limits" not in body
    assert not {"privileged", "cap_add", "netns", "pidns", "mounts"} & set(body)
    json.dumps(body)


def test_limits_and_no_restart() -> None:
    body = specification(request(memory=2**30, cpus=1.5, pids=100, restart=False))
    assert body["resource_limits"] == {
        "memory": {"limit": 2**30},
        "cpu": {"period": 100_000, "quota": 150_000},
        "pids": {"limit": 100},
    }
    assert body["restart_policy"] == "no"


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ('runc: exec failed: exec: "x": executable file not found in $PATH: OCI runtime attempted to invoke', 127),
        ("crun: executable file `x` not found in $PATH: No such file or directory: OCI runtime", 127),
        ('exec failed: exec: "/etc/passwd": permission denied: OCI permission denied', 126),
        ("crun: open executable: Permission denied: OCI permission denied", 126),
        ("unable to find user x: no matching entries in passwd file", None),
        ("container state improper", None),
        ("", None),
    ],
)
def test_why_a_command_never_ran(reason: str, code: int | None) -> None:
    assert never_ran(reason) == code


def test_labels_are_all_wanted() -> None:
    assert label_filter({}) == {}
    assert json.loads(label_filter({"a": "b", "c": "d=e"})["filters"]) == {"label": ["a=b", "c=d=e"]}


@given(st.lists(st.binary(max_size=30)), st.integers(min_value=1, max_value=10))
def test_lines_are_the_same_in_any_pieces(written: list[bytes], size: int) -> None:
    data = b"\n".join(written)
    pieces = (data[start : start + size] for start in range(0, len(data), size))
    assert list(lines(pieces)) == [line for line in data.split(b"\n") if line.strip()]


def test_an_endless_line_is_left_out_and_bounded() -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"a":1}\n{"stream":"'
        for _ in range(40):
            yield b"x" * (MAX_LINE // 8)
        yield b'"}\n{"b":2}\n{"c":3}'

    assert list(lines(chunks())) == [b'{"a":1}', b'{"b":2}', b'{"c":3}']


def test_an_endless_last_line_is_left_out() -> None:
    assert list(lines(iter([b"a\n", b"x" * (MAX_LINE + 1), b"tail"]))) == [b"a"]


# A command that does not end well


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"message": "m", "cause": "c"}', "m"),
        ('{"cause": "c"}', "c"),
        ('{"error": " e "}', "e"),
        ('{"message": "", "cause": 5, "error": "e"}', "e"),
        ('{"message": 5}', '{"message": 5}'),
        ("[1]", "[1]"),
        ("null", "null"),
        (" plain words\n", "plain words"),
        ("", ""),
        ("x" * 5000, "x" * 1000),
        ("[" * 100_000, "[" * 1000),
        ('{"message": "' + "m" * 5000 + '"}', "m" * 1000),
        ("9" * 5000, "9" * 1000),
    ],
    ids=range(13),
)
def test_the_servers_words(text: str, words: str) -> None:
    assert error_text(text) == words


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe\xff", b"[" * 100_000, b"NaN}", b"9" * 5000])
def test_what_is_no_json_is_an_error_of_podman(data: bytes) -> None:
    with pytest.raises(BackendError, match="unreadable answer while asking"):
        parse_json(data, doing="asking", where="box")
