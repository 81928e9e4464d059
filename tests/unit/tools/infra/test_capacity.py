"""How many instances a load takes: against known values of queueing theory, and as a tool."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from pulser.core.errors import BadInput
from pulser.tools.builtin.infra.capacity import TOOL
from pulser.tools.builtin.infra.queueing import Work, erlang_c, slots_needed, spares_needed, spread_of, up_share, waiting
from tests.unit.tools.fake_call import Made, check_args, run


def direct_erlang_c(a: float, c: int) -> float:
    """The definition, with factorials; good for small numbers only."""
    tail = a**c / math.factorial(c) * c / (c - a)
    return tail / (sum(a**k / math.factorial(k) for k in range(c)) + tail)


@pytest.mark.parametrize(("erlangs", "slots", "known"), [(2, 3, 4 / 9), (0.5, 1, 0.5), (1, 2, 1 / 3), (10, 14, 0.17413), (3, 4, 0.50943)])
def test_erlang_c_meets_known_values(erlangs: float, slots: int, known: float) -> None:
    assert erlang_c(erlangs, slots) == pytest.approx(known, rel=1e-4)


@pytest.mark.parametrize("slots", [1, 2, 5, 17, 60])
def test_erlang_c_meets_its_definition(slots: int) -> None:
    for share in (0.1, 0.5, 0.9, 0.99):
        assert erlang_c(slots * share, slots) == pytest.approx(direct_erlang_c(slots * share, slots), rel=1e-9)


def test_one_slot_is_the_textbook_queue() -> None:
    now = waiting(Work(0.8, 1.0), 1)  # M/M/1: mean wait = rho / (mu - lambda)
    assert now.mean_s == pytest.approx(0.8 / 0.2)
    assert now.p95_s == pytest.approx(math.log(0.8 / 0.05) / 0.2)


def test_work_that_always_takes_the_same_time_waits_half_as_long() -> None:
    assert waiting(Work(0.8, 1.0, variation=0), 1).mean_s == pytest.approx(2.0)  # M/D/1


def test_more_than_can_be_done_waits_for_ever() -> None:
    assert waiting(Work(3, 1), 3).p95_s == math.inf
    assert erlang_c(5, 3) == 1


def test_large_loads_neither_overflow_nor_lose_their_sense() -> None:
    assert 0 < erlang_c(10_000, 10_100) < 1
    by_use, by_wait, expected = slots_needed(Work(20_000, 1), 1, 0.9, 0.001)
    assert expected.slots == max(by_use, by_wait) and expected.p95_s <= 0.001


def test_the_number_of_slots_is_the_smallest_that_meets_the_targets() -> None:
    for work in (Work(10, 1), Work(3, 0.2), Work(50, 0.7, 2.0), Work(0.01, 1)):
        _, _, expected = slots_needed(work, 1, 0.95, 0.2)
        assert expected.utilisation <= 0.95 and expected.p95_s <= 0.2
        if expected.slots > 1:
            fewer = waiting(work, expected.slots - 1)
            assert fewer.utilisation > 0.95 or fewer.p95_s > 0.2


def test_median_and_p95_give_the_log_normal_they_belong_to() -> None:
    mean, variation = spread_of(1.0, math.exp(1.6448536269514722))  # sigma = 1
    assert mean == pytest.approx(math.exp(0.5)) and variation == pytest.approx(math.sqrt(math.e - 1))
    assert spread_of(2.0, 2.0) == pytest.approx((2.0, 0.0))


def test_spares_keep_enough_up() -> None:
    assert up_share(2, 1, 0.9) == pytest.approx(0.99)
    assert up_share(3, 2, 0.9) == pytest.approx(0.972)
    assert spares_needed(1, 0.9, 0.99) == 1
    assert spares_needed(1, 0.5, 0.9999999, limit=3) is None


def plan(tmp_path: Path, **args: Any) -> Made:
    return run(TOOL, tmp_path, **args)


LOAD = {"requests_per_s": 10, "service_time_s": 1}


def test_the_plan_explains_itself_and_costs_what_its_instances_cost(tmp_path: Path) -> None:
    made = plan(tmp_path, load=LOAD, targets={"utilisation": 0.8, "p95_wait_s": 0.5}, instance={"slots": 4, "cost_usd_month": 12})
    found = made.result["plan"]
    assert found["instances"] == 4 and found["cost_usd_month"] == 48
    assert found["p95_wait_s"] <= 0.5 and found["utilisation"] <= 0.8
    assert any("Erlang C" in line for line in made.result["assumptions"])
    assert made.json("capacity.json") == made.result
    assert "If the load changes" in made.text("report.md")


def test_tasks_an_hour_are_the_same_as_requests_a_second(tmp_path: Path) -> None:
    assert plan(tmp_path, load={"tasks_per_h": 36_000, "service_time_s": 1}).result["plan"] == plan(tmp_path, load=LOAD).result["plan"]


def test_tighter_waiting_never_takes_fewer_instances(tmp_path: Path) -> None:
    counts = [plan(tmp_path, load=LOAD, targets={"p95_wait_s": wait, "utilisation": 0.99}).result["instances"] for wait in (10, 1, 0.1, 0)]
    assert counts == sorted(counts) and counts[0] < counts[-1]


def test_availability_adds_spare_instances_and_says_so(tmp_path: Path) -> None:
    found = plan(tmp_path, load=LOAD, targets={"availability": 0.9999}, instance={"availability": 0.99}).result["plan"]
    assert found["spare"] >= 1 and found["enough_are_up"] >= 0.9999 and "availability" in found["decided_by"]


def test_an_availability_out_of_reach_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        plan(tmp_path, load=LOAD, targets={"availability": 0.999999999}, instance={"availability": 0.05})


def test_the_table_grows_with_the_load_and_holds_its_targets(tmp_path: Path) -> None:
    rows = plan(tmp_path, load=LOAD, targets={"p95_wait_s": 0.3}).result["sensitivity"]
    assert [row["load_factor"] for row in rows] == [0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0]
    assert [row["instances"] for row in rows] == sorted(row["instances"] for row in rows)
    assert all(row["p95_wait_s"] <= 0.3 for row in rows)


def test_what_it_holds_until_is_true(tmp_path: Path) -> None:
    made = plan(tmp_path, load=LOAD, targets={"utilisation": 0.7})
    limit = made.result["holds_until"]["load_factor"]
    slots = made.result["instances"]
    assert 10 * limit / slots <= 0.7 + 1e-6 < 10 * (limit + 0.002) / slots


def test_headroom_is_load_that_is_planned_for(tmp_path: Path) -> None:
    assert plan(tmp_path, load=LOAD, headroom=0.5).result["load"]["per_s"] == 15


def csv_of(tmp_path: Path, text: str) -> str:
    path = tmp_path / "load.csv"
    path.write_text(text)
    return str(path)


def test_a_file_of_measurements_is_planned_for_its_busy_minutes(tmp_path: Path) -> None:
    # an hour with one task every 10 s, but one every second in ten of the sixty minutes; each takes 2 s
    starts = [s for s in range(3600) if (s // 60) % 6 == 3 or s % 10 == 0]
    text = "started_at,duration_ms\n" + "".join(f"2026-01-01T00:{s // 60:02}:{s % 60:02}Z,2000\n" for s in starts) + "nonsense,1\n"
    made = plan(tmp_path, measurements=csv_of(tmp_path, text))
    assert made.result["load"] == {"per_s": 1.0, "service_time_s": 2.0, "variation": 0.0, "busy_slots": 2.0}
    assert "1 not usable" in made.result["assumptions"][0]


@pytest.mark.parametrize(
    "text",
    ["", "a,b\n1,2\n", "started_at,duration_s\n1,1\n", "started_at\n" + "1\n" * 30, "started_at,duration_s\n" + "5,1\n" * 30, "\x00" * 100],
)
def test_measurements_that_say_nothing_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadInput):
        plan(tmp_path, measurements=csv_of(tmp_path, text))


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"load": {"requests_per_s": 1}},
        {"load": {"service_time_s": 1}},
        {"load": {"requests_per_s": -1, "service_time_s": 1}},
        {"load": {"requests_per_s": 1, "tasks_per_h": 1, "service_time_s": 1}},
        {"load": {"requests_per_s": 1, "p50_s": 1}},
        {"load": LOAD, "targets": {"utilisation": 1.5}},
        {"load": LOAD, "instance": {"slots": 0}},
        {"load": LOAD, "headroom": -1},
        {"load": LOAD, "measurements": "x.csv"},
    ],
)
def test_arguments_that_make_no_sense_are_refused_by_the_schema(args: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        check_args(TOOL, args)


def test_a_p95_below_the_median_and_an_absurd_load_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="p95_s"):
        plan(tmp_path, load={"requests_per_s": 1, "p50_s": 2, "p95_s": 1})
    with pytest.raises(BadInput, match="slots busy"):
        plan(tmp_path, load={"requests_per_s": 1e6, "service_time_s": 1e3})


def test_the_examples_of_the_tool_work(tmp_path: Path) -> None:
    for example in TOOL.examples:
        assert plan(tmp_path, **example).result["instances"] >= 1
