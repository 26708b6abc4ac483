"""Loading plugins, blocking them, listing them, and calling their hooks.

The only module that touches pluggy's PluginManager. Two of pluggy's habits would let one plugin take the others
down: its loader stops at the first ImportError and skips a second plugin of the same name in silence, and one
raising hook stops the rest. So entry points are walked here, and hook functions are called one plugin at a time.

Not here: what the hooks are (`l8s_core.hookspecs`) and what is done with what they yield.
"""

from __future__ import annotations

import difflib
import inspect
import logging
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import EntryPoint, distributions, entry_points
from types import ModuleType
from typing import Literal, TypeVar, get_args, get_origin, get_type_hints

import pluggy
from attrs import define, evolve, field, frozen

from l8s_core import hookspecs, names
from l8s_core.errors import OperationVetoed, PluginError
from l8s_core.hookspecs import PROJECT_NAME
from l8s_core.model import Operation, Outcome, Profile
from l8s_core.providers import BackendProvider, Check, ConfigStoreProvider, SSHConfigWriterProvider

OWN_DISTRIBUTION = "l8s"
"""The distribution whose plugins are the built-in ones."""

BLOCK_VARIABLE = "L8S_BLOCK_PLUGINS"
TRACE_VARIABLE = "L8S_TRACE_PLUGINS"

COMMAND_HOOKS = "l8s_cli_"
"""Hooks of this prefix are declared by the command; where only the library runs, nobody knows them, rightly."""

PluginState = Literal["loaded", "blocked", "failed"]

_HookFunction = Callable[[Mapping[str, object]], object]

_log = logging.getLogger("l8s")

_Provided = TypeVar("_Provided")
_Provider = TypeVar("_Provider", BackendProvider, ConfigStoreProvider, SSHConfigWriterProvider)


@frozen(kw_only=True)
class PluginInfo:
    """One plugin as `PluginHost.listing` reports it.

    ``distribution`` and ``version`` are "" for a plugin that was registered by hand. ``reason`` says why it is
    blocked or failed; on a loaded plugin it tells of a clash with another. ``provides`` holds
    ``"backend podman"``, ``"profile staging"``, ``"hook l8s_before_operation"``.
    """

    name: str
    distribution: str
    version: str
    state: PluginState
    reason: str = ""
    provides: tuple[str, ...] = ()


@define
class _Entry:
    """A plugin's record: ``plugin`` is None unless it is registered, ``yielded`` caches by hook."""

    info: PluginInfo
    plugin: object | None = None
    yielded: dict[str, tuple[object, ...]] = field(factory=dict)

    def fail(self, reason: str) -> None:
        """Mark as failed, keeping earlier reasons."""
        reasons = "; ".join(part for part in (self.info.reason, reason) if part)
        self.info = evolve(self.info, state="failed", reason=reasons)
        origin = f" ({self.info.distribution} {self.info.version})" if self.info.distribution else ""
        _log.warning("Plugin %s%s failed: %s", self.info.name, origin, reason)


class PluginHost:
    """The plugins of one process.

    ``PluginHost()`` has none, for libraries and tests; `load` finds the installed ones. ``blocked`` names plugins
    that are never registered.
    """

    def __init__(self, *, blocked: Collection[str] = ()) -> None:
        self._manager = pluggy.PluginManager(PROJECT_NAME)
        self._blocked = frozenset(blocked)
        self._entries: list[_Entry] = []
        self._spec_modules: list[ModuleType] = []
        self._yields: dict[str, type | None] = {}
        """For each hook that yields: the type of what it yields (None: not said)."""
        self._hook_trace = self._manager.trace.root.get("hook")
        self.add_hookspecs(hookspecs)

    @classmethod
    def load(cls, *, third_party: bool = True, environ: Mapping[str, str] = os.environ) -> PluginHost:
        """Load every installed plugin; ``third_party`` False loads only those that l8s itself brings.

        ``L8S_BLOCK_PLUGINS`` in ``environ`` names plugins, separated by commas, that are not even imported;
        ``L8S_TRACE_PLUGINS=1`` logs registrations and hook calls to stderr. The built-in plugins come first, then
        the others by name, so that nobody can take a built-in plugin's name. Never raises because of a plugin.
        """
        blocked = {name.strip() for name in environ.get(BLOCK_VARIABLE, "").split(",")} - {""}
        host = cls(blocked=blocked)
        if environ.get(TRACE_VARIABLE, "") not in ("", "0"):
            host._trace_to_stderr()
        found = sorted(_installed(), key=lambda item: (not item[1].built_in, item[0].name, item[1].name))
        for entry_point, origin in found:
            host._load(entry_point, origin, third_party=third_party)
        for name in sorted(blocked - {entry_point.name for entry_point, _ in found}):
            _log.warning("%s names %r, but no installed plugin has that name.", BLOCK_VARIABLE, name)
        return host

    def register(self, plugin: object, name: str) -> None:
        """Add a plugin by hand: a module, or an instance with hook methods.

        A blocked name is listed as blocked and nothing more.

        Raises:
            PluginError: the plugin is not usable; it is listed as failed, too.
        """
        entry = _Entry(PluginInfo(name=name, distribution="", version="", state="loaded"))
        self._entries.append(entry)
        if self._is_blocked(entry):
            return
        reason = self._admit(entry, plugin)
        if reason:
            entry.fail(reason)
            raise PluginError(f"Plugin {name!r} cannot be used: {reason}")

    def add_hookspecs(self, module: ModuleType) -> None:
        """Declare the hooks of a hookspec module; doing it again changes nothing.

        Plugins that implement them wrongly, or that use a name which is unknown now, are listed as failed.
        """
        if module in self._spec_modules:
            return
        # pluggy would stop at the first wrong implementation and leave the rest of the module undeclared.
        trial = pluggy.PluginManager(PROJECT_NAME)
        trial.add_hookspecs(module)
        for entry in self._registered():
            try:
                trial.register(entry.plugin, entry.info.name)
            except pluggy.PluginValidationError as error:
                self._expel(entry, _one_line(str(error)))
        self._manager.add_hookspecs(module)
        self._spec_modules.append(module)
        for name in dir(module):
            if self._manager.parse_hookspec_opts(module, name) is not None:
                returned = get_type_hints(getattr(module, name)).get("return")
                if get_origin(returned) is Iterable or returned is None:
                    self._yields[name] = next(iter(get_args(returned)), None)
        for entry in self._registered():
            reason = self._unusable_hook(entry.plugin)
            if reason:
                self._expel(entry, reason)

    # What there is

    def listing(self) -> tuple[PluginInfo, ...]:
        """Every plugin with its state and what it provides, for which each loaded plugin is asked for everything."""
        for hook in sorted(self._yields):
            for entry in self._registered():
                self._yielded(entry, hook)
        clashes = self._clashes()
        infos = []
        for entry in self._entries:
            shared = clashes.get(entry.info.name, ()) if entry.plugin is not None else ()
            reason = "; ".join(part for part in (entry.info.reason, *shared) if part)
            infos.append(evolve(entry.info, reason=reason, provides=tuple(self._provides(entry))))
        return tuple(infos)

    def collect(self, spec_module: ModuleType, hook_name: str) -> tuple[tuple[str, object], ...]:
        """What all plugins yield from a hook of ``spec_module``, each with its plugin's name.

        Each hook function is called once per host. One that raises, or yields something of another type than
        the hookspec's annotation says, gives nothing and marks its plugin as failed.
        """
        self.add_hookspecs(spec_module)
        return tuple(
            (entry.info.name, item) for entry in self._in_order(hook_name) for item in self._yielded(entry, hook_name)
        )

    def profiles(self) -> tuple[tuple[str, Profile], ...]:
        """The plugins' profiles, each with its plugin's name."""
        return self._collected("l8s_profiles", Profile)

    def checks(self) -> tuple[tuple[str, Check], ...]:
        """The plugins' health checks, each with its plugin's name."""
        return self._collected("l8s_checks", Check)

    def backends(self) -> Mapping[str, BackendProvider]:
        """The backends by name, without names that two plugins claim."""
        return self._unambiguous("l8s_remote_backends", BackendProvider)

    def config_stores(self) -> Mapping[str, ConfigStoreProvider]:
        """The config stores by name, without names that two plugins claim."""
        return self._unambiguous("l8s_config_stores", ConfigStoreProvider)

    def ssh_config_writers(self) -> Mapping[str, SSHConfigWriterProvider]:
        """The ssh-config writers by name, without names that two plugins claim."""
        return self._unambiguous("l8s_ssh_config_writers", SSHConfigWriterProvider)

    def backend(self, name: str, *, place: str = "") -> BackendProvider:
        """The backend of that name; ``place`` is where the name was written, for the message.

        Raises:
            PluginError: no plugin has it, or two have; the message lists the choices or names both.
        """
        return self._chosen("l8s_remote_backends", BackendProvider, name, place)

    def config_store(self, name: str, *, place: str = "") -> ConfigStoreProvider:
        """The config store of that name; raises as `backend` does."""
        return self._chosen("l8s_config_stores", ConfigStoreProvider, name, place)

    def ssh_config_writer(self, name: str, *, place: str = "") -> SSHConfigWriterProvider:
        """The ssh-config writer of that name; raises as `backend` does."""
        return self._chosen("l8s_ssh_config_writers", SSHConfigWriterProvider, name, place)

    # Around an operation

    def before(self, operation: Operation) -> None:
        """Ask every plugin whether ``operation`` may go on.

        Raises:
            OperationVetoed: a plugin said no, or its check broke. A check that broke must not let things pass,
                and one that answers anything (a generator whose body never ran, say) is broken.
        """
        for entry, function in self._functions("l8s_before_operation"):
            name = entry.info.name
            try:
                answer = function({"operation": operation})
            except OperationVetoed as veto:
                origin = f"Plugin {name!r} stopped this; 'l8s plugins' says where it comes from."
                veto.hints = (*veto.hints, origin)
                raise
            except (Exception, SystemExit) as error:
                raise _broken_check(name, f"it raised {_describe(error)}") from error
            if answer is not None:
                _discard(answer)
                raise _broken_check(name, f"it returned {type(answer).__name__} instead of nothing")

    def after(self, operation: Operation, outcome: Outcome) -> None:
        """Tell every plugin how ``operation`` ended; what they raise is logged."""
        for entry, function in self._functions("l8s_after_operation"):
            try:
                _discard(function({"operation": operation, "outcome": outcome}))
            except (Exception, SystemExit) as error:  # noqa: BLE001  an observer never hides the outcome
                name = entry.info.name
                _log.warning("Plugin %s: l8s_after_operation raised %s", name, _describe(error))

    # Loading

    def _load(self, entry_point: EntryPoint, origin: _Origin, *, third_party: bool) -> None:
        entry = _Entry(
            PluginInfo(name=entry_point.name, distribution=origin.name, version=origin.version, state="loaded")
        )
        self._entries.append(entry)
        if self._is_blocked(entry):
            return
        if not third_party and not origin.built_in:
            off = "third-party plugins are off (--no-plugins)"
            entry.info = evolve(entry.info, state="blocked", reason=off)
            return
        reason = self._taken(entry_point.name)
        if not reason:
            try:
                plugin = entry_point.load()
            except (Exception, SystemExit) as error:  # noqa: BLE001  importing a plugin may do anything
                reason = f"importing {entry_point.value} raised {_describe(error)}"
            else:
                reason = self._admit(entry, plugin)
        if reason:
            entry.fail(reason)

    def _is_blocked(self, entry: _Entry) -> bool:
        blocked = entry.info.name in self._blocked
        if blocked:
            entry.info = evolve(entry.info, state="blocked", reason=f"named in {BLOCK_VARIABLE}")
        return blocked

    def _taken(self, name: str) -> str:
        for other in self._registered():
            if other.info.name == name:
                owner = other.info.distribution or "this program"
                return f"the name {name!r} is taken by a plugin of {owner}"
        return ""

    def _admit(self, entry: _Entry, plugin: object) -> str:
        """Register with pluggy; the reason why not, or ""."""
        name = entry.info.name
        if inspect.isclass(plugin):
            return f"{plugin.__name__} is a class; a plugin is a module or an instance"
        if plugin is None:
            return "it is None; a plugin is a module or an instance"
        reason = self._taken(name)
        if reason:
            return reason
        try:
            other = self._manager.get_name(plugin)
            if other is not None:
                return f"it is the same object as plugin {other!r}"
            self._manager.register(plugin, name)
        except Exception as error:  # noqa: BLE001  registering reads the plugin's attributes, which may do anything
            return _one_line(str(error)) or _describe(error)
        reason = self._unusable_hook(plugin)
        if reason:
            self._manager.unregister(plugin, name)
            return reason
        entry.plugin = plugin
        return ""

    def _unusable_hook(self, plugin: object) -> str:
        """Why a registered plugin's hook functions cannot be called as meant, or ""."""
        callers = self._manager.get_hookcallers(plugin) or []
        if not callers:
            unmarked = [hook for hook in self._hooks() if inspect.isroutine(getattr(plugin, hook, None))]
            return "it implements no hook" + (f"; is @hookimpl missing on {unmarked[0]}?" if unmarked else "")
        for caller in callers:
            hook = caller.name
            for implementation in caller.get_hookimpls():
                if implementation.plugin is not plugin:
                    continue
                if not (caller.has_spec() or implementation.optionalhook or self._deferred(hook)):
                    return f"there is no hook named {hook}{_did_you_mean(hook, self._hooks())}"
                if implementation.wrapper or implementation.hookwrapper:
                    return f"{hook} is a hook wrapper; hooks of l8s cannot be wrapped"
                for parameter in inspect.signature(implementation.function).parameters.values():
                    # pluggy hides such arguments, differently in 1.6 and 1.7: the function would run without.
                    plain = parameter.kind is parameter.POSITIONAL_OR_KEYWORD
                    if not plain or parameter.default is not parameter.empty:
                        return f"{hook}: argument {parameter} must be a plain one without a default"
        return ""

    def _deferred(self, hook: str) -> bool:
        declared = any(name.startswith(COMMAND_HOOKS) for name in self._hooks())
        return hook.startswith(COMMAND_HOOKS) and not declared

    def _hooks(self) -> Sequence[str]:
        return [
            name
            for module in self._spec_modules
            for name in dir(module)
            if self._manager.parse_hookspec_opts(module, name) is not None
        ]

    def _expel(self, entry: _Entry, reason: str) -> None:
        self._manager.unregister(entry.plugin, entry.info.name)
        entry.plugin = None
        entry.fail(reason)

    # Calling

    def _registered(self) -> Sequence[_Entry]:
        return [entry for entry in self._entries if entry.plugin is not None]

    def _functions(self, hook: str) -> Iterator[tuple[_Entry, _HookFunction]]:
        """The functions for ``hook`` in load order, those marked tryfirst before and trylast after the others."""
        loaded = [(place, entry) for place, entry in enumerate(self._entries) if entry.plugin is not None]
        place_of = {id(entry.plugin): place for place, entry in loaded}
        implementations = sorted(
            getattr(self._manager.hook, hook).get_hookimpls(),
            key=lambda item: (not item.tryfirst, item.trylast, place_of[id(item.plugin)]),
        )
        for implementation in implementations:
            entry = self._entries[place_of[id(implementation.plugin)]]
            yield entry, partial(self._call, hook, entry.info.name, implementation)

    def _call(self, hook: str, plugin: str, implementation: pluggy.HookImpl, arguments: Mapping[str, object]) -> object:
        self._hook_trace(hook, f"[{plugin}]", dict(arguments))
        result: object = implementation.function(*(arguments[name] for name in implementation.argnames))
        self._hook_trace("finish", hook, f"[{plugin}]", "-->", result)
        return result

    def _in_order(self, hook: str) -> Sequence[_Entry]:
        entries: dict[int, _Entry] = {}
        for entry, _ in self._functions(hook):
            entries.setdefault(id(entry), entry)
        return list(entries.values())

    def _yielded(self, entry: _Entry, hook: str) -> tuple[object, ...]:
        """What one plugin yields; all of it or, when anything is wrong with it, nothing."""
        if hook not in entry.yielded:
            items: list[object] = []
            entry.yielded[hook] = ()
            try:
                for owner, function in self._functions(hook):
                    if owner is entry:
                        items += self._checked(hook, function({}))
                names = [getattr(item, "name", None) for item in items]
                twice = next((name for name in names if name is not None and names.count(name) > 1), None)
                if twice is not None:
                    raise _WrongAnswerError(f"{hook} yields {twice!r} twice")
            except _WrongAnswerError as error:
                entry.fail(str(error))
            except (Exception, SystemExit) as error:  # noqa: BLE001  one broken hook never stops the rest
                entry.fail(f"{hook} raised {_describe(error)}")
            else:
                entry.yielded[hook] = tuple(items)
        return entry.yielded[hook]

    def _checked(self, hook: str, result: object) -> list[object]:
        expected = self._yields[hook]
        if result is None:
            return []
        if expected is not None and isinstance(result, expected):
            raise _WrongAnswerError(f"{hook} yields {expected.__name__} objects; this one returns one")
        if not isinstance(result, Iterable):
            _discard(result)
            raise _WrongAnswerError(f"{hook} yields objects; this one returns {type(result).__name__}")
        items = []
        for item in result:
            if expected is not None and not isinstance(item, expected):
                raise _WrongAnswerError(f"{hook} yields {expected.__name__} objects, not {type(item).__name__}")
            if not isinstance(getattr(item, "name", ""), str):
                raise _WrongAnswerError(f"{hook} yields objects whose name is text, not {item!r}")
            items.append(item)
        return items

    def _collected(self, hook: str, kind: type[_Provided]) -> tuple[tuple[str, _Provided], ...]:
        return tuple((plugin, item) for plugin, item in self.collect(hookspecs, hook) if isinstance(item, kind))

    # Choosing

    def _by_name(self, hook: str, kind: type[_Provider]) -> dict[str, list[tuple[str, _Provider]]]:
        claims: dict[str, list[tuple[str, _Provider]]] = {}
        for plugin, provider in self._collected(hook, kind):
            claims.setdefault(provider.name, []).append((plugin, provider))
        return claims

    def _unambiguous(self, hook: str, kind: type[_Provider]) -> Mapping[str, _Provider]:
        return {name: claims[0][1] for name, claims in self._by_name(hook, kind).items() if len(claims) == 1}

    def _chosen(self, hook: str, kind: type[_Provider], name: str, place: str) -> _Provider:
        by_name = self._by_name(hook, kind)
        noun = _noun(kind)
        named = f"\n({place} names it)" if place else ""
        claims = by_name.get(name, [])
        if len(claims) == 1:
            return claims[0][1]
        if claims:
            plugins = [plugin for plugin, _ in claims]
            raise PluginError(
                f"More than one plugin has a {noun} named {name!r}: {', '.join(plugins)}.{named}",
                hints=[f"Block all but one of them, for example: {BLOCK_VARIABLE}={','.join(plugins[1:])}"],
            )
        choices = ", ".join(sorted(by_name)) or "none"
        missing: list[str] = [
            f"Plugin {entry.info.name!r} is {entry.info.state} and might have it: {entry.info.reason}"
            for entry in self._entries
            if entry.info.state != "loaded"
        ]
        raise PluginError(
            f"There is no {noun} named {names.shown(name)}{_did_you_mean(name, by_name)}\nChoices: {choices}{named}",
            hints=[*missing, "See what is installed: l8s plugins"],
        )

    # Listing

    def _provides(self, entry: _Entry) -> Iterator[str]:
        if entry.plugin is None:
            return
        for hook in self._hooks():
            if hook in self._yields:
                for item in entry.yielded.get(hook, ()):
                    yield f"{_noun(type(item))} {getattr(item, 'name', '')}".rstrip()
            elif any(owner is entry for owner, _ in self._functions(hook)):
                yield f"hook {hook}"

    def _clashes(self) -> Mapping[str, Sequence[str]]:
        """By plugin: with whom it shares a name of what it yields."""
        claims: dict[tuple[str, str], list[str]] = {}
        for entry in self._registered():
            for item in (item for items in entry.yielded.values() for item in items):
                claims.setdefault((_noun(type(item)), getattr(item, "name", "")), []).append(entry.info.name)
        found: dict[str, list[str]] = {}
        for (noun, name), plugins in claims.items():
            for plugin in plugins if len(plugins) > 1 else ():
                others = ", ".join(other for other in plugins if other != plugin)
                found.setdefault(plugin, []).append(f"{noun} {name!r} clashes with plugin {others}")
        return found

    def _trace_to_stderr(self) -> None:
        logger = _log.getChild("plugins.trace")
        if not logger.handlers:
            logger.addHandler(logging.StreamHandler())
            logger.setLevel(logging.DEBUG)
            logger.propagate = False
        self._manager.trace.root.setwriter(lambda text: logger.debug("%s", text.rstrip("\n")))


class _WrongAnswerError(Exception):
    """What a hook function yields is not what the hookspec says."""


@frozen
class _Origin:
    """Which distribution an entry point belongs to; "" where its metadata cannot be read."""

    name: str
    version: str

    @property
    def built_in(self) -> bool:
        # Names compare as the packaging specification on name normalization says.
        return re.sub(r"[-_.]+", "-", self.name).lower() == OWN_DISTRIBUTION


def _installed() -> Sequence[tuple[EntryPoint, _Origin]]:
    """Every entry point of our group, with where it comes from."""
    try:
        found = list(entry_points(group=PROJECT_NAME))
    except Exception as error:  # noqa: BLE001  one unreadable entry_points.txt, of whatever distribution, ends up here
        _log.warning("The entry points of some installed distribution cannot be read: %s", _describe(error))
        found = _readable_entry_points()
    return [(entry_point, _origin(entry_point)) for entry_point in found]


def _readable_entry_points() -> list[EntryPoint]:
    found: list[EntryPoint] = []
    for distribution in distributions():
        try:
            found += distribution.entry_points.select(group=PROJECT_NAME)
        except Exception as error:  # noqa: BLE001  the broken one; the others still count
            _log.debug("Skipped a distribution: %s", _describe(error))
    return found


def _origin(entry_point: EntryPoint) -> _Origin:
    distribution = entry_point.dist
    if distribution is None:
        return _Origin("", "")
    try:
        return _Origin(str(distribution.metadata["Name"] or ""), str(distribution.metadata["Version"] or ""))
    except Exception:  # noqa: BLE001  metadata that cannot be read is no reason to lose the plugin
        return _Origin("", "")


def _noun(kind: type) -> str:
    """What a descriptor is called in prose: ``SSHConfigWriterProvider`` is an ``ssh config writer``."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]+", kind.__name__.removesuffix("Provider"))
    return " ".join(words).lower()


def _did_you_mean(name: str, choices: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(choices), n=1)
    return f". Did you mean {close[0]!r}?" if close else "."


def _describe(error: BaseException) -> str:
    try:
        text = _one_line(str(error))
    except Exception:  # noqa: BLE001  a plugin's exception may not even be printable
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _discard(result: object) -> None:
    """Close a coroutine that nobody will await, which would warn when it is collected."""
    if inspect.iscoroutine(result):
        result.close()


def _broken_check(plugin: str, what: str) -> OperationVetoed:
    return OperationVetoed(
        f"Plugin {plugin!r} could not check the operation: {what}.",
        hints=[f"Mend the plugin, or block it: {BLOCK_VARIABLE}={plugin}"],
    )
