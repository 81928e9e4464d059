"""``infra.capacity``: how many instances a load needs, what waiting to expect, what it costs, and how that changes with the load."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulser.core.errors import BadInput
from pulser.core.tool import Call, Json, Tool
from pulser.tools.builtin.folder import check_exists
from pulser.tools.builtin.infra import measurements
from pulser.tools.builtin.infra.queueing import ERLANGS_LIMIT, Work, slots_needed, spares_needed, spread_of, up_share, waiting

FACTORS = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)
_SPARES_LIMIT = 50


@dataclass(frozen=True, slots=True)
class Wanted:
    """Targets and what an instance is."""

    utilisation: float
    p95_wait_s: float | None
    availability: float | None
    slots: int
    instance_availability: float
    cost_usd_month: float | None


def run(call: Call) -> Json:
    """Plan for the load as given or as measured."""
    args = call.args
    work, assumptions = _load(args)
    headroom = float(args["headroom"])
    if headroom:
        work = work.times(1 + headroom)
        assumptions.append(f"Headroom: planned for {_number(work.per_s)} arrivals a second, {headroom:.0%} above the load given.")
    wanted = _wanted(args)
    if work.erlangs > ERLANGS_LIMIT / FACTORS[-1]:
        raise BadInput(
            f"the load keeps {work.erlangs:,.0f} slots busy; more than {ERLANGS_LIMIT / FACTORS[-1]:,.0f} are not planned for", hint="Check the units."
        )
    plan = _plan(work, wanted)
    table = [{"load_factor": factor, **_plan(work.times(factor), wanted)} for factor in FACTORS]
    assumptions += _assumptions(work, wanted)
    result: Json = {
        "instances": plan["instances"],
        "summary": _summary(plan, work),
        "plan": plan,
        "holds_until": _holds_until(work, wanted, plan),
        "sensitivity": table,
        "load": {
            "per_s": _rounded(work.per_s),
            "service_time_s": _rounded(work.service_s),
            "variation": _rounded(work.variation),
            "busy_slots": _rounded(work.erlangs),
        },
        "assumptions": assumptions,
    }
    call.artifact("capacity.json", "application/json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    call.artifact("report.md", "text/markdown").write_text(_report(result, wanted), "utf-8")
    return result


def _load(args: Json) -> tuple[Work, list[str]]:
    """The load, and how it was come by."""
    if "measurements" in args:
        path = Path(args["measurements"])
        check_exists(path)
        if path.is_dir():
            raise BadInput(f"{path.name} is a folder", hint="Name a CSV file.")
        found = measurements.read(path)
        told = [
            f"Measured: {found.rows:,} lines over {_number(found.span_s)} s ({found.bad_rows:,} not usable); "
            f"{_number(found.mean_per_s)} arrivals a second on average. "
            f"Planned for a busy {_number(found.window_s)} s: the 95th percentile of all such windows, {_number(found.work.per_s)} a second.",
            f"Service time as measured: mean {_number(found.work.service_s)} s, standard deviation / mean {_number(found.work.variation)}.",
        ]
        return found.work, told
    load = args["load"]
    per_s = float(load["requests_per_s"]) if "requests_per_s" in load else float(load["tasks_per_h"]) / 3600
    if "service_time_s" in load:
        variation = float(load.get("variation", 1.0))
        kind = (
            "taken as exponential (variation 1); give variation or p50_s and p95_s if it is known"
            if "variation" not in load
            else f"variation {_number(variation)}"
        )
        return Work(per_s, float(load["service_time_s"]), variation), [f"Service time: mean {_number(load['service_time_s'])} s, {kind}."]
    p50, p95 = float(load["p50_s"]), float(load["p95_s"])
    if p95 < p50:
        raise BadInput("p95_s is below p50_s", errors=[{"pointer": "/payload/load/p95_s", "detail": "must not be below p50_s"}])
    mean, variation = spread_of(p50, p95)
    return Work(per_s, mean, variation), [
        f"Service time: log-normal through the median {_number(p50)} s and the 95th percentile {_number(p95)} s: mean {_number(mean)} s."
    ]


def _wanted(args: Json) -> Wanted:
    targets, instance = args.get("targets", {}), args.get("instance", {})
    return Wanted(
        utilisation=float(targets.get("utilisation", 0.7)),
        p95_wait_s=float(targets["p95_wait_s"]) if "p95_wait_s" in targets else None,
        availability=float(targets["availability"]) if "availability" in targets else None,
        slots=int(instance.get("slots", 1)),
        instance_availability=float(instance.get("availability", 0.99)),
        cost_usd_month=float(instance["cost_usd_month"]) if "cost_usd_month" in instance else None,
    )


def _plan(work: Work, wanted: Wanted) -> Json:
    """Instances for one load, and what to expect of them."""
    by_use, by_wait, expected = slots_needed(work, wanted.slots, wanted.utilisation, wanted.p95_wait_s)
    serving = expected.slots // wanted.slots
    spares = 0
    if wanted.availability is not None:
        found = spares_needed(serving, wanted.instance_availability, wanted.availability, _SPARES_LIMIT)
        if found is None:
            raise BadInput(
                f"with instances that are up {wanted.instance_availability:.2%} of the time, "
                f"{_SPARES_LIMIT} spare ones are not enough for {wanted.availability:.4%}",
                hint="Lower targets.availability, or use instances that fail less often.",
            )
        spares = found
    instances = serving + spares
    plan: Json = {
        "instances": instances,
        "for_the_load": serving,
        "spare": spares,
        "decided_by": _decided_by(by_use, by_wait, spares),
        "utilisation": _rounded(work.erlangs / (instances * wanted.slots)),
        "utilisation_without_spare": _rounded(expected.utilisation),
        "p_wait": _rounded(expected.p_wait),
        "mean_wait_s": _rounded(expected.mean_s),
        "p95_wait_s": _rounded(expected.p95_s),
    }
    if wanted.availability is not None:
        plan["enough_are_up"] = round(up_share(instances, serving, wanted.instance_availability), 8)
    if wanted.cost_usd_month is not None:
        month = instances * wanted.cost_usd_month
        plan["cost_usd_month"] = round(month, 2)
        plan["cost_usd_per_1000"] = round(month / (work.per_s * 30 * 86_400) * 1000, 6)
    return plan


def _decided_by(by_use: int, by_wait: int, spares: int) -> str:
    reason = "waiting" if by_wait > by_use else "utilisation"
    return f"{reason} and availability" if spares else reason


def _holds_until(work: Work, wanted: Wanted, plan: Json) -> Json:
    """The largest load at which the planned instances, without the spare ones, still meet the targets; to a thousandth."""
    slots = plan["for_the_load"] * wanted.slots
    low, high = 1.0, max(1.0, slots / work.erlangs)
    for _ in range(40):
        middle = (low + high) / 2
        now = waiting(work.times(middle), slots)
        fits = now.utilisation <= wanted.utilisation + 1e-9 and (wanted.p95_wait_s is None or now.p95_s <= wanted.p95_wait_s)
        low, high = (middle, high) if fits else (low, middle)
        if high - low < 1e-3:
            break
    return {"load_factor": round(low, 3), "per_s": _rounded(work.per_s * low)}


def _assumptions(work: Work, wanted: Wanted) -> list[str]:
    told = [
        "Arrivals come at random and independently (Poisson); bursts beyond that need headroom.",
        "Waiting by Erlang C (M/M/c)"
        + ("" if math.isclose(work.variation, 1) else f", times (1 + variation²) / 2 = {_number((1 + work.variation**2) / 2)} after Allen and Cunneen")
        + ".",
        f"One queue for all; {wanted.slots} task{'s' * (wanted.slots != 1)} at once per instance; utilisation at most {wanted.utilisation:.0%}.",
    ]
    if wanted.p95_wait_s is None:
        told.append("No target for waiting was given: utilisation alone decides. Give targets.p95_wait_s to bound it.")
    if wanted.availability is None:
        told.append("No target for availability was given: no spare instances. With one instance less the load may not be met.")
    else:
        told.append(
            f"Instances fail independently and are up {wanted.instance_availability:.2%} of the time; enough must be up {wanted.availability:.4%} of it."
        )
    return told


def _summary(plan: Json, work: Work) -> str:
    spare = f" ({plan['for_the_load']} for the load, {plan['spare']} spare)" if plan["spare"] else ""
    cost = f", {plan['cost_usd_month']:,.2f} USD a month" if "cost_usd_month" in plan else ""
    one = plan["instances"] == 1
    return (
        f"{plan['instances']} instance{'' if one else 's'}{spare} for {_number(work.per_s)} arrivals a second: "
        f"{plan['utilisation']:.0%} used, p95 wait {_number(plan['p95_wait_s'])} s{cost}; decided by {plan['decided_by']}"
    )


def _report(result: Json, wanted: Wanted) -> str:
    plan = result["plan"]
    lines = ["# Capacity plan", "", f"**{result['summary']}.**", ""]
    holds = result["holds_until"]
    lines += [f"The instances for the load meet the targets up to {holds['load_factor']} × the planned load ({_number(holds['per_s'])} arrivals a second).", ""]
    lines += ["## What to expect", "", "| | |", "|---|--:|"]
    lines += [f"| {name.replace('_', ' ')} | {value if isinstance(value, str) else _number(value)} |" for name, value in plan.items()]
    money = wanted.cost_usd_month is not None
    lines += ["", "## If the load changes", ""]
    lines += [
        "| load | instances | utilisation | must wait | mean wait s | p95 wait s |" + (" USD a month |" if money else ""),
        "|--:" * (7 if money else 6) + "|",
    ]
    for row in result["sensitivity"]:
        cells = [
            f"× {row['load_factor']}",
            row["instances"],
            f"{row['utilisation']:.0%}",
            f"{row['p_wait']:.1%}",
            _number(row["mean_wait_s"]),
            _number(row["p95_wait_s"]),
        ]
        lines.append("| " + " | ".join(map(str, cells + ([f"{row['cost_usd_month']:,.2f}"] if money else []))) + " |")
    lines += ["", "## Assumptions", "", *(f"- {line}" for line in result["assumptions"]), ""]
    return "\n".join(lines)


def _rounded(value: float) -> float:
    """Six significant digits: more would claim what a model cannot know."""
    return float(f"{value:.6g}")


def _number(value: Any) -> str:
    return f"{float(value):,.4g}" if abs(float(value)) < 10_000 else f"{float(value):,.0f}"


_positive = {"type": "number", "minimum": 1e-6, "maximum": 1e9}
_share = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}

TOOL = Tool(
    name="infra.capacity",
    summary="Plan capacity: instances needed for a load and targets, with waiting times, cost and sensitivity",
    run=run,
    arguments={
        "type": "object",
        "additionalProperties": False,
        "oneOf": [{"required": ["load"]}, {"required": ["measurements"]}],
        "properties": {
            "load": {
                "type": "object",
                "additionalProperties": False,
                "oneOf": [{"required": ["requests_per_s"]}, {"required": ["tasks_per_h"]}],
                "anyOf": [{"required": ["service_time_s"]}, {"required": ["p50_s", "p95_s"]}],
                "properties": {
                    "requests_per_s": _positive,
                    "tasks_per_h": _positive,
                    "service_time_s": {**_positive, "description": "Mean seconds of work each."},
                    "variation": {
                        "type": "number",
                        "minimum": 0,
                        "maximum": 100,
                        "description": "Standard deviation / mean of the service time; 1 if not given.",
                    },
                    "p50_s": {**_positive, "description": "Median seconds of work, with p95_s instead of service_time_s."},
                    "p95_s": _positive,
                },
            },
            "measurements": {"type": "string", "minLength": 1, "description": "A CSV with one line per task: started_at, duration_s."},
            "targets": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "utilisation": {**_share, "minimum": 0.01, "description": "At most this share of slots busy; 0.7 if not given."},
                    "p95_wait_s": {"type": "number", "minimum": 0, "maximum": 86_400, "description": "95 % of tasks wait at most this long for a slot."},
                    "availability": {**_share, "description": "Share of time in which enough instances are up, such as 0.999."},
                },
            },
            "instance": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "slots": {"type": "integer", "minimum": 1, "maximum": 10_000, "description": "Tasks one instance does at once; 1 if not given."},
                    "cost_usd_month": {"type": "number", "minimum": 0, "maximum": 1e7},
                    "availability": {**_share, "description": "Share of time in which one instance is up; 0.99 if not given."},
                },
            },
            "headroom": {"type": "number", "minimum": 0, "maximum": 10, "default": 0, "description": "Plan for this much more load: 0.3 is 30 %."},
        },
    },
    inputs=("measurements",),
    time_limit_s=60,
    examples=(
        {
            "load": {"requests_per_s": 200, "p50_s": 0.08, "p95_s": 0.4},
            "targets": {"utilisation": 0.7, "p95_wait_s": 0.1, "availability": 0.999},
            "instance": {"slots": 8, "cost_usd_month": 12},
            "headroom": 0.3,
        },
        {"load": {"tasks_per_h": 500, "service_time_s": 30}, "instance": {"slots": 4, "cost_usd_month": 5}},
    ),
)
