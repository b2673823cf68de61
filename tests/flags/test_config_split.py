"""A large config JSON that is split a part at a time has the parts, or the error, of one that is parsed at once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.flags.config_json import ConfigError, split_config_in_steps, with_flag_in_steps
from gateway.flags.config_split import PART_BYTES, Unexpected, split_flags_in_steps
from gateway.flags.steps import finish

WHOLE = 2**40  # bytes of a part: more than any config has
TEXTS = st.text(alphabet='ab{}[]",:\\ \n\0é€😀', max_size=8)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
FLAGS = st.dictionaries(TEXTS, st.dictionaries(TEXTS, VALUES, max_size=3) | VALUES, max_size=12)
MEMBERS = st.sampled_from(["p", "f", "s", "f", "other", "f\\u0020"])
SPACES = st.sampled_from(["", " ", "\n\t", "\r\n  "])
SCRAPS = st.sampled_from(["", "{", "}", '"', ",", ":", "[", "]", "\\", "x", "1", ",,", '"a":1', "\x01", "{}"])


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """Return something like a config JSON: members in any order, repeated ones, space, and often a fault."""
    space = draw(SPACES)
    members = []
    for name in draw(st.lists(MEMBERS, max_size=4)):
        value = draw({"f": FLAGS, "s": st.lists(FLAGS, max_size=3)}.get(name, FLAGS))
        text = json.dumps(value, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
        members.append(f'"{name}"{space}:{space}{text}')
    body = f"{space}{{{space}" + f"{space},{space}".join(members) + f"{space}}}{space}"
    if draw(st.booleans()):
        place = draw(st.integers(0, len(body)))
        body = body[:place] + draw(SCRAPS) + body[place + draw(st.integers(0, 2)) :]
    return body.encode()


def outcome(body: bytes, part_bytes: int) -> object:
    """Return the parts of a config JSON with the flags in their order, or the error."""
    try:
        config = finish(split_config_in_steps(body, part_bytes))
    except ConfigError as error:
        return error.reason
    return list(config.flags.items()), config.segments, dict(config.preferences)


@given(documents(), st.integers(1, 60))
def test_parts_of_any_size_are_those_of_the_whole(body: bytes, size: int) -> None:
    """Whatever the texts contain, and wherever the document is broken."""
    assert outcome(body, WHOLE) == outcome(body, size)


def document(count: int, text: str, first: str = "") -> bytes:
    """Return a config JSON of so many flags, which all serve ``text``; ``first`` are members before the flags."""
    flags = {f"flag{number}": {"t": 1, "v": {"s": text}, "r": [{"c": []}], "i": "v"} for number in range(count)}
    return b'{"p":{"s":"salt"},%b"f":%b,"s":[]}' % (first.encode(), json.dumps(flags).encode())


@pytest.mark.parametrize("text", ["plain", "{name}", "open {", 'close } "', "\\{", "[[["])
def test_a_large_config_takes_one_step_per_part(text: str) -> None:
    """The parser never gets much more than a part, and what is left of the whole is short."""
    body = document(6000, text)
    steps = split_flags_in_steps(body)
    count = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            flags, rest = end.value
            break
        count += 1
    assert count >= len(body) // PART_BYTES - 1
    assert 6000 == len(flags)
    assert len(rest) < 200
    assert outcome(body, WHOLE) == outcome(body, PART_BYTES)


def test_large_segments_before_the_flags_are_skipped_in_steps() -> None:
    """They are parsed later, at once, as few configs have many of them."""
    segments = json.dumps([{"n": f"segment {number} {{", "r": []} for number in range(3000)])
    body = document(2000, "x", f'"s":{segments},')
    before = len(body.split(b'"f":')[0])
    steps = split_flags_in_steps(body, len(body))
    count = sum(1 for _ in steps)
    assert count >= 3
    assert outcome(body, WHOLE) == outcome(body, before)


@pytest.mark.parametrize(
    "body",
    [
        b'{"p":{},"f":{"a":{"v":1},}}',
        b'{"p":{},"f":{"a":{"v":1}{"b":{}}}',
        b'{"p":{},"f":{"a":{"v":1}',
        b'{"p":{},"f":{"a":"' + b"\\x" * 100_000,
        b'{"p":{},"f":[]}',
        b'{"p":{}}',
        b'{"p":"\\u12',
        b"[]",
        b"",
    ],
)
def test_what_has_no_flags_is_left_to_the_parser(body: bytes) -> None:
    """The error is that of the whole."""
    with pytest.raises(Unexpected):
        finish(split_flags_in_steps(body, 1))
    assert outcome(body, WHOLE) == outcome(body, 1)


@pytest.mark.parametrize("definition", [b'{"t":0,"v":{"b":true}}', None])
@pytest.mark.parametrize("key", ["flag1", "flag100", 'new "flag"'])
@pytest.mark.parametrize("body", [document(200, "}{"), b'{"f":{},"p":{},"f":{"flag1":{"a":[]}}}', b'{"p":{},"s":[]}'])
def test_an_edited_flag_is_the_only_difference(body: bytes, key: str, definition: bytes | None) -> None:
    """Of a config in parts and of one that is parsed as a whole; other flags keep their bytes and the order."""
    before = finish(split_config_in_steps(body, WHOLE)).flags if b'"f":{' in body else {}
    expected = {name: raw for name, raw in before.items() if name != key or definition is not None}
    expected |= {} if definition is None else {key: definition}
    for size in (50, WHOLE):
        steps = with_flag_in_steps(body, key, definition, size)
        edited = finish(split_config_in_steps(finish(steps), WHOLE))
        assert list(expected.items()) == list(edited.flags.items())


def test_an_edit_of_a_large_config_takes_steps() -> None:
    """The parser gets a part at a time here too."""
    body = document(6000, "text")
    assert len(body) // PART_BYTES <= sum(1 for _ in with_flag_in_steps(body, "flag1", None))
