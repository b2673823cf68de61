"""JSON strings, canonical JSON and digests."""

import json

from hypothesis import given
from hypothesis import strategies as st

from gateway.text import canonical_json, json_digest, json_string


def test_text_is_safe_inside_html():
    """Angle brackets, ampersands and the two separators are escaped, other non-ASCII stays."""
    assert b'"a\\u003cb\\u003e\\u0026c \xc3\xa9\\u2028\\u2029"' == json_string("a<b>&c é\u2028\u2029")


@given(st.text())
def test_text_reads_back_as_itself(text):
    """Every text survives its encoding."""
    encoded = json_string(text)

    assert text == json.loads(encoded)
    assert not {"<", ">", "&", "\u2028", "\u2029"} & set(encoded.decode())


def test_canonical_bytes_tell_types_apart():
    """What Python calls equal is not equal here, and the order of members does not matter."""
    assert 3 == len({canonical_json(value) for value in (1, 1.0, True)})
    assert canonical_json({"a": 1, "b": 2}) == canonical_json({"b": 2, "a": 1})


def test_a_digest_identifies_a_value_without_showing_it():
    """The order of members does not matter, types do."""
    assert json_digest({"a": "anna", "b": 2}) == json_digest({"b": 2, "a": "anna"})
    assert 3 == len({json_digest(value) for value in (1, 1.0, True)})
    assert (32, False) == (len(json_digest("anna")), "anna" in json_digest("anna"))


ATTRIBUTES = st.dictionaries(st.text(), st.one_of(st.text(), st.floats(allow_nan=False), st.tuples(st.text())))


@given(ATTRIBUTES, ATTRIBUTES)
def test_digests_are_equal_exactly_when_attributes_are(one, other):
    """A user's digest depends on all attributes, not on their order."""
    assert json_digest(one) == json_digest(dict(reversed(one.items())))
    if one != other:
        assert json_digest(one) != json_digest(other)
