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
