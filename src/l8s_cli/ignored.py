"""Settings of other tools that would lead to a Podman elsewhere. l8s ignores them and says so.

Not here: the rule itself (`l8s_core.policy`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from l8s_core import files
from l8s_core.errors import LocalFileError

VARIABLES = ("CONTAINER_HOST", "CONTAINER_CONNECTION", "DOCKER_HOST", "DOCKER_CONTEXT")
"""What the podman and docker commands take their server from (podman(1), docker(1))."""

MAX_CONF = 64 * 1024


def ignored_settings(environ: Mapping[str, str], home: Path) -> tuple[str, ...]:
    """What is set for podman or docker that l8s does not look at, in words; () when there is nothing."""
    found = [name for name in VARIABLES if environ.get(name)]
    folder = home / ".config" / "containers"
    if environ.get("XDG_CONFIG_HOME"):
        folder = Path(environ["XDG_CONFIG_HOME"]) / "containers"
    connections = folder / "podman-connections.json"
    if connections.is_file():
        found.append(files.display(connections))
    conf = folder / "containers.conf"
    if _names_a_server(conf):
        found.append(f"the service destinations in {files.display(conf)}")
    return tuple(found)


def warning(settings: tuple[str, ...], profile: str) -> str:
    """The sentence about ``settings``, for a command that uses ``profile``."""
    verb = "are" if len(settings) > 1 else "is"
    return (
        f"{', '.join(settings)} {verb} ignored: l8s is remote-only and connects through SSH to the server of its "
        f"profile {profile!r}."
    )


def _names_a_server(conf: Path) -> bool:
    """Whether ``conf`` has ``[engine] service_destinations`` or ``active_service`` (containers.conf(5))."""
    try:
        data = files.read_limited(conf, MAX_CONF)
        if not data:
            return False
        import tomllib

        engine = tomllib.loads(data.decode("utf-8")).get("engine")
    except (LocalFileError, ValueError, RecursionError):
        return False
    return isinstance(engine, dict) and bool(engine.get("service_destinations") or engine.get("active_service"))
