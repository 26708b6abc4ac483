"""What Podman says, read warily, and what it is asked, in its own words. Pure.

Nothing here trusts a type or a range: an answer may come from a version that nobody has seen. Not here: asking
(`l8s_podman.api`), and what an answer means for a container (`l8s_podman.backend`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from l8s_core.errors import BackendError
from l8s_core.model import ContainerInfo, ContainerRequest

MAX_LINE = 1024 * 1024
"""Bytes of a build log's line."""

CPU_PERIOD = 100_000
"""Microseconds; the CFS period in which `cpus` is counted (the kernel's and Podman's default)."""

_PORT = re.compile(r"[0-9]{1,5}")

NO_EXECUTABLE = re.compile(r"no such file or directory|executable file .*not found|not found in \$PATH", re.IGNORECASE)


class RequestFailed(BackendError):
    """The API answered with an error. ``status`` is the HTTP status, ``reason`` the server's words."""

    def __init__(self, doing: str, where: str, status: int, reason: str) -> None:
        super().__init__(f"Podman on {where} failed while {doing}: {reason or f'HTTP status {status}'}")
        self.status = status
        self.reason = reason


def parse_json(data: bytes, *, doing: str, where: str) -> Any:
    """Parse an answer.

    Raises:
        BackendError: it is not JSON.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BackendError(f"Podman on {where} gave an unreadable answer while {doing}.") from error


def error_text(text: str) -> str:
    """The server's words in an error answer: libpod's ``cause`` and ``message``, or the beginning of the text."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return text.strip()[:1000]
    if isinstance(body, dict):
        for key in ("message", "cause", "error"):
            value = body.get(key)
            if isinstance(value, str) and value:
                return value.strip()[:1000]
    return text.strip()[:1000]


def quoted(name: str) -> str:
    """A name for use in a path: nothing in it may be a separator."""
    return quote(name, safe="")


def as_mapping(value: object) -> Mapping[str, Any]:
    """``value`` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def mapping(value: object, key: str) -> Mapping[str, Any]:
    """The JSON object at ``key`` of ``value``, or an empty one."""
    return as_mapping(as_mapping(value).get(key))


def number(value: object) -> int:
    """``value`` if it is a JSON integer, else 0."""
    return value if isinstance(value, int) else 0


def text_mapping(value: object) -> dict[str, str]:
    """A JSON object with everything in it as text, labels for one."""
    return {str(key): str(item) for key, item in as_mapping(value).items()}


def label_filter(labels: Mapping[str, str]) -> dict[str, str]:
    """The filters parameter that means all of ``labels``; none for none."""
    if not labels:
        return {}
    return {"filters": json.dumps({"label": [f"{key}={value}" for key, value in labels.items()]})}


def identity(text: str) -> dict[str, str]:
    """What the backend's identity script printed, by name. The last line of a name counts."""
    pairs = (line.partition(" ") for line in text.splitlines() if line.startswith("l8s-"))
    return {name.removeprefix("l8s-"): value.strip() for name, _, value in pairs}


def process_start(stat: str, ticks: str) -> float | None:
    """Seconds since boot at which the process of a /proc/PID/stat line started; None when it cannot be read.

    Field 22, counted behind the parenthesised command name, which may hold anything (proc(5)).
    """
    fields = stat.rpartition(")")[2].split()
    try:
        return int(fields[19]) / int(ticks)
    except (IndexError, ValueError, ZeroDivisionError):
        return None


def published(ports: object) -> dict[int, int]:
    """Server port to container port, TCP only, of a list row's ``Ports``; ranges are spelled out."""
    found: dict[int, int] = {}
    for port in ports if isinstance(ports, list) else []:
        entry = as_mapping(port)
        if str(entry.get("protocol", "tcp")) != "tcp":
            continue
        host, inner = number(entry.get("host_port")), number(entry.get("container_port"))
        if host:  # 0 and null: not published
            for offset in range(min(max(1, number(entry.get("range"))), 65536 - host)):
                found[host + offset] = inner + offset
    return found


def moment(value: object) -> datetime | None:
    """A timestamp as Podman writes it (RFC 3339 with up to nine decimals), in UTC; None when it is none."""
    text = str(value)
    match = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)$", text)
    if match is None:
        return None
    zone = "+00:00" if match[3] == "Z" else match[3]
    with suppress(ValueError, OverflowError):
        return datetime.fromisoformat(match[1] + (match[2] or "")[:7] + zone).astimezone(UTC)
    return None


def listed(row: Mapping[str, Any]) -> ContainerInfo:
    """A container of a list answer."""
    names = row.get("Names")
    return ContainerInfo(
        id=str(row.get("Id", "")),
        name=str(names[0]) if isinstance(names, list) and names else str(row.get("Id", ""))[:12],
        image=str(row.get("Image", "")),
        state=str(row.get("State", "unknown")),
        labels=text_mapping(row.get("Labels")),
        ports=published(row.get("Ports")),
        created=moment(row.get("Created")),
        exit_code=number(row.get("ExitCode")) if row.get("Exited") else None,
    )


def inspected(value: object) -> ContainerInfo:
    """A container of an inspect answer."""
    data = as_mapping(value)
    state = mapping(data, "State")
    ports: dict[int, int] = {}
    for inner, bindings in mapping(mapping(data, "HostConfig"), "PortBindings").items():
        port, _, protocol = str(inner).partition("/")
        for binding in bindings if isinstance(bindings, list) else []:
            outer = str(as_mapping(binding).get("HostPort", ""))
            if protocol in ("", "tcp") and _PORT.fullmatch(port) and _PORT.fullmatch(outer):
                ports[int(outer)] = int(port)
    status = str(state.get("Status", "unknown"))
    return ContainerInfo(
        id=str(data.get("Id", "")),
        name=str(data.get("Name", "")).lstrip("/"),
        image=str(data.get("ImageName", "")),
        state=status,
        labels=text_mapping(mapping(data, "Config").get("Labels")),
        ports=ports,
        created=moment(data.get("Created")),
        exit_code=number(state.get("ExitCode")) if status in ("exited", "stopped") else None,
    )


def specification(request: ContainerRequest) -> dict[str, Any]:
    """The body of a libpod create request (SpecGenerator in Podman's pkg/specgen)."""
    limits: dict[str, Any] = {}
    if request.memory is not None:
        limits["memory"] = {"limit": request.memory}
    if request.cpus is not None:
        limits["cpu"] = {"period": CPU_PERIOD, "quota": round(request.cpus * CPU_PERIOD)}
    if request.pids is not None:
        limits["pids"] = {"limit": request.pids}
    body: dict[str, Any] = {
        "name": request.name,
        "image": request.image,
        "hostname": request.hostname,
        "entrypoint": list(request.command),
        "command": [],
        "user": "0:0",
        "work_dir": "/",
        "labels": dict(request.labels),
        "portmappings": [
            {"host_port": outer, "container_port": inner, "protocol": "tcp"} for outer, inner in request.ports.items()
        ],
        "volumes": [{"Name": volume, "Dest": path} for volume, path in request.volumes.items()],
        # podman-restart.service, which starts containers at boot, looks for "always" only.
        "restart_policy": "always" if request.restart else "no",
    }
    if limits:
        body["resource_limits"] = limits
    return body


def never_ran(reason: str) -> int | None:
    """The shell's exit code for a command that could not be started; None when something else failed."""
    lowered = reason.lower()
    if "permission denied" in lowered and "exec" in lowered:
        return 126
    if NO_EXECUTABLE.search(reason):
        return 127
    return None


def lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Whole lines of a stream; the last one may lack its end. A line over 1 MiB is left out."""
    rest = b""
    skipping = False
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        if whole and skipping:
            whole, skipping = whole[1:], False
        yield from (line for line in whole if line.strip())
        if len(rest) > MAX_LINE:
            rest, skipping = b"", True
    if rest.strip() and not skipping:
        yield rest
