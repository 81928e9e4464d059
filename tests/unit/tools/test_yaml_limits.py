"""What YAML from strangers may hold."""

from __future__ import annotations

import time

import pytest

from pulser.core.errors import BadInput
from pulser.tools.builtin.yaml_limits import Limits, load, load_all, load_with_lines


def test_values_follow_yaml_1_2_so_words_and_times_stay_text():
    value = load("on: yes\nport: '22'\nat: 22:22\nday: 2024-01-01\nn: 010\nh: 0x1f\nf: 1.5\nok: true\nnone: ~\nempty:\n")
    assert value == {"on": "yes", "port": "22", "at": "22:22", "day": "2024-01-01", "n": 10, "h": 31, "f": 1.5, "ok": True, "none": None, "empty": None}


def test_merge_keys_work_as_compose_files_use_them():
    assert load("base: &b {a: 1, b: 2}\nweb:\n  <<: *b\n  b: 3\n")["web"] == {"a": 1, "b": 3}


def test_lines_are_told_by_json_pointer():
    _, lines = load_with_lines("a:\n  b:\n    - x\n    - y/z: 1\n")
    assert lines["/a/b"] == 2 and lines["/a/b/1"] == 4 and lines["/a/b/1/y~1z"] == 4


def test_many_documents_are_read_where_they_are_expected_and_refused_elsewhere():
    assert load_all("a: 1\n---\nb: 2\n") == [{"a": 1}, {"b": 2}]
    with pytest.raises(BadInput, match="2 documents"):
        load("a: 1\n---\nb: 2\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [1, 2", "line"),
        ("a: 1\na: 2\n", "line 2: the key 'a' is given twice"),
        ("\tx: 1", "is not YAML"),
        ("x: .inf", "finite"),
        ("x: 1e999", "finite"),
        (b"x: \xff\xfe", "not UTF-8"),
        ("x: !!python/object/apply:os.system ['true']", "line 1"),
        ("? [a, b]\n: 1", "key"),
        ("x: &x [*x]", "stands inside"),
        ("x: " + "9" * 5000, "400 digits"),
        ("x: *nowhere", "line 1"),
        ("x: !!timestamp 2024-01-01", "line 1"),
        ("[" * 200, "levels of nesting"),
        ("a: &a [1]\nb: [" + "*a, " * 300 + "]", "aliases"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text, told):
    with pytest.raises(BadInput, match=told):
        load(text)


def test_aliases_of_aliases_are_refused_before_they_grow():
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))
    with pytest.raises(BadInput, match="values, counting what aliases stand for"):
        load(bomb)


def test_a_merge_bomb_is_refused():
    bomb = "a0: &a0 {k: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 20))
    with pytest.raises(BadInput, match="values"):
        load(bomb)


def test_300_000_keys_are_refused_within_a_second():
    text = "".join(f"k{i}: 1\n" for i in range(300_000))
    began = time.monotonic()
    with pytest.raises(BadInput, match="values"):
        load(text, limits=Limits(size_bytes=64_000_000))
    assert time.monotonic() - began < 5
