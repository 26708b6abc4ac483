"""The values that flow through l8s: frozen, validated where they are made, free of I/O.

Each is imported when it is first used (`l8s_core.on_demand`), and all of them from here. Not here: how a value is read
(`l8s_core.config`), checked as text (`l8s_core.names`) or printed (the command).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from l8s_core.model.changes import ChangePlan, FileChange, Removal
    from l8s_core.model.container import ContainerInfo
    from l8s_core.model.copies import Copied, CopyProgress
    from l8s_core.model.endpoint import Endpoint
    from l8s_core.model.labels import (
        LABEL_BRANCH,
        LABEL_MANAGED,
        LABEL_NAME,
        LABEL_OPERATION,
        LABEL_PREFIX,
        LABEL_PREFIX_NAME,
        LABEL_PROFILE,
        LABEL_REPOSITORY,
        LABEL_SSH_PORT,
        LABEL_USER,
        LABEL_VERSION,
    )
    from l8s_core.model.operation import Operation, OperationKind, Outcome
    from l8s_core.model.profile import (
        DEFAULT_CONTAINER_USER,
        DEFAULT_IMAGE,
        DEFAULT_KEY_PATH,
        DEFAULT_SOCKET,
        DEFAULT_SSH_PORT,
        DEFAULT_SSH_START_PORT,
        Profile,
    )
    from l8s_core.model.repository import Repository
    from l8s_core.model.request import ContainerRequest, ContainerSpec
    from l8s_core.model.running import ExecResult, OutputSink, Step, StreamName
    from l8s_core.model.server import HostFacts, Image, MachineIdentity, VolumeInfo
    from l8s_core.model.ssh import HostBlock, PublicKey
else:
    from l8s_core.on_demand import names_of

    __getattr__, __dir__ = names_of(
        __name__,
        {
            "l8s_core.model.changes": "FileChange ChangePlan Removal",
            "l8s_core.model.container": "ContainerInfo",
            "l8s_core.model.copies": "CopyProgress Copied",
            "l8s_core.model.endpoint": "Endpoint",
            "l8s_core.model.labels": (
                "LABEL_PREFIX LABEL_MANAGED LABEL_NAME LABEL_PREFIX_NAME LABEL_PROFILE LABEL_OPERATION LABEL_USER "
                "LABEL_SSH_PORT LABEL_REPOSITORY LABEL_BRANCH LABEL_VERSION"
            ),
            "l8s_core.model.operation": "OperationKind Operation Outcome",
            "l8s_core.model.profile": (
                "DEFAULT_SOCKET DEFAULT_SSH_PORT DEFAULT_SSH_START_PORT DEFAULT_KEY_PATH DEFAULT_IMAGE "
                "DEFAULT_CONTAINER_USER Profile"
            ),
            "l8s_core.model.repository": "Repository",
            "l8s_core.model.request": "ContainerSpec ContainerRequest",
            "l8s_core.model.running": "StreamName OutputSink ExecResult Step",
            "l8s_core.model.server": "MachineIdentity HostFacts Image VolumeInfo",
            "l8s_core.model.ssh": "PublicKey HostBlock",
        },
    )

__all__ = [
    "DEFAULT_CONTAINER_USER",
    "DEFAULT_IMAGE",
    "DEFAULT_KEY_PATH",
    "DEFAULT_SOCKET",
    "DEFAULT_SSH_PORT",
    "DEFAULT_SSH_START_PORT",
    "LABEL_BRANCH",
    "LABEL_MANAGED",
    "LABEL_NAME",
    "LABEL_OPERATION",
    "LABEL_PREFIX",
    "LABEL_PREFIX_NAME",
    "LABEL_PROFILE",
    "LABEL_REPOSITORY",
    "LABEL_SSH_PORT",
    "LABEL_USER",
    "LABEL_VERSION",
    "ChangePlan",
    "ContainerInfo",
    "ContainerRequest",
    "ContainerSpec",
    "Copied",
    "CopyProgress",
    "Endpoint",
    "ExecResult",
    "FileChange",
    "HostBlock",
    "HostFacts",
    "Image",
    "MachineIdentity",
    "Operation",
    "OperationKind",
    "Outcome",
    "OutputSink",
    "Profile",
    "PublicKey",
    "Removal",
    "Repository",
    "Step",
    "StreamName",
    "VolumeInfo",
]
