"""The clocks of laptop and server are ten years apart, or a container was made while its server's clock was wrong.

The lab's servers share this machine's clock. So it is the laptop's programs that are told another time, by libfaketime:
the difference is the same. Podman is a Go program and reads the clock past every library; for containers of another
time, the date of their creation is changed where Podman keeps it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from battery import Battery, fault

YEARS = 10
DAYS = 3653
NOW = re.compile(r"just now|[12] minutes? ago")

SLEEP = """\
# libfaketime answers clock_nanosleep(2) to an absolute moment, as which Python sleeps, with EINVAL
import select
import time


def sleep(seconds):
    select.select([], [], [], seconds)


time.sleep = sleep
"""

SHIFTS = {"behind": f"+{DAYS}d", "ahead of": f"-{DAYS}d"}
"""How the server's clock is to the laptop's, and what the laptop's programs add to theirs for that."""


def at_another_time(battery: Battery, offset: str) -> dict[str, str]:
    """The environment in which a program of the laptop's has another date; time that passes is left alone."""
    libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    assert libraries, "libfaketime is missing: scripts/lab install"
    directory = battery.laptop.home / "python"
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(SLEEP)
    return {
        "LD_PRELOAD": str(libraries[0]),
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
        "PYTHONPATH": str(directory),
    }


def ages(battery: Battery, **env: str) -> dict[str, str]:
    """Name and age of each container, in the order of ``l8s list``."""
    head, *rows = battery.l8s("list", **env).stdout.decode().splitlines()
    where = slice(head.index("CREATED"), head.index("ALIAS"))
    return {row.split()[0]: row[where].strip() for row in rows}


def created(battery: Battery, **env: str) -> list[datetime]:
    """The moments of creation, as programs get them."""
    data = battery.l8s("-o", "json", "list", **env).data
    assert isinstance(data, list)
    return [datetime.fromisoformat(row["created"]) for row in data]


@fault("the clocks differ by 10 years", points=list(SHIFTS), quick=1)
def test_clocks(battery: Battery, point: str) -> None:
    env = at_another_time(battery, SHIFTS[point])
    date = battery.laptop.run("date", "+%Y", **env).stdout.strip()
    assert abs(int(date) - datetime.now(UTC).year) == YEARS
    battery.injected(f"the laptop's year is {date}")
    battery.l8s("create", "x", **env)
    battery.l8s("create", "a")
    battery.l8s("create", "x", codes=(8,), **env)
    battery.containers = {"a", "x"}
    found = ages(battery, **env)
    assert list(found) == ["a", "x"]
    assert all(NOW.fullmatch(age) for age in found.values()), found
    assert all(abs(datetime.now(UTC) - moment) < timedelta(minutes=10) for moment in created(battery, **env))
    assert re.search(rf"Created: +({NOW.pattern})\n", battery.l8s("info", "x", **env).text)
    assert battery.l8s("exec", "x", "--", "date", "+%Y", **env).stdout.decode().strip() == str(datetime.now(UTC).year)
    battery.l8s("exec", "--timeout", "1", "x", "--", "sleep", "60", codes=(1,), within=15.0, **env)
    battery.l8s("restart", "x", **env)
    battery.laptop.run("ssh", "-F", battery.laptop.ssh_config, "-o", "BatchMode=yes", "dev-x", "true", **env)
    checked = battery.l8s("doctor", **env).text
    assert re.search(rf"the server's is {DAYS} days {point} this machine's\n +Run: .*timedatectl set-ntp true", checked)
    assert "nothing to do" in battery.l8s("sync", **env).text.lower()
    battery.l8s("rm", "a", "--yes", **env)
    battery.containers = {"x"}


@fault("a container of another time", points=[-YEARS, YEARS], quick=1)
def test_made_at_another_time(battery: Battery, point: int) -> None:
    battery.l8s("create", "x")
    today = datetime.now(UTC)
    date = f"{today.year + point}-{today.month:02}-{min(today.day, 28):02}"
    # of the same length: both kinds of data base stay whole
    change = f's/("createdTime":")[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}/\\1{date}/g'
    # the socket too: a connection of the kept process, used every few seconds, would start the service in between, and
    # that would write to the file that sed has replaced
    battery.server.run(
        "systemctl stop podman.socket podman.service; cd /var/lib/containers/storage;"
        f" for file in libpod/bolt_state.db db.sql; do test ! -e $file || LC_ALL=C sed -Ei '{change}' $file; done;"
        " systemctl start podman.socket"
    )
    assert battery.server.run("podman inspect -f '{{.Created}}' dev-x").stdout.startswith(date)
    battery.injected(f"podman inspect says {date}")
    battery.l8s("create", "a")
    battery.containers = {"a", "x"}
    shown = date if point > 0 else f"{YEARS} years ago"
    found = ages(battery)
    assert list(found) == ["a", "x"]
    assert NOW.fullmatch(found["a"])
    assert found["x"] == shown
    assert [f"{moment:%Y-%m-%d}" for moment in created(battery)][1] == date
    assert re.search(rf"Created: +{shown}\n", battery.l8s("info", "x").text)
    battery.l8s("stop", "x")
    battery.l8s("start", "x")
    assert battery.l8s("exec", "x", "--", "echo", "here").stdout == b"here\n"
    battery.l8s("create", "x", codes=(8,))
    battery.l8s("doctor")
    battery.l8s("sync")
    battery.laptop.ssh("dev-x", "true")
    battery.l8s("rm", "x", "--yes")
    battery.containers = {"a"}
