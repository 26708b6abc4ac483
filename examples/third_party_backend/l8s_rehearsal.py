"""A backend from elsewhere: a server that exists in memory only, to rehearse a script or a talk without one.

profiles:
  rehearsal:
    remote_host: rehearsal.example.com
    remote_user: root
    backend: rehearsal
    options:
      python: "3.13.5"
"""

import attrs

import l8s_core as l8s


@attrs.frozen
class Options:
    """What a profile may say under ``options``: the version that ``python3 --version`` prints."""

    python: str = "3.13.5"


def make(profile):
    # Called when a profile with this backend is opened; what is imported here slows nobody else down.
    from l8s_core.testing import FakeBackend

    options = Options(**profile.options)

    def python_version(command):
        if command.argv == ("python3", "--version"):
            return l8s.ExecResult(exit_code=0, stdout_bytes=f"Python {options.python}\n".encode())
        return None

    backend = FakeBackend(profile)
    backend.on_exec(python_version)
    return backend


@l8s.hookimpl
def l8s_remote_backends():
    yield l8s.BackendProvider(
        name="rehearsal", summary="a server in memory, for rehearsals", factory=make, options_type=Options
    )
