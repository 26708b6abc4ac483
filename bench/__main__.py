"""The program: brings up servers and distances, measures in a process with mounts of its own, judges, writes."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any

import attrs

# the lab's module lives with the tests that use it
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "integration"))

from lab import SUITES, Laptop, Run, Server, script, unavailable

from bench import apart, machine, plot, podman_client, report
from bench.distance import far
from bench.measure import RunFailed, Series, in_turn
from bench.rows import CLAIMS, DELAYS, PROFILES, ROWS, SMALL_FILES, Row, chosen
from bench.site import CONTAINER, Site

ROOT = Path(__file__).resolve().parents[1]
PAGE, PICTURE = ROOT / "docs" / "performance.md", ROOT / "docs" / "performance.svg"
QUICK_ROUNDS, QUICK_DELAYS = 3, (0, 50)


@attrs.frozen(kw_only=True)
class Plan:
    """What was asked for. ``complete`` is a run whose figures may stand on the page."""

    rows: tuple[Row, ...]
    delays: tuple[int, ...]
    servers: tuple[str, ...]
    rounds: int

    @property
    def complete(self) -> bool:
        """Whether nothing was left out."""
        return (self.rows, self.delays, self.servers) == (ROWS, DELAYS, tuple(SUITES)) and self.rounds >= 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it, and return its exit code."""
    options = _parser().parse_args(arguments)
    if options.of is not None:
        try:
            data = json.loads(options.of.read_text())
            found = report.from_json(data["series"])
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            print(f"bench: {options.of} does not hold the samples of a run: {error!r}", file=sys.stderr)
            print("A run writes them: ./scripts/bench --quick, and then --of build/bench.json", file=sys.stderr)
            return 2
        complete = False
    else:
        try:
            plan = _plan(options)
        except ValueError as error:
            print(error, file=sys.stderr)
            return 2
        reason = unavailable()
        if reason is not None:
            print(f"bench: {reason}", file=sys.stderr)
            return 1
        signal.signal(signal.SIGTERM, _terminated)
        options.json.parent.mkdir(parents=True, exist_ok=True)
        measure(plan, options.json.absolute())
        data = json.loads(options.json.read_text())
        found = report.from_json(data["series"])
        complete = plan.complete
        print(f"\nevery sample: {options.json}", file=sys.stderr)
    verdicts = report.verdicts(CLAIMS, found)
    rows = {row.key: row for row in ROWS}
    print("\n" + report.plain(report.SERIES_HEAD, [report.series_cells(series, rows) for series in found]))
    print(report.plain(report.VERDICT_HEAD, [report.verdict_cells(verdict) for verdict in verdicts]))
    for line in data["remarks"]:
        print(line, file=sys.stderr)
    if complete or options.docs:
        write_page(data, found, verdicts)
    missed = [verdict for verdict in verdicts if not verdict.held]
    print(f"{len(verdicts) - len(missed)} of {len(verdicts)} musts hold", file=sys.stderr)
    return 1 if options.check and missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words = "  ".join(row.key for row in ROWS)
    parser.add_argument("--rows", default="", metavar="ROW,...", help=f"only these: {words}")
    parser.add_argument("--delays", default="", metavar="MS,...", help=f"round trips in ms; {DELAYS} unless told")
    parser.add_argument("--servers", default="", metavar="SERVER,...", help=f"only these: {'  '.join(SUITES)}")
    parser.add_argument("--rounds", type=int, metavar="N", help="runs of each contestant; 10 unless told")
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds, and only the delays {QUICK_DELAYS}"
    )
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 when a must does not hold or was not measured"
    )
    parser.add_argument(
        "--docs",
        action="store_true",
        help="write docs/performance.md and .svg also after a run that leaves something out",
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        default=ROOT / "build" / "bench.json",
        help="where all samples go; build/bench.json unless told",
    )
    parser.add_argument(
        "--of", type=Path, metavar="FILE", help="measure nothing: judge (and write) what such a file has"
    )
    return parser


def _plan(options: argparse.Namespace) -> Plan:
    def words(text: str) -> list[str]:
        return [word for word in text.split(",") if word]

    servers = tuple(words(options.servers) or SUITES)
    for server in servers:
        if server not in SUITES:
            raise ValueError(f"There is no server {server!r}. Servers: {', '.join(SUITES)}")
    delays = tuple(int(word) for word in words(options.delays)) or (QUICK_DELAYS if options.quick else DELAYS)
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else 10)
    if rounds < 1 or min(delays) < 0:
        raise ValueError("--rounds is 1 or more, and a delay 0 or more.")
    return Plan(rows=chosen(words(options.rows)), delays=delays, servers=servers, rounds=rounds)


def _terminated(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signal.SIGTERM)


def tell(text: str) -> None:
    """Progress."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def measure(plan: Plan, results: Path) -> None:
    """Everything from bringing up to taking down; ``results`` is written after each row, so that a run may be ended."""
    for name in [name for name in os.environ if name.startswith("L8S_")]:
        del os.environ[name]
    with ExitStack() as stack:
        run = Run.open()
        stack.callback(run.close)
        script("sweep")
        servers = {}
        for key in plan.servers:
            tell(f"a server with {key}")
            servers[key] = stack.enter_context(run.extra_server(SUITES[key]))
            servers[key].import_image()
        away = {
            f"{key}/{delay}/{number}": (servers[key].host, delay / 1000)
            for key in servers
            for delay in plan.delays
            if delay
            for number in range(1 + PROFILES)
        }
        addresses = stack.enter_context(far(away)) if away else {}
        # its mounts are its own and end with it; what the lab mounts must be seen by all, and is out here
        process = multiprocessing.get_context("fork").Process(
            target=_measure_apart, args=[plan, run, servers, addresses, results]
        )
        process.start()
        try:
            process.join()
        except BaseException:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            process.terminate()
            process.join(120)
            process.kill()
            raise
        if process.exitcode != 0:
            raise SystemExit(process.exitcode or 1)


def _measure_apart(
    plan: Plan, run: Run, servers: Mapping[str, Server], addresses: Mapping[str, str], results: Path
) -> None:
    signal.signal(signal.SIGTERM, _terminated)
    # Ctrl-C is for the parent, which then ends this; a handler and not SIG_IGN, which programs would inherit
    signal.signal(signal.SIGINT, lambda _signal, _frame: None)
    apart.end_with_parent()
    apart.private_mounts(run.directory / "roots-home")
    about = {**machine.described(), "load before": machine.load()}
    begun = time.monotonic()
    found: list[Series] = []
    remarks: list[str] = []

    def write(*, done: bool) -> None:
        data = {
            "about": about,
            "rounds": plan.rounds,
            "complete": plan.complete and done,
            "minutes": round((time.monotonic() - begun) / 60, 1),
            "remarks": remarks,
            "series": report.to_json(found),
        }
        results.write_text(json.dumps(data, indent=1) + "\n")

    files = make_files(run.directory / "files", {row.key for row in plan.rows})
    with ExitStack() as stack:
        sites: dict[tuple[str, int], Site] = {}
        for key, server in servers.items():
            hosts = [server.host, *(address for name, address in addresses.items() if name.startswith(f"{key}/"))]
            known = podman_client.known_hosts(server, hosts)
            client = podman_client.install(run, SUITES[key], known, files)
            for delay in sorted({0, *plan.delays}):
                ways = [addresses[f"{key}/{delay}/{number}"] for number in range(1 + PROFILES)] if delay else []
                site = Site(
                    run=run,
                    server_key=key,
                    server=server,
                    delay_ms=delay,
                    host=ways[0] if ways else server.host,
                    laptop=Laptop.unpack(run),
                    podman=client,
                    files=files,
                    far_addresses=tuple(ways[1:]),
                )
                stack.callback(site.close, remarks)
                site.laptop.configure(site.reached)
                sites[key, delay] = site
            about[f"{key}"] = server.exec("podman", "--version").stdout.strip().removeprefix("podman version ")
            sites[key, 0].laptop.l8s("create", CONTAINER)
        if not next(iter(sites.values())).multiplexes:
            remarks.append('This l8s keeps no connection between commands: its "warm" runs are cold ones.')
        for row in plan.rows:
            for key in plan.servers if row.server else plan.servers[:1]:
                for delay in [delay for delay in plan.delays if delay in row.delays] if row.server else [0]:
                    found += _one(row, sites[key, delay], plan, remarks)
                    write(done=False)
    about["load after"] = machine.load()
    # only now, because what was left running is remarked on at the end
    write(done=True)


def _one(row: Row, site: Site, plan: Plan, remarks: list[str]) -> list[Series]:
    server = site.server_key if row.server else ""
    where = f"{row.key}, {server}, {site.delay_ms} ms" if server else row.key
    tell(where)
    try:
        with ExitStack() as stack:
            contestants = row.contestants(site, stack)
            found = in_turn(
                contestants,
                plan.rounds,
                row=row.key,
                server=server,
                delay_ms=site.delay_ms,
                warm_up=row.warm_up,
                tell=tell,
            )
    except (RunFailed, AssertionError, OSError) as error:
        remarks.append(f"{where} could not be prepared: {error}")
        tell(remarks[-1])
        return []
    for series in found:
        tell("  " + "  ".join(report.series_cells(series, {row.key: row})[3:]))
    return found


def make_files(directory: Path, rows: set[str]) -> Path:
    """What is copied: of random bytes, so that nothing on the way gets it for less."""
    directory.mkdir()
    if "cp-big" in rows:
        block = os.urandom(2**24)
        with (directory / "big").open("wb") as big:
            for _ in range(2**30 // len(block)):
                big.write(block)
    if "cp-small" in rows:
        block = os.urandom(SMALL_FILES * 1024)
        for number in range(SMALL_FILES):
            path = directory / "many" / f"{number // 100:03d}" / f"{number:05d}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(block[number * 1024 : (number + 1) * 1024])
    return directory


def write_page(data: Mapping[str, Any], found: Sequence[Series], verdicts: Sequence[report.Verdict]) -> None:
    """The measured part of the page, and its picture."""
    rows = {row.key: row for row in ROWS}
    about = ", ".join(f"{name} {value}" for name, value in data["about"].items())
    whole = "" if data["complete"] else " **Provisional: a shortened run, not the whole bench.**"
    text = [
        f"Medians of {data['rounds']} runs each, in turn, in one run of {data['minutes']:g} minutes.{whole}",
        f"Measured on: {about}.",
        "\n".join(f"- {line}" for line in data["remarks"]),
        "### What must hold",
        report.markdown(report.VERDICT_HEAD, [report.verdict_cells(verdict) for verdict in verdicts]).strip(),
        "### Everything measured",
        report.markdown(report.SERIES_HEAD, [report.series_cells(series, rows) for series in found]).strip(),
    ]
    PAGE.write_text(report.between_markers(PAGE.read_text(), "\n\n".join(part for part in text if part)))
    server = max({series.server for series in found if series.server}, default="")
    PICTURE.write_text(plot.svg([row for row in ROWS if row.server], server, found))
    tell(f"written: {PAGE.relative_to(ROOT)}, {PICTURE.relative_to(ROOT)}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("bench: interrupted; everything that it started is gone", file=sys.stderr)
        sys.exit(130)
    except subprocess.CalledProcessError as error:
        print(f"bench: {error}\n{error.stderr}", file=sys.stderr)
        sys.exit(1)
