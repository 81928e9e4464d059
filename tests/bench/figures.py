"""Figures: percentiles, medians over rounds, ratios to the peers, and the table of goals. No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Figures = dict[str, float | str]
CALM_PCT = 40  # of one core


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least ``share`` of ``values`` do not exceed (nearest rank)."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def combine(rounds: Sequence[Mapping[str, float | str]]) -> Figures:
    """Per figure the median of the rounds that have it; of words the last."""
    combined: Figures = {}
    for name in dict.fromkeys(name for each in rounds for name in each):
        found = [each[name] for each in rounds if name in each]
        numbers = [value for value in found if not isinstance(value, str)]
        combined[name] = _short(median(numbers)) if numbers else found[-1]
    return combined


@dataclass(frozen=True, slots=True)
class Measured:
    """What one round of a measurement found, and how busy others kept the machine meanwhile, in percent of a core."""

    foreign_pct: float
    found: Mapping[str, float | str]


def calm(rounds: Sequence[Measured]) -> list[Measured]:
    """The rounds that others disturbed little. Chosen by their load alone, never by what was found."""
    return [each for each in rounds if each.foreign_pct <= CALM_PCT]


def ratios(figures: Mapping[str, float | str]) -> Figures:
    """``ratio.celery_over_embedded``: CPU per task of a peer over ours; ``_one``: both submitted one by one."""
    found: Figures = {}
    peers = [name.split("_peer.")[0] for name in figures if name.endswith("_peer.total_cpu_us")]
    for peer in peers:
        for ours in ("embedded", "postgres"):
            for total, suffix in (("total_cpu_us", ""), ("total_one_cpu_us", "_one")):
                theirs, own = figures.get(f"{peer}_peer.{total}"), figures.get(f"{ours}.{total}")
                if isinstance(theirs, (int, float)) and isinstance(own, (int, float)) and own:
                    found[f"ratio.{peer}_over_{ours}{suffix}"] = _short(theirs / own)
    for name, own_name, other_name in (("ratio.http_submit_over_bare_fastapi", "http_submit.cpu_us", "bare_fastapi.cpu_us"),):
        own, other = figures.get(own_name), figures.get(other_name)
        if isinstance(own, (int, float)) and isinstance(other, (int, float)) and other:
            found[name] = _short(own / other)
    return found


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure should be: at most, or with ``least`` at least, ``value``."""

    name: str
    value: float
    least: bool = False

    def judge(self, found: float) -> str:
        """``met``, or by how much it was missed."""
        if found >= self.value if self.least else found <= self.value:
            return "met"
        off = self.value / found - 1 if self.least else found / self.value - 1
        return f"missed: {'needs ' if self.least else ''}{off * 100:.0f} % {'more' if self.least else 'over'}"


GOALS = (
    Goal("embedded.total_cpu_us", 130),
    Goal("embedded.total_one_cpu_us", 190),
    Goal("embedded.drain_per_s", 10_000, least=True),
    Goal("embedded.start_minus_commit_ms", 0.6),
    Goal("embedded.start_p95_ms", 3),
    Goal("postgres.total_cpu_us", 180),
    Goal("postgres.drain_per_s", 10_000, least=True),
    Goal("postgres.start_p95_ms", 4),
    Goal("http_submit.cpu_us", 200),
    Goal("http_submit.per_s", 5_000, least=True),
    Goal("http_submit.p95_ms", 35),
    Goal("claim.p95_ratio_1m_to_1k", 2),
    Goal("claim.postgres_p95_ratio_1m_to_1k", 2),
    Goal("serve.ready_s", 1),
    Goal("serve.rss_mb", 120),
)


def verdicts(figures: Mapping[str, float | str], goals: Sequence[Goal] = GOALS) -> list[tuple[str, str, str, str]]:
    """Rows ``(figure, found, goal, verdict)``; a figure that is not there is ``not measured``, never met."""
    rows = []
    for goal in goals:
        found = figures.get(goal.name)
        wanted = f"{'≥' if goal.least else '≤'} {goal.value:,g}"
        if isinstance(found, (int, float)):
            rows.append((goal.name, f"{found:,g}", wanted, goal.judge(found)))
        else:
            rows.append((goal.name, "–", wanted, "not measured"))
    return rows


def table(rows: Sequence[Sequence[str]], head: Sequence[str]) -> str:
    """Aligned columns, the second one to the right."""
    widths = [max(len(row[n]) for row in (head, *rows)) for n in range(len(head))]

    def line(row: Sequence[str]) -> str:
        return "  ".join(cell.rjust(width) if n == 1 else cell.ljust(width) for n, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()

    return "\n".join([line(head), "  ".join("-" * width for width in widths), *map(line, rows)])


def _short(value: float) -> float:
    """Four significant digits; whole numbers from 1,000 on."""
    if not math.isfinite(value) or value == 0:
        return value
    return round(value, max(0, 3 - math.floor(math.log10(abs(value)))))
