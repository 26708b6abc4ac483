"""The logger waits for its first record, and whoever prints records is ready before that."""

from __future__ import annotations

import subprocess
import sys

RUN = [sys.executable, "-c"]


def _run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*RUN, code], capture_output=True, text=True, timeout=60)


def test_it_is_prepared_before_the_first_record_and_once() -> None:
    done = _run(
        "import sys\n"
        "from l8s_core import log\n"
        "calls = []\n"
        "def prepare(logger):\n"
        "    calls.append(logger.name)\n"
        "    import logging\n"
        "    logger.addHandler(logging.StreamHandler(sys.stdout))\n"
        "log.when_used(prepare)\n"
        "assert 'logging' not in sys.modules and not calls\n"
        "log.logger().warning('first')\n"
        "log.logger().warning('second')\n"
        "assert calls == ['l8s'], calls\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "first\nsecond\n", "")


def test_where_logging_is_in_use_already_it_is_prepared_at_once() -> None:
    done = _run(
        "import logging, sys\n"
        "from l8s_core import log\n"
        "log.when_used(lambda logger: logger.addHandler(logging.StreamHandler(sys.stdout)))\n"
        "logging.getLogger('l8s.acme').warning('from a plugin')\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "from a plugin\n", "")
