"""When to try again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulser.core.retry import apart, delay_s

CHANCE = st.floats(0, 1, exclude_max=True)


@given(failures=st.integers(1, 50), chance=CHANCE)
def test_waits_are_5_25_125_and_then_125_give_or_take_a_fifth(failures: int, chance: float) -> None:
    base = {1: 5.0, 2: 25.0}.get(failures, 125.0)
    assert base * 0.8 <= delay_s(failures, chance) <= base * 1.2


def test_the_spread_reaches_both_ends() -> None:
    assert delay_s(1, 0.0) == pytest.approx(4.0)
    assert delay_s(1, 0.5) == pytest.approx(5.0)
    assert delay_s(1, 0.999) == pytest.approx(6.0, abs=0.01)


def test_no_delays_mean_no_wait() -> None:
    assert delay_s(1, 0.5, ()) == 0.0
    assert apart(3, 0.5, ()) == 0.0


@given(reclaims=st.integers(1, 50), chance=CHANCE)
def test_lost_work_comes_back_at_once_first_and_anywhere_within_the_delay_later(reclaims: int, chance: float) -> None:
    limit = {1: 0.0, 2: 5.0, 3: 25.0}.get(reclaims, 125.0)
    assert 0.0 <= apart(reclaims, chance) <= limit
    assert apart(reclaims, 0.5) == pytest.approx(limit / 2)
