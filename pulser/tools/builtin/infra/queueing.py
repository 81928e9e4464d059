"""How long work waits for a free slot: M/M/c (Erlang C), widened to other spreads of the service time by Allen and Cunneen.

Load is counted in erlangs: arrivals a second times seconds of work each; that many slots are busy on average.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

ERLANGS_LIMIT = 100_000


@dataclass(frozen=True, slots=True)
class Work:
    """What arrives: how often, how long each takes, and how unevenly (``variation`` = standard deviation / mean; 1 is exponential)."""

    per_s: float
    service_s: float
    variation: float = 1.0

    @property
    def erlangs(self) -> float:
        """Slots that are busy on average."""
        return self.per_s * self.service_s

    def times(self, factor: float) -> Work:
        """The same work, arriving ``factor`` times as often."""
        return Work(self.per_s * factor, self.service_s, self.variation)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is to be expected with a number of slots; waits in seconds, infinite where work arrives faster than it is done."""

    slots: int
    utilisation: float
    p_wait: float
    mean_s: float
    p95_s: float


def blocking(erlangs: float, upto: int) -> Iterator[tuple[int, float]]:
    """``(slots, Erlang B)`` for 1 to ``upto`` slots, by the recursion that neither overflows nor loses digits."""
    b = 1.0
    for slots in range(1, upto + 1):
        b = erlangs * b / (slots + erlangs * b)
        yield slots, b


def erlang_c(erlangs: float, slots: int) -> float:
    """The probability that an arrival has to wait; 1 where the load is not below the slots."""
    if erlangs >= slots:
        return 1.0
    b = 1.0
    for _, b in blocking(erlangs, slots):  # noqa: B007 - the last one counts
        pass
    return _c_of_b(b, erlangs, slots)


def _c_of_b(b: float, erlangs: float, slots: int) -> float:
    return slots * b / (slots - erlangs * (1 - b))


def waiting(work: Work, slots: int) -> Waiting:
    """What to expect of ``slots`` slots."""
    return _waiting(work, slots, erlang_c(work.erlangs, slots))


def _waiting(work: Work, slots: int, c: float) -> Waiting:
    if work.erlangs >= slots:
        return Waiting(slots, work.erlangs / slots, 1.0, math.inf, math.inf)
    spread = (1 + work.variation**2) / 2  # Allen–Cunneen, with arrivals at random
    drained_per_s = (slots - work.erlangs) / work.service_s  # how much faster slots free up than work arrives
    p95 = math.log(c / 0.05) / drained_per_s * spread if c > 0.05 else 0.0
    return Waiting(slots, work.erlangs / slots, c, c / drained_per_s * spread, p95)


def slots_needed(work: Work, step: int, utilisation: float, p95_wait_s: float | None) -> tuple[int, int, Waiting]:
    """Fewest slots, in steps of ``step``: by utilisation alone, by waiting alone, and what to expect of the larger number."""
    by_use = _round_up(math.ceil(work.erlangs / utilisation - 1e-9), step)
    if p95_wait_s is None:
        return by_use, step, waiting(work, by_use)
    by_wait = 0
    expected: Waiting | None = None
    upto = max(by_use, _round_up(int(work.erlangs + 20 * math.sqrt(work.erlangs) + 1000), step)) + step
    for slots, b in blocking(work.erlangs, upto):
        if slots % step or slots <= work.erlangs:
            continue
        now = _waiting(work, slots, _c_of_b(b, work.erlangs, slots))
        if not by_wait and now.p95_s <= p95_wait_s:
            by_wait = slots
        if by_wait and slots >= by_use:
            expected = now
            break
    if expected is None:  # the loop's end is far beyond where waits vanish
        raise ArithmeticError("no number of slots was found")
    return by_use, by_wait, expected


def _round_up(count: int, step: int) -> int:
    return max(step, -(-count // step) * step)


def spread_of(p50_s: float, p95_s: float) -> tuple[float, float]:
    """Mean and variation of the log-normal distribution with this median and 95th percentile."""
    sigma = math.log(p95_s / p50_s) / 1.6448536269514722
    return p50_s * math.exp(sigma**2 / 2), math.sqrt(math.expm1(sigma**2))


def up_share(instances: int, needed: int, availability: float) -> float:
    """The share of time in which at least ``needed`` of ``instances`` are up, each being up independently ``availability`` of the time."""
    down = 1 - availability
    return min(1.0, math.fsum(math.comb(instances, k) * down**k * availability ** (instances - k) for k in range(instances - needed + 1)))


def spares_needed(needed: int, availability: float, target: float, limit: int = 50) -> int | None:
    """Instances beyond ``needed`` so that enough are up ``target`` of the time; None if ``limit`` are not enough."""
    return next((spare for spare in range(limit + 1) if up_share(needed + spare, needed, availability) >= target - 1e-15), None)
