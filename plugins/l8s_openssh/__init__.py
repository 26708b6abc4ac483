"""The built-in ssh-config writer "openssh": ``~/.l8s/ssh_config``, and one Include in ``~/.ssh/config``.

Here is only the hook; `writer` touches files, `render` and `include` are pure, `multiplexing` is about where
ssh keeps its shared connections.
"""

from __future__ import annotations

from collections.abc import Iterable

from l8s_core.contracts import SSHConfigWriter
from l8s_core.hookspecs import hookimpl
from l8s_core.providers import SSHConfigWriterProvider


def _make() -> SSHConfigWriter:
    from l8s_openssh.writer import OpenSSHWriter

    return OpenSSHWriter()


@hookimpl
def l8s_ssh_config_writers() -> Iterable[SSHConfigWriterProvider]:
    """Yield the writer for the system's OpenSSH."""
    yield SSHConfigWriterProvider(name="openssh", summary="~/.ssh/config of the system's OpenSSH", factory=_make)
