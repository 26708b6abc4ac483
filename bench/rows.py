"""What is measured, who takes part, and what must hold: the table of the performance page in code.

A `Row` is run at servers and delays, all its contestants in turn. A `Claim` compares two of them afterwards.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Literal

from attrs import frozen

from bench.measure import Contestant, RunFailed, Sample
from bench.podman_client import FILES
from bench.relay import relay
from bench.site import CONTAINER, MANY, PROGRAMS, Site, python

GIB = 1024**3
SMALL_FILES = 10_000
ALIAS = f"dev-{CONTAINER}"
DELAYS = (0, 20, 50, 150)
PROFILES = 5

WARM, COLD = "l8s, warm", "l8s, cold"
REMOTE = "podman --remote"
SSH, MASTER = "ssh HOST podman", "ssh HOST podman, ControlMaster"
PODMAN_PY = "podman-py, its own ssh"
TAR = "tar | ssh HOST podman exec tar"


@frozen(kw_only=True)
class Row:
    """``key`` selects it. Without ``server`` it is run once, on the laptop alone."""

    key: str
    title: str
    contestants: Callable[[Site, ExitStack], list[Contestant]]
    delays: tuple[int, ...] = DELAYS
    warm_up: bool = True
    server: bool = True


@frozen(kw_only=True)
class Claim:
    """``ours`` against ``rival`` (the slowest, where there are several) in a row.

    ``measure`` says what ``must`` and ``aim`` are: ``time``, at most so many times the rival's median; ``throughput``,
    at least so many times the rival's; ``memory``, at most so many MB (2**20 bytes) at any run, whatever the rival's.
    """

    what: str
    row: str
    delay_ms: int
    ours: str
    rival: tuple[str, ...]
    must: float
    aim: float
    measure: Literal["time", "throughput", "memory"] = "time"
    background: bool = False
    """Whether the memory of what l8s keeps running counts: where the data pass through it."""


CLAIMS = (
    Claim(what="`l8s list`, warm", row="list", delay_ms=50, ours=WARM, rival=(REMOTE,), must=0.35, aim=0.25),
    Claim(what="`l8s list`, warm", row="list", delay_ms=0, ours=WARM, rival=(REMOTE,), must=1.3, aim=1.0),
    Claim(what="`l8s list`, cold", row="list", delay_ms=50, ours=COLD, rival=(REMOTE,), must=1.0, aim=0.8),
    Claim(what="`l8s exec c -- true`, warm", row="exec", delay_ms=50, ours=WARM, rival=(REMOTE,), must=0.4, aim=0.3),
    # the stricter reading: by hand every step dials anew, and so does l8s's first command
    Claim(
        what="`l8s create` until `ssh` works, cold",
        row="create",
        delay_ms=50,
        ours=COLD,
        rival=("by hand",),
        must=1.0,
        aim=0.7,
    ),
    Claim(
        what="library, open client: `client.list()`",
        row="library",
        delay_ms=50,
        ours="client.list()",
        rival=("raw request",),
        must=1.15,
        aim=1.05,
    ),
    Claim(
        what=f"library: list of {MANY:,} containers",
        row="many",
        delay_ms=0,
        ours="client.list()",
        rival=("raw request",),
        must=1.3,
        aim=1.1,
    ),
    Claim(
        what="`l8s exec`, 1 GiB of output",
        row="output",
        delay_ms=0,
        ours="l8s",
        rival=(SSH,),
        must=0.5,
        aim=0.8,
        measure="throughput",
    ),
    Claim(
        what="`l8s cp`, 1 GiB",
        row="cp-big",
        delay_ms=0,
        ours="l8s",
        rival=(TAR,),
        must=0.5,
        aim=0.8,
        measure="throughput",
    ),
    Claim(
        what=f"`l8s cp`, {SMALL_FILES:,} small files",
        row="cp-small",
        delay_ms=0,
        ours="l8s",
        rival=(TAR,),
        must=0.5,
        aim=0.8,
        measure="throughput",
    ),
    Claim(what="`l8s --help`", row="start-up", delay_ms=0, ours="l8s --help", rival=("python -c pass",), must=6, aim=4),
    Claim(
        what="peak memory, `l8s list`, cold",
        row="list",
        delay_ms=0,
        ours=COLD,
        rival=(REMOTE,),
        must=60,
        aim=45,
        measure="memory",
    ),
    Claim(
        what="peak memory, `l8s list`, warm",
        row="list",
        delay_ms=0,
        ours=WARM,
        rival=(REMOTE,),
        must=60,
        aim=45,
        measure="memory",
    ),
    Claim(
        what="peak memory, `l8s cp` of 1 GiB",
        row="cp-big",
        delay_ms=0,
        ours="l8s",
        rival=(REMOTE,),
        must=120,
        aim=80,
        measure="memory",
        background=True,
    ),
    Claim(
        what=f"`l8s list --all-profiles`, {PROFILES} profiles / the slowest",
        row="profiles",
        delay_ms=50,
        ours="all profiles",
        rival=tuple(f"profile p{number}" for number in range(1, PROFILES + 1)),
        must=1.3,
        aim=1.1,
    ),
)


def _l8s(site: Site, *arguments: str, expect: str = "") -> list[Contestant]:
    run = partial(site.measured, "l8s", *arguments, expect=expect)
    return [
        Contestant(name=WARM, run=run, before=site.connect),
        Contestant(name=COLD, run=run, before=site.disconnect),
    ]


def _list(site: Site, _: ExitStack) -> list[Contestant]:
    podman_py = (python(), PROGRAMS / "podman_py.py", site.host, site.run.key_file, "list")
    return [
        *_l8s(site, "list", expect=CONTAINER),
        Contestant(name=REMOTE, run=partial(site.rival, "podman", "--remote", "ps", expect=ALIAS)),
        Contestant(name=SSH, run=partial(site.rival, *site.ssh, "podman ps", expect=ALIAS)),
        Contestant(name=MASTER, run=partial(site.rival, *site.ssh_master, "podman ps", expect=ALIAS)),
        Contestant(name=PODMAN_PY, run=partial(site.rival, *podman_py, expect=ALIAS)),
    ]


def _exec(site: Site, _: ExitStack) -> list[Contestant]:
    podman_py = (python(), PROGRAMS / "podman_py.py", site.host, site.run.key_file, "exec", ALIAS)
    return [
        *_l8s(site, "exec", CONTAINER, "--", "true"),
        Contestant(name=REMOTE, run=partial(site.rival, "podman", "--remote", "exec", ALIAS, "true")),
        Contestant(name=SSH, run=partial(site.rival, *site.ssh, f"podman exec {ALIAS} true")),
        Contestant(name=MASTER, run=partial(site.rival, *site.ssh_master, f"podman exec {ALIAS} true")),
        Contestant(name=PODMAN_PY, run=partial(site.rival, *podman_py)),
    ]


def _two_holders(site: Site, stack: ExitStack) -> list[Contestant]:
    """The process that serves an opened backend, which l8s has, and one that only relays bytes (decision 0020)."""
    path = site.laptop.home / "relay"
    stack.enter_context(relay(path, stack.enter_context(site.tunnel())))
    program = (python(), PROGRAMS / "list_over_relay.py", path)
    return [
        Contestant(name=WARM, run=partial(site.measured, "l8s", "list", expect=CONTAINER), before=site.connect),
        Contestant(name="over a relay of bytes", run=partial(site.measured, *program, expect=CONTAINER)),
    ]


def _create(site: Site, _: ExitStack) -> list[Contestant]:
    config = f"-F {site.laptop.home}/.ssh/config -o BatchMode=yes"
    created = ("sh", "-ec", f'l8s create "$0"; ssh {config} "dev-$0" true')

    def remove(name: str) -> None:
        site.laptop.l8s("rm", name, "--yes")

    name, port = "by-hand", 2240

    def remove_by_hand() -> None:
        site.on_server(
            "sh", "-c", f"podman rm --force --time 0 {name} && podman volume rm {name}-home {name}-workspace"
        )

    by_hand = (name, site.server.image, site.host, str(port), site.run.key_file, site.laptop.home / "by-hand.known")
    return [
        Contestant(
            name=WARM,
            before=site.connect,
            run=partial(site.measured, *created, "fresh-warm"),
            after=partial(remove, "fresh-warm"),
        ),
        Contestant(
            name=COLD,
            before=site.disconnect,
            run=partial(site.measured, *created, "fresh-cold"),
            after=partial(remove, "fresh-cold"),
        ),
        Contestant(
            name="by hand",
            run=partial(site.rival, PROGRAMS / "create_by_hand.sh", *by_hand),
            after=remove_by_hand,
        ),
    ]


@contextmanager
def _library(site: Site, at_least: int) -> Iterator[Callable[[str], Sample]]:
    """A program with an open client and an open tunnel, which measures itself."""
    with site.tunnel() as path:
        process = subprocess.Popen(
            [python(), PROGRAMS / "library.py", path, str(at_least)],
            env=site.l8s_env,
            cwd=site.laptop.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdin is not None and process.stdout is not None

        def ask(question: str) -> Sample:
            assert process.stdin is not None and process.stdout is not None
            if process.poll() is not None:
                raise RunFailed(f"the program ended with {process.returncode}")
            process.stdin.write(f"{question}\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            if not answer:
                raise RunFailed(f"the program ended with {process.wait()}")
            return Sample(seconds=float(answer))

        try:
            if process.stdout.readline() != "ready\n":
                raise RunFailed(f"the program ended with {process.wait()}")
            yield ask
        finally:
            process.stdin.close()
            try:
                process.wait(timeout=20)
            finally:
                process.kill()
                process.stdout.close()


def _open_client(site: Site, stack: ExitStack, at_least: int = 1) -> list[Contestant]:
    ask = stack.enter_context(_library(site, at_least))
    return [
        Contestant(name="client.list()", run=partial(ask, "list")),
        Contestant(name="raw request", run=partial(ask, "raw")),
    ]


def _many(site: Site, stack: ExitStack) -> list[Contestant]:
    site.fill()
    return _open_client(site, stack, MANY)


def _many_by_command(site: Site, _: ExitStack) -> list[Contestant]:
    site.fill()
    last = f"many-{MANY - 1:04d}"
    return [
        *_l8s(site, "list", expect=last),
        Contestant(name=REMOTE, run=partial(site.rival, "podman", "--remote", "ps", "--all", expect=last)),
    ]


def _output(site: Site, _: ExitStack) -> list[Contestant]:
    script = f"head -c {GIB} /dev/zero"

    def counted(*argv: str) -> None:
        ran = site.laptop.run("sh", "-c", '"$@" | wc -c', "sh", *argv, timeout=300, PATH=site.env["PATH"])
        if ran.stdout.strip() != str(GIB):
            raise RunFailed(f"{argv[:4]} passed on {ran.stdout.strip()} bytes of {GIB}: {ran.stderr}")

    ours = ("l8s", "exec", CONTAINER, "--", *script.split())
    counted(*ours)
    return [
        Contestant(name="l8s", run=partial(site.measured, *ours), before=site.connect),
        Contestant(name=SSH, run=partial(site.rival, *site.ssh, f"podman exec {ALIAS} {script}")),
        Contestant(name=REMOTE, run=partial(site.rival, "podman", "--remote", "exec", ALIAS, *script.split())),
    ]


def _copy(site: Site, _: ExitStack, *, what: str, proof: str) -> list[Contestant]:
    """Four ways to bring ``what`` to the container; ``proof`` prints the same there as for what was sent."""
    source = site.files / what
    expected = subprocess.run(["sh", "-c", proof, "sh", str(source)], check=True, capture_output=True, text=True).stdout
    # on a volume, where projects are: to empty a directory on the overlay takes longer than to fill it
    target = "/workspace/copied"

    def clear() -> None:
        site.inside(f"rm -rf {target} && mkdir -m 777 {target}")

    def check() -> None:
        arrived = site.inside(f"set -- {target}/{what}\n{proof}")
        if arrived != expected:
            raise RunFailed(f"what arrived is {arrived.strip()!r} and not {expected.strip()!r}")

    def contestant(name: str, run: Callable[[], Sample], unavailable: str = "") -> Contestant:
        return Contestant(name=name, run=run, before=clear, after=check, unavailable=unavailable)

    config = ("-F", str(site.laptop.ssh_config), "-o", "BatchMode=yes", "-o", "ControlPath=none")
    tar = f"tar -C {site.files} -cf - {what} | {' '.join(site.ssh)} podman exec -i {ALIAS} tar -C {target} -xf -"
    missing = "" if site.has("cp") else "this l8s has no `cp`"

    def ours() -> Sample:
        site.connect()
        return site.measured("l8s", "cp", source, f"{CONTAINER}:{target}/")

    return [
        contestant("l8s", ours, missing),
        contestant(TAR, partial(site.rival, "sh", "-c", tar)),
        contestant("scp ALIAS", partial(site.rival, "scp", "-q", "-r", *config, source, f"{ALIAS}:{target}/")),
        contestant(REMOTE, partial(site.rival, "podman", "--remote", "cp", f"{FILES}/{what}", f"{ALIAS}:{target}/")),
    ]


def _start_up(site: Site, _: ExitStack) -> list[Contestant]:
    return [
        Contestant(name="l8s --help", run=partial(site.measured, "l8s", "--help", expect="list")),
        Contestant(name="python -c pass", run=partial(site.rival, python(), "-c", "pass")),
    ]


def _profiles(site: Site, stack: ExitStack) -> list[Contestant]:
    missing = "" if site.has("list", "--all-profiles") else "this l8s has no `list --all-profiles`"
    names = [f"p{number}" for number in range(1, PROFILES + 1)]
    if not missing:
        site.write_profiles(dict(zip(names, site.far_addresses, strict=True)))
        for name in names:
            stack.callback(site.disconnect, "--profile", name, config=site.profiles_config)
            site.laptop.l8s("list", "--profile", name, L8S_CONFIG=site.profiles_config)
    run = partial(site.measured, "l8s", "list", L8S_CONFIG=site.profiles_config)
    return [
        Contestant(name="all profiles", run=partial(run, "--all-profiles"), unavailable=missing),
        *(
            Contestant(name=f"profile {name}", run=partial(run, "--profile", name), unavailable=missing)
            for name in names
        ),
    ]


BYTES = 'stat -c %s "$1"'
FILES_AND_BYTES = 'find "$1" -type f | wc -l; find "$1" -type f -exec cat {} + | cksum | cut -d" " -f2'

ROWS = (
    Row(key="start-up", title="Start-up", contestants=_start_up, delays=(0,), server=False),
    Row(key="list", title="List the containers", contestants=_list),
    Row(key="exec", title="Run `true` in a container", contestants=_exec),
    Row(key="holders", title="List, two ways to keep a connection", contestants=_two_holders),
    Row(key="library", title="List, in a program with an open client", contestants=_open_client),
    Row(key="create", title="Create a container and log in", contestants=_create, delays=(0, 50), warm_up=False),
    Row(key="profiles", title="Five profiles", contestants=_profiles, delays=(50,)),
    Row(key="output", title="1 GiB of output", contestants=_output, delays=(0,), warm_up=False),
    Row(
        key="cp-big",
        title="Copy 1 GiB into a container",
        contestants=partial(_copy, what="big", proof=BYTES),
        delays=(0,),
        warm_up=False,
    ),
    Row(
        key="cp-small",
        title=f"Copy {SMALL_FILES:,} files of 1 KiB into a container",
        contestants=partial(_copy, what="many", proof=FILES_AND_BYTES),
        delays=(0,),
        warm_up=False,
    ),
    # last: their containers stay. Not one row: Podman's service ends 5 s after its last request, and in one that lasts
    # longer the open client and the open connection would find it gone each time
    Row(key="many", title=f"List {MANY:,} containers, in a program", contestants=_many, delays=(0,)),
    Row(key="many-command", title=f"List {MANY:,} containers", contestants=_many_by_command, delays=(0,)),
)


def chosen(keys: Sequence[str]) -> tuple[Row, ...]:
    """The rows of these keys, all for none.

    Raises:
        ValueError: there is no such row.
    """
    known = {row.key: row for row in ROWS}
    for key in keys:
        if key not in known:
            raise ValueError(f"There is no row {key!r}. Rows: {', '.join(known)}")
    return tuple(row for row in ROWS if not keys or row.key in keys)
