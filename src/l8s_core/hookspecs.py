"""Every hook of l8s, by the phase of a command's life in which it is called.

A plugin is a module, or an object, with functions of these names marked by `hookimpl`; it is found through the entry
point group ``l8s`` of an installed distribution. Each docstring here holds a whole example plugin; the tests load
and run them.

Providers are *yielded* as descriptors rather than returned first-come: a backend is chosen by its name, all of them
can be listed, and when two plugins use one name the error names both. Hooks that yield are called once per process, in
the order in which plugins were loaded; one that raises is reported by ``l8s plugins`` and the rest go on.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from l8s_core.model import Operation, Outcome, Profile
from l8s_core.providers import BackendProvider, Check, ConfigStoreProvider, SSHConfigWriterProvider

PROJECT_NAME = "l8s"
"""pluggy's project name, and the entry point group."""

hookspec = pluggy.HookspecMarker(PROJECT_NAME)
hookimpl = pluggy.HookimplMarker(PROJECT_NAME)

# Start: what there is to choose from


@hookspec
def l8s_profiles() -> Iterable[Profile]:
    """Yield profiles that everyone with this plugin has.

    Called once, when the configuration is read. A profile of the same name in the config file wins, key by key.

    Example::

        import l8s_core as l8s

        @l8s.hookimpl
        def l8s_profiles():
            yield l8s.Profile(name="staging", remote_host="staging.example.com", remote_user="root")
    """
    raise NotImplementedError


@hookspec
def l8s_config_stores() -> Iterable[ConfigStoreProvider]:
    """Yield places to keep the configuration.

    Called once, before the configuration is read. ``L8S_CONFIG_STORE`` names the one to use; without it, ``yaml``.

    Example::

        import l8s_core as l8s

        class FixedStore:
            def load(self):
                data = {"remote_host": "build.example.com", "remote_user": "root"}
                return l8s.ConfigDocument(location="the fixed store", exists=True, data=data)

            def edit(self, change):
                raise l8s.ConfigError("the fixed store cannot be changed")

        @l8s.hookimpl
        def l8s_config_stores():
            yield l8s.ConfigStoreProvider(
                name="fixed", summary="one server for everyone", factory=lambda location: FixedStore()
            )
    """
    raise NotImplementedError


@hookspec
def l8s_remote_backends() -> Iterable[BackendProvider]:
    """Yield backends: what runs containers on a server.

    Called once, when a profile is opened; the profile's ``backend`` names the one to use. ``factory`` must not do I/O,
    and heavy imports belong inside it.

    Example::

        import l8s_core as l8s

        def make(profile):
            from l8s_core.testing import FakeBackend

            return FakeBackend(profile)

        @l8s.hookimpl
        def l8s_remote_backends():
            yield l8s.BackendProvider(name="fake", summary="containers in memory, for tests", factory=make)
    """
    raise NotImplementedError


@hookspec
def l8s_ssh_config_writers() -> Iterable[SSHConfigWriterProvider]:
    """Yield ways to make ``ssh ALIAS`` work on the laptop.

    Called once, when a container is created or removed; the profile's ``ssh_config_writer`` names the one to use.

    Example::

        import l8s_core as l8s

        class Nowhere:
            def blocks(self):
                return ()

            def plan(self, *, add=(), remove=()):
                return l8s.ChangePlan(add=tuple(add), remove=tuple(remove))

            def apply(self, plan):
                pass

        @l8s.hookimpl
        def l8s_ssh_config_writers():
            yield l8s.SSHConfigWriterProvider(name="nowhere", summary="writes no ssh config", factory=Nowhere)
    """
    raise NotImplementedError


@hookspec
def l8s_checks() -> Iterable[Check]:
    """Yield health checks.

    Called once, by whoever runs checks. A check that raises counts as a problem; the rest go on.

    Example::

        import l8s_core as l8s

        def has_room(client):
            if client.facts().memory < 2 * 1024**3:
                yield l8s.Finding(state="warning", message="the server has less than 2 GiB of memory")
            else:
                yield l8s.Finding(state="ok", message="the server has enough memory")

        @l8s.hookimpl
        def l8s_checks():
            yield l8s.Check(name="memory", summary="enough memory on the server", run=has_room)
    """
    raise NotImplementedError


# During: around every operation of a Client


@hookspec
def l8s_before_operation(operation: Operation) -> None:
    """Look at an operation before it is done, and stop it by raising `OperationVetoed`.

    Called before every operation of a `Client`, before anything is sent for it. Any other exception stops it too:
    a check that broke must not let things pass.

    Example::

        import l8s_core as l8s

        @l8s.hookimpl
        def l8s_before_operation(operation):
            if operation.kind == "remove" and operation.profile.name == "prod":
                raise l8s.OperationVetoed("containers of prod are never removed", hints=["Use another profile"])
    """


@hookspec
def l8s_after_operation(operation: Operation, outcome: Outcome) -> None:
    """Look at an operation after it was done; ``outcome.error`` is None when it succeeded.

    Called after every operation, also a failed or vetoed one. An exception here is logged and hides nothing;
    the other plugins are still called.

    Example::

        import l8s_core as l8s

        seen = []

        @l8s.hookimpl
        def l8s_after_operation(operation, outcome):
            seen.append((operation.kind, operation.target, outcome.error is None))
    """
