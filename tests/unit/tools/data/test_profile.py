"""A profile measures what is there, exactly where it can, and its reports are safe to open."""

from __future__ import annotations

import math
import statistics
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from pulser.app import samples
from pulser.tools.builtin.data import chart
from pulser.tools.builtin.data.profile import TOOL
from pulser.tools.builtin.data.relate import cramers_v
from tests.unit.tools.fake_call import Made, run

pytest.importorskip("duckdb")
PENGUINS = Path(samples.__path__[0]) / "data" / "penguins.csv"


def column(made: Made, name: str) -> dict[str, Any]:
    return next(item for item in made.json("profile.json")["columns"] if item["name"] == name)


def profile(folder: Path, content: str, name: str = "t.csv", **args: Any) -> Made:
    (folder / name).write_text(content, encoding="utf-8")
    return run(TOOL, folder, path=str(folder / name), **args)


def test_the_penguins_come_out_as_published(tmp_path: Path) -> None:
    made = run(TOOL, tmp_path, path=str(PENGUINS))
    assert made.result["rows"] == 344
    assert {item["value"]: item["count"] for item in column(made, "species")["top"]} == {"Adelie": 152, "Gentoo": 124, "Chinstrap": 68}
    mass = column(made, "body_mass_g")
    assert (mass["missing"], mass["min"], mass["max"], mass["quantiles"]["p50"]) == (2, 2700, 6300, 4050)
    assert round(mass["mean"], 3) == 4201.754
    found = made.json("profile.json")["correlations"]
    names = found["columns"]
    assert found["pearson"][names.index("flipper_length_mm")][names.index("body_mass_g")] == pytest.approx(0.871, abs=5e-4)


def test_sums_and_ends_of_decimals_are_exact(tmp_path: Path) -> None:
    made = profile(tmp_path, "price\n" + "0.10\n" * 3 + "12345678901234567.89\n")
    found = column(made, "price")
    assert (found["min"], found["max"], found["sum"]) == ("0.10", "12345678901234567.89", "12345678901234568.19")


def test_quantiles_and_deviation_agree_with_the_standard_library(tmp_path: Path) -> None:
    values = [1, 2, 2, 3, 5, 8, 13, 21, 34, 55]
    found = column(profile(tmp_path, "a\n" + "\n".join(map(str, values))), "a")
    assert found["deviation"] == pytest.approx(statistics.stdev(values))
    assert [found["quantiles"][name] for name in ("p25", "p50", "p75")] == pytest.approx(statistics.quantiles(values, n=4, method="inclusive"))


def test_outliers_are_found_by_fences_and_by_robust_z(tmp_path: Path) -> None:
    found = column(profile(tmp_path, "a\n" + "\n".join(str(10 + n % 5) for n in range(50)) + "\n1000\n"), "a")["outliers"]
    assert (found["iqr"], found["robust_z"], found["examples"]) == (1, 1, [1000])


def test_nan_and_infinity_are_counted_and_left_out(tmp_path: Path) -> None:
    made = profile(tmp_path, "a\n1.5\nNaN\ninf\n2.5e0\n", null_values=[""])
    found = column(made, "a")
    assert (found["not_finite"], found["min"], found["max"], found["mean"]) == (2, 1.5, 2.5, 2.0)
    assert any("NaN" in note for note in made.result["notes"])


def test_repeated_rows_constants_empty_columns_and_keys_are_remarked(tmp_path: Path) -> None:
    made = profile(tmp_path, "id,k,e,v\n1,x,,5\n2,x,,6\n3,x,,7\n")
    told = " ".join(made.result["notes"])
    assert "e is empty throughout" in told
    assert "k has the same value" in told
    assert "id is different in every row" in told
    assert profile(tmp_path, "a,b\n1,2\n1,2\n1,2\n3,4\n", "d.csv").result["duplicates"] == 2


def test_a_sample_is_said_to_be_one_and_repeats_itself(tmp_path: Path) -> None:
    content = "a\n" + "\n".join(map(str, range(5000)))
    first, second = profile(tmp_path, content, sample_rows=100), profile(tmp_path, content, sample_rows=100)
    assert first.result["rows"] == 100
    assert first.result["sampled_from"] == 5000
    assert column(first, "a")["sum"] == column(second, "a")["sum"]


def test_columns_beyond_the_limit_are_named_as_left_out(tmp_path: Path) -> None:
    made = profile(tmp_path, "a,b,c\n1,2,3\n", max_columns=2)
    assert len(made.result["columns"]) == 2
    assert any("1 further" in note for note in made.result["notes"])


def test_names_and_values_cannot_become_markup(tmp_path: Path) -> None:
    attack = "<script>alert(1)</script>"
    made = profile(tmp_path, f'"{attack}",n|m\n"{attack}",1\n"{attack}",2\n"<img src=x onerror=y>",3\n', f"{'x'}.csv")
    assert "<script" not in made.text("profile.html")
    assert "<img" not in made.text("profile.html")
    assert "<script" not in made.text("profile.md")
    assert "n\\|m" in made.text("profile.md")


def test_the_page_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    page = run(TOOL, tmp_path, path=str(PENGUINS)).text("profile.html")
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert "src=" not in page.replace("default-src", "")
    assert page.replace("http://www.w3.org/2000/svg", "").count("http") == 1  # the policy's http-equiv


def test_every_chart_is_well_formed_and_described() -> None:
    drawn = [
        chart.histogram("a <b> & c", [0, 1, 2], [3, 4], "x"),
        chart.bars("bars", ["a\x01", "]]>"], [1.5, -2]),
        chart.line("line", [0, 1, 2], [3.0, 3.0, 3.0], "x", "y"),
        chart.scatter("dots", [1], [2], "x", "y"),
        chart.heat_map("heat", ["a", "b"], [[1.0, None], [None, 1.0]]),
        chart.bars("none", [], []),
        chart.histogram("flat", [5, 6], [0]),
    ]
    for picture in drawn:
        root = ET.fromstring(picture)
        assert root.get("role") == "img"
        names = [child.tag.rpartition("}")[2] for child in root]
        assert names[:2] == ["title", "desc"]
        assert root.get("aria-labelledby", "").split() == [root[0].get("id"), root[1].get("id")]
        assert "nan" not in picture.lower().replace("nan</", "")


def test_ticks_are_round_and_within() -> None:
    assert chart.ticks(0, 100) == [0, 20, 40, 60, 80, 100]
    assert all(-3 <= tick <= 7.5 for tick in chart.ticks(-3, 7.5))
    assert chart.ticks(5, 5) == [5]
    assert chart.ticks(0, math.inf) == [0]


def test_cramers_v_is_one_for_a_copy_and_zero_for_independence() -> None:
    assert cramers_v([("a", "x", 10), ("b", "y", 20)]) == pytest.approx(1)
    assert cramers_v([("a", "x", 10), ("a", "y", 10), ("b", "x", 20), ("b", "y", 20)]) == pytest.approx(0)
    assert cramers_v([("a", "x", 10), ("b", "x", 20)]) is None


def test_nested_and_odd_columns_of_parquet_are_profiled(tmp_path: Path) -> None:
    import duckdb

    sql = """SELECT i AS n, [i] AS l, {'a': i} AS s, map{'k': i} AS m, CAST('a' AS BLOB) AS b, TIMESTAMPTZ '2020-01-01 00:00:00+00' AS z, DATE 'infinity' AS d,
             TIME '10:00' AS t, INTERVAL 1 DAY AS v, uuid() AS u, CAST(NULL AS INTEGER) AS e, CAST(i AS FLOAT) / 0 AS f FROM range(5) r(i)"""
    duckdb.sql(f"COPY ({sql}) TO '{tmp_path}/odd.parquet'")
    made = run(TOOL, tmp_path, path=str(tmp_path / "odd.parquet"))
    assert {item["name"]: item["missing"] for item in made.result["columns"]}["e"] == 5
    assert len(made.result["columns"]) == 12
