"""One measurement of one peer: ``python -m tests.bench.peers.one MODULE TASKS SAMPLES`` prints one line of JSON. Client on core 0, worker on core 1.

The same phases as ``tests.bench.queue_run``: one by one, in batches, drain, and submit to start when idle.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from typing import Any

from tests.bench import cpu
from tests.bench.figures import percentile
from tests.bench.peers import probe

RECORDS = os.environ["BENCH_RECORDS"]
SERVERS = [int(pid) for pid in os.environ.get("BENCH_SERVER_PIDS", "").split() if pid]
LIMIT_S = 60.0


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    def place() -> None:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    log = open(os.environ["BENCH_WORKER_LOG"], "ab")  # noqa: SIM115 - the worker keeps it
    os.sched_setaffinity(0, CORES)
    process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, preexec_fn=place)
    os.sched_setaffinity(0, {min(CORES)})
    return process


def _stop(worker: subprocess.Popen[bytes]) -> None:
    for wanted in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.pid, wanted)
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(5)


def _wait(count: int, limit_s: float = LIMIT_S) -> None:
    ends_at = time.monotonic() + limit_s
    while probe.count(RECORDS) < count:
        if time.monotonic() > ends_at:
            raise SystemExit(f"only {probe.count(RECORDS)} of {count} tasks started within {limit_s:.0f} s")
        time.sleep(0.005)


def _sent(send: Any, count: int) -> tuple[float, float]:
    """CPU µs per task of client and servers, and tasks per second."""
    cpu_s, at = time.process_time() + cpu.of_trees(SERVERS), time.perf_counter()
    send()
    return (time.process_time() + cpu.of_trees(SERVERS) - cpu_s) / count * 1e6, count / (time.perf_counter() - at)


def measure(peer: Any, tasks: int, samples: int) -> dict[str, float]:
    """All phases."""
    found: dict[str, float] = {}
    peer.reset()
    peer.open()
    peer.submit(probe.payload(-1))
    payloads = [probe.payload(seq) for seq in range(tasks)]
    half = tasks // 2 if peer.submit_many else tasks

    def one_by_one() -> None:
        if hasattr(peer, "submit_all"):
            peer.submit_all(payloads[:half])
        else:
            for each in payloads[:half]:
                peer.submit(each)

    found["submit_one_cpu_us"], found["submit_one_per_s"] = _sent(one_by_one, half)
    found["submit_cpu_us"], found["submit_per_s"] = found["submit_one_cpu_us"], found["submit_one_per_s"]
    if peer.submit_many:
        found["submit_cpu_us"], found["submit_per_s"] = _sent(lambda: peer.submit_many(payloads[half:]), tasks - half)
    worker = _start(peer.worker_command())
    try:
        found |= _drain(worker.pid, tasks + 1)
        found |= _idle(peer, samples)
    finally:
        _stop(worker)
    found["total_cpu_us"] = found["submit_cpu_us"] + found["run_cpu_us"]
    found["total_one_cpu_us"] = found["submit_one_cpu_us"] + found["run_cpu_us"]
    return found


def _drain(worker: int, queued: int) -> dict[str, float]:
    _wait(max(1, queued // 20))
    seen, cpu_s = probe.count(RECORDS), cpu.of_trees([worker, *SERVERS])
    _wait(queued)
    used_s = cpu.of_trees([worker, *SERVERS]) - cpu_s
    times = sorted(ns for _, ns in probe.read(RECORDS))[seen - 1 :]
    return {"run_cpu_us": used_s / (queued - seen) * 1e6, "drain_per_s": (len(times) - 1) / ((times[-1] - times[0]) / 1e9)}


def _idle(peer: Any, samples: int) -> dict[str, float]:
    time.sleep(0.5)
    before, sent = probe.count(RECORDS), {}
    for n in range(samples):
        seq = 10_000_000 + n
        sent[seq] = time.monotonic_ns()
        peer.submit(probe.payload(seq))
        time.sleep(random.uniform(0.010, 0.020))
    _wait(before + samples, 15)
    starts = [(ns - sent[seq]) / 1e6 for seq, ns in probe.read(RECORDS) if seq in sent]
    return {"start_p50_ms": percentile(starts, 0.5), "start_p95_ms": percentile(starts, 0.95)}


if __name__ == "__main__":
    CORES = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(CORES)})
    adapter = importlib.import_module(f"tests.bench.peers.{sys.argv[1]}")
    print(json.dumps(measure(adapter.Peer(), int(sys.argv[2]), int(sys.argv[3]))), flush=True)
    os._exit(0)  # some clients' threads would wait for ever
