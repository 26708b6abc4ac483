"""What goes wrong with files, agents, environments and what a container says; and many l8s at once."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from contextlib import suppress

from battery import Battery, crowd, fault
from lab import Run, complete, mounted, peak_memory

AGENTS = {
    "absent": "required but not running",
    "dead socket": "nothing is listening",
    "hanging": "does not answer",
    "empty": "holds no key",
    "locked": "holds no key",
    "wrong key": "is not in the agent",
}


@fault("ssh-agent absent, dead, hanging, empty, locked, with another key", points=list(AGENTS), quick=2)
def test_agent(battery: Battery, point: str) -> None:
    laptop, env = battery.laptop, {}
    match point:
        case "absent":
            env = {"SSH_AUTH_SOCK": ""}
        case "dead socket":
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(str(laptop.home / "agent-dead"))
            env = {"SSH_AUTH_SOCK": str(laptop.home / "agent-dead")}
        case "hanging":
            laptop.agent.send_signal(signal.SIGSTOP)
        case "empty":
            laptop.run("ssh-add", "-q", "-D")
        case "locked":
            askpass = laptop.home / "askpass"
            askpass.write_text("#!/bin/sh\necho secret\n")
            askpass.chmod(0o700)
            laptop.run("ssh-add", "-x", SSH_ASKPASS=str(askpass), SSH_ASKPASS_REQUIRE="force")
        case "wrong key":
            laptop.run("ssh-add", "-q", "-D")
            laptop.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", laptop.home / "other")
            laptop.run("ssh-add", "-q", laptop.home / "other")
    try:
        ran = battery.l8s("list", codes=(6,), within=5.0, **env)
        assert AGENTS[point] in ran.text, ran.text
        battery.injected(ran.text.splitlines()[0])
    finally:
        laptop.agent.send_signal(signal.SIGCONT)
        (laptop.home / "agent-dead").unlink(missing_ok=True)


@fault("ssh-agent with twenty keys", points=["twenty"], quick=1)
def test_twenty_keys(battery: Battery, point: str) -> None:
    laptop = battery.laptop
    for number in range(19):
        laptop.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", laptop.home / f"key{number}")
        laptop.run("ssh-add", "-q", laptop.home / f"key{number}")
    assert len(laptop.run("ssh-add", "-l").stdout.splitlines()) == 20
    battery.injected("the agent holds 20 keys")
    battery.l8s("create", "x")
    battery.containers = {"x"}
    # sshd would end it after MaxAuthTries (6) keys
    laptop.ssh("dev-x", "true")


@fault("the laptop's disk is full, or cannot be written", points=["full", "read-only", "read-only home"], quick=2)
def test_disk(battery: Battery, point: str) -> None:
    laptop = battery.laptop
    ours = laptop.home / ".l8s"
    users = laptop.ssh_config.read_bytes()
    if point == "full":
        with mounted(ours, "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs"):
            laptop.configure(battery.server)
            with (ours / "filler").open("wb", buffering=0) as filler, suppress(OSError):
                while filler.write(b"x" * 4096):
                    pass
            before = {path.name: path.read_bytes() for path in ours.iterdir() if path.is_file()}
            ran = battery.l8s("create", "x", codes=(9,))
            assert "No space left" in ran.text
            after = {path.name: path.read_bytes() for path in ours.iterdir() if path.is_file() and path.stat().st_size}
    else:
        before = {path.name: path.read_bytes() for path in ours.iterdir() if path.is_file()}
        locked = ours if point == "read-only" else laptop.home
        with mounted(locked, "-o", "bind", str(locked)):
            complete(["mount", "-o", "remount,bind,ro", str(locked)], check=True, timeout=10)
            ran = battery.l8s("create", "x", codes=(9,))
            assert "ead-only" in ran.text
        after = {path.name: path.read_bytes() for path in ours.iterdir() if path.is_file()}
    assert after == before
    assert laptop.ssh_config.read_bytes() == users
    battery.injected(ran.text.splitlines()[0])


STORAGE = "/var/lib/containers/storage"
DISKS = [
    *(f"{size} KiB for volumes" for size in (0, 4, 8, 12, 16, 24, 32, 48, 64)),
    "nothing for containers",
]
"""Where there is how little room. A container's three volumes and an empty repository take about 120 KiB."""


@fault("the server's disk is full", points=DISKS, quick=2)
def test_server_disk(battery: Battery, point: str) -> None:
    amount, _, what = point.partition(" for ")
    place = f"{STORAGE}/{'volumes' if what == 'volumes' else 'overlay-containers'}"
    size = 1024 if amount == "nothing" else int(amount.removesuffix(" KiB"))
    # what is there already is there in the small place, too
    battery.server.run(
        f"cp -ax {place} /run/kept && mount -t tmpfs -o size={max(size, 4)}k tmpfs {place} &&"
        f" cp -a /run/kept/. {place} && rm -r /run/kept"
    )
    try:
        if amount in ("nothing", "0 KiB"):
            battery.server.run(f"head -c 4M /dev/zero > {place}/filler", check=False)
        free = battery.server.run(f"df --output=avail -k {place} | tail -n 1").stdout.strip()
        ran = battery.l8s("create", "x", codes=(7,))
        assert "no space left" in ran.text.lower()
        battery.check_server()  # rolled back
        battery.injected(f"{free} KiB were free, and it said: {ran.text.splitlines()[0]}")
    finally:
        battery.server.run(f"umount -l {place}")
    battery.l8s("create", "x")
    battery.containers = {"x"}


ROUNDS = list(range(50))
LAPTOPS = (1, 2, 4)
"""On how many laptops a round's racers are."""


@fault("8 creates of one name, from 1, 2 and 4 laptops", points=ROUNDS, quick=2)
def test_one_name(battery: Battery, run: Run, point: int) -> None:
    with crowd(battery, run, LAPTOPS[point % len(LAPTOPS)]) as machines:
        racing = [(which, which.start("create", "x")) for which in machines for _ in range(8 // len(machines))]
        ended = [(which, which.finish(running, codes=(0, 8), timeout=180).code) for which, running in racing]
        assert sorted(code for _, code in ended) == [0] + [8] * 7
        battery.injected(f"8 at once on {len(machines)} laptops")
        [winner] = [which for which, code in ended if code == 0]
        winner.laptop.ssh("dev-x", "true")
        for which in machines:
            which.containers = {"x"}
            which.unentered = set() if which is winner else {"x"}
        for other in machines[1:]:
            other.check()


@fault("8 creates racing for ports", points=ROUNDS, quick=1)
def test_ports(battery: Battery, point: int) -> None:
    wanted = {f"n{number}" for number in range(8)}
    racing = [battery.start("create", name) for name in wanted]
    for running in racing:
        battery.finish(running, codes=(0,), timeout=240)
    battery.injected("8 at once")
    battery.containers = wanted  # the invariant holds that their ports differ; each create has logged in to its own


WRITER = """
import sys
from attrs import evolve
from l8s_core import HostBlock
from l8s_openssh.writer import OpenSSHWriter
number = int(sys.argv[1])
block = HostBlock(alias=f"dev-w{number}", hostname="h.example.com", port=2200 + number, user="dev",
                  host_key_alias=f"dev-w{number}.l8s", known_hosts_file="/nowhere")
writer = OpenSSHWriter()
if sys.argv[2] == "add":
    writer.apply(writer.plan(add=[block]))
else:
    writer.apply(writer.plan(remove=[block.alias]))
"""


@fault("20 writers of the ssh config", points=ROUNDS, quick=1)
def test_writers(battery: Battery, point: int) -> None:
    def all_at_once(what: str) -> None:
        racing = [battery.start("-c", WRITER, str(number), what, program=sys.executable) for number in range(20)]
        for running in racing:
            battery.finish(running, codes=(0,))

    entries = battery.laptop.home / ".l8s" / "ssh_config"
    all_at_once("add")
    assert entries.read_text().count("\nHost dev-w") == 20
    battery.injected("20 at once")
    all_at_once("remove")
    assert "Host dev-w" not in entries.read_text()


@fault("proxies and other engines in the environment", points=["all"], quick=1)
def test_proxies(battery: Battery, point: str) -> None:
    seen: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def listen() -> None:
            with suppress(OSError):
                while True:
                    connection, peer = listener.accept()
                    seen.append(peer)
                    connection.close()

        threading.Thread(target=listen, daemon=True).start()
        trap = f"127.0.0.1:{listener.getsockname()[1]}"
        proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        variables = dict.fromkeys([*proxies, *map(str.lower, proxies)], f"http://{trap}")
        variables |= {"CONTAINER_HOST": f"tcp://{trap}", "DOCKER_HOST": f"tcp://{trap}"}
        listed = battery.l8s("list", **variables).text
        assert "CONTAINER_HOST" in listed
        assert "DOCKER_HOST" in listed
        battery.l8s("create", "x", **variables)
        battery.l8s("exec", "x", "--", "true", **variables)
        battery.l8s("doctor", **variables)
        listener.shutdown(socket.SHUT_RDWR)
    battery.containers = {"x"}
    assert seen == []
    battery.injected(f"variables that name {trap}")


SIZE = 1024**3


@fault("exec that prints 1 GiB", points=["1 GiB"], quick=1)
def test_much_output(battery: Battery, point: str) -> None:
    battery.l8s("create", "x")
    battery.containers = {"x"}
    script = f"l8s exec x -- head -c {SIZE} /dev/zero | wc -c"
    ran = battery.finish(battery.start("-c", script, program="sh"), codes=(0,), timeout=110)
    assert int(ran.stdout) == SIZE
    peak = max(ran.peak, *map(peak_memory, battery.laptop.holders()))
    assert peak < 200 * 1024**2
    battery.injected(f"{SIZE} bytes, and {peak // 1024**2} MiB of memory")


HOSTILE = {
    "not UTF-8": b"\xff\xfe\x80",
    "ESC": b"\x1b[2J\x1b[31mred",
    "OSC": b"\x1b]0;title\x07",
    "bidi": "\u202ereversed".encode(),
    "CR": b"good\rbad",
}


@fault("hostile output of a container", points=list(HOSTILE), quick=1)
def test_hostile_output(battery: Battery, point: str) -> None:
    battery.l8s("create", "x")
    battery.containers = {"x"}
    octal = "".join(f"\\{byte:03o}" for byte in HOSTILE[point])
    words = ("exec", "x", "--", "printf", octal)
    assert battery.l8s(*words, raw=True).stdout == HOSTILE[point]
    data = battery.l8s("-o", "json", *words).data
    assert isinstance(data, dict)
    assert data["stdout"] == HOSTILE[point].decode("utf-8", "replace")
    battery.injected(f"{len(HOSTILE[point])} bytes")


@fault("hostile labels", points=list(HOSTILE)[1:], quick=1)
def test_hostile_labels(battery: Battery, point: str) -> None:
    text = HOSTILE[point].decode()
    quoted = "".join(f"\\x{byte:02x}" for byte in HOSTILE[point])
    labels = "--label l8s.managed=true --label l8s.prefix=dev --label l8s.name=evil"
    hostile = f"--label note=$'{quoted}' --label l8s.repository=$'https://x/{quoted}'"
    battery.server.run(f'bash -c "podman create --name dev-evil {labels} {hostile} {battery.server.image} true"')
    data = battery.l8s("-o", "json", "list").data
    assert isinstance(data, list)
    assert data[0]["labels"]["note"] == text
    for arguments in (("list",), ("info", "evil"), ("sync",), ("rm", "evil", "--yes")):
        battery.l8s(*arguments)
    battery.l8s("doctor")
    battery.injected(f"a label with {point}")
