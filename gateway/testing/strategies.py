"""Hypothesis strategies for config JSON and for users that its rules match.

    case = data.draw(strategies.cases())     # a config, and users that its rules match
    snapshot = load(case.body, "etag")
    snapshot.evaluate_all(case.users[0])

Random rules rarely match random users, so comparison values are derived from the values of the users:
equal values, prefixes, suffixes, neighbours.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import attrs
from hypothesis import strategies as st

from gateway.flags import User, attributes_from_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Json = dict[str, Any]
Draw = st.DrawFn

ATTRIBUTES = ("Identifier", "Email", "Country", "Plan", "Version", "Age", "When", "Tags")
KEYS = ("alpha", "beta", "gamma-ü", "δ", "<html>&", "zeta")  # flag keys, with escapes and non-ASCII
SALTS = ("c2FsdA==", "c2FsdA==", "other salt", "sältχ", "")  # of the config; part of hashed comparison values

_ODD = 12  # one of so many values has an unexpected form


@attrs.frozen
class Case:
    """A config and users; ``body`` is the config as bytes."""

    config: Json
    users: tuple[User, ...]

    @property
    def body(self) -> bytes:
        """The config as an upstream would send it."""
        return json.dumps(self.config, ensure_ascii=False).encode()


def _rarely(draw: Draw, one_in: int) -> bool:
    # Hypothesis prefers small numbers and the ends of a range; a number in between is drawn about evenly.
    return draw(st.integers(0, one_in)) == one_in * 2 // 3


def _pick(draw: Draw, *choices: Any) -> Any:
    return draw(st.sampled_from(choices))


# Users

WORDS = (
    "anna",
    "bob@example.com",
    "ünï@example.com",
    "Anna",
    " anna ",
    "a<b>&c",
    "日本",
    "u1",
    "free",
    "pro",
    "HU",
    "42",
)
VERSIONS = ("1.0.0", "1.2.3", "1.2.3-rc.1", "1.2.3-rc.2", "2.0.0+build.7", " 2.0.0 ", "10.0.0", "0.9.9")
NUMBERS = (0.0, 1.0, -1.5, 3.0, 42.0, 18.5, 1e6, 1e-5, 1690000000.0)
NUMBER_TEXTS = ("0", "1", "-1.5", "3,0", " 42 ", "18.5", "1e6", "NaN", "Infinity", "-Infinity")
TAGS = ("x", "y", "z", "ü", "<b>", "long tag")
ODD_TEXTS = ("", " ", "\u2028", "1_000", "1e400", "0x1p4", "1.2", "[1]", "null", '["x",null]', "[", "true", "😀")


@st.composite
def attributes(draw: Draw) -> Json:
    """Attributes as a decoded JSON object; most values have the type that the name suggests."""
    found: Json = {}
    for name in ATTRIBUTES:
        if not _rarely(draw, 8):
            found[name] = _attribute(draw, name)
    return found


def _attribute(draw: Draw, name: str) -> Any:
    if _rarely(draw, 10 * _ODD):
        return _pick(draw, *ODD_TEXTS)
    if _rarely(draw, 3 * _ODD):
        return draw(_any_value)
    match name:
        case "Version":
            return _pick(draw, *VERSIONS)
        case "Age" | "When":
            return _pick(draw, *NUMBERS) if draw(st.booleans()) else _pick(draw, *NUMBER_TEXTS)
        case "Tags":
            tags = draw(st.lists(st.sampled_from(TAGS), max_size=3))
            return tags if draw(st.booleans()) else json.dumps(tags, ensure_ascii=False)
        case _:
            return _pick(draw, *WORDS)


_any_value = st.one_of(
    st.sampled_from(WORDS + VERSIONS + NUMBER_TEXTS),
    st.sampled_from(NUMBERS),
    st.text(min_size=1, max_size=6),
    st.floats(allow_nan=False, allow_infinity=False, width=16),
    st.lists(st.sampled_from(TAGS), max_size=2),
)


def users() -> st.SearchStrategy[User]:
    """Users with ``attributes``."""
    return attributes().map(lambda found: User(attributes_from_json(found)))


# Conditions


def _texts_near(draw: Draw, text: str) -> str:
    cut = draw(st.integers(0, len(text)))
    return str(_pick(draw, text, text, text[:cut], text[cut:], text + "x", text.upper(), *WORDS[:4]) or "x")


def _hash(data: bytes, context: str) -> str:
    """Hash a comparison value; ``context`` is the config's salt and the name of the flag or segment."""
    return sha256(data + context.encode()).hexdigest()


def _hashed_chunk(draw: Draw, text: str, context: str, *, start: bool) -> str:
    data = text.encode() or b"x"
    size = draw(st.integers(1, len(data)))
    chunk = data[:size] if start else data[len(data) - size :]
    return f"{size}_{_hash(chunk, _pick(draw, context, context, context, 'other'))}"


def _suited(draw: Draw, comparator: int) -> str:
    """Choose an attribute whose values mostly fit the comparator."""
    if _rarely(draw, 3 * _ODD):
        return str(_pick(draw, *ATTRIBUTES, "Missing"))
    if 4 <= comparator <= 9:
        return "Version"
    if 10 <= comparator <= 15 or comparator in {18, 19}:
        return str(_pick(draw, "Age", "When"))
    if comparator in {26, 27, 34, 35}:
        return "Tags"
    return str(_pick(draw, "Identifier", "Email", "Country", "Plan"))


def _condition(draw: Draw, people: Sequence[User], context: str) -> Json:
    comparator = _pick(draw, *range(36))
    name = _suited(draw, comparator)
    user = draw(st.sampled_from(people))
    condition: Json = {"a": name, "c": comparator, **_operand(draw, comparator, user, name, context)}
    if _rarely(draw, 30 * _ODD):
        condition["c"] = 36
    if _rarely(draw, 60 * _ODD):
        condition = {field: value for field, value in condition.items() if field not in "lsd"}
    return condition


def _operand(draw: Draw, comparator: int, user: User, name: str, context: str) -> Json:
    text = user.text.get(name, "anna")
    several = draw(st.integers(1, 2))
    if 4 <= comparator <= 9:
        near = [_version_near(draw, user, name) for _ in range(several)]
        return {"l": near} if comparator <= 5 else {"s": near[0]}
    if 10 <= comparator <= 15 or comparator in {18, 19}:
        number = user.number(name)
        near_number = (1.0 if number is None or not abs(number) < 1e300 else number) + _pick(draw, 0, 0, 1, -1)
        return {"d": int(near_number) if near_number == int(near_number) and draw(st.booleans()) else near_number}
    if comparator in {20, 21}:
        return {"s": _hash(_texts_near(draw, text).encode(), context)}
    if comparator in {28, 29}:
        return {"s": _texts_near(draw, text)}
    if 22 <= comparator <= 25:
        return {"l": [_hashed_chunk(draw, text, context, start=comparator <= 23) for _ in range(several)]}
    if comparator in {26, 27, 34, 35}:
        tags = [_pick(draw, *(user.items(name) or ("x",)), *TAGS) for _ in range(several)]
        return {"l": tags if comparator >= 34 else [_hash(tag.encode(), context) for tag in tags]}
    near = [_texts_near(draw, text) for _ in range(several)]
    return {"l": [_hash(item.encode(), context) for item in near] if comparator in {16, 17} else near}


def _version_near(draw: Draw, user: User, name: str) -> str:
    own = user.text.get(name, "1.0.0") if user.version(name) else "1.2.3"
    if _rarely(draw, 3 * _ODD):
        return str(_pick(draw, "", "nonsense", "1.2", "01.2.3"))
    return str(_pick(draw, own, own, *VERSIONS))


# Flags


def _value(draw: Draw, kind: int) -> Json:
    if _rarely(draw, 40 * _ODD):
        kind = (kind + 1) % 4  # a value of another type than the setting's
    match kind:
        case 0:
            return {"b": draw(st.booleans())}
        case 1:
            return {"s": _pick(draw, "a", "b", "<&>\u2028é", "")}
        case 2:
            return {"i": _pick(draw, 0, 1, -7, 2**53 + 1, 2**63 - 1)}
        case _:
            return {"d": _pick(draw, 0.0, 3.0, 3, 0.1, -2.5, 1e21, 1e-7, 123456789.123)}


def _served(draw: Draw, kind: int) -> Json:
    served: Json = {"v": _value(draw, kind)}
    if not _rarely(draw, 6):
        served["i"] = _pick(draw, "v1", "v2", "v3", "vé<")
    return served


def _options(draw: Draw, kind: int) -> list[Json]:
    shares = _pick(draw, (50, 50), (30, 70), (20, 80), (0, 100), (33, 33, 34), (100,))
    if _rarely(draw, 2 * _ODD):
        shares = (10, 10)  # covers few users
    return [{"p": share, **_served(draw, kind)} for share in shares]


def _rule(draw: Draw, kind: int, make: Any) -> Json:
    rule: Json = {"c": [make() for _ in range(_pick(draw, 1, 1, 1, 1, 2, 3))]}
    if _rarely(draw, 5):
        rule["p"] = _options(draw, kind)
    else:
        rule["s"] = _served(draw, kind)
    return rule


@st.composite
def configs(draw: Draw, people: Sequence[User]) -> Json:
    """A config JSON v6 whose rules match some of the users: every comparator, segments, prerequisites, percentages."""
    salt = _pick(draw, *SALTS)
    segments = [
        {"n": name, "r": [_condition(draw, people, salt + name) for _ in range(draw(st.integers(1, 2)))]}
        for name in ("beta", "gold")
    ]
    flags: dict[str, Json] = {}
    for key in KEYS[: _pick(draw, 4, 5, 3, 6, 2)]:
        kind = draw(st.integers(0, 3))
        flag: Json = {"t": kind, **_served(draw, kind)}

        def make(key: str = key, known: Mapping[str, Json] = flags) -> Json:
            return _any_condition(draw, people, key, known, salt)

        flag["r"] = [_rule(draw, kind, make) for _ in range(_pick(draw, 2, 1, 2, 3, 0, 2, 3))]
        if draw(st.booleans()):
            flag["p"] = _options(draw, kind)
        if _rarely(draw, 6):
            flag["a"] = _pick(draw, "Email", "Age", "Tags", "Missing")
        flags[key] = flag
    return {"p": {"u": "https://cdn-global.configcat.com", "r": 0, "s": salt}, "s": segments, "f": flags}


def _any_condition(draw: Draw, people: Sequence[User], key: str, known: Mapping[str, Json], salt: str) -> Json:
    kind = _pick(draw, *range(2, 10), 0, 1)
    if kind == 0:
        return {"s": {"s": draw(st.integers(0, 1)), "c": draw(st.integers(0, 1))}}
    if kind == 1 and known:
        other = _pick(draw, *known)
        if _rarely(draw, 5 * _ODD):
            other = _pick(draw, key, "unknown")
        return {"p": {"f": other, "c": draw(st.integers(0, 1)), "v": _prerequisite_value(draw, known.get(other))}}
    return {"u": _condition(draw, people, salt + key)}


def _prerequisite_value(draw: Draw, prerequisite: Json | None) -> Json:
    if prerequisite is None:
        return {"b": True}
    served = [prerequisite, *(rule["s"] for rule in prerequisite["r"] if "s" in rule)]
    value: Json = _pick(draw, *served)["v"]
    return value if not _rarely(draw, 2) else _value(draw, prerequisite["t"])


@st.composite
def cases(draw: Draw) -> Case:
    """A config and a few users that its rules match."""
    people = draw(st.lists(users(), min_size=2, max_size=5))
    return Case(draw(configs(people)), tuple(people))
