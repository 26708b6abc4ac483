"""A profile's ``options``: settings that only its backend's plugin knows, structured as strictly as all others.

Not here: the settings of l8s itself (`l8s_core.config`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from l8s_core import names
from l8s_core.errors import ConfigError
from l8s_core.model import Profile

if TYPE_CHECKING:
    from cattrs import Converter

T = TypeVar("T")


def structured_options(profile: Profile, options_type: type[T]) -> T:
    """The profile's ``options`` as a value of an attrs class, for use in a backend's factory.

    Raises:
        ConfigError: there is a key that the class does not have, one that it needs is missing, or a type is wrong.
    """
    from cattrs import transform_error
    from cattrs.errors import BaseValidationError

    try:
        return _converter().structure(dict(profile.options), options_type)
    except BaseValidationError as error:
        problems = "\n".join(f"  {text}" for text in transform_error(error, path="options"))
        raise ConfigError(
            f"The backend {profile.backend} does not take the options of profile {profile.name}{_where(profile)}:\n"
            f"{problems}",
            hints=("See what is set: l8s profile show", "See which plugin has the backend: l8s plugins"),
        ) from error


def check_options(profile: Profile, options_type: type | None) -> None:
    """Check ``options`` before the backend is made.

    Raises:
        ConfigError: they do not fit ``options_type``; None takes no options at all.
    """
    if options_type is not None:
        structured_options(profile, options_type)
    elif profile.options:
        raise ConfigError(
            f"The backend {profile.backend} takes no options, but profile {profile.name}{_where(profile)} has: "
            f"{', '.join(map(names.printable, sorted(profile.options)))}.",
            hints=("Remove them from the profile: l8s profile show",),
        )


def _where(profile: Profile) -> str:
    """Where the options were written, in parentheses; "" when nobody says."""
    source = profile.sources.get("options", "default")
    return "" if source == "default" else f" ({source})"


def _converter() -> Converter:
    """A converter that coerces nothing: "false" is no boolean and "1" no number."""
    from cattrs import Converter

    converter = Converter(forbid_extra_keys=True, detailed_validation=True)
    for kind in (bool, int, float, str):
        converter.register_structure_hook(kind, _exactly)
    return converter


def _exactly(value: object, kind: type[T]) -> T:
    if type(value) is kind:
        return value
    raise ValueError(f"{value!r} is not of the type {kind.__name__}")
