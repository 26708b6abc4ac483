"""Profiles: what the config says, layered over plugins and defaults; which profile is active, and why.

Reading is strict: nothing is coerced, every value goes through `l8s_core.names`, and all problems are
reported at once, each with its place and what to write instead. Changing the config is done by pure functions
from plain data to plain data, which `ConfigStore.edit` takes. Not here: files and YAML (a ConfigStore), and
what a backend's ``options`` mean (the backend).

For one profile, later wins, key by key (and label by label):

    l8s's own default < the file's top level < a plugin's profile < the file's ``profiles.NAME``

A file without ``profiles:`` is one profile, ``dev``; its keys are then nobody else's defaults.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Never, NewType

import attrs
from attrs import field, frozen

from l8s_core import names
from l8s_core.contracts import ConfigDocument
from l8s_core.errors import ConfigError, InvalidValue, L8sError, PluginError, no_configuration
from l8s_core.model import Profile

if TYPE_CHECKING:
    from cattrs import BaseValidationError, Converter

FLAT_PROFILE = "dev"
"""The name of the one profile of a file without ``profiles:``."""
ACTIVE_KEY = "active_profile"
PROFILES_KEY = "profiles"
PROFILE_VARIABLE = "L8S_PROFILE"
MAX_PROBLEMS = 10
"""How many are told at once; a file with more is none that somebody mistyped."""

_ProfileName = NewType("_ProfileName", str)
_LabelKey = NewType("_LabelKey", str)
_LabelValue = NewType("_LabelValue", str)
_Path = tuple[str, ...]


@frozen(kw_only=True)
class ProfileLayer:
    """Some of a profile's settings, from one place; None means that it does not say."""

    remote_host: str | None = None
    remote_user: str | None = None
    remote_port: int | None = None
    remote_socket: str | None = None
    ssh_key_path: str | None = None
    base_image: str | None = None
    container_user: str | None = None
    container_prefix: str | None = None
    ssh_start_port: int | None = None
    labels: Mapping[str, str] | None = None
    backend: str | None = None
    ssh_config_writer: str | None = None
    options: Mapping[str, object] | None = None
    host_key_checking: bool | None = None
    forward_agent: bool | None = None


SETTINGS: tuple[str, ...] = tuple(item.name for item in attrs.fields(ProfileLayer))
"""Every key of a profile in a config, in the order in which they are shown."""


@frozen(kw_only=True)
class _Whole:
    """A config file, with its top level moved under ``top`` so that one attrs class describes it."""

    top: ProfileLayer
    profiles: Mapping[str, ProfileLayer] = field(factory=dict)
    active_profile: str | None = None


@frozen(kw_only=True)
class Config:
    """The config as it was read.

    ``profiles`` are the file's, ``plugin_profiles`` come with their plugins' names, and ``top`` are the
    defaults at the file's top level (of a flat file: none).
    """

    document: ConfigDocument
    top: ProfileLayer
    profiles: Mapping[str, ProfileLayer]
    plugin_profiles: tuple[tuple[str, Profile], ...] = ()
    active_profile: str | None = None
    flat: bool = False

    def names(self) -> tuple[str, ...]:
        """Every profile's name: the file's in their order there, then the plugins'."""
        return tuple(dict.fromkeys((*self.profiles, *(profile.name for _, profile in self.plugin_profiles))))

    def profile(self, name: str) -> Profile:
        """The profile ``name``, merged from every layer.

        Raises:
            ConfigError: there is none of that name, it lacks its server, or it shares a prefix with another.
            PluginError: two plugins supply it, or a plugin's values are not valid.
        """
        if name not in self.names():
            raise self.unknown(name)
        values, sources = self._merge(name)
        missing = [key for key in ("remote_host", "remote_user") if key not in values]
        if missing:
            where = self.document.where(self._place(name))
            raise ConfigError(
                no_configuration(self.document.location).message,
                hints=(f"Profile {name} at {where} lacks {' and '.join(missing)}",),
                profile=name,
            )
        sources = {key: sources.get(key, "default") for key in SETTINGS}
        profile: Profile = Profile(name=name, sources=sources, **values)  # type: ignore[arg-type]
        self._refuse_shared_prefix(profile)
        return profile

    def unknown(self, name: str) -> ConfigError:
        """The error for a profile that does not exist; without any profile, for no configuration."""
        choices = self.names()
        if not choices:
            return no_configuration(self.document.location)
        close = difflib.get_close_matches(name, choices, 1)
        return ConfigError(
            f"There is no profile {names.shown(name)}. The choices are: {', '.join(choices)}",
            hints=(
                *(f"Did you mean {match}?" for match in close),
                "See them all: l8s profile list",
                "Add one: l8s profile add NAME --host HOST --user USER",
            ),
        )

    def _place(self, name: str) -> _Path:
        return () if self.flat else (PROFILES_KEY, name)

    def _layers(self, name: str) -> Iterator[tuple[ProfileLayer, Callable[[str], str]]]:
        """The layers of one profile, weakest first, each with what tells where one of its keys stands."""
        yield self.top, lambda key: self.document.where((key,))
        suppliers = [(plugin, profile) for plugin, profile in self.plugin_profiles if profile.name == name]
        if len(suppliers) > 1:
            who = " and ".join(plugin for plugin, _ in suppliers)
            raise PluginError(
                f"Profile {name} comes from more than one plugin: {who}",
                hints=(f"Block one of them: export L8S_BLOCK_PLUGINS={suppliers[-1][0]}",),
                profile=name,
            )
        for plugin, profile in suppliers:
            yield _plugin_layer(plugin, profile), partial(_from_plugin, plugin)
        if name in self.profiles:
            place = self._place(name)
            yield self.profiles[name], lambda key: self.document.where((*place, key))

    def _merge(self, name: str) -> tuple[dict[str, object], dict[str, str]]:
        values: dict[str, object] = {}
        sources: dict[str, str] = {}
        for layer, where in self._layers(name):
            for key, value in _said(layer):
                if key == "labels":
                    merged = {**_labels(values.get(key)), **_labels(value)}
                    places = (sources.get(key), where(key))
                    values[key], sources[key] = merged, ", ".join(place for place in places if place)
                else:
                    values[key], sources[key] = value, where(key)
        return values, sources

    def _prefix(self, name: str) -> str:
        prefix = name
        for layer, _ in self._layers(name):
            prefix = layer.container_prefix or prefix
        return prefix

    def _prefix_place(self, name: str) -> str:
        """Where the prefix of the profile ``name`` was written, or where the profile begins that it is named after."""
        found = self.document.where(self._place(name))
        for layer, where in self._layers(name):
            found = where("container_prefix") if layer.container_prefix else found
        return found

    def _refuse_shared_prefix(self, profile: Profile) -> None:
        for other in self.names():
            if other == profile.name:
                continue
            try:
                prefix = self._prefix(other)
            except PluginError:
                continue  # a broken neighbour is reported when it is used, not here
            if prefix == profile.container_prefix:
                raise ConfigError(
                    f"{self._prefix_place(profile.name)}: profiles {profile.name} and {other} "
                    f"({self._prefix_place(other)}) share the container_prefix {prefix}, "
                    "so their containers would share their ssh aliases",
                    hints=(
                        f"Write another container_prefix for one of them in {self.document.location}",
                        "See where each value comes from: l8s profile show NAME",
                    ),
                    profile=profile.name,
                )


@frozen
class Choice:
    """Which profile is in use, and why.

    ``reason`` is ``--profile``, ``L8S_PROFILE``, ``active_profile in ~/.l8s/config.yaml:2`` or ``the only
    profile``.
    """

    name: str
    reason: str


def parse(document: ConfigDocument, plugin_profiles: Sequence[tuple[str, Profile]] = ()) -> Config:
    """Read a config strictly; ``plugin_profiles`` are pairs of a plugin's name and a profile of its.

    Raises:
        ConfigError: with every problem in the document, each with its place and what to write instead.
    """
    from cattrs import BaseValidationError

    data = dict(document.data)
    has_profiles = PROFILES_KEY in data
    raw: dict[str, object] = {key: data.pop(key) for key in (PROFILES_KEY, ACTIVE_KEY) if key in data}
    raw["top"] = data
    try:
        whole = _converter().structure(raw, _Whole)
    except BaseValidationError as error:
        raise _config_error(document, list(_problems(error, ()))) from None
    flat = not has_profiles
    profiles = whole.profiles if has_profiles else ({FLAT_PROFILE: whole.top} if data else {})
    return Config(
        document=document,
        top=ProfileLayer() if flat else whole.top,
        profiles=profiles,
        plugin_profiles=tuple(plugin_profiles),
        active_profile=whole.active_profile,
        flat=flat,
    )


def choose(config: Config, *, flag: str | None, environ: Mapping[str, str]) -> Choice:
    """``--profile`` (``flag``), else ``L8S_PROFILE``, else ``active_profile``, else the only profile.

    The only one of the file counts; where it has none, the only one of the plugins.

    Raises:
        ConfigError: the profile does not exist, nothing is configured, or of several none is active.
    """
    variable = environ.get(PROFILE_VARIABLE) or None
    known = config.names()
    for name, reason in (
        (flag, "--profile"),
        (variable, PROFILE_VARIABLE),
        (config.active_profile, f"{ACTIVE_KEY} in {config.document.where((ACTIVE_KEY,))}"),
    ):
        if name is None:
            continue
        if name in known:
            return Choice(name, reason)
        error = config.unknown(name)
        if known:
            error = ConfigError(f"{error.message}\n({reason} names it)", hints=error.hints)
        raise error
    candidates = tuple(config.profiles) or known
    if not candidates:
        raise no_configuration(config.document.location)
    if len(candidates) > 1:
        raise ConfigError(
            f"There are several profiles and none is active: {', '.join(candidates)}\n(in {config.document.location})",
            hints=("Choose one for good: l8s profile use NAME", "Or for one command: l8s --profile NAME ..."),
        )
    return Choice(candidates[0], "the only profile")


# Changing the config: plain data in, plain data out


def with_profile(
    data: Mapping[str, object], name: str, settings: Mapping[str, object], *, replace: bool = False
) -> dict[str, object]:
    """``data`` with one more profile. With ``replace`` it may exist: ``settings`` are then laid over its own.

    A setting of None is left out, or taken out. On an empty config ``dev`` is written flat. A second profile
    next to a flat one moves that into ``profiles:``; the profile that was the only one becomes active.

    Raises:
        ConfigError: the name is not valid or, without ``replace``, taken.
    """
    names.profile_name(name)
    result = dict(data)
    flat_keys = {key: value for key, value in result.items() if key not in (PROFILES_KEY, ACTIVE_KEY)}
    if PROFILES_KEY not in result:
        if name == FLAT_PROFILE:
            if flat_keys and not replace:
                raise _taken(name)
            return _laid_over(result, settings)
        if not flat_keys:
            return {ACTIVE_KEY: result.get(ACTIVE_KEY, name), PROFILES_KEY: {name: _laid_over({}, settings)}}
        return {
            ACTIVE_KEY: result.get(ACTIVE_KEY, FLAT_PROFILE),
            PROFILES_KEY: {FLAT_PROFILE: flat_keys, name: _laid_over({}, settings)},
        }
    profiles = _file_profiles(result)
    if name in profiles and not replace:
        raise _taken(name)
    only = name if not profiles else next(iter(profiles)) if len(profiles) == 1 else None
    before = profiles.get(name)
    profiles[name] = _laid_over(before if isinstance(before, Mapping) else {}, settings)
    result[PROFILES_KEY] = profiles
    return result if ACTIVE_KEY in result or only is None else {ACTIVE_KEY: only, **result}


def without_profile(data: Mapping[str, object], name: str) -> dict[str, object]:
    """``data`` without the profile ``name``; when it was the active one, none is.

    Raises:
        ConfigError: the config has no such profile (a plugin's cannot be removed from it).
    """
    result = dict(data)
    if PROFILES_KEY in result:
        profiles = _file_profiles(result)
    else:
        profiles = {FLAT_PROFILE: None} if set(result) - {ACTIVE_KEY} else {}
    if name not in profiles:
        choices = ", ".join(profiles) or "none"
        raise ConfigError(
            f"The config has no profile {names.shown(name)}. The choices are: {choices}",
            hints=("See where each one comes from: l8s profile list",),
        )
    if result.get(ACTIVE_KEY) == name:
        del result[ACTIVE_KEY]
    if PROFILES_KEY not in result:
        return {key: value for key, value in result.items() if key == ACTIVE_KEY}
    del profiles[name]
    # Without `profiles:` the defaults that remain would turn into a flat profile.
    if profiles or set(result) - {PROFILES_KEY, ACTIVE_KEY}:
        result[PROFILES_KEY] = profiles
    else:
        del result[PROFILES_KEY]
    return result


def with_active(data: Mapping[str, object], name: str) -> dict[str, object]:
    """``data`` with ``name`` as the active profile; the caller checks that it exists, be it a plugin's.

    Raises:
        ConfigError: the name is not valid.
    """
    names.profile_name(name)
    return {**data, ACTIVE_KEY: name} if ACTIVE_KEY in data else {ACTIVE_KEY: name, **data}


def _taken(name: str) -> ConfigError:
    return ConfigError(
        f"There is a profile {name} already",
        hints=(f"See it: l8s profile show {name}", f"Remove it first: l8s profile remove {name}"),
    )


def _laid_over(before: Mapping[str, object], settings: Mapping[str, object]) -> dict[str, object]:
    merged = {**before, **settings}
    return {key: value for key, value in merged.items() if key not in settings or value is not None}


def _file_profiles(data: Mapping[str, object]) -> dict[str, object]:
    profiles = data[PROFILES_KEY]
    if not isinstance(profiles, Mapping):
        raise ConfigError(
            f"{PROFILES_KEY} is {names.shown(profiles)}, it must be a mapping of names to settings",
            hints=("Write the profiles under it, or remove the line",),
        )
    return dict(profiles)


# Layers


def _from_plugin(plugin: str, _key: str) -> str:
    return f"plugin {plugin}"


def _said(layer: ProfileLayer) -> Iterator[tuple[str, object]]:
    for key in SETTINGS:
        value: object = getattr(layer, key)
        if value is not None:
            yield key, value


def _labels(value: object) -> dict[str, object]:
    return dict(value) if isinstance(value, Mapping) else {}


def _plugin_layer(plugin: str, profile: Profile) -> ProfileLayer:
    """What a plugin's profile says: the fields that differ from `Profile`'s defaults, checked like a file's.

    Raises:
        PluginError: a value is not valid.
    """
    from cattrs import BaseValidationError

    plain = Profile(name=profile.name, remote_host=profile.remote_host, remote_user=profile.remote_user)
    said = {key: getattr(profile, key) for key in SETTINGS if getattr(profile, key) != getattr(plain, key)}
    said |= {"remote_host": profile.remote_host, "remote_user": profile.remote_user}
    try:
        names.profile_name(profile.name)
        return _converter().structure(said, ProfileLayer)
    except (BaseValidationError, InvalidValue) as error:
        problems = [((), error)] if isinstance(error, InvalidValue) else list(_problems(error, ()))
        listed = "\n".join(f"  {'.'.join((*path, ''))[:-1] or 'name'}: {_words(found)[0]}" for path, found in problems)
        raise PluginError(
            f"Plugin {plugin} supplies profile {names.shown(profile.name)} with invalid values:\n{listed}",
            hints=(f"Tell its author, or go on without it: export L8S_BLOCK_PLUGINS={plugin}",),
            profile=names.printable(str(profile.name)),
        ) from None


# Strict structuring


def _text(check: Callable[[object], str]) -> Callable[[object, object], str]:
    def structure(value: object, _type: object) -> str:
        if isinstance(value, bool | int | float):
            raise InvalidValue(f"{names.shown(value)} is not text", hints=(f'Write it in quotes: "{_plain(value)}"',))
        return check(_present(value))

    return structure


def _number(check: Callable[[object], int]) -> Callable[[object, object], int]:
    def structure(value: object, _type: object) -> int:
        if isinstance(value, str) and value.isascii() and value.isdigit():
            raise InvalidValue(
                f"{names.shown(value)} is text, not a number",
                hints=(f"Write it without quotes: {value[:10]}",),
            )
        return check(_present(value))

    return structure


def _boolean(value: object, _type: object) -> bool:
    if isinstance(_present(value), bool):
        return value is True
    raise InvalidValue(
        f"{names.shown(value)} is neither true nor false", hints=("Write true or false, without quotes",)
    )


def _present(value: object) -> object:
    if value is None:
        raise InvalidValue("it has no value", hints=("Write one, or remove the line",))
    return value


def _plain(value: float) -> str:
    return str(value).lower() if isinstance(value, bool) else names.shown(value)


def _mapping(value: object, example: str) -> dict[str, object]:
    """A copy of a mapping. A careless store may hand over keys that are not text."""
    if not isinstance(_present(value), Mapping):
        raise InvalidValue(f"{names.shown(value)} is not a mapping", hints=(f"Write it like {example}",))
    assert isinstance(value, Mapping)
    for key in value:
        if not isinstance(key, str):
            raise InvalidValue(f"the key {names.shown(key)} is not text", hints=("Write it in quotes",))
    return dict(value)


def _options(value: object, _type: object) -> dict[str, object]:
    return _mapping(value, "options: {key: value}")


@cache
def _converter() -> Converter:
    """The one converter. It coerces nothing: cattrs alone would read "false" as True and None as "None"."""
    from cattrs import Converter
    from cattrs.gen import make_dict_structure_fn, override

    converter = Converter(forbid_extra_keys=True, detailed_validation=True)
    converter.register_structure_hook(_ProfileName, _text(names.profile_name))
    converter.register_structure_hook(_LabelKey, _text(names.label_key))
    converter.register_structure_hook(_LabelValue, _text(names.label_value))

    def labels(value: object, _type: object) -> Mapping[str, str]:
        pairs = converter.structure(_mapping(value, "labels: {team: blue}"), dict[_LabelKey, _LabelValue])
        return dict(pairs.items())

    def layer(value: object, _type: object) -> ProfileLayer:
        return structure_layer(_mapping(value, "dev: {remote_host: server.example.com}"), ProfileLayer)

    def profiles(value: object, _type: object) -> Mapping[str, ProfileLayer]:
        plain = _mapping(value, "profiles: {dev: {remote_host: server.example.com, remote_user: root}}")
        return dict(converter.structure(plain, dict[_ProfileName, ProfileLayer]).items())

    checks: dict[str, Callable[[object, object], object]] = {
        "remote_host": _text(names.host),
        "remote_user": _text(names.remote_user),
        "remote_port": _number(names.port),
        "remote_socket": _text(names.socket_path),
        "ssh_key_path": _text(names.local_path),
        "base_image": _text(names.image),
        "container_user": _text(names.container_user),
        "container_prefix": _text(names.prefix),
        "ssh_start_port": _number(names.start_port),
        "labels": labels,
        "backend": _text(names.plugin_name),
        "ssh_config_writer": _text(names.plugin_name),
        "options": _options,
        "host_key_checking": _boolean,
        "forward_agent": _boolean,
    }
    structure_layer = make_dict_structure_fn(
        ProfileLayer,
        converter,
        _cattrs_forbid_extra_keys=True,
        _cattrs_detailed_validation=True,
        **{key: override(struct_hook=check) for key, check in checks.items()},  # type: ignore[arg-type]
    )
    converter.register_structure_hook(ProfileLayer, layer)
    converter.register_structure_hook(
        _Whole,
        make_dict_structure_fn(
            _Whole,
            converter,
            _cattrs_forbid_extra_keys=True,
            _cattrs_detailed_validation=True,
            profiles=override(struct_hook=profiles),
            active_profile=override(struct_hook=_text(names.profile_name)),
        ),
    )
    return converter


# Problems in words


def _problems(error: BaseValidationError, path: _Path) -> Iterator[tuple[_Path, Exception]]:
    """Every leaf of cattrs' tree of errors, with the path of the key that it is about."""
    from cattrs import (
        BaseValidationError,
        ClassValidationError,
        ForbiddenExtraKeysError,
        IterableValidationError,
    )

    noted: list[tuple[Exception, str]] = []
    if isinstance(error, ClassValidationError):
        found, bare = error.group_exceptions()
        noted = [(exception, note.name) for exception, note in found]
    elif isinstance(error, IterableValidationError):
        items, bare = error.group_exceptions()
        noted = [(exception, str(note.index)) for exception, note in items]
    else:
        bare = list(error.exceptions)
    for exception, name in noted:
        deeper = path if name == "top" and not path else (*path, name)
        if isinstance(exception, BaseValidationError):
            yield from _problems(exception, deeper)
        else:
            yield deeper, exception
    for exception in bare:
        if isinstance(exception, ForbiddenExtraKeysError):
            for key in exception.extra_fields:
                yield (*path, str(key)), _unknown_key(str(key), path)
        else:
            yield path, exception


def _unknown_key(key: str, path: _Path) -> InvalidValue:
    inside = bool(path)
    if inside and key in (PROFILES_KEY, ACTIVE_KEY):
        return InvalidValue("it belongs to the top level of the config", hints=("Move it there, not indented",))
    choices = SETTINGS if inside else (*SETTINGS, PROFILES_KEY, ACTIVE_KEY)
    close = difflib.get_close_matches(key.replace("-", "_").lower(), choices, 1)
    if close:
        return InvalidValue("there is no such key", hints=(f"Did you mean {close[0]}?",))
    return InvalidValue("there is no such key", hints=(f"The keys are: {', '.join(choices)}",))


def _words(error: Exception) -> tuple[str, tuple[str, ...]]:
    if isinstance(error, L8sError):
        return error.message, error.hints
    return f"it cannot be read ({type(error).__name__})", ()


def _cut(key: str) -> str:
    return names.printable(key[: names.SHOWN_CHARACTERS]) + "..."


def _config_error(document: ConfigDocument, problems: list[tuple[_Path, Exception]]) -> Never:
    def line(problem: tuple[_Path, Exception]) -> int:
        return document.lines.get(problem[0], 0)

    lines: list[str] = []
    for path, error in sorted(problems, key=line)[:MAX_PROBLEMS]:
        message, hints = _words(error)
        key = ".".join(names.printable(part) if len(part) <= names.SHOWN_CHARACTERS else _cut(part) for part in path)
        lines += [f"{document.where(path)}: {key}: {message}", *(f"    {hint}" for hint in hints)]
    if len(problems) > MAX_PROBLEMS:
        lines.insert(0, f"The config has {len(problems)} problems. The first {MAX_PROBLEMS}:")
    elif len(problems) > 1:
        lines.insert(0, f"The config has {len(problems)} problems.")
    raise ConfigError("\n".join(lines), hints=(f"Correct it in {document.location}",))
