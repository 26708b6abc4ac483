"""The values of `l8s_core.model`, and l8s's errors, as plain data for the wire, and back."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from l8s_core import errors
from l8s_core.errors import BackendError, L8sError

if TYPE_CHECKING:
    from cattrs import Converter

T = TypeVar("T")


@cache
def _converter() -> Converter:
    from cattrs import Converter

    converter = Converter(detailed_validation=False)
    converter.register_structure_hook(datetime, lambda text, _: datetime.fromisoformat(text))
    converter.register_structure_hook(type(None), lambda _data, _kind: None)
    converter.register_structure_hook(bytes, lambda text, _: base64.b64decode(text))
    return converter


def packed(value: Any) -> Any:
    """``value`` as JSON can hold it."""
    if isinstance(value, str | int | float | None):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, datetime):
        return value.isoformat()
    fields = getattr(value, "__attrs_attrs__", None)
    if fields is not None:
        return {item.name: packed(getattr(value, item.name)) for item in fields}
    if isinstance(value, Mapping):
        return {str(key): packed(item) for key, item in value.items()}
    return [packed(item) for item in value]


def unpacked(data: Any, kind: type[T]) -> T:
    """The value of type ``kind`` that was `packed`."""
    return _converter().structure(data, kind)


def packed_error(error: BaseException) -> dict[str, Any]:
    """An error, as it is to be raised at the other side; one that is none of ours becomes a `BackendError`."""
    if not isinstance(error, L8sError):
        error = BackendError(
            f"The process that keeps the connection failed: {type(error).__name__}: {error}",
            hints=("End it, and try again: l8s disconnect", "See its log: l8s doctor"),
        )
    return {
        "kind": error.kind,
        "values": {
            name: {"bytes": packed(value)} if isinstance(value, bytes) else packed(value)
            for name, value in vars(error).items()
            if not name.startswith("_")
        },
    }


def unpacked_error(data: Mapping[str, Any]) -> L8sError:
    """The error that was packed: of the class of l8s's own that the original was, or extended."""
    kind = getattr(errors, str(data.get("kind")), None)
    if not (isinstance(kind, type) and issubclass(kind, L8sError)):
        kind = L8sError
    values = {name: _value(value) for name, value in data.get("values", {}).items()}
    error = kind.__new__(kind)
    Exception.__init__(error, values.get("message", ""))
    vars(error).update(values)
    return error


def _value(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"bytes"}:
        return base64.b64decode(value["bytes"])
    return tuple(value) if isinstance(value, list) else value


LOOKS = frozenset({"machine", "facts", "list", "inspect", "ports_in_use", "volumes", "download", "server_time"})
"""The calls that change nothing on the server."""
