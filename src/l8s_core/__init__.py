"""l8s: remote-only development containers.

What is public is in ``__all__``. Start with `connect`; write plugins with `hookimpl` and the hooks that
`l8s_core.hookspecs` describes.

Importing this package imports nothing else: each name is looked up in its module when it is first used, so that a
command, a plugin or a script waits only for what it needs (`l8s_core.on_demand`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from l8s_core.client import Client, Container, Session, connect
    from l8s_core.config import Choice, Config
    from l8s_core.contracts import (
        ConfigDocument,
        ConfigStore,
        ImageBuilder,
        RemoteBackend,
        ServerClock,
        ServerCommands,
        SSHConfigWriter,
    )
    from l8s_core.errors import (
        REMOTE_ONLY_NOTE,
        AgentUnavailable,
        AuthenticationFailed,
        BackendError,
        ConfigError,
        ConnectionFailed,
        ContainerExists,
        ContainerNotFound,
        ContainerNotRunning,
        ExecTimeout,
        FileBusy,
        GitError,
        HostKeyRejected,
        HostUnreachable,
        ImageNotFound,
        Interrupted,
        InvalidValue,
        L8sError,
        LocalFileError,
        OperationVetoed,
        OutcomeUnknown,
        PluginError,
        PortInUse,
        ProvisionFailed,
        RemoteOnlyError,
        SetupFailed,
        SocketUnavailable,
        SSHConfigError,
        UnsupportedOperation,
    )
    from l8s_core.hookspecs import hookimpl, hookspec
    from l8s_core.known_hosts import KnownHosts
    from l8s_core.model import (
        ChangePlan,
        ContainerInfo,
        ContainerRequest,
        ContainerSpec,
        Copied,
        CopyProgress,
        Endpoint,
        ExecResult,
        FileChange,
        HostBlock,
        HostFacts,
        Image,
        MachineIdentity,
        Operation,
        Outcome,
        OutputSink,
        Profile,
        PublicKey,
        Removal,
        Step,
        VolumeInfo,
    )
    from l8s_core.options import structured_options
    from l8s_core.plugins import PluginHost, PluginInfo
    from l8s_core.providers import (
        BackendProvider,
        Check,
        ConfigStoreProvider,
        Finding,
        SSHConfigWriterProvider,
    )
    from l8s_core.steps import Steps
    from l8s_core.sync import EntryChange, PinChange, Skipped, SyncResult
else:
    from l8s_core.on_demand import names_of

    __getattr__, __dir__ = names_of(
        __name__,
        {
            "l8s_core.client": "Client Container Session connect",
            "l8s_core.config": "Choice Config",
            "l8s_core.contracts": (
                "ConfigDocument ConfigStore ImageBuilder RemoteBackend ServerClock ServerCommands SSHConfigWriter"
            ),
            "l8s_core.errors": (
                "REMOTE_ONLY_NOTE AgentUnavailable AuthenticationFailed BackendError ConfigError ConnectionFailed "
                "ContainerExists ContainerNotFound ContainerNotRunning ExecTimeout FileBusy GitError HostKeyRejected "
                "HostUnreachable ImageNotFound Interrupted InvalidValue L8sError LocalFileError OperationVetoed "
                "OutcomeUnknown PluginError PortInUse ProvisionFailed RemoteOnlyError SetupFailed SocketUnavailable "
                "SSHConfigError UnsupportedOperation"
            ),
            "l8s_core.hookspecs": "hookimpl hookspec",
            "l8s_core.known_hosts": "KnownHosts",
            "l8s_core.model": (
                "ChangePlan ContainerInfo ContainerRequest ContainerSpec Copied CopyProgress Endpoint ExecResult "
                "FileChange HostBlock "
                "HostFacts Image MachineIdentity Operation Outcome OutputSink Profile PublicKey Removal Step "
                "VolumeInfo"
            ),
            "l8s_core.options": "structured_options",
            "l8s_core.plugins": "PluginHost PluginInfo",
            "l8s_core.providers": "BackendProvider Check ConfigStoreProvider Finding SSHConfigWriterProvider",
            "l8s_core.steps": "Steps",
            "l8s_core.sync": "EntryChange PinChange Skipped SyncResult",
        },
    )

__version__ = "0.1.0"

__all__ = [
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
    "EntryChange",
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
    "PinChange",
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
    "Skipped",
    "SocketUnavailable",
    "Step",
    "Steps",
    "SyncResult",
    "UnsupportedOperation",
    "VolumeInfo",
    "__version__",
    "connect",
    "hookimpl",
    "hookspec",
    "structured_options",
]
