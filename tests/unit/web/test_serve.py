"""What is said when Pulser is ready, and to whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from pulser.access.local import LocalToken
from pulser.app.serve import address, greeting


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:80"), ("::1", "http://[::1]:80"), ("[::1]", "http://[::1]:80"), ("pulser.example", "http://pulser.example:80")],
)
def test_an_address_can_be_opened(host: str, url: str):
    assert address(host, 80) == url


def test_a_terminal_is_told_a_start_link_that_works_once(tmp_path: Path):
    local = LocalToken(tmp_path)
    secret = greeting("http://here:1", local, terminal=True).rpartition("#start=")[2]
    assert [local.starts(secret), local.starts(secret)] == [True, False]


def test_what_is_kept_by_a_log_is_told_no_secret_but_how_to_get_one(tmp_path: Path):
    said = greeting("http://here:1", LocalToken(tmp_path), terminal=False)
    assert "#start" not in said and "pulser open" in said
    assert "pulser open" not in greeting("http://here:1", None, terminal=True), "off loopback it would not help"
