"""The example in every hook's docstring is loaded as a plugin, and does what the docstring promises."""

from __future__ import annotations

import inspect
import textwrap
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import l8s_core as l8s
from l8s_cli import hookspecs as cli_hookspecs
from l8s_cli.hookspecs import CommandProvider
from l8s_core import hookspecs
from l8s_core.config import parse
from l8s_core.testing import FakeBackend, FakeConfigStore

SPECS = {
    name: function
    for module in (hookspecs, cli_hookspecs)
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if hasattr(function, "l8s_spec")
}

PROFILE = l8s.Profile(name="prod", remote_host="prod.example.com", remote_user="root", backend="fake")


def _example(hook: str) -> str:
    """The source of the example in a hook's docstring."""
    documentation = inspect.getdoc(SPECS[hook]) or ""
    head, found, example = documentation.partition("Example::\n")
    assert len(head.strip()) > 40, f"{hook} does not say what it is for"
    assert found, f"{hook} has no Example:: block in its docstring"
    return textwrap.dedent(example)


def _loaded(hook: str) -> tuple[l8s.PluginHost, types.ModuleType]:
    """A host with the example of ``hook`` as its only plugin."""
    module = types.ModuleType(f"example_{hook}")
    exec(compile(_example(hook), module.__name__, "exec"), module.__dict__)
    host = l8s.PluginHost()
    host.add_hookspecs(cli_hookspecs)
    host.register(module, "example")
    return host, module


def _client(host: l8s.PluginHost) -> tuple[l8s.Client, FakeBackend]:
    backend = FakeBackend(PROFILE)
    return l8s.Client(l8s.Session(host, environ={}), PROFILE, backend), backend


def _profile_appears(host: l8s.PluginHost, module: types.ModuleType) -> None:
    config = parse(FakeConfigStore().load(), host.profiles())
    profile = config.profile("staging")
    assert (profile.remote_host, profile.remote_user) == ("staging.example.com", "root")
    assert profile.sources["remote_host"] == "plugin example"
    written = FakeConfigStore({"profiles": {"staging": {"remote_user": "me"}}})
    assert parse(written.load(), host.profiles()).profile("staging").remote_user == "me"


def _store_is_read(host: l8s.PluginHost, module: types.ModuleType) -> None:
    session = l8s.Session(host, environ={"L8S_CONFIG_STORE": "fixed"})
    assert isinstance(session.store, l8s.ConfigStore)
    assert session.profile().remote_host == "build.example.com"
    with pytest.raises(l8s.ConfigError, match="cannot be changed"):
        session.store.edit(lambda data: data)


def _backend_is_used(host: l8s.PluginHost, module: types.ModuleType) -> None:
    with l8s.Session(host, environ={}).client(PROFILE) as client:
        assert client.list() == ()
        assert client.facts().backend == "fake"


def _writer_is_made(host: l8s.PluginHost, module: types.ModuleType) -> None:
    writer = host.ssh_config_writer("nowhere").factory()
    assert isinstance(writer, l8s.SSHConfigWriter)
    writer.apply(writer.plan(remove=["dev-myapp"]))
    assert list(writer.blocks()) == []


def _check_finds(host: l8s.PluginHost, module: types.ModuleType) -> None:
    ((plugin, check),) = host.checks()
    client, backend = _client(host)
    assert (plugin, check.name, check.needs_connection) == ("example", "memory", True)
    assert [finding.state for finding in check.run(client)] == ["ok"]
    backend.server.facts = l8s.HostFacts(
        backend="fake", version="5", api_version="5", os="", kernel="", cpus=1, memory=1024**3
    )
    assert [finding.state for finding in check.run(client)] == ["warning"]


def _veto_stops_a_remove(host: l8s.PluginHost, module: types.ModuleType) -> None:
    client, backend = _client(host)
    with pytest.raises(l8s.OperationVetoed, match="never removed") as raised:
        client.remove("myapp")
    assert raised.value.hints[0] == "Use another profile"
    assert backend.calls == []
    assert client.list() == ()


def _observer_sees_both_ends(host: l8s.PluginHost, module: types.ModuleType) -> None:
    client, _ = _client(host)
    client.list()
    with pytest.raises(l8s.ContainerNotFound):
        client.stop("myapp")
    assert module.seen == [("list", "", True), ("stop", "myapp", False)]


def _command_runs(host: l8s.PluginHost, module: types.ModuleType) -> None:
    ((plugin, provider),) = host.collect(cli_hookspecs, "l8s_cli_commands")
    assert isinstance(provider, CommandProvider)
    assert (plugin, provider.name) == ("example", "hello")
    result = CliRunner().invoke(provider.factory(), [])
    assert (result.exit_code, result.output) == (0, "hello\n")


CHECKS: dict[str, Callable[[l8s.PluginHost, types.ModuleType], None]] = {
    "l8s_profiles": _profile_appears,
    "l8s_config_stores": _store_is_read,
    "l8s_remote_backends": _backend_is_used,
    "l8s_ssh_config_writers": _writer_is_made,
    "l8s_checks": _check_finds,
    "l8s_before_operation": _veto_stops_a_remove,
    "l8s_after_operation": _observer_sees_both_ends,
    "l8s_cli_commands": _command_runs,
}


@pytest.mark.parametrize("hook", sorted(SPECS))
def test_the_example_of_a_hook_works(hook: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert hook in CHECKS, f"nothing here checks what the example of {hook} does"
    host, module = _loaded(hook)
    CHECKS[hook](host, module)
    (info,) = host.listing()
    assert (info.state, info.reason) == ("loaded", "")
    assert len(info.provides) == 1


def test_no_check_is_left_over() -> None:
    assert set(CHECKS) == set(SPECS)
    assert len(SPECS) == 8
