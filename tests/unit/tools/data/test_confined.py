"""The tools of dash and data_fabcon do their work through the door, in a confined child with its limits."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pulser.app import samples
from pulser.core.errors import BadInput
from pulser.tools.call import Context, apply, call
from tests.unit.tools.confined import door_to, made

duckdb = pytest.importorskip("duckdb")
SAMPLES = Path(samples.__path__[0]) / "data"


@pytest.fixture
def door(tmp_path: Path) -> Context:
    door = door_to(tmp_path)
    shutil.copytree(SAMPLES, tmp_path / "root", dirs_exist_ok=True)
    return door


def test_a_profile_is_made(door: Context) -> None:
    result = made(door, "data.profile", path="penguins.csv")
    assert result.result["rows"] == 344
    assert {artifact.name for artifact in result.artifacts} == {"profile.html", "profile.md", "profile.json"}


def test_a_question_is_answered_and_a_wrong_one_refused_with_its_place(door: Context) -> None:
    sql = "SELECT species, count(*) AS n FROM penguins GROUP BY species ORDER BY n DESC"
    result = made(door, "data.query", sql=sql, files=["penguins.csv"])
    assert result.result["rows"] == [["Adelie", 152], ["Gentoo", 124], ["Chinstrap", 68]]
    assert {"result.csv", "result.parquet", "result.html", "chart.svg"} == {artifact.name for artifact in result.artifacts}
    with pytest.raises(BadInput) as caught:
        made(door, "data.query", sql="SELECT specie FROM penguins", files=["penguins.csv"])
    assert caught.value.fields["errors"][0]["column"] == 8


def test_files_may_be_named_for_the_question(door: Context) -> None:
    result = made(door, "data.query", sql="SELECT count(*) AS n FROM p JOIN i USING (island)", files={"p": "penguins.csv", "i": "islands.csv"})
    assert result.result["rows"] == [[344]]


def test_data_is_judged_against_a_reference_file(door: Context) -> None:
    rules = [{"rule": "reference", "column": "island", "reference": "islands"}]
    result = made(door, "data.quality", path="penguins_dirty.csv", rules=rules, references={"islands": "islands.csv"})
    assert result.result["rules"][0]["violations"] == 2


def test_a_load_takes_effect_once_also_when_it_is_applied_after_a_look(door: Context, tmp_path: Path) -> None:
    args = {"source": "penguins_dirty.csv", "key": ["id"], "target": {"kind": "parquet", "table": "penguins", "path": str(tmp_path / "root" / "new.parquet")}}
    staged = asyncio.run(call("data.etl", args, replace(door, apply=False)))
    assert not (tmp_path / "root" / "new.parquet").exists()
    first = asyncio.run(apply("data.etl", args, staged.result, staged.artifacts, door))
    second = asyncio.run(apply("data.etl", args, staged.result, staged.artifacts, door))
    assert (first["inserted"], second["inserted"], second["unchanged"]) == (335, 0, 335)
    assert duckdb.sql(f"SELECT count(*) FROM '{tmp_path}/root/new.parquet'").fetchall() == [(335,)]
    assert sorted(path.name for path in (tmp_path / "root").iterdir()) == [
        ".data", "README.md", "islands.csv", "new.parquet", "penguins.csv", "penguins_dirty.csv",
    ]  # fmt: skip


def test_a_file_without_a_place_becomes_an_artifact(door: Context) -> None:
    result = made(door, "data.etl", source="penguins_dirty.csv", key=["id"], target={"kind": "sqlite", "table": "penguins"})
    assert "penguins.sqlite" in {artifact.name for artifact in result.artifacts}


def test_a_larger_file_fits_into_the_limits(door: Context, tmp_path: Path) -> None:
    with (tmp_path / "root" / "large.csv").open("w", encoding="utf-8") as file:
        file.write("id,name,amount,day\n")
        file.writelines(f"{n},name {n % 977},{n % 1000}.{n % 100:02d},2024-{n % 12 + 1:02d}-{n % 28 + 1:02d}\n" for n in range(100_000))
    assert made(door, "data.profile", path="large.csv").result["rows"] == 100_000
    assert made(door, "data.etl", source="large.csv", key=["id"], target={"kind": "sqlite", "table": "large"}).result["written"] == 100_000
