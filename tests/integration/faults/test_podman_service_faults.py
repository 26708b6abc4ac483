"""Podman's service ends, or was never there: 7 and never a truncated success."""

from __future__ import annotations

from battery import Battery, fault


@fault("podman service killed in mid-stream", points=[1, 20, 400, 3000], quick=1)
def test_the_service_is_killed_in_the_middle_of_an_exec(battery: Battery, point: int) -> None:
    battery.l8s("create", "x")
    battery.containers = {"x"}
    script = f"for i in $(seq {point}); do echo line; done; echo begun; sleep 20; echo done"
    running = battery.start("exec", "x", "--", "sh", "-c", script)
    running.wait_for(b"begun\n")
    killed = battery.server.run("systemctl show -P MainPID podman.service && systemctl kill -s KILL podman.service")
    assert int(killed.stdout) > 0
    battery.injected(f"killed podman.service, pid {killed.stdout.strip()}")
    ran = battery.finish(running, codes=(4, 7, 10), within=60, raw=True)
    assert ran.stdout == b"line\n" * point + b"begun\n"


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
