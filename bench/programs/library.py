"""What a program pays that keeps a client open: answers ``list`` and ``raw`` on stdin with the seconds that each took.

    python library.py SOCKET ATLEAST

``raw`` is one HTTP request on one kept connection to SOCKET, which somebody forwards to Podman's. Both must yield at
least ATLEAST containers.
"""

from __future__ import annotations

import select
import sys
import time
from pathlib import Path

import l8s_core as l8s

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from bench.unix_http import UnixHTTP

PING = "/v4.0.0/libpod/_ping"
RAW = "/v4.0.0/libpod/containers/json?all=true"


def ask(api: UnixHTTP, path: str) -> bytes:
    """The body of the answer."""
    api.request("GET", path)
    answer = api.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{path}: {answer.status} {body!r}")
    return body


def main(path: Path, at_least: int) -> None:
    """Until the end of stdin."""
    api = UnixHTTP(path)
    with l8s.connect() as client:
        print("ready", flush=True)
        for line in sys.stdin:
            if select.select([api.sock] if api.sock else [], [], [], 0)[0]:
                # its idle service has ended, and the connection with that; the next one is opened before the clock runs
                api.close()
                ask(api, PING)
            begun = time.perf_counter()
            if line == "list\n":
                found = len(client.list())
            else:
                found = ask(api, RAW).count(b'"Id"')
            seconds = time.perf_counter() - begun
            if found < at_least:
                raise SystemExit(f"{line.strip()}: {found} containers")
            print(seconds, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
