"""The names that people import from l8s_core. Removing one breaks them; a new one is added here on purpose."""

from __future__ import annotations

import inspect
import types

import pytest

import l8s_core

PUBLIC = [
    "REMOTE_ONLY_NOTE",
    "AgentUnavailable",
    "AuthenticationFailed",
    "BackendError",
    "BackendProvider",
    "ChangePlan",
    "Check",
    "Choice",
    "Client",
    "Config",
    "ConfigDocument",
    "ConfigError",
    "ConfigStore",
    "ConfigStoreProvider",
    "ConnectionFailed",
    "Container",
    "ContainerExists",
    "ContainerInfo",
    "ContainerNotFound",
    "ContainerNotRunning",
    "ContainerRequest",
    "ContainerSpec",
    "Copied",
    "CopyProgress",
    "Endpoint",
    "ExecResult",
    "ExecTimeout",
    "FileBusy",
    "FileChange",
    "Finding",
    "GitError",
    "HostBlock",
    "HostFacts",
    "HostKeyRejected",
    "HostUnreachable",
    "Image",
    "ImageBuilder",
    "ImageNotFound",
    "Interrupted",
    "InvalidValue",
    "KnownHosts",
    "L8sError",
    "LocalFileError",
    "MachineIdentity",
    "Operation",
    "OperationVetoed",
    "Outcome",
    "OutcomeUnknown",
    "OutputSink",
    "PluginError",
    "PluginHost",
    "PluginInfo",
    "PortInUse",
    "Profile",
    "ProvisionFailed",
    "PublicKey",
    "RemoteBackend",
    "RemoteOnlyError",
    "Removal",
    "SSHConfigError",
    "SSHConfigWriter",
    "SSHConfigWriterProvider",
    "ServerClock",
    "ServerCommands",
    "Session",
    "SetupFailed",
    "SocketUnavailable",
    "Step",
    "EntryChange",
    "PinChange",
    "Skipped",
    "SyncResult",
    "Steps",
    "UnsupportedOperation",
    "VolumeInfo",
    "__version__",
    "connect",
    "hookimpl",
    "hookspec",
    "structured_options",
]


def test_the_public_names_are_these() -> None:
    assert sorted(l8s_core.__all__) == sorted(PUBLIC)
    assert len(set(l8s_core.__all__)) == len(l8s_core.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_each_is_there_and_documented(name: str) -> None:
    thing = getattr(l8s_core, name)
    if not isinstance(thing, type | types.FunctionType):
        return  # a constant or an alias
    assert thing.__module__.partition(".")[0] == "l8s_core"
    assert vars(thing).get("__doc__") if isinstance(thing, type) else thing.__doc__, name
    if isinstance(thing, type):
        for method, function in inspect.getmembers(thing, inspect.isfunction):
            if not method.startswith("_") and function.__module__.startswith("l8s_core"):
                assert function.__doc__, f"{name}.{method}"


def test_a_star_import_gives_exactly_these() -> None:
    namespace: dict[str, object] = {}
    exec("from l8s_core import *", namespace)
    assert set(namespace) - {"__builtins__"} == set(PUBLIC)
