"""podman-py by itself, over its own ssh transport: ``python podman_py.py HOST KEY list``, or ``... exec NAME``."""

import sys

from podman import PodmanClient

host, key, verb, *name = sys.argv[1:]
with PodmanClient(base_url=f"ssh://root@{host}:22/run/podman/podman.sock", identity=key, timeout=60) as client:
    if verb == "list":
        for container in client.containers.list():
            print(container.name)
    else:
        code, _ = client.containers.get(name[0]).exec_run(["true"])
        sys.exit(code or 0)
