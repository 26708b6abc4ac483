"""Makes pytest explain the suites' assertions as it explains a test module's own."""

from __future__ import annotations

import pytest

for _suite in ("backend_suite", "config_store_suite", "ssh_config_writer_suite"):
    pytest.register_assert_rewrite(f"l8s_core.testing.{_suite}")
