"""When to try again: after 5, 25 and 125 seconds, with jitter so that failed work does not come back as one wave."""

from __future__ import annotations

from collections.abc import Sequence

DELAYS_S = (5.0, 25.0, 125.0)
MAX_RECLAIMS = 5


def delay_s(failures: int, chance: float, delays_s: Sequence[float] = DELAYS_S, jitter: float = 0.2) -> float:
    """Seconds to wait after the ``failures``-th failure (1 is the first); ``chance`` in [0, 1) spreads it by ±``jitter``."""
    base = delays_s[min(failures, len(delays_s)) - 1] if delays_s else 0.0
    return base * (1 + jitter * (2 * chance - 1))


def apart(reclaims: int, chance: float, delays_s: Sequence[float] = DELAYS_S) -> float:
    """Seconds to wait after a task's worker was lost for the ``reclaims``-th time: none after the first.

    From the second on they come back one by one, anywhere within the delay of that failure: one of them may be what kills its worker, and those
    that are only taken with it again and again would be buried with it.
    """
    return chance * delays_s[min(reclaims - 1, len(delays_s)) - 1] if reclaims > 1 and delays_s else 0.0
