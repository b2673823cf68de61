"""The quick decoder of bodies and Go's rules agree on every text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.flags import User
from gateway.flags.user import ATTRIBUTE_LIMIT, ITEM_LIMIT, TEXT_LIMIT
from gateway.web.answers import bodies
from gateway.web.answers.go_json import InvalidJson, read_fields
from gateway.web.answers.lookup import read_attributes


def outcome(read: Callable[[bytes], Any], text: bytes) -> Any:
    """Return the result of ``read`` as far as an answer depends on it, or the text of the refusal."""
    try:
        found = read(text)
    except InvalidJson as error:
        return str(error)
    key, user = found if isinstance(found, tuple) else (None, found)
    return key, None if user is None else repr(list(User(user).attributes.items())), user is None


def slowly(name: str, wanted: Mapping[str, type]) -> Callable[[bytes], Any]:
    def read(text: bytes) -> Any:
        found = read_fields(text, wanted)
        user = read_attributes(found[name]) if name in found else None
        return (found.get("key") or "", user) if "key" in wanted else user

    return read


WAYS = {
    "evaluation": (bodies.read_eval, slowly("user", bodies.EVAL)),
    "evaluation of all": (bodies.read_eval_all, slowly("user", bodies.EVAL_ALL)),
    "context": (bodies.read_context, slowly("context", bodies.CONTEXT)),
}

TEXTS = st.one_of(st.text(max_size=6), st.sampled_from(["42", "1.5", "a", "\u2028", "😀", "\x7f"]))
NUMBERS = st.one_of(
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([-0.0, 2**53 + 1, 2**64, -(2**63) - 1, 10**30, 0.1]),
)
VALUES = st.one_of(TEXTS, NUMBERS, st.lists(st.one_of(TEXTS, TEXTS, NUMBERS), max_size=3))
ODD = st.one_of(st.none(), st.booleans(), st.dictionaries(TEXTS, TEXTS, max_size=1), st.lists(st.none(), max_size=2))
USERS = st.one_of(
    st.dictionaries(TEXTS, VALUES, max_size=4),
    st.dictionaries(TEXTS, st.one_of(VALUES, VALUES, ODD), max_size=4),
    st.none(),
    ODD,
)
NAMES = st.sampled_from(["key", "user", "context", "Key", "USER", "Context", "uſer", "other", "", "ключ"])
MEMBERS = st.one_of(
    st.tuples(st.sampled_from(["user", "context"]), USERS),
    st.tuples(st.just("key"), TEXTS),
    st.tuples(NAMES, st.one_of(USERS, TEXTS, NUMBERS)),
)


def written(members: list[tuple[str, Any]], ascii_only: bool, space: str) -> bytes:
    """Return an object with exactly these members, duplicates included."""
    dump = json.JSONEncoder(ensure_ascii=ascii_only).encode
    inner = ",".join(f"{space}{dump(name)}:{space}{dump(value)}" for name, value in members)
    return ("{" + inner + space + "}" + space).encode("utf-8", "surrogatepass")


WRITTEN = st.builds(written, st.lists(MEMBERS, max_size=4), st.booleans(), st.sampled_from(["", " ", "\r\n\t"]))
EXAMPLES = (
    b"",
    b" ",
    b"null",
    b"{}",
    b"[]",
    b'"x"',
    b"1",
    b"{",
    b'{"key"',
    b"{}x",
    b"{} {}",
    b"\xef\xbb\xbf{}",
    b"\xff",
    b'{"key":null}',
    b'{"key":""}',
    b'{"key":1}',
    b'{"key":"a","key":"b"}',
    b'{"key":"a","KEY":"b"}',
    b'{"KEY":"b","key":"a"}',
    b'{"user":null}',
    b'{"user":{}}',
    b'{"user":[]}',
    b'{"user":{},"user":null}',
    b'{"user":null,"user":{"a":"b"}}',
    b'{"user":{"a":"b"},"User":{"a":"c"}}',
    b'{"user":{"a":1,"a":"x"}}',
    b'{"user":{"a":true,"a":"x"}}',
    b'{"user":{"a":null}}',
    b'{"user":{"a":{}}}',
    b'{"user":{"a":["x",1,null]}}',
    b'{"user":{"a":[]}}',
    b'{"user":{"a":[["x"]]}}',
    b'{"user":{"":""}}',
    b'{"user":{"a":-0}}',
    b'{"user":{"a":-0.0}}',
    b'{"user":{"a":1e400}}',
    b'{"user":{"a":-1e400}}',
    b'{"user":{"a":1e-400}}',
    b'{"user":{"a":' + b"9" * 400 + b"}}",
    b'{"user":{"a":' + b"9" * 30 + b"}}",
    b'{"user":{"a":9007199254740993}}',
    b'{"user":{"a":18446744073709551616}}',
    b'{"user":{"a":01}}',
    b'{"user":{"a":1.}}',
    b'{"user":{"a":NaN}}',
    b'{"user":{"a":"\\ud800"}}',
    b'{"user":{"\\ud800":"a"}}',
    b'{"user":{"a":"\\ud83d\\ude00"}}',
    b'{"user":{"a":"\xff"}}',
    b'{"user":{"\xff":"a"}}',
    b'{"user":{"a":"\x01"}}',
    b'{"key":"\\ud800"}',
    b'{"k\\u0065y":"a","us\\u0065r":{"a":"b"}}',
    b'{"user":{"a":"b"},"x":"\xff"}',
    b'{"user":{"a":"b"},}',
    b'{"user":{"a":"b"}}\0',
    b'{"x":' + b"[" * 5000 + b"]" * 5000 + b"}",
    b'{"user":' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}",
    b'{"user":{"a":' + b"[" * 5000,
    b'{"key":"a","user":{"a":"b"}',
)


@pytest.mark.parametrize("name", WAYS)
def test_chosen_bodies_are_read_alike(name: str) -> None:
    """Absent, null, duplicate, oddly spelled, too large, invalid and malformed parts mean the same to both."""
    quick, slow = WAYS[name]
    texts = [text.replace(b'"user"', b'"context"') if name == "context" else text for text in EXAMPLES]
    assert [outcome(slow, text) for text in texts] == [outcome(quick, text) for text in texts]


@settings(max_examples=300)
@given(
    st.sampled_from(sorted(WAYS)), st.one_of(WRITTEN, st.binary(max_size=30)), st.integers(0, 200), st.integers(0, 255)
)
def test_any_body_is_read_alike(name: str, text: bytes, place: int, byte: int) -> None:
    """A usual body, whole and with one byte replaced, is read or refused alike by both."""
    quick, slow = WAYS[name]
    assert outcome(slow, text) == outcome(quick, text)
    broken = text[:place] + bytes([byte]) + text[place + 1 :]
    assert outcome(slow, broken) == outcome(quick, broken)


def test_usual_shapes_are_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body of the usual shape is decoded once."""
    monkeypatch.setattr(bodies, "read_fields", None)
    user = b'{"Identifier":"a","Age":42,"Roles":["x"]}'
    expected = {"Identifier": "a", "Age": 42.0, "Roles": ("x",)}
    assert ("on", expected) == bodies.read_eval(b'{"key":"on","user":%b}' % user)
    assert expected == bodies.read_eval_all(b'{"user":%b}' % user)
    assert expected == bodies.read_context(b'{"context":%b}' % user)


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize(
    ("value", "refusal"),
    [
        ("x" * (TEXT_LIMIT + 1), f"'a' is longer than {TEXT_LIMIT} characters"),
        (["x"] * (ITEM_LIMIT + 1), f"'a' has more than {ITEM_LIMIT} items"),
        ([""] * (ITEM_LIMIT + 1), f"'a' has more than {ITEM_LIMIT} items"),
    ],
    ids=["text", "items", "shortest items"],
)
def test_attributes_beyond_their_limits_are_refused(name: str, value: Any, refusal: str) -> None:
    """Both ways enforce the limits of an attribute."""
    quick, _ = WAYS[name]
    user = "context" if name == "context" else "user"
    text = json.dumps({user: {"a": value}}, separators=(",", ":")).encode()
    assert refusal == outcome(quick, text)
    fitting = json.dumps({user: {"a": value[:-1]}}, separators=(",", ":")).encode()
    assert isinstance(outcome(quick, fitting), tuple)


@pytest.mark.parametrize("name", WAYS)
def test_too_many_attributes_are_refused(name: str) -> None:
    """Both ways enforce the limit on the number of attributes."""
    quick, _ = WAYS[name]
    user = "context" if name == "context" else "user"
    text = json.dumps({user: {str(number): 0 for number in range(ATTRIBUTE_LIMIT + 1)}}).encode()
    assert f"the user has more than {ATTRIBUTE_LIMIT} attributes" == outcome(quick, text)
