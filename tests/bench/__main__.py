"""``make bench``: measure everything in interleaved rounds, write ``bench-results.json``, print the goals and what was found.

QUICK=1: one short round, under two minutes. ONLY=embedded,http,… measures some parts and prints them without writing the file.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.bench import cpu, figures, http_submit, machine, servers, starts
from tests.bench.figures import Figures
from tests.bench.peers import install

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench-results.json"
PARTS = ("embedded", "postgres", "peers", "http", "claim", "serve")


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    rounds: int
    peers: tuple[str, ...]
    tasks: int
    samples: int
    peer_share: float  # of the tasks a peer is given in a whole run
    http_s: int
    deep: int
    starts: int
    calm_s: float  # how long to wait for others to be done, before each
    again: int  # times that what never had a calm moment is tried again
    limit_s: float  # after that peers have no further rounds, and nothing is tried again


WHOLE = Scale(
    rounds=3,
    peers=tuple(kind.name for kind in install.KINDS),
    tasks=20_000,
    samples=300,
    peer_share=1.0,
    http_s=5,
    deep=1_000_000,
    starts=5,
    calm_s=4,
    again=2,
    limit_s=420,
)
QUICK = Scale(
    rounds=1, peers=("celery", "huey", "rawsqlite"), tasks=6_000, samples=100, peer_share=0.25, http_s=2, deep=100_000, starts=3, calm_s=0, again=0, limit_s=60
)


@dataclass(slots=True)
class Bench:
    """One run: its servers, its folder, and what it found: per measurement one entry per round, with how busy others were meanwhile."""

    scale: Scale
    folder: Path
    redis: servers.Server | None
    postgres: servers.Server | None
    began: float = field(default_factory=time.monotonic)
    measured: dict[str, list[figures.Measured]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    used: int = 0

    def fresh(self) -> Path:
        """A folder of one measurement's own."""
        self.used += 1
        folder = self.folder / f"run-{self.used}"
        folder.mkdir()
        return folder

    def late(self) -> bool:
        """Whether the time for further rounds is up."""
        return time.monotonic() - self.began > self.scale.limit_s

    def run(self, name: str, measure: Callable[[], Figures], calm_within_s: float) -> None:
        """One measurement; what goes wrong is told and noted, never filled in."""
        ours = [server.pid for server in (self.redis, self.postgres) if server]
        cpu.await_calm(ours, figures.CALM_PCT, calm_within_s)
        at, load = time.monotonic(), cpu.Foreign(ours)
        try:
            found = measure()
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            self.missing[name] = str(error).strip().splitlines()[-1][:300]
            print(f"  {name}: not measured: {self.missing[name]}", flush=True)
            return
        finally:
            for left in self.folder.glob("run-*"):
                shutil.rmtree(left, ignore_errors=True)
        self.missing.pop(name, None)
        self.measured.setdefault(name, []).append(figures.Measured(load.share(), found))
        print(f"  {name}: {time.monotonic() - at:.0f} s, others used {load.share():.0f} % of a core", flush=True)


def child(module: str, *arguments: str, environment: dict[str, str] | None = None, python: str = sys.executable, limit_s: float = 180) -> Figures:
    """Run a measurement in a process of its own; its last line of JSON."""
    told = subprocess.run([python, "-m", module, *arguments], capture_output=True, text=True, timeout=limit_s, cwd=ROOT, env=environment)
    lines = [line for line in told.stdout.splitlines() if line.startswith("{")]
    if told.returncode or not lines:
        raise RuntimeError(told.stderr.strip() or f"{module} ended with {told.returncode} and said nothing")
    found: Figures = json.loads(lines[-1])
    return found


def prefixed(prefix: str, found: Figures) -> Figures:
    """Under ``prefix``."""
    return {f"{prefix}.{name}": value for name, value in found.items()}


def queue(bench: Bench, prefix: str, *, concurrency: int = 256, tasks: int = 0, follow: bool = False) -> Figures:
    """Pulser's own queue: embedded, or on Postgres with the server's CPU in it."""
    told: dict[str, object] = {"folder": str(bench.fresh()), "samples": bench.scale.samples // (4 if tasks else 1)}
    told |= {"tasks": tasks or bench.scale.tasks, "concurrency": concurrency, "follow": follow}
    if prefix.startswith("postgres"):
        if bench.postgres is None:
            raise RuntimeError("there is no Postgres here")
        told |= {"url": servers.database(bench.postgres, f"bench_{bench.used}"), "server_pid": bench.postgres.pid}
    return prefixed(prefix, child("tests.bench.queue_run", json.dumps(told)))


def peer(bench: Bench, kind: install.Kind, python: Path) -> Figures:
    """One peer, in the peers' environment."""
    folder = bench.fresh()
    server = {"redis": bench.redis, "postgres": bench.postgres, "": None}[kind.server]
    if kind.server and server is None:
        raise RuntimeError(f"there is no {kind.server} here")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
        "C_FORCE_ROOT": "1",
        "BENCH_VARIANT": kind.variant,
        "BENCH_FOLDER": str(folder),
        "BENCH_RECORDS": str(_memory() / f"pulser-bench-{os.getpid()}-{bench.used}"),
        "BENCH_WORKER_LOG": str(folder / "worker.log"),
        "BENCH_SERVER_PIDS": str(server.pid) if server else "",
        "BENCH_REDIS": bench.redis.url if bench.redis else "",
        "BENCH_POSTGRES": servers.database(server, f"peer_{kind.name}") if kind.server == "postgres" and server else "",
    }
    tasks = max(200, int(kind.tasks * bench.scale.peer_share))
    try:
        found = child("tests.bench.peers.one", kind.module, str(tasks), str(min(bench.scale.samples, 150)), environment=environment, python=str(python))
    finally:
        Path(environment["BENCH_RECORDS"]).unlink(missing_ok=True)
    return prefixed(f"{kind.name}_peer", found)


def _memory() -> Path:
    return Path("/dev/shm") if Path("/dev/shm").is_dir() else Path(tempfile.gettempdir())


def claim(bench: Bench, where: str) -> Figures:
    """p95 of a claim with 1,000 and with a million tasks queued (QUICK: 100,000, under a name of its own)."""
    told: dict[str, object] = {"folder": str(bench.fresh()), "deep": bench.scale.deep}
    if where == "postgres":
        if bench.postgres is None:
            raise RuntimeError("there is no Postgres here")
        told["urls"] = [servers.database(bench.postgres, f"claim_{name}") for name in ("shallow", "deep")]
    found = child("tests.bench.claim_depth", json.dumps(told), limit_s=300)
    deep = "1m" if bench.scale.deep == 1_000_000 else f"{bench.scale.deep // 1000}k"
    place = "claim." if where == "embedded" else f"claim.{where}_"
    shown: Figures = {
        f"{place}{name.replace('shallow', '').replace('deep', '').strip('_')[:-3]}_ms_{'1k' if 'shallow' in name else deep}": value
        for name, value in found.items()
    }
    shown[f"{place}p95_ratio_{deep}_to_1k"] = float(found["deep_p95_ms"]) / float(found["shallow_p95_ms"])
    return shown


def repeated(bench: Bench, wanted: set[str], peers: list[tuple[install.Kind, Path]]) -> dict[str, Callable[[], Figures]]:
    """What is measured in every round, one after the other, so that a neighbour's busy minute does not meet one of them alone."""
    found: dict[str, Callable[[], Figures]] = {}
    if "embedded" in wanted:
        found["embedded"] = lambda: queue(bench, "embedded")
        found["embedded, 16 slots"] = lambda: _some(queue(bench, "embedded_16_slots", concurrency=16, tasks=bench.scale.tasks // 4))
        found["embedded, log followed"] = lambda: _some(queue(bench, "embedded_followed", tasks=bench.scale.tasks // 4, follow=True))
    if "postgres" in wanted:
        found["postgres"] = lambda: queue(bench, "postgres")
    if "http" in wanted:
        found["http_submit"] = lambda: dict(http_submit.measure(bench.fresh(), bench.scale.http_s))
    for kind, python in peers:
        found[f"peer {kind.name}"] = partial(peer, bench, kind, python)
    return found


def _some(found: Figures) -> Figures:
    """Of a run under other conditions: what differs."""
    return {
        name: value
        for name, value in found.items()
        if name.endswith((".drain_per_s", ".run_cpu_us", ".total_cpu_us", ".total_one_cpu_us", ".start_p50_ms", ".start_p95_ms"))
    }


def once(bench: Bench, wanted: set[str]) -> dict[str, Callable[[], Figures]]:
    """What repeats itself within, or takes too long to repeat."""
    found: dict[str, Callable[[], Figures]] = {}
    if "serve" in wanted:
        found["serve"] = lambda: dict(starts.serve(bench.fresh() / "data", bench.scale.starts))
        found["cli"] = lambda: dict(starts.command_line(bench.scale.starts))
    if "claim" in wanted:
        found |= {f"claim, {where}": partial(claim, bench, where) for where in ("embedded", "postgres")}
    return found


def measure_all(bench: Bench, wanted: set[str], peers: list[tuple[install.Kind, Path]]) -> None:
    """The rounds, then what is measured once, then again what never had a calm moment, while there is time."""
    parts = repeated(bench, wanted, peers)
    for number in range(bench.scale.rounds):
        print(f"round {number + 1} of {bench.scale.rounds}", flush=True)
        for name, measure in parts.items():
            if name.startswith("peer") and bench.late():
                print(f"  {name}: left out of this round, for time", flush=True)
                if name not in bench.measured:
                    bench.missing[name] = "there was no time left for it"
            else:
                bench.run(name, measure, bench.scale.calm_s)
    print("once", flush=True)
    parts |= once(bench, wanted)
    for name in once(bench, wanted):
        bench.run(name, parts[name], bench.scale.calm_s)
    for _ in range(bench.scale.again):
        for name in [name for name, found in bench.measured.items() if not name.startswith("peer") and not figures.calm(found)]:
            if not bench.late():
                bench.run(f"{name}", parts[name], 3 * bench.scale.calm_s)


def set_up_peers(bench: Bench, wanted: set[str]) -> list[tuple[install.Kind, Path]]:
    """The peers that can be measured here; who cannot is noted with the reason."""
    if "peers" not in wanted:
        return []
    try:
        environment = install.environment()
    except (OSError, subprocess.SubprocessError) as error:
        bench.missing["peers"] = f"no environment for them: {error}"
        return []
    found = []
    for kind in install.KINDS:
        if kind.name not in bench.scale.peers:
            bench.missing[f"peer {kind.name}"] = "only in a whole run, without QUICK"
        elif problem := install.install(kind, environment):
            bench.missing[f"peer {kind.name}"] = problem
            print(f"  {kind.name}: left out: {problem}", flush=True)
        else:
            found.append((kind, environment / "bin" / "python"))
    return found


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder on a real disk that also Postgres' own user can reach, gone afterwards."""
    place = os.environ.get("BENCH_DIR") or ("/var/tmp" if Path("/var/tmp").is_dir() else tempfile.gettempdir())
    folder = Path(tempfile.mkdtemp(prefix="pulser-bench-", dir=place))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def show(bench: Bench, found: Figures, *, whole: bool) -> None:
    """The goals, the peers, and what is missing."""
    goals = [goal for goal in figures.GOALS if whole or goal.name in found]
    print("\n" + figures.table(figures.verdicts(found, goals), ("figure", "found", "goal", "verdict")))
    rows = []
    for prefix in ("embedded", "embedded_16_slots", "embedded_followed", "postgres", *(f"{kind.name}_peer" for kind in install.KINDS)):
        if f"{prefix}.total_cpu_us" not in found:
            continue
        cells = [found.get(f"{prefix}.{name}", "–") for name in ("total_cpu_us", "total_one_cpu_us", "drain_per_s", "start_p50_ms", "start_p95_ms")]
        durable = next((kind.durable for kind in install.KINDS if prefix == f"{kind.name}_peer"), "yes: fsync")
        rows.append((prefix, *(f"{c:,g}" if isinstance(c, (int, float)) else c for c in cells), durable))
    head = ("submit + run of a no-op, 1 KB", "CPU µs, batched", "CPU µs, one by one", "drained/s", "start p50 ms", "p95 ms", "on disk at the answer")
    print("\n" + figures.table(rows, head))
    rows = []
    for prefix in ("http_submit", "bare_fastapi"):
        if f"{prefix}.cpu_us" in found:
            rows.append((prefix, *(f"{found[f'{prefix}.{name}']:,g}" for name in ("cpu_us", "per_s", "p95_ms"))))
    if rows:
        print("\n" + figures.table(rows, ("POST of a task, 50 connections", "server CPU µs", "per s", "p95 ms")))
    print(f"\nOthers used {found.get('machine.foreign_load_pct', 0):g} % of a core meanwhile (median). Where there was a round with", end=" ")
    print(f"less than {figures.CALM_PCT} %, only such rounds count; there was none of: {found.get('machine.never_calm')}.")
    for name, reason in bench.missing.items():
        print(f"Not measured: {name}: {reason}")


def main() -> int:
    """Everything; the exit code is 1 if a part of Pulser itself could not be measured."""
    for name in [name for name in os.environ if name.startswith("PULSER_") and not name.startswith("PULSER_TEST_")]:
        del os.environ[name]
    quick = os.environ.get("QUICK", "") not in ("", "0")
    wanted = set(PARTS) if not os.environ.get("ONLY") else set(os.environ["ONLY"].split(","))
    if unknown := wanted - set(PARTS):
        print(f"ONLY knows {', '.join(PARTS)}, not {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    scale = QUICK if quick else WHOLE
    with ExitStack() as stack:
        folder = stack.enter_context(workplace())
        needs_postgres = wanted & {"postgres", "claim", "peers"}
        postgres = stack.enter_context(servers.postgres(folder)) if needs_postgres else None
        redis = stack.enter_context(servers.redis(folder)) if "peers" in wanted else None
        bench = Bench(scale, folder, redis, postgres)
        found = {**machine.facts(folder), "machine.load_generator": http_submit.generator(), "machine.mode": "quick" if quick else "whole"}
        if postgres:
            found["machine.postgres"] = postgres.version
        if redis:
            found["machine.redis"] = redis.version
        print("peers", flush=True)
        peers = set_up_peers(bench, wanted)
        measure_all(bench, wanted, peers)
    for rounds in bench.measured.values():
        found |= figures.combine([each.found for each in figures.calm(rounds) or rounds])
    found |= figures.ratios(found)
    shares = [each.foreign_pct for rounds in bench.measured.values() for each in rounds]
    if shares:
        found |= {"machine.foreign_load_pct": round(figures.percentile(shares, 0.5)), "machine.rounds": scale.rounds}
        found["machine.never_calm"] = "; ".join(name for name, rounds in bench.measured.items() if not figures.calm(rounds)) or "none"
    found |= {f"missing.{name.replace(' ', '_').replace(',', '')}": reason for name, reason in bench.missing.items()}
    if wanted == set(PARTS):
        RESULTS.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    else:
        print(json.dumps(found, indent=1, ensure_ascii=False))
    show(bench, found, whole=wanted == set(PARTS))
    return 1 if any(not name.startswith("peer") for name in bench.missing) else 0


if __name__ == "__main__":
    sys.exit(main())
