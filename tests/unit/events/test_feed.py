"""Cursors, ids and sentences of events, without a database."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulser.core.clock import from_us
from pulser.core.errors import BadInput
from pulser.core.ids import is_id
from pulser.events import feed
from pulser.events.catalogue import KINDS
from pulser.events.feed import Wanted
from pulser.events.follow import BACKLOG, Listener

NUMBER = st.integers(0, 2**62)


@given(xid=NUMBER, seq=NUMBER)
def test_a_cursor_is_read_back_as_it_was_made(xid: int, seq: int) -> None:
    assert feed.parse_cursor(feed.cursor_of(xid, seq)) == (xid, seq)


@given(text=st.text(max_size=30))
def test_no_text_breaks_the_reading_of_a_cursor(text: str) -> None:
    try:
        xid, seq = feed.parse_cursor(text)
    except BadInput as error:
        assert error.hint
    else:
        assert feed.parse_cursor(feed.cursor_of(xid, seq)) == (xid, seq)


@given(us=st.integers(0, 4 * 10**15), first=st.integers(1, 2**40))
def test_ids_of_events_are_ids_and_differ_with_their_number(us: int, first: int) -> None:
    at = from_us(us)
    ids = [feed.event_id(at, first), feed.event_id(at, first + 1)]
    assert all(is_id(each, "evt") for each in ids) and ids[0] < ids[1]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_says_a_whole_sentence_even_without_its_details(kind: str) -> None:
    says = feed.says({"event": kind, "details": {}, "target": "T", "actor": "A"})
    assert says and "{" not in says
    known = {"target", "actor", *KINDS[kind].fields}
    import re

    assert set(re.findall(r"\{(\w+)\}", KINDS[kind].says)) <= known, "a sentence names a field that the kind does not have"


def test_an_unknown_kind_is_told_by_its_name() -> None:
    assert feed.says({"event": "unheard_of", "details": {}, "target": "T", "actor": "A"}) == "unheard_of"


def test_what_is_wanted_is_all_of_what_is_said() -> None:
    event = {"target": "t", "event": "note", "actor": "a"}
    for wanted, fits in (
        (Wanted(), True),
        (Wanted(target="t", kinds=("note", "x"), actor="a"), True),
        (Wanted(target="x"), False),
        (Wanted(kinds=("x",)), False),
        (Wanted(actor="x"), False),
    ):
        assert wanted.matches(event) is fits


@pytest.mark.anyio
async def test_a_listener_that_does_not_read_notes_that_it_missed_something_and_holds_no_more() -> None:
    listener = Listener("default", Wanted())
    for n in range(3 * BACKLOG):
        listener.offer(((0, n), {}, b""))
    assert (len(listener.waiting), listener.missed, listener.ready.is_set()) == (BACKLOG, True, True)
