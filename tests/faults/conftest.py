"""Faults on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgres
from tests.conformance.conftest import prepare
from tests.faults.ground import Ground, ground


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    """A migrated database of this test's own, and nothing running on it yet."""
    if request.param == "sqlite":
        with ground("", tmp_path) as made:
            prepare("", made.data_dir)
            yield made
        return
    with postgres.database(request.getfixturevalue("postgres_server")) as url, ground(url, tmp_path) as made:
        prepare(url, made.data_dir)
        yield made


@pytest.fixture(autouse=True)
def _show(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """The lines of counts are shown, whatever pytest captures."""
    yield
    out = "".join(line for line in capfd.readouterr().out.splitlines(True) if ":" in line)
    with capfd.disabled():
        print(out, end="")
