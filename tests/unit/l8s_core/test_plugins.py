"""Loading, blocking, listing and calling plugins, against real distributions in a temporary directory."""

from __future__ import annotations

import logging
import subprocess
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from l8s_core import hookspecs
from l8s_core.contracts import RemoteBackend
from l8s_core.errors import ConfigError, OperationVetoed, PluginError
from l8s_core.hookspecs import hookimpl, hookspec
from l8s_core.model import Operation, Outcome, Profile
from l8s_core.plugins import PluginHost, PluginInfo
from l8s_core.providers import BackendProvider, Check, ConfigStoreProvider, SSHConfigWriterProvider

PROFILE = Profile(name="dev", remote_host="build.example.com", remote_user="root")
OPERATION = Operation(kind="remove", profile=PROFILE, target="myapp")


def _never(profile: Profile) -> RemoteBackend:
    raise AssertionError("no factory is called by the loader")


def _backend(name: str) -> BackendProvider:
    return BackendProvider(name=name, summary="for tests", factory=_never)


class Backends:
    """A plugin that yields backends of the given names."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.calls = 0

    @hookimpl
    def l8s_remote_backends(self) -> Iterator[BackendProvider]:
        self.calls += 1
        for name in self.names:
            yield _backend(name)


class Around:
    """A plugin whose two operation hooks do what they are told."""

    def __init__(
        self, before: Callable[[Operation], object] = lambda operation: None, after: BaseException | None = None
    ) -> None:
        self._before = before
        self._after = after
        self.seen: list[str] = []

    @hookimpl
    def l8s_before_operation(self, operation: Operation) -> object:
        self.seen.append(f"before {operation.kind}")
        return self._before(operation)

    @hookimpl
    def l8s_after_operation(self, operation: Operation, outcome: Outcome) -> None:
        self.seen.append(f"after {operation.kind}")
        if self._after is not None:
            raise self._after


def _raise(error: BaseException) -> Callable[[Operation], object]:
    def check(operation: Operation) -> object:
        raise error

    return check


class Site:
    """A directory on sys.path in which distributions are installed by writing their metadata."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def install(self, distribution: str, entry_points: dict[str, str], **modules: str) -> None:
        info = self.path / f"{distribution.replace('-', '_')}-1.5.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.5\n")
        lines = "".join(f"{name} = {value}\n" for name, value in entry_points.items())
        (info / "entry_points.txt").write_text(f"[l8s]\n{lines}")
        for module, source in modules.items():
            (self.path / f"{module}.py").write_text(source)


GOOD = """
import l8s_core.hookspecs, l8s_core.model
@l8s_core.hookspecs.hookimpl
def l8s_profiles():
    yield l8s_core.model.Profile(name="staging", remote_host="staging.example.com", remote_user="root")
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    path = tmp_path / "site"
    path.mkdir()
    monkeypatch.syspath_prepend(str(path))
    before = set(sys.modules)
    yield Site(path)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(path)):
            del sys.modules[name]


def _load(**keywords: object) -> PluginHost:
    environ = keywords.pop("environ", {})
    return PluginHost.load(environ=environ, **keywords)  # type: ignore[arg-type]


def _info(host: PluginHost, name: str, distribution: str | None = None) -> PluginInfo:
    found = [info for info in host.listing() if info.name == name and distribution in (None, info.distribution)]
    assert len(found) == 1, found
    return found[0]


# Loading


def test_an_installed_plugin_is_loaded_with_its_origin(site: Site) -> None:
    site.install("acme-tools", {"acme": "acme_plugin"}, acme_plugin=GOOD)
    host = _load()
    assert _info(host, "acme") == PluginInfo(
        name="acme", distribution="acme-tools", version="1.5", state="loaded", provides=("profile staging",)
    )
    assert [(plugin, profile.name) for plugin, profile in host.profiles()] == [("acme", "staging")]


@pytest.mark.parametrize(
    ("value", "source", "reason"),
    [
        ("broken_plugin", "import no_such_module_at_all", "ModuleNotFoundError: No module named 'no_such"),
        ("broken_plugin", "raise RuntimeError('two\\nlines')", "RuntimeError: two lines"),
        ("broken_plugin", "raise SystemExit(3)", "SystemExit: 3"),
        ("broken_plugin", "def (", "SyntaxError"),
        ("broken_plugin:missing", "", "AttributeError"),
        ("broken plugin!", "", "raised"),
        ("broken_plugin", "", "it implements no hook"),
        ("broken_plugin", "def l8s_profiles(): return []", "is @hookimpl missing on l8s_profiles?"),
        (
            "broken_plugin",
            "from l8s_core.hookspecs import hookimpl\n@hookimpl\ndef l8s_profile(): return []",
            "no hook named l8s_profile. Did you mean 'l8s_profiles'?",
        ),
        (
            "broken_plugin",
            "from l8s_core.hookspecs import hookimpl\n@hookimpl\ndef l8s_profiles(config): return []",
            "Argument(s) {'config'} are declared in the hookimpl",
        ),
        (
            "broken_plugin",
            "from l8s_core.hookspecs import hookimpl\n@hookimpl\ndef l8s_before_operation(operation=None): ...",
            "argument operation=None must be a plain one",
        ),
        (
            "broken_plugin",
            "from l8s_core.hookspecs import hookimpl\n@hookimpl\ndef l8s_before_operation(*, operation): ...",
            "argument operation must be a plain one",
        ),
        (
            "broken_plugin",
            "from l8s_core.hookspecs import hookimpl\n@hookimpl(wrapper=True)\ndef l8s_profiles(): return (yield)",
            "hook wrapper",
        ),
        (
            "broken_plugin:Plugin",
            "from l8s_core.hookspecs import hookimpl\nclass Plugin:\n @hookimpl\n def l8s_profiles(self): return []",
            "Plugin is a class; a plugin is a module or an instance",
        ),
        ("broken_plugin:plugin", "plugin = None", "it is None"),
        (
            "broken_plugin:plugin",
            "class Odd:\n def __dir__(self): raise ValueError('no dir')\nplugin = Odd()",
            "no dir",
        ),
    ],
)
def test_one_broken_plugin_never_stops_the_rest(
    site: Site, caplog: pytest.LogCaptureFixture, value: str, source: str, reason: str
) -> None:
    site.install("broken", {"aaa-broken": value}, broken_plugin=source)
    site.install("zzz-good", {"zzz": "good_plugin"}, good_plugin=GOOD)
    host = _load()
    info = _info(host, "aaa-broken")
    assert (info.state, info.distribution, info.provides) == ("failed", "broken", ())
    assert reason in info.reason
    assert "\n" not in info.reason
    assert _info(host, "zzz").state == "loaded"
    assert [plugin for plugin, _ in host.profiles()] == ["zzz"]
    assert "aaa-broken (broken 1.5) failed" in caplog.text


def test_a_second_plugin_of_one_name_is_listed_as_failed(site: Site) -> None:
    site.install("one", {"same": "plugin_one"}, plugin_one=GOOD)
    site.install("two", {"same": "plugin_two"}, plugin_two=GOOD)
    host = _load()
    assert _info(host, "same", "one").state == "loaded"
    assert _info(host, "same", "two").reason == "the name 'same' is taken by a plugin of one"


def test_a_built_in_name_cannot_be_taken(site: Site) -> None:
    site.install("aardvark", {"podman": "my_podman"}, my_podman=GOOD)
    host = _load()
    assert _info(host, "podman", "l8s").state == "loaded"
    assert "taken by a plugin of l8s" in _info(host, "podman", "aardvark").reason


def test_one_module_under_two_names_is_listed_as_failed(site: Site) -> None:
    site.install("twice", {"first": "plugin_one", "second": "plugin_one"}, plugin_one=GOOD)
    host = _load()
    assert _info(host, "first").state == "loaded"
    assert _info(host, "second").reason == "it is the same object as plugin 'first'"


def test_an_unreadable_distribution_hides_no_other(site: Site) -> None:
    site.install("good", {"good": "good_plugin"}, good_plugin=GOOD)
    broken = site.path / "unreadable-1.0.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_bytes(b"\xff\xfe")
    (broken / "entry_points.txt").write_bytes(b"[l8s]\nx = \xff\xfe\n")
    host = _load()
    assert _info(host, "good").state == "loaded"
    assert _info(host, "podman").state == "loaded"


def test_without_third_party_plugins_only_ours_are_imported(site: Site) -> None:
    site.install("acme", {"acme": "acme_plugin"}, acme_plugin=GOOD)
    host = _load(third_party=False)
    assert "acme_plugin" not in sys.modules
    assert _info(host, "acme").state == "blocked"
    assert "--no-plugins" in _info(host, "acme").reason
    assert _info(host, "podman").state == "loaded"
    assert host.profiles() == ()


def test_a_blocked_plugin_is_not_even_imported(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.install("acme", {"acme": "acme_plugin"}, acme_plugin=GOOD)
    host = _load(environ={"L8S_BLOCK_PLUGINS": " acme , typo,"})
    assert "acme_plugin" not in sys.modules
    info = _info(host, "acme")
    assert (info.state, info.reason) == ("blocked", "named in L8S_BLOCK_PLUGINS")
    assert "'typo'" in caplog.text


def test_built_in_plugins_come_first(site: Site) -> None:
    site.install("aaa", {"aaa": "aaa_plugin"}, aaa_plugin=GOOD)
    assert [info.name for info in _load().listing()] == ["openssh", "podman", "yaml", "aaa"]


def test_tracing_goes_to_stderr() -> None:
    code = (
        "from l8s_core.plugins import PluginHost\n"
        "PluginHost.load(third_party=False, environ={'L8S_TRACE_PLUGINS': '1'}).backends()"
    )
    traced = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert "l8s_remote_backends [podman]" in traced.stderr
    assert traced.stdout == ""


# Registering by hand


def test_register_raises_and_lists(caplog: pytest.LogCaptureFixture) -> None:
    host = PluginHost()
    with pytest.raises(PluginError, match="Backends is a class"):
        host.register(Backends, "wrong")
    host.register(Backends("mine"), "right")
    with pytest.raises(PluginError, match="taken by a plugin of this program"):
        host.register(Backends("other"), "right")
    assert [(info.name, info.state) for info in host.listing()] == [
        ("wrong", "failed"),
        ("right", "loaded"),
        ("right", "failed"),
    ]


def test_register_keeps_to_the_block_list() -> None:
    host = PluginHost(blocked=["mine"])
    host.register(Backends("mine"), "mine")
    assert host.listing()[0].state == "blocked"
    assert host.backends() == {}


# Collecting


def test_each_hook_is_called_once() -> None:
    host, plugin = PluginHost(), Backends("one")
    host.register(plugin, "acme")
    host.backends()
    host.backend("one")
    host.listing()
    assert plugin.calls == 1


def test_load_order_with_tryfirst_and_trylast() -> None:
    def plugin(name: str, **options: bool) -> object:
        module = types.ModuleType(name)

        @hookimpl(**options)
        def l8s_remote_backends() -> list[BackendProvider]:
            return [_backend(name)]

        module.l8s_remote_backends = l8s_remote_backends  # type: ignore[attr-defined]
        return module

    host = PluginHost()
    for name, options in {"late": {"trylast": True}, "a": {}, "b": {}, "early": {"tryfirst": True}}.items():
        host.register(plugin(name, **options), name)
    assert list(host.backends()) == ["early", "a", "b", "late"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda: _raise(ValueError("no"))(OPERATION), "l8s_remote_backends raised ValueError: no"),
        (lambda: sys.exit(1), "l8s_remote_backends raised SystemExit: 1"),
        (lambda: [_backend("x"), "podman"], "yields BackendProvider objects, not str"),
        (lambda: "podman", "yields BackendProvider objects, not str"),
        (lambda: _backend("x"), "yields BackendProvider objects; this one returns one"),
        (lambda: 7, "this one returns int"),
        (lambda: [_backend("x"), _backend("x")], "yields 'x' twice"),
        (lambda: [_backend(7)], "whose name is text"),  # type: ignore[arg-type]
        (lambda: (_backend(str(1 // position)) for position in (1, 0)), "ZeroDivisionError"),
    ],
)
def test_a_hook_that_breaks_gives_nothing_and_the_rest_go_on(
    answer: Callable[[], object], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Around):
        @hookimpl
        def l8s_remote_backends(self) -> object:
            return answer()

    host, broken = PluginHost(), Broken()
    host.register(broken, "broken")
    host.register(Backends("good"), "good")
    assert list(host.backends()) == ["good"]
    first, second = host.listing()
    assert (first.state, second.state) == ("failed", "loaded")
    assert reason in first.reason
    # What still works of a broken plugin is still used: it may be a guard.
    assert first.provides == ("hook l8s_after_operation", "hook l8s_before_operation")
    host.before(OPERATION)
    assert broken.seen == ["before remove"]


def test_a_hook_may_yield_nothing() -> None:
    class Nothing:
        @hookimpl
        def l8s_remote_backends(self) -> None:
            return None

    host = PluginHost()
    host.register(Nothing(), "nothing")
    assert host.backends() == {}
    assert host.listing() == (PluginInfo(name="nothing", distribution="", version="", state="loaded"),)


# Choosing


def test_an_unknown_name_lists_the_choices_and_who_might_have_it(caplog: pytest.LogCaptureFixture) -> None:
    host = PluginHost(blocked=["blocked"])
    host.register(Backends("podman", "docker"), "acme")
    host.register(Backends("x"), "blocked")
    with pytest.raises(PluginError):
        host.register(Backends, "failed")
    with pytest.raises(PluginError) as raised:
        host.backend("podmn")
    assert raised.value.message == (
        "There is no backend named 'podmn'. Did you mean 'podman'?\nChoices: docker, podman"
    )
    assert "Plugin 'blocked' is blocked and might have it: named in L8S_BLOCK_PLUGINS" in raised.value.hints
    assert any(hint.startswith("Plugin 'failed' is failed and might have it") for hint in raised.value.hints)


def test_the_three_kinds_are_chosen_alike() -> None:
    class Everything(Backends):
        @hookimpl
        def l8s_config_stores(self) -> object:
            return [ConfigStoreProvider(name="store", summary="", factory=lambda location: None)]  # type: ignore[arg-type,return-value]

        @hookimpl
        def l8s_ssh_config_writers(self) -> object:
            return [SSHConfigWriterProvider(name="writer", summary="", factory=lambda: None)]  # type: ignore[arg-type,return-value]

        @hookimpl
        def l8s_checks(self) -> object:
            return [Check(name="room", summary="", run=lambda client: ())]

    host = PluginHost()
    host.register(Everything("backend"), "acme")
    assert host.backend("backend") is host.backends()["backend"]
    assert host.config_store("store") is host.config_stores()["store"]
    assert host.ssh_config_writer("writer") is host.ssh_config_writers()["writer"]
    assert [(plugin, check.name) for plugin, check in host.checks()] == [("acme", "room")]
    assert host.listing()[0].provides == (
        "check room",
        "config store store",
        "backend backend",
        "ssh config writer writer",
    )
    with pytest.raises(PluginError, match="There is no config store named 'backend'"):
        host.config_store("backend")
    with pytest.raises(PluginError, match="There is no ssh config writer named 'store'"):
        host.ssh_config_writer("store")


def test_a_clash_names_both_plugins_and_only_hurts_that_name() -> None:
    host = PluginHost()
    host.register(Backends("podman", "one"), "acme")
    host.register(Backends("podman", "two"), "umbrella")
    assert set(host.backends()) == {"one", "two"}
    assert host.backend("one").name == "one"
    with pytest.raises(PluginError, match="acme, umbrella") as raised:
        host.backend("podman")
    assert "L8S_BLOCK_PLUGINS=umbrella" in raised.value.hints[0]
    assert [info.reason for info in host.listing()] == [
        "backend 'podman' clashes with plugin umbrella",
        "backend 'podman' clashes with plugin acme",
    ]
    assert {info.state for info in host.listing()} == {"loaded"}


# Hooks that others declare


def _specs(name: str) -> types.ModuleType:
    """A hookspec module with one hook that takes nothing and yields profiles."""
    module = types.ModuleType("specs")

    def hook() -> Iterable[Profile]:
        raise NotImplementedError

    hook.__name__ = name
    setattr(module, name, hookspec(hook))
    return module


class Commands:
    """A plugin that uses a hook of the command."""

    @hookimpl
    def l8s_cli_commands(self) -> object:
        return [PROFILE]


def test_hooks_of_the_command_may_stay_unknown_to_a_library() -> None:
    host = PluginHost()
    host.register(Commands(), "acme")
    assert host.listing()[0].state == "loaded"
    specs = _specs("l8s_cli_commands")
    assert host.collect(specs, "l8s_cli_commands") == (("acme", PROFILE),)
    assert host.listing()[0].provides == ("profile dev",)
    host.add_hookspecs(specs)
    assert host.collect(specs, "l8s_cli_commands") == (("acme", PROFILE),)


def test_a_misspelt_hook_of_the_command_fails_once_the_command_is_there(caplog: pytest.LogCaptureFixture) -> None:
    host = PluginHost()
    host.register(Commands(), "acme")
    host.add_hookspecs(_specs("l8s_cli_command"))
    info = host.listing()[0]
    assert info.state == "failed"
    assert "no hook named l8s_cli_commands. Did you mean 'l8s_cli_command'?" in info.reason


def test_wrong_arguments_for_a_late_hook_fail_that_plugin_alone(caplog: pytest.LogCaptureFixture) -> None:
    class Wrong:
        @hookimpl
        def l8s_cli_commands(self, group: object) -> object:
            raise AssertionError("never called")

    host = PluginHost()
    host.register(Wrong(), "wrong")
    host.register(Commands(), "right")
    assert [plugin for plugin, _ in host.collect(_specs("l8s_cli_commands"), "l8s_cli_commands")] == ["right"]
    assert [info.state for info in host.listing()] == ["failed", "loaded"]


def test_an_optional_hook_of_somebody_else_is_fine() -> None:
    class Optional(Backends):
        @hookimpl(optionalhook=True)
        def editor_started(self) -> None: ...

    host = PluginHost()
    host.register(Optional("mine"), "acme")
    assert host.listing()[0].state == "loaded"


# Around operations


def test_a_veto_passes_with_the_plugin_named() -> None:
    host = PluginHost()
    host.register(Around(before=_raise(OperationVetoed("never", hints=["ask first"]))), "guard")
    with pytest.raises(OperationVetoed, match="never") as raised:
        host.before(OPERATION)
    assert raised.value.hints[0] == "ask first"
    assert "'guard'" in raised.value.hints[1]


def _generator(operation: Operation) -> Iterator[None]:
    yield


async def _coroutine(operation: Operation) -> None:
    raise OperationVetoed("never reached")


@pytest.mark.parametrize(
    ("check", "what"),
    [
        (_raise(ConfigError("oops")), "ConfigError: oops"),
        (_raise(ValueError()), "it raised ValueError"),
        (_raise(SystemExit(0)), "SystemExit"),
        (lambda operation: False, "it returned bool"),
        (_generator, "it returned generator"),
        (_coroutine, "it returned coroutine"),
    ],
)
def test_a_check_that_broke_lets_nothing_pass(check: Callable[[Operation], object], what: str) -> None:
    host, later = PluginHost(), Around()
    host.register(Around(before=check), "guard")
    host.register(later, "later")
    with pytest.raises(OperationVetoed, match="'guard'") as raised:
        host.before(OPERATION)
    assert what in raised.value.message
    assert later.seen == []


def test_ctrl_c_in_a_check_stays_ctrl_c() -> None:
    host = PluginHost()
    host.register(Around(before=_raise(KeyboardInterrupt())), "guard")
    with pytest.raises(KeyboardInterrupt):
        host.before(OPERATION)


def test_observers_are_called_one_by_one_and_never_raise(caplog: pytest.LogCaptureFixture) -> None:
    host = PluginHost()
    plugins = [Around(after=ValueError("observer")), Around(after=SystemExit(2)), Around()]
    for number, plugin in enumerate(plugins):
        host.register(plugin, f"watch{number}")
    with caplog.at_level(logging.WARNING, "l8s"):
        host.after(OPERATION, Outcome(error=None, seconds=0.1))
    assert [plugin.seen for plugin in plugins] == [["after remove"]] * 3
    assert "Plugin watch0: l8s_after_operation raised ValueError: observer" in caplog.text
    assert "watch1" in caplog.text


def test_every_hook_is_prefixed_and_either_yields_or_takes_an_operation() -> None:
    names = [name for name in dir(hookspecs) if name.startswith("l8s_")]
    assert set(PluginHost()._yields) == {name for name in names if not name.endswith("_operation")}
