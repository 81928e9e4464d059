"""The bench's arithmetic: what it says of figures once they are measured."""

from __future__ import annotations

import json

import pytest

from tests.bench import cpu, figures
from tests.bench.figures import Goal, Measured
from tests.bench.peers import install, probe


def test_a_percentile_is_a_value_that_was_measured():
    assert figures.percentile([5, 1, 4, 2, 3], 0.5) == 3
    assert figures.percentile([5, 1, 4, 2, 3], 0.95) == 5
    assert figures.percentile(range(1, 101), 0.95) == 95
    assert figures.percentile([7], 0.01) == 7


def test_a_percentile_of_nothing_is_an_error_and_not_zero():
    with pytest.raises(ValueError, match="no values"):
        figures.percentile([], 0.5)


def test_rounds_become_medians_so_that_one_disturbed_round_does_not_count():
    assert figures.combine([{"a": 100.0}, {"a": 900.0}, {"a": 110.0, "b": "words"}]) == {"a": 110.0, "b": "words"}


def test_a_figure_that_only_some_rounds_have_is_the_median_of_those():
    assert figures.combine([{"a": 1.0}, {}, {"a": 3.0}]) == {"a": 2.0}


def test_rounds_are_chosen_by_the_load_of_others_and_not_by_what_they_found():
    calm, busy = Measured(5, {"a": 900.0}), Measured(150, {"a": 100.0})
    assert figures.calm([busy, calm]) == [calm]
    assert figures.calm([busy]) == []


def test_a_peer_is_compared_batched_with_batched_and_one_by_one_with_one_by_one():
    measured = {"embedded.total_cpu_us": 100.0, "embedded.total_one_cpu_us": 200.0, "celery_peer.total_cpu_us": 1500.0, "celery_peer.total_one_cpu_us": 1600.0}
    found = figures.ratios(measured)
    assert found["ratio.celery_over_embedded"] == 15
    assert found["ratio.celery_over_embedded_one"] == 8


def test_there_is_no_ratio_to_what_was_not_measured():
    assert figures.ratios({"embedded.total_cpu_us": 100.0}) == {}
    assert figures.ratios({"celery_peer.total_cpu_us": 100.0, "celery_peer.total_one_cpu_us": 100.0}) == {}


@pytest.mark.parametrize(
    ("goal", "found", "verdict"),
    [
        (Goal("x", 100), 100, "met"),
        (Goal("x", 100), 125, "missed: 25 % over"),
        (Goal("x", 100, least=True), 100, "met"),
        (Goal("x", 100, least=True), 80, "missed: needs 25 % more"),
    ],
)
def test_a_goal_says_whether_it_was_met_or_by_how_much_it_was_missed(goal: Goal, found: float, verdict: str):
    assert goal.judge(found) == verdict


def test_a_figure_that_is_not_there_is_never_met():
    assert figures.verdicts({}, [Goal("x", 100)]) == [("x", "–", "≤ 100", "not measured")]
    assert figures.verdicts({"x": "no disk"}, [Goal("x", 100)])[0][3] == "not measured"


def test_every_goal_of_the_bench_has_a_name_of_its_own():
    names = [goal.name for goal in figures.GOALS]
    assert len(names) == len(set(names))


def test_a_table_lines_its_columns_up():
    lines = figures.table([("a", "1"), ("long name", "1,000")], ("what", "found")).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2].endswith("    1")


def test_figures_keep_four_digits_so_that_a_file_of_them_can_be_read():
    assert figures.combine([{"a": 123.45678, "b": 0.0123456, "c": 9876.54}]) == {"a": 123.5, "b": 0.01235, "c": 9877.0}


def test_the_probe_of_the_peers_reads_back_what_their_tasks_wrote(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_RECORDS", str(tmp_path / "records"))
    monkeypatch.setattr(probe, "_file", None)
    for seq in (3, 1, 2):
        assert probe.task(probe.payload(seq)) == {"ok": True, "seq": seq}
    found = probe.read(str(tmp_path / "records"))
    assert [seq for seq, _ in found] == [3, 1, 2]
    assert [ns for _, ns in found] == sorted(ns for _, ns in found)
    assert probe.count(str(tmp_path / "records")) == 3


def test_peers_are_given_the_payload_that_ours_is_measured_with():
    from tests.bench import queue_run

    assert probe.payload(1) == {"action": "noop", "seq": 1, "data": queue_run.DATA}
    assert 1000 <= len(json.dumps(probe.payload(1))) <= 1100


def test_peers_are_pinned_so_that_ratios_can_be_compared_over_time():
    assert all("==" in package or package in ("hiredis", "packaging") for kind in install.KINDS for package in kind.packages)
    assert len({kind.name for kind in install.KINDS}) == len(install.KINDS)


def test_cpu_time_of_this_process_counts_what_it_did():
    import os

    before = cpu.of_tree(os.getpid())
    ends_at = os.times().user + 0.05
    while os.times().user < ends_at:
        pass
    assert cpu.of_tree(os.getpid()) - before >= 0.04
