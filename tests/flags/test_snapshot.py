"""Loading a config JSON: what is refused as a whole, what costs one flag only, what is carried over."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluate_each import evaluate_each
from gateway.flags import ConfigError, User, explain, load
from gateway.testing import strategies
from gateway.testing.damage import damaged

SLOW = settings(suppress_health_check=list(HealthCheck), deadline=None)
ANNA = User({"Identifier": "anna"})


def body(flags, **rest):
    return json.dumps({"f": flags, **rest}).encode()


def flag(value=True, **rest):
    return {"t": 0, "v": {"b": value}, "i": "v", **rest}


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (b"", "not valid JSON: it ends too early"),
        (b"nope", "not valid JSON"),
        (b"\xff", "not valid JSON at line 1, column 1"),
        (b'{"f":{\n  "a": {"t":0,}\n}}', "not valid JSON at line 2, column 15"),
        (b"{}", "none of the members"),
        (b'{"p":null,"f":null}', "'f' is null or missing"),
        (b'{"f":null}', "'f' is null or missing"),
        (b'{"p":{"s":"salt"},"f":null}', "'f' is null or missing"),
        (b'{"f":null,"s":null,"p":null}', "'f' is null or missing"),
        (b'{"p":null}', "'f' is null or missing"),
        (b'{"s":[]}', "'f' is null or missing"),
        (b'{"s":[],"p":null}', "'f' is null or missing"),
        (b"[]", "unexpected shape"),
        (b"null", "unexpected shape"),
        (b'{"f":[]}', "unexpected shape"),
        (b'{"s":{}}', "unexpected shape"),
        (b'{"p":"x"}', "unexpected shape"),
        (b'{"f":{"a":1e400}}', "cannot be represented"),
        (b'{"f":{"a":{"x":"\\ud800"}}}', "not valid JSON"),
        (b'{"f":{"a":{"x":"\xff"}}}', "cannot be represented"),
        (b'{"f":{"a":1' + b"0" * 400 + b"}}", "cannot be represented"),
        (b'{"f":{"a":' + b"[" * 70 + b"]" * 70 + b"}}", "levels deep"),
        (b'{"f":{"a":' + b'{"x":' * 70 + b"1" + b"}" * 70 + b"}}", "levels deep"),
        (b'{"f":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}", "not valid JSON"),
        (b'{"f":{}} x', "not valid JSON"),
    ],
)
def test_an_unusable_body_is_refused_with_a_reason(broken, reason):
    """A body that is no config JSON raises ConfigError, which says what kind of fault it is."""
    with pytest.raises(ConfigError) as caught:
        load(broken, "e")

    assert reason in caught.value.reason
    assert str(caught.value) == caught.value.reason


@pytest.mark.parametrize("empty", [b'{"f":{}}', b'{"p":{"s":"x"},"f":{}}', b'{"p":null,"s":null,"f":{}}', b'{"p":{}}'])
def test_a_config_without_flags_is_fine(empty):
    """Empty flags, or preferences without flags as in ConfigCat's schema, evaluate to an empty map."""
    snapshot = load(empty, "e")

    assert () == snapshot.keys
    assert b"{}" == snapshot.evaluate_all(None).json()


def test_a_long_integer_is_read_as_a_float():
    """An integer beyond 64 bits is still a number for a decimal setting, and a wrong value for a whole one."""
    many = 2**70
    snapshot = load(body({"d": {"t": 3, "v": {"d": many}}, "i": {"t": 2, "v": {"i": many}}}), "e")

    assert float(many) == snapshot.evaluate("d", None).value
    assert "setting value is not of the expected type 'int'" == snapshot.evaluate("i", None).error


def test_wide_definitions_are_not_mistaken_for_deep_ones():
    """Many objects beside one another are no reason to refuse a config."""
    rules = [{"c": [{"u": {"a": "Identifier", "c": 28, "s": f"u{n}"}}], "s": {"v": {"b": True}}} for n in range(80)]
    snapshot = load(body({"a": flag(value=False, r=rules)}), "e")

    assert snapshot.evaluate("a", User({"Identifier": "u79"})).value is True


def test_a_snapshot_keeps_body_etag_and_preferences():
    """Bytes and ETag are kept as they came; the tag depends on the bytes alone."""
    raw = body({"b": flag(), "a": flag()}, p={"u": "https://x", "r": 1, "s": "salt"})
    one, two = load(raw, 'W/"x"'), load(raw, "")

    assert raw == one.body
    assert 'W/"x"' == one.etag
    assert one.tag == two.tag
    assert f'W/"{two.tag}"' == two.etag
    assert {"u": "https://x", "r": 1, "s": "salt"} == dict(one.preferences)
    assert f"<Snapshot {one.tag}: 2 flags>" == repr(one)


def test_keys_are_sorted_by_their_bytes():
    """Keys come in the order of their UTF-8 bytes, everywhere."""
    keys = ["é", "z", "a", "Z", "\U0001f600", "\uffff"]
    snapshot = load(body({key: flag() for key in keys}), "e")

    assert tuple(sorted(keys, key=str.encode)) == snapshot.keys
    assert list(snapshot.keys) == list(snapshot.flags)
    assert list(snapshot.keys) == [result.key for result in evaluate_each(snapshot, None)]
    assert list(snapshot.keys) == list(json.loads(snapshot.evaluate_all(None).json()))


def test_an_unknown_key_is_a_key_error():
    """Asking for a flag that does not exist raises KeyError."""
    with pytest.raises(KeyError):
        load(body({"a": flag()}), "e").evaluate("b", None)


def test_a_flag_tells_what_it_is_made_of():
    """A Flag has its definition as plain values, the outcomes it can have and the attributes it reads."""
    rule = {"c": [{"u": {"a": "Email", "c": 0, "l": ["a"]}}], "s": {"v": {"b": False}, "i": "w"}}
    definition = flag(r=[rule], p=[{"p": 100, "v": {"b": True}, "i": "x"}], a="Plan")
    made = load(body({"a": definition}), "e").flags["a"]

    assert definition == made.definition
    assert ("Email", "Plan") == made.attributes
    assert {(True, "v", False), (False, "w", True), (True, "x", True)} == {
        (result.value, result.variation_id, result.matched) for result in made.results
    }


@SLOW
@given(st.data())
def test_damage_never_raises_anything_but_config_error(data):
    """Whatever is damaged in a config: it is refused, or it loads and every flag has an outcome or an error."""
    case = data.draw(strategies.cases())
    config = data.draw(damaged(case.config))
    try:
        snapshot = load(json.dumps(config).encode(), "e")
    except ConfigError:
        return
    for user in (*case.users, None):
        shown = json.loads(snapshot.evaluate_all(user).json())
        for result in evaluate_each(snapshot, user):
            assert (result.value is None) == (result.error is not None)
            assert json.loads(result.json) == shown[result.key]
            assert result.json == snapshot.evaluate(result.key, user).json
            assert (result.value, result.error) == outcome(explain(snapshot, result.key, user))


def outcome(explanation):
    return explanation.value, explanation.error


@SLOW
@given(st.data())
def test_damaged_bytes_never_raise_anything_but_config_error(data):
    """Bytes replaced, cut and inserted at random are refused with ConfigError or load."""
    raw = bytearray(data.draw(strategies.cases()).body)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        snapshot = load(bytes(raw), "e")
    except ConfigError:
        return
    assert len(snapshot.keys) == len(snapshot.evaluate_all(None).results())


@SLOW
@given(st.data())
def test_loading_over_a_previous_snapshot_changes_nothing_but_the_cost(data):
    """A Snapshot made from a previous one equals one made from nothing: outcomes, attributes and errors."""
    case = data.draw(strategies.cases())
    old = load(case.body, "e")
    changed = data.draw(damaged(case.config))
    try:
        fresh = load(json.dumps(changed).encode(), "f")
    except ConfigError:
        return
    built = load(json.dumps(changed).encode(), "f", old)

    assert fresh.keys == built.keys
    for user in (*case.users, None):
        expected = [result.ofrep for result in evaluate_each(fresh, user)]
        assert expected == [result.ofrep for result in evaluate_each(built, user)]
    for key, one in fresh.flags.items():
        two = built.flags[key]
        assert (one.attributes, one.hashed, one.fault, one.segment_indexes) == (
            two.attributes,
            two.hashed,
            two.fault,
            two.segment_indexes,
        )


def test_unchanged_flags_and_outcomes_are_carried_over():
    """A change of one flag compiles that flag only, and its unchanged outcomes stay the same objects."""
    off = {"a": flag(), "b": flag(r=[{"c": [], "s": {"v": {"b": False}, "i": "off"}}])}
    old = load(body(off), "e")
    new = load(body({**off, "b": flag()}), "f", old)

    assert old.flags["a"] is new.flags["a"]
    assert old.flags["b"] is not new.flags["b"]
    default = next(result for result in old.flags["b"].results if not result.matched)
    assert default is new.evaluate("b", None)


def test_a_changed_prerequisite_rebinds_its_dependents():
    """A flag whose own definition stays sees the new definition of the flag it asks, at any distance."""
    asks = {"c": [{"p": {"f": "a", "c": 0, "v": {"b": True}}}], "s": {"v": {"b": True}, "i": "on"}}
    again = {"c": [{"p": {"f": "b", "c": 0, "v": {"b": True}}}], "s": {"v": {"b": True}, "i": "on"}}
    flags = {"a": flag(), "b": flag(value=False, r=[asks]), "c": flag(value=False, r=[again])}
    old = load(body(flags), "e")
    new = load(body({**flags, "a": flag(value=False)}), "f", old)
    gone = load(body({"b": flags["b"], "c": flags["c"]}), "g", old)

    assert [True, True, True] == [result.value for result in evaluate_each(old, None)]
    assert [False, False, False] == [result.value for result in evaluate_each(new, None)]
    assert ["prerequisite 'a' not found"] * 2 == [result.error for result in evaluate_each(gone, None)]


def test_a_circle_that_is_cut_elsewhere_heals():
    """Flags that were in a circle are looked at again although their own definition stayed."""

    def asks(key):
        return [{"c": [{"p": {"f": key, "c": 0, "v": {"b": True}}}], "s": {"v": {"b": True}}}]

    circle = {"a": flag(value=False, r=asks("b")), "b": flag(value=False, r=asks("a")), "c": flag(r=asks("a"))}
    old = load(body(circle), "e")
    new = load(body({**circle, "b": flag()}), "f", old)

    prefix = "circular dependency detected between the following depending flags: "
    assert [f"{prefix}[a -> b -> a]", f"{prefix}[b -> a -> b]", f"{prefix}[c -> a -> b -> a]"] == [
        result.error for result in evaluate_each(old, None)
    ]
    assert [True, True, True] == [result.value for result in evaluate_each(new, None)]


def test_a_long_circle_is_named_in_part():
    """The error of a circle of very many flags stays readable."""

    def asks(number):
        return [{"c": [{"p": {"f": f"k{number:03}", "c": 0, "v": {"b": True}}}], "s": {"v": {"b": True}}}]

    snapshot = load(body({f"k{n:03}": flag(r=asks((n + 1) % 100)) for n in range(100)}), "e")
    error = snapshot.evaluate("k000", None).error

    assert error.endswith("k020 -> …]")
