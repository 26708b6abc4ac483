"""The connection breaks, freezes or falls silent: told within seconds, and a change is made whole by one more run."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from battery import Battery, Ran, fault
from wire import PORT, Line

DEADLINE = 15.0
"""Seconds within which a dead link must have been told."""

DOWNLOAD = """
import sys
from l8s_core import L8sError
from l8s_core.model import Profile
from l8s_core.steps import Steps
from l8s_podman.backend import PodmanBackend
backend = PodmanBackend(Profile(name="dev", remote_host=sys.argv[1], remote_port=int(sys.argv[2]),
                                remote_user="root", base_image="localhost/none"))
try:
    backend.open(Steps())
    data = b"".join(backend.download("dev-x", "/usr/bin/git"))
except L8sError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
finally:
    backend.close()
print(len(data))
"""

READS: dict[str, tuple[str, ...]] = {
    "list": ("-o", "json", "list"),
    "exec": ("exec", "x", "--", "seq", "40000"),
    "info": ("-o", "json", "info", "x"),
    "download": ("-c", DOWNLOAD),
}
WRITES: dict[str, tuple[str, ...]] = {
    "create": ("create", "y"),
    "rm": ("rm", "x", "--yes"),
    "start": ("start", "x"),
    "stop": ("stop", "x"),
}
POINTS = 20


def spread(names: Sequence[str]) -> list[str]:
    """Twenty points: each command in turn, a little later every time."""
    return [f"{(number + 0.5) / POINTS:.3f} of {names[number % len(names)]}" for number in range(POINTS)]


def cut(
    battery: Battery, point: str, run: Callable[[str], Ran], reset: Callable[[str], None], *, signal: str = "KILL"
) -> tuple[Ran, Ran]:
    """How the point's command ended whole, and how it ended when its connection was cut at the point (see `Line`)."""
    share, _, name = point.partition(" of ")
    battery.laptop.configure(battery.server, remote_port=PORT)
    pins = battery.laptop.home / ".l8s" / "known_hosts"
    pins.write_text(f"{pins.read_text()}[{battery.server.host}]:{PORT} {battery.server.host_key.line}\n")
    whole = Line(battery)
    reset(name)
    with whole.open():
        healthy = run(name)
    assert healthy.code == 0, healthy.text
    reset(name)
    line = Line(battery, cut_at=int(whole.passed * float(share)), signal=signal)
    with line.open():
        ended = run(name)
    assert line.cut, f"{line.passed} bytes passed, and it was to be cut at {line.cut_at} of {whole.passed}"
    what = f"{signal or 'silence'} for {' and '.join(line.cut)}"
    battery.injected(f"{what} at byte {line.cut_at} of {whole.passed}; it said {ended.code}")
    battery.laptop.configure(battery.server)
    return healthy, ended


@fault("sshd's child killed in a read", points=spread(list(READS)), quick=2)
def test_read(battery: Battery, point: str) -> None:
    battery.l8s("create", "x")
    battery.containers = {"x"}

    def run(name: str) -> Ran:
        if name == "download":
            running = battery.start(*READS[name], battery.server.host, str(PORT), program=sys.executable)
        else:
            running = battery.start(*READS[name])
        # a command in a container may have changed something
        return battery.finish(running, codes=(0, 4, 10) if name == "exec" else (0, 4), within=DEADLINE)

    healthy, ended = cut(battery, point, run, lambda name: None)
    if ended.code == 0:  # all of it had come
        assert ended.stdout == healthy.stdout
    battery.l8s("info", "x")


COPIES = {"in": ("cp", "tree", "x:copy"), "out": ("cp", "x:tree", "copy")}


@fault("a copy is cut off", points=spread(list(COPIES)), quick=2)
def test_copy(battery: Battery, point: str) -> None:
    battery.l8s("create", "x")
    battery.containers = {"x"}
    home = battery.laptop.home
    (home / "tree").mkdir()
    for number in range(40):
        (home / "tree" / f"f{number}").write_bytes(b"%02d" % number * 50_000)
    battery.l8s("cp", "tree", "x:")
    name = point.partition(" of ")[2]

    def inside(script: str) -> str:
        return battery.server.run(f"podman exec -w /workspace/project dev-x sh -c '{script}'").stdout

    def reset(name: str) -> None:
        inside("rm -rf copy")
        shutil.rmtree(home / "copy", ignore_errors=True)

    def there() -> list[str]:
        found = inside("test ! -e copy || echo copy; find . -name .l8s-\\*").split()
        return found + [path.name for path in home.glob("copy")] + [path.name for path in home.glob(".l8s-*")]

    def run(name: str) -> Ran:
        return battery.l8s(*COPIES[name], codes=(0, 4, 10), within=DEADLINE)

    _, ended = cut(battery, point, run, reset)
    if ended.code:
        deadline = time.monotonic() + DEADLINE  # the container learns of it a moment later
        while (left := there()) and time.monotonic() < deadline:
            time.sleep(0.2)
        # what was whole when the line was cut keeps its name: only its last words were lost
        assert left in ([], ["copy"]), left
        assert left == [] or name == "in"
    battery.l8s(*(word.replace("copy", "again") for word in COPIES[name]))
    for place in ("copy", "again") if ended.code == 0 or left else ("again",):
        if name == "in":
            assert inside(f"diff -r tree {place} && echo same") == "same\n"
        else:
            assert battery.laptop.run("diff", "-r", "tree", place).stdout == ""


SILENCES = {"frozen sshd": "STOP", "silent line": ""}


@fault(
    "frozen sshd, silent line: at any byte of a read",
    points=[f"{list(SILENCES)[number // 2 % 2]}, {point}" for number, point in enumerate(spread(["list", "info"]))],
    quick=1,
)
def test_silence(battery: Battery, point: str) -> None:
    battery.l8s("create", "x")
    battery.containers = {"x"}
    what, _, point = point.partition(", ")

    def run(name: str) -> Ran:
        return battery.l8s(*READS[name], codes=(0, 4), within=DEADLINE)

    healthy, ended = cut(battery, point, run, lambda name: None, signal=SILENCES[what])
    if ended.code == 0:
        assert ended.stdout == healthy.stdout
    battery.l8s("info", "x")


@fault("sshd's child killed in a write", points=spread(list(WRITES)), quick=2)
def test_write(battery: Battery, point: str) -> None:
    name = point.partition(" of ")[2]

    def reset(name: str) -> None:
        battery.laptop.configure(battery.server)
        battery.l8s("rm", "y", "--yes", codes=(0, 8))
        battery.l8s("create", "x", codes=(0, 8))
        battery.l8s("stop" if name == "start" else "start", "x")
        battery.laptop.configure(battery.server, remote_port=PORT)

    def run(name: str) -> Ran:
        return battery.l8s(*WRITES[name], codes=(0, 4, 10), timeout=60)

    _, ended = cut(battery, point, run, reset)
    # run again: 8 where it had been done to its end, and only the last words were cut off
    battery.l8s(*WRITES[name], codes=(0, 8) if ended.code == 10 and name in ("create", "rm") else (0,))
    battery.containers = {"create": {"x", "y"}, "rm": set()}.get(name, {"x"})
    rows = battery.l8s("-o", "json", "list").data
    assert isinstance(rows, list)
    states = {row["name"]: row["state"] for row in rows}
    assert states == dict.fromkeys(battery.containers, "exited" if name == "stop" else "running")


@contextmanager
def black_hole(battery: Battery) -> Iterator[None]:
    rule = ["-s", battery.server.host, "-p", "tcp", "--sport", "22", "-j", "DROP"]
    battery.laptop.run("iptables", "-w", "-I", "INPUT", *rule)
    try:
        yield
        # other workers have rules there too, for their servers
        rows = battery.laptop.run("iptables", "-w", "-nvxL", "INPUT").stdout.splitlines()
        (dropped,) = (int(row.split()[0]) for row in rows if battery.server.host in row.split())
        assert dropped > 0, "nothing was dropped"
        battery.injected(f"dropped {dropped} packets")
    finally:
        battery.laptop.run("iptables", "-w", "-D", "INPUT", *rule)


@contextmanager
def frozen(battery: Battery) -> Iterator[None]:
    stopped = battery.server.exec("sh", "-c", "pkill -STOP sshd; pgrep -c sshd").stdout.strip()
    try:
        assert int(stopped) > 0
        yield
        battery.injected(f"stopped {stopped} processes")
    finally:
        battery.server.exec("pkill", "-CONT", "sshd")


@fault("black hole, frozen sshd: before a call", points=["black hole", "frozen"], quick=1)
def test_before(battery: Battery, point: str) -> None:
    with black_hole(battery) if point == "black hole" else frozen(battery):
        battery.l8s("list", codes=(4,), within=DEADLINE)
    battery.l8s("list")


LOOKING = """
import sys, time
import l8s_core as l8s
with l8s.connect() as client:
    try:
        while True:
            client.list()
            print("begun", flush=True)
    except l8s.L8sError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
"""
CALLS = {"a look": 4, "exec": 10}
"""What is under way, and how it ends: of a command in a container it is not known whether it goes on."""


@fault(
    "black hole, frozen sshd: during a call",
    points=[f"{what}, in {call}" for what in ("black hole", "frozen") for call in CALLS],
    quick=1,
)
def test_during(battery: Battery, point: str) -> None:
    what, _, call = point.partition(", in ")
    battery.l8s("create", "x")
    battery.containers = {"x"}
    if call == "exec":
        running = battery.start("exec", "x", "--", "sh", "-c", "echo begun; sleep 40")
    else:
        running = battery.start("-c", LOOKING, program=sys.executable)
    running.wait_for(b"begun\n")
    with black_hole(battery) if what == "black hole" else frozen(battery):
        began = time.monotonic()
        battery.finish(running, codes=(CALLS[call],), within=began - running.began + DEADLINE)
    battery.l8s("exec", "x", "--", "true")


@fault("the server loses its power in a create", points=["volumes", "container", "start", "provision"], quick=1)
def test_power(battery: Battery, point: str) -> None:
    running = battery.start("-v", "create", "x")
    running.wait_for(f"{point}".encode())
    try:
        battery.server.power_off(cut=True)
        ran = battery.finish(running, codes=(10,), timeout=90)
        assert "Run the same l8s create again" in ran.text
        battery.injected(f"the plug was pulled, and it said {ran.code}")
    finally:
        battery.server.power_on()
    battery.l8s("create", "x")
    battery.containers = {"x"}
    battery.laptop.ssh("dev-x", "true")


SSHD = "/etc/ssh/sshd_config.d/10-fault.conf"


TIGHT = [
    "MaxSessions 1",
    "AllowStreamLocalForwarding no",
    # every request is a session then, and some are made at once
    "AllowStreamLocalForwarding no, MaxSessions 2",
]


@fault("MaxSessions 1, no forwarding", points=TIGHT, quick=1)
def test_settings(battery: Battery, point: str) -> None:
    settings = point.split(", ")
    lines = "\\n".join(settings)
    battery.server.exec("sh", "-ec", f"printf '{lines}\\n' > {SSHD}; systemctl reload ssh", check=True)
    try:
        shown = battery.server.exec("sshd", "-T", check=True).stdout.lower()
        assert all(setting.lower() in shown for setting in settings)
        battery.injected(f"sshd -T says {point}")
        battery.l8s("create", "x", within=60.0)
        battery.containers = {"x"}
        battery.l8s("exec", "x", "--", "true", within=20.0)
        battery.l8s("list", within=20.0)
    finally:
        battery.server.exec("sh", "-ec", f"rm {SSHD}; systemctl reload ssh", check=True)
