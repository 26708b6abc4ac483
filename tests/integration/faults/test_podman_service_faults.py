"""Podman's service ends, or was never there: 7 and never a truncated success."""

from __future__ import annotations

import os
import signal
import sys

from battery import Battery, fault

DOWNLOAD = """
import os, sys
import l8s_core as l8s
from l8s_podman.backend import PodmanBackend
with l8s.connect() as client:
    backend = PodmanBackend(client.profile)
    try:
        backend.open(l8s.Steps())
        chunks = backend.download("dev-x", "/home/dev/big")
        size = len(next(chunks))
        print("begun", flush=True)
        os.kill(os.getpid(), 19)
        print(size + sum(map(len, chunks)))
    except l8s.L8sError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    finally:
        backend.close()
"""
"""Stops itself, by SIGSTOP, when it has the beginning: then the rest waits on the server."""

TALK = {
    "after a line": ("echo line; echo begun; sleep 20", b"line\nbegun\n"),
    "after 3000 lines": ("seq 3000; echo begun; sleep 20", b"".join(b"%d\n" % n for n in range(1, 3001)) + b"begun\n"),
    "while it talks": ("echo begun; while :; do echo line; done", None),
    "when nothing was said": ("touch /tmp/begun; sleep 20", b""),
    "shortly before it ends": ("echo line; echo begun; sleep 1; echo more", b"line\nbegun\n"),
    "long before it ends, and it takes longer": ("echo line; echo begun; sleep 9; echo more", b"line\nbegun\n"),
}
"""What an exec does, and all that must have come of it; None where that depends on the moment."""


def kill_the_service(battery: Battery) -> None:
    killed = battery.server.run("systemctl show -P MainPID podman.service && systemctl kill -s KILL podman.service")
    assert int(killed.stdout) > 0
    battery.injected(f"killed podman.service, pid {killed.stdout.strip()}")


@fault("podman service killed in mid-stream", points=[*TALK, "in a download"], quick=2)
def test_the_service_is_killed_in_mid_stream(battery: Battery, point: str) -> None:
    battery.l8s("create", "x")
    battery.containers = {"x"}
    if point == "in a download":
        battery.l8s("exec", "x", "--", "sh", "-c", "head -c 200M /dev/zero > ~/big")
        running = battery.start("-c", DOWNLOAD, program=sys.executable)
        running.wait_for(b"begun\n")
        kill_the_service(battery)
        os.kill(running.pid, signal.SIGCONT)
        assert battery.finish(running, codes=(7,), timeout=60).stdout == b"begun\n"
        return
    script, whole = TALK[point]
    running = battery.start("exec", "x", "--", "sh", "-c", script)
    if whole == b"":
        battery.server.run("timeout 30 sh -c 'until podman exec dev-x test -e /tmp/begun; do sleep 0.1; done'")
    else:
        running.wait_for(b"begun\n")
    kill_the_service(battery)
    ran = battery.finish(running, codes=(7,), timeout=60, raw=True)
    if whole is None:
        said = ran.stdout.removeprefix(b"begun\n")
        assert (b"line\n" * (len(said) // 5 + 1)).startswith(said)
    else:
        assert ran.stdout == whole
    assert "Podman's service" in ran.stderr.decode()
    left = battery.server.run("podman top dev-x args").stdout
    assert script not in left, "the command goes on"


DEAD = "/run/l8s-test-dead.sock"
SOCKETS = {
    "missing": ("/run/l8s-test-missing.sock", "there is no such file"),
    "a plain file": ("/etc/passwd", "not a socket"),
    "no permission": (DEAD, "may not read and write it"),
    "dead": (DEAD, "nothing listens on it"),
}


@fault("socket missing, a plain file, no permission, dead", points=list(SOCKETS), quick=2)
def test_socket(battery: Battery, user: str, point: str) -> None:
    path, said = SOCKETS[point]
    as_root = point != "no permission"
    listen = f"perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local => \"{DEAD}\", Listen => 1)'; chmod 600 {DEAD}"
    battery.server.run(listen)
    try:
        seen = battery.server.run(f"stat -c '%F, %A %U' {path}", check=False).stdout.strip() or "no such file"
        battery.injected(f"{path} is: {seen}")
        battery.laptop.configure(battery.server, remote_socket=path, remote_user="root" if as_root else user)
        for arguments in (["list"], ["create", "x"]):
            text = battery.l8s(*arguments, codes=(7,), within=20.0).text
            assert "Podman socket not accessible on remote server." in text
            assert path in text
            assert [words for _, words in SOCKETS.values() if words in text] == [said]
    finally:
        battery.server.run(f"rm {DEAD}")
