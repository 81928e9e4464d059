"""What a payload may be: the schema's word, JSON that can be kept, and no credential."""

from __future__ import annotations

import json
import time

import pytest

from pulser.core.errors import BadInput, CredentialInPayload
from pulser.tools.arguments import check, check_json, refuse_credentials, with_defaults
from tests.unit.tools.sample_tools import ECHO

SCHEMA = {
    "type": "object",
    "properties": {
        "sleep_ms": {"type": "integer", "minimum": 0},
        "fail": {"enum": ["transient", "permanent"]},
        "rules": {
            "type": "array",
            "items": {"type": "object", "properties": {"column": {"type": "string"}}, "required": ["column"], "additionalProperties": False},
        },
    },
    "additionalProperties": False,
}


def problems(schema: dict, args: object) -> dict[str, str]:
    with pytest.raises(BadInput) as caught:
        check(schema, args)
    return {error["pointer"]: error["detail"] for error in caught.value.fields["errors"]}


def test_every_problem_is_told_at_once_with_its_pointer():
    found = problems(SCHEMA, {"sleep_ms": -1, "fail": "maybe", "rules": [{"column": "a"}, {}]})
    assert set(found) == {"/payload/sleep_ms", "/payload/fail", "/payload/rules/1/column"}
    assert found["/payload/rules/1/column"] == "is missing"


def test_an_unknown_property_is_answered_with_the_nearest_known_one():
    found = problems(SCHEMA, {"sleep_sm": 1, "rules": [{"column": "a", "colunm": "b"}]})
    assert "'sleep_ms'" in found["/payload/sleep_sm"]
    assert "'column'" in found["/payload/rules/0/colunm"]


def test_slashes_and_tildes_in_names_are_escaped_in_pointers():
    assert list(problems(SCHEMA, {"a/b~c": 1})) == ["/payload/a~1b~0c"]


@pytest.mark.parametrize("args", [None, [], "text", 3])
def test_arguments_that_are_no_object_are_refused(args):
    assert list(problems(SCHEMA, args)) == ["/payload"]


def test_half_a_surrogate_pair_is_refused_by_the_schema_check_too():
    with pytest.raises(BadInput):
        check(SCHEMA, {"fail": "\ud800"})


def test_defaults_of_the_schema_are_filled_in_and_given_values_kept():
    assert with_defaults(ECHO, {"text": "x"}) == {"text": "x", "times": 1}
    assert with_defaults(ECHO, {"text": "x", "times": 2}) == {"text": "x", "times": 2}


@pytest.mark.parametrize(
    ("text", "pointer", "said"),
    [
        ('{"a": ["x", "b\\u0000c"]}', "/a/1", "NUL"),
        ('{"a": "\\ud83d"}', "/a", "surrogate"),
        ('{"a": {"\\udc00": 1}}', "/a", "surrogate"),
        ('{"a": NaN}', "/a", "finite"),
        ('{"a": [-Infinity]}', "/a/0", "finite"),
        ('{"a": 1e400}', "/a", "finite"),
        ('{"a": ' + "[" * 64 + "]" * 64 + "}", "/a" + "/0" * 63, "64 levels"),
    ],
)
def test_json_that_no_store_can_keep_is_refused_with_its_place(text, pointer, said):
    value = json.loads(text)
    for raw in (None, text.encode()):
        with pytest.raises(BadInput) as caught:
            check_json(value, raw=raw)
        (error,) = caught.value.fields["errors"]
        assert error["pointer"] == pointer
        assert said in error["detail"]


@pytest.mark.parametrize(
    "text", ['{"a": "NaN and Infinity and \\u00e9 and \\ud83d\\ude00", "n": 1e30}', "[" * 64 + "]" * 64, '{"é": "ü"}', "[" + "[]," * 100 + "[]]"]
)
def test_json_that_only_looks_odd_is_kept(text):
    check_json(json.loads(text), raw=text.encode())
    check_json(json.loads(text))


JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0." + "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        ({"password": "hunter2"}, "/payload/password"),
        ({"a": [{"DB_PASSWORD": "x1"}]}, "/payload/a/0/DB_PASSWORD"),
        ({"apiKey": "abc"}, "/payload/apiKey"),
        ({"api-key": ["abc"]}, "/payload/api-key/0"),
        ({"clientSecret": "abc"}, "/payload/clientSecret"),
        ({"token": "abc"}, "/payload/token"),
        ({"access_token": "abc"}, "/payload/access_token"),
        ({"url": "postgresql://me:pw@db/x"}, "/payload/url"),
        ({"text": "see https://user:pw@example.org/ for more"}, "/payload/text"),
        ({"url": "https://example.org/x?api_key=abcdef123"}, "/payload/url"),
        ({"x": "sk-proj-" + "aB3" * 10}, "/payload/x"),
        ({"x": "ghp_" + "a1B2" * 9}, "/payload/x"),
        ({"x": "AKIA" + "ABCDEFGH12345678"}, "/payload/x"),
        ({"x": "xoxb-" + "123456789012-abcdef"}, "/payload/x"),
        ({"x": "-----BEGIN " + "RSA PRIVATE KEY-----\nMII"}, "/payload/x"),
        ({"x": JWT}, "/payload/x"),
        ({"x": "Authorization: Bearer abcdefghij0123456789xyz"}, "/payload/x"),
        ({"x": "dop_v1_" + "0123456789abcdef" * 4}, "/payload/x"),
        ({"ghp_" + "a1B2" * 9: 1}, "/payload"),
    ],
)
def test_what_looks_like_a_credential_is_refused_and_never_repeated(value, pointer):
    with pytest.raises(CredentialInPayload) as caught:
        refuse_credentials(value)
    error = caught.value.fields["errors"][0]
    assert error["pointer"] == pointer
    assert "hunter2" not in str(caught.value.fields) and "pw@" not in str(caught.value.fields)


@pytest.mark.parametrize(
    "text", ["a://" + "x:" * 120_000, "@://a?key=$" * 23_000, "sk-" * 85_000, "eyJ." * 64_000, "gh" + "_" * 250_000, "@" + ("a" * 30 + "://") * 8_000]
)
def test_a_hostile_text_costs_no_more_than_a_long_one(text: str):
    began = time.perf_counter()
    refuse_credentials({"text": text})
    assert time.perf_counter() - began < 0.25


@pytest.mark.parametrize(
    "value",
    [
        {"password": ""},
        {"password": None},
        {"password": "${DB_PASSWORD}"},
        {"columns": {"password": "text", "token": "varchar(40)"}},
        {"column": "password"},
        {"max_tokens": 5, "next_token": "abc", "tokens": ["the", "word"]},
        {"text": "how do I reset my password? The API key: see the docs; sk-learn-is-a-library-for-machines"},
        {"url": "https://example.org:8080/a@b?q=1", "mail": "mailto:me@example.org"},
        {"path": "secrets/README.md", "git": "git:src@v1.0"},
        {"url": "postgresql://me:***@db/x"},
    ],
)
def test_what_only_mentions_credentials_is_accepted(value):
    refuse_credentials(value)
