"""Rules count the rows that break them, exactly, and add up to a score."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from pulser.app import samples
from pulser.core.errors import BadInput, UnknownName
from pulser.tools.builtin.data.quality import TOOL, score
from tests.unit.tools.fake_call import Made, run

pytest.importorskip("duckdb")
SAMPLES = Path(samples.__path__[0]) / "data"
TABLE = "id,zip,age,day,mail\n1,007,30,2024-01-01,a@x.org\n2,10115,-5,2024-01-02,b@x.org\n2,ABC,old,2024-13-01,nomail\n,123,200,,\n"


def judge(folder: Path, *rules: dict[str, Any], content: str = TABLE, **args: Any) -> Made:
    (folder / "t.csv").write_text(content, encoding="utf-8")
    return run(TOOL, folder, path=str(folder / "t.csv"), rules=list(rules), **args)


CASES: list[tuple[dict[str, Any], int, list[int]]] = [
    ({"rule": "not_null", "column": "id"}, 1, [5]),
    ({"rule": "not_null", "columns": ["id", "mail"]}, 1, [5]),
    ({"rule": "unique", "column": "id"}, 1, [4]),
    ({"rule": "unique", "columns": ["id", "zip"]}, 0, []),
    ({"rule": "range", "column": "age", "min": 0, "max": 120}, 3, [3, 4, 5]),
    ({"rule": "range", "column": "age", "min": -5}, 1, [4]),
    ({"rule": "range", "column": "day", "min": "2024-01-02"}, 2, [2, 4]),
    ({"rule": "pattern", "column": "zip", "pattern": "[0-9]{5}"}, 3, [2, 4, 5]),
    ({"rule": "in_set", "column": "zip", "values": ["007", "10115"]}, 2, [4, 5]),
    ({"rule": "in_set", "column": "id", "values": [1]}, 2, [3, 4]),
    ({"rule": "type", "column": "age", "type": "integer"}, 1, [4]),
    ({"rule": "type", "column": "zip", "type": "integer"}, 2, [2, 4]),
    ({"rule": "type", "column": "day", "type": "date"}, 1, [4]),
    ({"rule": "type", "column": "mail", "type": "text"}, 0, []),
]


@pytest.mark.parametrize(("rule", "count", "lines"), CASES, ids=lambda value: str(value)[:60])
def test_a_rule_finds_exactly_the_rows_that_break_it(tmp_path: Path, rule: dict[str, Any], count: int, lines: list[int]) -> None:
    made = judge(tmp_path, rule)
    found = made.result["rules"][0]
    assert found["violations"] == count
    assert [item["line"] for item in found["samples"]] == lines
    assert sorted({int(row["line"]) for row in csv.DictReader(io.StringIO(made.text("violations.csv")))}) == lines
    assert found["passed"] is (count == 0)


def test_a_reference_is_looked_up_in_another_file(tmp_path: Path) -> None:
    (tmp_path / "zips.csv").write_text("code\n007\n10115\n", encoding="utf-8")
    made = judge(tmp_path, {"rule": "reference", "column": "zip", "reference": "zips", "to": "code"}, references={"zips": str(tmp_path / "zips.csv")})
    assert [item["zip"] for item in made.result["rules"][0]["samples"]] == ["ABC", "123"]


def test_a_composite_reference_compares_all_its_columns(tmp_path: Path) -> None:
    (tmp_path / "known.csv").write_text("id,zip\n1,007\n2,10115\n", encoding="utf-8")
    made = judge(tmp_path, {"rule": "reference", "columns": ["id", "zip"], "reference": "known"}, references={"known": str(tmp_path / "known.csv")})
    assert [item["line"] for item in made.result["rules"][0]["samples"]] == [4]


def test_rows_are_counted_and_freshness_is_judged_at_a_given_time(tmp_path: Path) -> None:
    made = judge(
        tmp_path,
        {"rule": "row_count", "min": 4, "max": 4},
        {"rule": "row_count", "min": 5},
        {"rule": "freshness", "column": "day", "max_age_days": 3},
        {"rule": "freshness", "column": "day", "max_age_days": 2},
        {"rule": "freshness", "column": "mail", "max_age_days": 2},
        as_of="2024-01-05T00:00:00",
    )
    assert [item["passed"] for item in made.result["rules"]] == [True, False, True, False, False]


def test_the_score_is_the_weighted_share_of_rows_that_keep_the_rules(tmp_path: Path) -> None:
    made = judge(tmp_path, {"rule": "not_null", "column": "id", "weight": 3}, {"rule": "unique", "column": "zip"}, min_score=81)
    assert made.result["score"] == score([{"weight": 3, "share": 0.25}, {"weight": 1, "share": 0.0}]) == 81.25
    assert made.result["verdict"] == "passed"
    assert judge(tmp_path, {"rule": "not_null", "column": "id"}, min_score=75.1).result["verdict"] == "failed"


def test_a_tolerance_lets_a_share_of_rows_break_a_rule(tmp_path: Path) -> None:
    assert judge(tmp_path, {"rule": "not_null", "column": "id", "tolerance": 0.25}).result["rules"][0]["passed"]


def test_lines_that_are_no_records_are_violations_too(tmp_path: Path) -> None:
    made = judge(tmp_path, {"rule": "not_null", "column": "a"}, content="a,b\n1,2\n3\n4,5,6\n")
    found = made.result["rules"][-1]
    assert (found["rule"], found["violations"]) == ("well_formed", 2)
    assert [item["line"] for item in found["samples"]] == [3, 4]


def test_a_pattern_that_hangs_others_is_judged_at_once(tmp_path: Path) -> None:
    began = monotonic()
    made = judge(tmp_path, {"rule": "pattern", "column": "a", "pattern": "(a+)+$"}, content="a\n" + ("a" * 50_000 + "!\n") * 20)
    assert made.result["rules"][0]["violations"] == 20
    assert monotonic() - began < 30


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"rule": "pattern", "column": "zip", "pattern": "("}, "cannot be read"),
        ({"rule": "pattern", "column": "zip", "pattern": "(?=x)"}, "cannot be read"),
        ({"rule": "pattern", "column": "zip"}, "no pattern"),
        ({"rule": "range", "column": "age"}, "neither min nor max"),
        ({"rule": "range", "column": "age", "min": "2024-01-01", "max": 3}, "different kinds"),
        ({"rule": "range", "column": "age", "min": "never"}, "no date"),
        ({"rule": "in_set", "column": "age"}, "no values"),
        ({"rule": "type", "column": "age"}, "no type"),
        ({"rule": "not_null"}, "names no column"),
        ({"rule": "freshness", "column": "day"}, "max_age_days"),
        ({"rule": "row_count"}, "neither min nor max"),
        ({"rule": "magic"}, "magic"),
        ({"rule": "not_null", "column": "id", "weight": -1}, "weight"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_and_pointed_at(tmp_path: Path, rule: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        judge(tmp_path, {"rule": "not_null", "column": "id"}, rule)


def test_an_unknown_column_or_reference_offers_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownName) as caught:
        judge(tmp_path, {"rule": "not_null", "column": "ag"})
    assert "'age'" in caught.value.hint
    assert caught.value.fields["errors"][0]["pointer"] == "/rules/0"
    with pytest.raises(UnknownName, match="no reference file"):
        judge(tmp_path, {"rule": "reference", "column": "zip", "reference": "zips"})


def test_values_with_quotes_and_names_with_quotes_are_only_text(tmp_path: Path) -> None:
    made = judge(
        tmp_path,
        {"rule": "in_set", "column": 'a"b', "values": ["x'); DROP TABLE data; --"]},
        {"rule": "unique", "column": 'a"b'},
        content='"a""b",c\nx,1\nx,2\n',
    )
    assert [item["violations"] for item in made.result["rules"]] == [2, 1]


def test_without_rules_some_are_suggested_and_they_find_the_planted_dirt(tmp_path: Path) -> None:
    made = run(TOOL, tmp_path, path=str(SAMPLES / "penguins_dirty.csv"))
    assert made.result["verdict"] == "suggested"
    found = {(item["rule"], item["definition"].get("column")): item["violations"] for item in made.result["rules"]}
    assert found["in_set", "species"] == 3  # adelie, "Adelie ", Gento
    assert found["in_set", "island"] == 2
    assert found["unique", "id"] == 3
    assert found["type", "year"] == 2
    assert found["range", "body_mass_g"] == 4
    assert found["well_formed", None] == 2


def test_suggested_rules_can_be_given_back_as_rules(tmp_path: Path) -> None:
    first = run(TOOL, tmp_path, path=str(SAMPLES / "penguins.csv"))
    again = run(TOOL, tmp_path, path=str(SAMPLES / "penguins.csv"), rules=first.result["suggestions"])
    assert again.result["score"] == first.result["score"]
    assert again.result["verdict"] == "passed"


def test_a_shape_is_suggested_as_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("code\n" + "".join(f"AB-{n % 7:03d}.x\n" for n in range(100, 200)) + "odd\n", encoding="utf-8")
    made = run(TOOL, tmp_path, path=str(tmp_path / "s.csv"))
    assert {"rule": "not_null", "column": "code"} in made.result["suggestions"]
    patterns = [item for item in made.result["rules"] if item["rule"] in ("pattern", "in_set")]
    assert patterns[0]["violations"] == 1
