"""What a plugin author runs against their own plugin; imported by tests only.

In-memory fakes are here by name. The contract suites need pytest and stand in modules of their own
(``backend_suite``, ``config_store_suite``, ``ssh_config_writer_suite``), and so do the Hypothesis strategies
(``strategies``): importing this package needs neither.
"""

from l8s_core.testing.fakes import Call, ExecCall, FakeBackend, FakeConfigStore, FakeSSHConfigWriter
from l8s_core.testing.server import FakeContainer, FakeServer, FakeVolume

__all__ = [
    "Call",
    "ExecCall",
    "FakeBackend",
    "FakeConfigStore",
    "FakeContainer",
    "FakeSSHConfigWriter",
    "FakeServer",
    "FakeVolume",
]
