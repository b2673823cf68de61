"""The bytes that clients see: escapes, numbers, fragments."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.flags import load
from gateway.flags.encoding import encode_number, encode_value
from gateway.flags.result import FAILURES_SHARED, ResultTable


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (3.0, "3"),
        (-3.0, "-3"),
        (3.14, "3.14"),
        (0.1, "0.1"),
        (1e-5, "0.00001"),
        (-1.5e-5, "-0.000015"),
        (1e-6, "0.000001"),
        (9.9e-7, "9.9e-7"),
        (1e-7, "1e-7"),
        (1.5e-10, "1.5e-10"),
        (1e15, "1000000000000000"),
        (1e16, "10000000000000000"),
        (1.2345678901234567e16, "12345678901234568"),
        (1.5e20, "150000000000000000000"),
        (-1e20, "-100000000000000000000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (5e-324, "5e-324"),
    ],
)
def test_numbers_take_the_shortest_form(number, text):
    """Integral floats lose the point; an exponent appears below 1e-6 and from 1e21 on."""
    assert text.encode() == encode_number(number)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_read_back_as_themselves(number):
    """Every finite float survives, sign of zero included, and has an exponent only where it must."""
    text = encode_number(number).decode()

    assert number == float(text)
    assert math.copysign(1, number) == math.copysign(1, float(text))
    assert ("e" in text) == (number != 0 and not 1e-6 <= abs(number) < 1e21)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.0, "3.0"),
        (-0.0, "-0.0"),
        (3, "3"),
        (0.5, "0.5"),
        (1e-7, "1e-7"),
        (1e20, "100000000000000000000.0"),
        (1e21, "1e+21"),
    ],
)
def test_decimals_are_not_taken_for_integers(value, text):
    """Python, as other clients, reads each text as a number of the flag's type."""
    assert text.encode() == encode_value(value)
    assert type(value) is type(json.loads(text))


def test_values_keep_their_type():
    """Booleans, integers of any size, nulls."""
    assert [b"true", b"false", b"null", b"9223372036854775807"] == [
        encode_value(value) for value in (True, False, None, 2**63 - 1)
    ]


def test_outcomes_are_interned():
    """The same outcome is one object; 1, 1.0 and True are three; earlier ones are taken over."""
    first, second = ResultTable("k"), ResultTable("k")
    one = first.serve(1, "v", matched=True)

    assert one is first.serve(1, "v", matched=True)
    assert 5 == len(
        {id(first.serve(v, "v", matched=m)) for v, m in ((1, True), (1.0, True), (True, True), (1, False))}
        | {id(first.serve(1, "w", matched=True))}
    )
    assert first.fail("x") is first.fail("x")
    assert first.fail("x") is not first.fail("y")
    assert 7 == len(first.all())
    assert one is ResultTable("k", first).serve(1, "v", matched=True)
    assert one is not second.serve(1, "v", matched=True)


def test_a_failure_is_one_object_in_whichever_config_it_is_met_first():
    """The old config may be evaluated after the new one was compiled, and comparing the two must find no change."""
    old = ResultTable("k")
    new = ResultTable("k", old)
    assert old.fail("x") is new.fail("x")
    assert new.fail("y") is old.fail("y")
    assert (2, 2) == (len(old.all()), len(new.all()))


def test_failures_are_not_shared_for_ever():
    """A flag that fails in another way in each config does not gather all of them."""
    results = ResultTable("k")
    for number in range(3 * FAILURES_SHARED):
        results = ResultTable("k", results)
        results.fail(str(number))
    assert len(results.failures) <= FAILURES_SHARED


def test_the_fragments_of_an_outcome():
    """One outcome has its JSON, its entry in a map and its OFREP item, in the peer's field order."""
    results = ResultTable("k<")
    served, default, failed = (
        results.serve(1.0, "v&", matched=True),
        results.serve("é", "", matched=False),
        results.fail("why 'k<'"),
    )

    assert b'{"value":1.0,"variationId":"v\\u0026"}' == served.json
    assert b'"k\\u003c":{"value":1.0,"variationId":"v\\u0026"}' == served.entry
    assert b'{"key":"k\\u003c","reason":"TARGETING_MATCH","variant":"v\\u0026","value":1.0}' == served.ofrep
    assert '{"key":"k\\u003c","reason":"DEFAULT","variant":"","value":"é"}'.encode() == default.ofrep
    assert b'{"value":null,"variationId":""}' == failed.json
    assert b'{"key":"k\\u003c","errorCode":"GENERAL","errorDetails":"why \'k\\u003c\'"}' == failed.ofrep
    assert ["<Result 'k<': 1.0, 'v&'>", "<Result 'k<': error=\"why 'k<'\">"] == [repr(served), repr(failed)]


def test_all_flags_are_one_map():
    """A payload is the join of the entries, sorted; a failing flag has a null value."""
    config = {
        "b": {"t": 3, "v": {"d": 3.0}, "i": "x"},
        "a": {"t": 1, "v": {"s": "<"}},
        "c": {"t": 0, "v": {"s": "wrong"}, "i": "y"},
    }
    snapshot = load(json.dumps({"f": config}).encode(), "e")

    assert (
        b'{"a":{"value":"\\u003c","variationId":""},"b":{"value":3.0,"variationId":"x"},'
        b'"c":{"value":null,"variationId":""}}'
    ) == snapshot.evaluate_all(None).json()
