"""The labels by which l8s knows its own containers and volumes on a server, and what it keeps in them."""

from __future__ import annotations

LABEL_PREFIX = "l8s."
LABEL_MANAGED = "l8s.managed"
LABEL_NAME = "l8s.name"
LABEL_PREFIX_NAME = "l8s.prefix"
LABEL_PROFILE = "l8s.profile"
LABEL_OPERATION = "l8s.operation"
LABEL_USER = "l8s.user"
LABEL_SSH_PORT = "l8s.ssh-port"
LABEL_REPOSITORY = "l8s.repository"
LABEL_BRANCH = "l8s.branch"
LABEL_VERSION = "l8s.version"
