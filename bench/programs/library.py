"""What a program pays that keeps a client open: answers ``list`` and ``raw`` on stdin with the seconds that each took.

    python library.py SOCKET ATLEAST

``raw`` is one HTTP request on one kept connection to SOCKET, which somebody forwards to Podman's. Both must yield at
least ATLEAST containers.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import l8s_core as l8s

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from bench.unix_http import UnixHTTP

RAW = "/v4.0.0/libpod/containers/json?all=true"


def main(path: Path, at_least: int) -> None:
    """Until the end of stdin."""
    api = UnixHTTP(path)

    with l8s.connect() as client:
        print("ready", flush=True)
        for line in sys.stdin:
            begun = time.perf_counter()
            if line == "list\n":
                found = len(client.list())
            else:
                api.request("GET", RAW)
                answer = api.getresponse()
                found = answer.read().count(b'"Id"') if answer.status == 200 else 0
            seconds = time.perf_counter() - begun
            if found < at_least:
                raise SystemExit(f"{line.strip()}: {found} containers")
            print(seconds, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
