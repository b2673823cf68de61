"""Users: where attributes come from, when two users are one, how rules read attributes."""

import math
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.flags import InvalidAttribute, User, attributes_from_json, effective_user
from gateway.flags.coercion import (
    list_text,
    number_text,
    parse_list,
    parse_number,
    parse_version,
    well_formed,
)
from gateway.flags.user import ATTRIBUTE_LIMIT, ITEM_LIMIT, TEXT_LIMIT


def test_attributes_keep_texts_numbers_and_lists_of_texts():
    """Numbers become floats, minus zero becomes zero, a list drops what is no text."""
    found = attributes_from_json({"a": "x", "b": 7, "c": -0.0, "d": ["x", 1, None, "y"], "e": []})

    assert {"a": "x", "b": 7.0, "c": 0.0, "d": ("x", "y"), "e": ()} == found
    assert 1.0 == math.copysign(1, found["c"])
    assert float is type(found["b"])


@pytest.mark.parametrize(
    ("most", "text"),
    [
        ("x" * TEXT_LIMIT, f"'a' is longer than {TEXT_LIMIT} characters"),
        (["x" * (TEXT_LIMIT // 2)] * 2, f"'a' is longer than {TEXT_LIMIT} characters"),
        ([""] * ITEM_LIMIT, f"'a' has more than {ITEM_LIMIT} items"),
    ],
)
def test_an_attribute_is_bounded(most, text):
    """One that every rule would take long to read is refused; the defaults of an operator are not."""
    more = most + "x" if isinstance(most, str) else [*most, "x"]
    assert {"a"} == attributes_from_json({"a": most}).keys()
    assert {"a"} == attributes_from_json({"a": more}, bounded=False).keys()
    with pytest.raises(InvalidAttribute, match=f"^{text}$"):
        attributes_from_json({"a": more})


def test_the_number_of_attributes_is_bounded():
    """A user of very many, each of which costs time, is refused; the defaults of an operator are not."""
    most = {str(number): "x" for number in range(ATTRIBUTE_LIMIT)}
    more = {**most, "one": "x"}
    assert most == attributes_from_json(most)
    assert more == attributes_from_json(more, bounded=False)
    with pytest.raises(InvalidAttribute, match=f"^the user has more than {ATTRIBUTE_LIMIT} attributes$"):
        attributes_from_json(more)


@pytest.mark.parametrize("value", [True, False, None, {}, {"x": 1}])
def test_other_types_are_refused_in_the_peers_words(value):
    """A boolean, null or object names the attribute and the allowed types."""
    with pytest.raises(InvalidAttribute) as caught:
        attributes_from_json({"ok": "x", "odd": value})

    expected = "'odd' has an invalid type, only 'string', 'number', and 'string[]' types are allowed"
    assert expected == str(caught.value)


@pytest.mark.parametrize("number", [2**1024, -(2**1024), math.inf, -math.inf, math.nan])
def test_numbers_must_fit_a_float(number):
    """A number that no 64-bit float holds is refused."""
    with pytest.raises(InvalidAttribute):
        attributes_from_json({"n": number})


@pytest.mark.parametrize("value", [[], "x", 1, None])
def test_a_user_is_an_object(value):
    """Anything but an object is refused."""
    with pytest.raises(InvalidAttribute):
        attributes_from_json(value)


def test_lone_surrogates_become_replacement_characters():
    """Texts that cannot be encoded are mended as the peer mends them, in names, values and lists."""
    found = attributes_from_json({"a\ud800": "x\udfffy", "l": ["\ud83d", "\ud83d\ude00"]})

    assert {"a\ufffd": "x\ufffdy", "l": ("\ufffd", "\U0001f600")} == found
    assert "é" == well_formed("é")


def test_users_are_equal_on_all_attributes_and_types():
    """7 is not "7", lists are compared by their items, the order of attributes does not matter."""
    same = [User({"a": "1", "b": ("x",)}), User({"b": ("x",), "a": "1"})]
    others = [
        User({"a": 1.0, "b": ("x",)}),
        User({"a": "1", "b": ("y",)}),
        User({"a": "1", "b": "x"}),
        User({"a": "1"}),
        User({}),
        User({}, present=False),
    ]

    assert same[0] == same[0] == same[1]
    assert hash(same[0]) == hash(same[1]) == hash(same[0])
    assert 1 + len(others) == len({*same, *others})
    assert same[0] != "a"


def test_a_user_settles_what_it_is_given():
    """Integers, minus zero and lists are brought to the one form that is compared."""
    user = User({"i": 7, "z": -0.0, "l": ["x"], "s": "x"})

    assert User({"i": 7.0, "z": 0.0, "l": ("x",), "s": "x"}) == user
    assert {"i": "7", "z": "0", "l": '["x"]', "s": "x"} == user.text


def test_a_user_is_read_only_and_silent():
    """Attributes cannot be changed, and a user's repr shows none of them."""
    user = User({"Email": "secret@example.com"})

    with pytest.raises(TypeError):
        user.attributes["Email"] = "x"
    assert "<User of 1 attributes>" == repr(user)


def test_later_defaults_beat_earlier_ones_and_the_request_beats_all():
    """Attributes merge one by one; without any there is no user, an empty request is a user."""
    first, second = {"a": "1", "b": "1", "c": "1"}, {"b": "2", "c": "2"}

    assert User({"a": "1", "b": "2", "c": "3"}) == effective_user({"c": "3"}, first, second)
    assert User({"a": "1", "b": "2", "c": "2"}) == effective_user(None, first, second)
    assert effective_user(None) is None
    assert effective_user(None, {}, {}) is None
    assert User({}) == effective_user({})
    assert User({"x": "1"}) == effective_user({"x": "1"}, {})


@pytest.mark.parametrize(
    ("number", "text"),
    [(42.0, "42"), (0.1 + 0.2, "0.3"), (1e15, "1000000000000000"), (1e16, "1e+16"), (1e-5, "1e-05"), (-2.5, "-2.5")],
)
def test_numbers_as_text_have_sixteen_digits(number, text):
    """Rules on text see a number as C and Go print it with %.16g."""
    assert text == number_text(number)


def test_lists_as_text_are_compact_json():
    """Rules on text see a list as JSON without spaces and without HTML escapes, the two separators escaped."""
    assert '["a<b","ü\\u2028","\\n\\b"]' == list_text(("a<b", "ü\u2028", "\n\b"))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1.0),
        (" 1,5\u00a0", 1.5),
        ("+.5", 0.5),
        ("5.", 5.0),
        ("-1e3", -1000.0),
        ("Infinity", math.inf),
        ("-INF", -math.inf),
        ("0x1p4", 16.0),
        ("1_000", 1000.0),
        ("1_2,3_4e1_0", 12.34e10),
        ("0x_1_0p0", 16.0),
        ("-0x.8p1", -1.0),
        ("1e-400", 0.0),
    ],
)
def test_texts_that_are_numbers(text, number):
    """What the peer's language reads as a number is one, with a comma for a point, too."""
    assert number == parse_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "_1",
        "1_",
        "1__0",
        "1_.5",
        "1._5",
        "1e_5",
        "0x1__0p0",
        "1e400",
        "0x1p5000",
        "0x1",
        "+nan",
        "1,000,5",
        "\x1c1",
        "١",
        "1e",
        "--1",
        "1 2",
    ],
)
def test_texts_that_are_no_numbers(text):
    """What the peer's language refuses is refused, whatever Python would read."""
    assert parse_number(text) is None


@pytest.mark.parametrize(
    "text", ["1" * 1_000_000 + "x", "0x" + "a" * 1_000_000, "1_" * 500_000, "." + "1" * 1_000_000 + "e"]
)
def test_a_megabyte_that_is_no_number_is_refused_in_one_pass(text):
    """A caller cannot hold up everybody else with a text that almost is a number: it takes milliseconds, not hours."""
    began = process_time()
    assert parse_number(text) is None
    assert process_time() - began < 1.0


def test_not_a_number_is_a_number_text():
    """NaN is read, and equals nothing."""
    assert math.isnan(parse_number("nan"))


@pytest.mark.parametrize("text", ["1.0.0-" + "9" * 5000, "1.0.0-a." + "9" * 21, "9" * 5000 + ".0.0"])
def test_a_version_of_thousands_of_digits_is_no_version(text):
    """More digits than Python itself would turn into an integer are refused like any number beyond 64 bits."""
    assert parse_version(text) is None


def test_versions_sort_as_semver_says():
    """Pre-releases come before releases, numbers before words, shorter before longer; builds do not count."""
    texts = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0"]
    keys = [parse_version(text) for text in [*texts, "1.0.1", "1.10.0", "2.0.0-0.x"]]

    assert sorted(keys) == keys
    assert parse_version(" 1.0.0+a ") == parse_version("1.0.0+b") == parse_version("1.0.0")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1.2",
        "1.2.3.4",
        "v1.2.3",
        "01.2.3",
        "1.2.3-01",
        "1.2.3-",
        "1.2.3+",
        "1.2.3-ü",
        "1.٢.3",
        f"{2**64}.0.0",
        f"1.0.0-{2**64}",
        "9" * 5000 + ".0.0",
    ],
)
def test_texts_that_are_no_versions(text):
    """Anything but a full semantic version with numbers of 64 bits is none."""
    assert parse_version(text) is None


def test_the_largest_version_number():
    """Numbers up to the full 64 bits count, also beyond what the short way reads."""
    assert parse_version(f"1.0.{2**64 - 2}") < parse_version(f"1.0.{2**64 - 1}")


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ('["a","b"]', ("a", "b")),
        (" [] ", ()),
        ("null", ()),
        ('["a",null]', ("a", "")),
        ('["\\ud800"]', ("\ufffd",)),
        ("[1]", None),
        ('"a"', None),
        ("{}", None),
        ("x", None),
        ("[" * 100_000, None),
    ],
)
def test_texts_that_are_lists(text, items):
    """A JSON list of strings is read as the peer reads it, anything else is none."""
    assert items == parse_list(text)


def test_attributes_are_read_once():
    """Numbers, versions and lists are worked out on first use and kept; missing and unsuited ones are None."""
    user = User({"n": "1,5", "v": "1.0.0", "l": '["x"]', "f": 2.0, "t": ("y",)})

    assert [1.5, 1.5, 2.0, None, None] == [user.number(name) for name in ("n", "n", "f", "t", "missing")]
    assert [None, None, None] == [user.version(name) for name in ("n", "f", "missing")]
    assert user.version("v") is user.version("v")
    assert [("x",), ("x",), ("y",), None, None] == [user.items(name) for name in ("l", "l", "t", "f", "missing")]
    assert user.items("v") is None
    assert user.number("v") is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec=None), max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(json_values)
def test_any_json_value_is_taken_or_refused(value):
    """Attributes come out clean and encodable, or InvalidAttribute is raised and nothing else."""
    try:
        user = User(attributes_from_json(value))
    except InvalidAttribute:
        return
    for name, text in user.text.items():
        assert isinstance((name + text).encode(), bytes)  # no lone surrogate is left
        user.number(name), user.version(name), user.items(name)
    assert user == User(user.attributes)
