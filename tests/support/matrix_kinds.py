"""Configs and users of the test matrices, by the kinds of rows that ConfigCat's SDKs test: every comparator with
attributes of every form, segments, AND and OR, prerequisites, percentages and Unicode, with values of every type.

Flags and segments carry their own salt in hashed comparison values, so these are computed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from itertools import product
from typing import Any

Json = dict[str, Any]
Users = list[Json | None]

SALT = "bWF0cml4"
PREFERENCES = {"u": "https://cdn-global.configcat.com", "r": 0, "s": SALT}
VALUES: tuple[tuple[Json, ...], ...] = (  # by setting type: the default value, the one of the first rule, and so on
    ({"b": False}, {"b": True}, {"b": False}, {"b": True}),
    ({"s": "default"}, {"s": "first <&> ü"}, {"s": ""}, {"s": "third"}),
    ({"i": 0}, {"i": 1}, {"i": -7}, {"i": 2**53 - 1}),
    ({"d": 0.5}, {"d": 3}, {"d": -1e-7}, {"d": 1e21}),
)
ATTRIBUTES = ("Custom1", "Custom1", "Email", "Identifier")  # that conditions of a flag read, by its setting type

TEXTS = ("", " ", "anna", "Anna", " anna ", "bob@example.com", "ünï@example.com", "日本", "a<b>&c", "😀", "e\u0301")
VERSIONS = ("1.2.3", "1.2.3-rc.1", "1.2.3-rc.10", "1.2.3+b.7", " 2.0.0 ", "10.0.0", "2.0", "v1.2.3", "01.2.3", "1.2.3-")
NUMBERS = (0, 3, 3.5, -1.5, 1e-5, 1e16, 1e21, 0.1, 123456789.125, 1690000000, 1690000000.5)
NUMBER_TEXTS = (
    *("0", "3", "3.0", "3,5", " 42 ", "-1.5", "+3", "1e6", ".5", "NaN", "Infinity", "-Infinity"),
    *("1690000000", "1_000", "0x10", "3 000", "3.5.1", "--1"),
)
LISTS = ([], ["x"], ["anna", "y"], ["ü", "<b>"], [""], ["X"])
LIST_TEXTS = ("[]", '["x"]', '["anna","y"]', ' ["ü"] ', "[", '["x",1]', '["x",null]', "null", "[1]", '{"x":1}', "x,y")
FORMS = (*TEXTS, *VERSIONS, *NUMBERS, *NUMBER_TEXTS, *LISTS, *LIST_TEXTS)


def users_of_all_forms() -> Users:
    """No user, a user without attributes, and for each form of a value a user whose attributes all have it."""
    return [None, {}, *({"Identifier": form, "Email": form, "Custom1": form} for form in FORMS)]


def served(kind: int, number: int, **more: Any) -> Json:
    """Return the value number ``number`` of a setting type, with a variation ID of its own."""
    return {"v": VALUES[kind][number], "i": f"v{number}", **more}


def flag(kind: int, *rules: Json, **more: Any) -> Json:
    """Return a flag that serves value 0 by default."""
    return {"t": kind, **served(kind, 0), "r": list(rules), **more}


def rule(kind: int, number: int, *conditions: Json) -> Json:
    """Return a rule that serves value ``number``."""
    return {"c": list(conditions), "s": served(kind, number)}


def user_condition(attribute: str, comparator: int, operand: Any) -> Json:
    """Return a condition; the operand's type chooses its field."""
    field = "s" if isinstance(operand, str) else "l" if isinstance(operand, list) else "d"
    return {"u": {"a": attribute, "c": comparator, field: operand}}


def hashed(text: str | bytes, context: str) -> str:
    """Return the hash of a comparison value for the flag or segment ``context``."""
    data = text.encode() if isinstance(text, str) else text
    return sha256(data + (SALT + context).encode()).hexdigest()


def _chunk(text: str, size: int, context: str, *, start: bool) -> str:
    data = text.encode()
    return f"{size}_{hashed(data[:size] if start else data[-size:], context)}"


def _config(flags: Mapping[str, Json], segments: Sequence[Json] = ()) -> Json:
    return {"p": PREFERENCES, "s": list(segments), "f": dict(flags)}


# Each function takes the position of the setting type, 0 to 3, and the flag's key, and returns an operand.
Operand = Callable[[int, str], Any]


def _compared(comparators: Iterable[int], operand: Operand) -> dict[str, Json]:
    """Return a flag for each comparator and setting type."""
    flags = {}
    for comparator, kind in product(comparators, range(4)):
        key = f"c{comparator}t{kind}"
        condition = user_condition(ATTRIBUTES[kind], comparator, operand(kind, key))
        flags[key] = flag(kind, rule(kind, 1, condition))
    return flags


def _choose(*operands: Any) -> Operand:
    return lambda kind, _key: operands[kind]


def _hashed_text(kind: int, key: str) -> str:
    return hashed(("anna", "ünï@example.com", "3.5", "a<b>&c")[kind], key)


def _hashed_texts(kind: int, key: str) -> list[str]:
    texts = (["anna", "日本"], ["😀", " "], ["3", "1e+21"], ['["x"]', "0.00001", "1e-05"])[kind]
    return [hashed(text, key) for text in texts]


def _hashed_items(kind: int, key: str) -> list[str]:
    return [hashed(text, key) for text in (["x"], ["y", "ü"], [""], ["<b>", "X"])[kind]]


def _chunks(*, start: bool) -> Operand:
    texts = ((("anna", 2), ("3.5", 3)), (("ünï@example.com", 3),), (("日本", 3), ("[]", 1)), (("a<b>&c", 6), ("x", 1)))
    return lambda kind, key: [_chunk(text, size, key, start=start) for text, size in texts[kind]]


def _text() -> Json:
    texts = _choose(["anna", "bob@example.com"], ["日本", "😀", "3.5"], ["", "[]"], ['["x"]', "1e+21", " "])
    parts = _choose(["nn", "@"], ["本", "\u0301", "."], ["e"], ["[", "<b>", "5", " "])
    return _config(
        _compared((0, 1), texts)
        | _compared((2, 3), parts)
        | _compared((28, 29), _choose("anna", "3.5", '["x"]', ""))
        | _compared((30, 31), _choose(["an"], ["bob", "ü"], ["3", "["], ["", "zz"]))
        | _compared((32, 33), _choose(["na"], [".com", "本"], ["5", "]"], ["\u0301", " "]))
    )


def _number() -> Json:
    return _config(_compared(range(10, 16), _choose(3, 3.5, -1.5, 1e6)))


def _version() -> Json:
    lists = _choose(["1.2.3", "10.0.0"], ["1.2.3-rc.1", " 2.0.0 "], ["", "1.2.3+other"], ["1.2.3", "nonsense"])
    orders = _choose("1.2.3", "1.2.3-rc.2", " 2.0.0+b.1 ", "nonsense")
    return _config(_compared((4, 5), lists) | _compared(range(6, 10), orders))


def _time() -> Json:
    return _config(_compared((18, 19), _choose(1690000000, 1690000000.25, 0, 3.5)))


def _sensitive() -> Json:
    return _config(
        _compared((16, 17), _hashed_texts)
        | _compared((20, 21), _hashed_text)
        | _compared((22, 23), _chunks(start=True))
        | _compared((24, 25), _chunks(start=False))
    )


def _list() -> Json:
    items = _choose(["x"], ["y", "ü"], [""], ["<b>", "X"])
    return _config(_compared((26, 27), _hashed_items) | _compared((34, 35), items))


def _segment_condition(index: int, comparator: int) -> Json:
    return {"s": {"s": index, "c": comparator}}


def _segments() -> Json:
    conditions = (
        (user_condition("Email", 2, ["@"]),),
        (user_condition("Custom1", 14, 0), user_condition("Custom1", 12, 100)),
        (user_condition("Email", 16, [hashed(text, "hashed ü") for text in ("anna", "😀")]),),
        (user_condition("Missing", 0, ["x"]),),
        (user_condition("Identifier", 1, ["anna"]), user_condition("Email", 9, "0.0.1")),
        (),
    )
    names = ("one", "two", "hashed ü", "missing", "mixed", "empty")
    segments = [{"n": name, "r": [c["u"] for c in found]} for name, found in zip(names, conditions, strict=True)]
    flags = {}
    for index, comparator, kind in product(range(len(segments)), (0, 1), range(4)):
        rules = [rule(kind, 1, _segment_condition(index, comparator))]
        if kind % 2:  # together with a condition of its own, and followed by the opposite
            rules = [
                rule(kind, 1, _segment_condition(index, comparator), user_condition("Custom1", 29, "anna")),
                rule(kind, 2, _segment_condition(index, 1 - comparator)),
            ]
        flags[f"s{index}c{comparator}t{kind}"] = flag(kind, *rules)
    return _config(flags, segments)


def _logic() -> Json:
    pieces = (
        user_condition("Custom1", 2, ["a", "3"]),
        user_condition("Email", 14, 1),
        user_condition("Missing", 1, ["x"]),  # skips the rule whenever it is reached
        user_condition("Identifier", 35, ["x"]),
    )
    flags = {}
    for (first, second), kind in product(product(range(4), repeat=2), range(4)):
        pair = pieces[first], pieces[second]
        key = f"{first}{second}t{kind}"
        flags[f"and{key}"] = flag(kind, rule(kind, 1, *pair))
        flags[f"or{key}"] = flag(kind, *(rule(kind, number + 1, piece) for number, piece in enumerate(pair)))
    flags["none"] = flag(0, rule(0, 1))
    return _config(flags)


def _options(kind: int, *shares: int) -> list[Json]:
    return [served(kind, number, p=share) for number, share in enumerate(shares, 1)]


def _prerequisites() -> Json:
    flags = {}
    for kind in range(4):
        flags[f"base{kind}"] = flag(
            kind,
            rule(kind, 1, user_condition("Custom1", 2, ["a", "3"])),
            rule(kind, 2, user_condition("Email", 12, 10)),
        )
        flags[f"share{kind}"] = flag(kind, p=_options(kind, 30, 30, 40))
    for base, comparator, number, kind in product(("base", "share"), (0, 1), range(4), range(4)):
        value = VALUES[kind][number]
        condition = {"p": {"f": f"{base}{kind}", "c": comparator, "v": value}}
        own = (kind + 1) % 4
        flags[f"{base}c{comparator}n{number}t{kind}"] = flag(own, rule(own, 1, condition), rule(own, 2, condition))
    for depth in range(1, 6):  # a chain of flags with two rules on the next one
        on_next = [
            {"p": {"f": f"chain{depth + 1}" if depth < 5 else "base1", "c": c, "v": VALUES[1][1]}} for c in (0, 1)
        ]
        flags[f"chain{depth}"] = flag(1, rule(1, 1, on_next[0]), rule(1, 2, on_next[1]))
    return _config(flags)


def _percentages() -> Json:
    flags = {}
    attributes = (None, "Identifier", "Email", "Custom1", "Missing")
    for attribute, shares, kind in product(attributes, ((50, 50), (10, 20, 70), (0, 100), (100,)), range(4)):
        more: Json = {} if attribute is None else {"a": attribute}
        key = f"{attribute}{'-'.join(map(str, shares))}t{kind}"
        flags[key] = flag(kind, p=_options(kind, *shares), **more)
        if len(shares) == 3:  # options of a rule, which is skipped without the attribute
            by_rule = {"c": [user_condition("Custom1", 29, "anna")], "p": _options(kind, *shares)}
            flags[f"rule {key}"] = flag(kind, by_rule, rule(kind, 3, user_condition("Email", 29, "x")), **more)
    return _config(flags)


UNICODE = ("ünï", "日本", "😀👍🏽", "e\u0301", "é", "ß", "SS", "\u2028", "\u0000", "а", "a", "<&>\"'\\/", "👨‍👩‍👧")


def _unicode_users() -> Users:
    forms = (*UNICODE, *([text] for text in UNICODE), *(f"x{text}y" for text in UNICODE), *(t * 2 for t in UNICODE))
    return [{"Identifier": form, "Email": form, "ключ 😀": form} for form in forms]


def _unicode_operand(comparator: int, text: str, key: str) -> Any:
    match comparator & ~1:
        case 16 | 26:
            return [hashed(text, key)]
        case 20:
            return hashed(text, key)
        case 22:
            return [_chunk(text, 1, key, start=True)]
        case 24:
            return [_chunk(text, len(text.encode()), key, start=False)]
        case 28:
            return text
        case _:
            return [text, "other"]


def _unicode() -> Json:
    flags = {}
    for place, text in enumerate(UNICODE):
        kind = place % 4
        attribute = ("ключ 😀", "Email", "Identifier", "ключ 😀")[kind]
        for comparator in range(place % 2, 36, 2):
            if comparator not in {*range(4, 16), 18, 19}:
                key = f"{text}{comparator}".replace("/", "")
                condition = user_condition(attribute, comparator, _unicode_operand(comparator, text, key))
                flags[key] = flag(kind, rule(kind, 1, condition))
        flags[f"{text}%".replace("/", "")] = flag(kind, p=_options(kind, 30, 30, 40), a=attribute)
    return _config(flags)


def build() -> dict[str, tuple[Json, Users]]:
    """Return config and users of each matrix by its name."""
    forms = users_of_all_forms()
    makers = (_text, _number, _version, _time, _sensitive, _list, _segments, _logic, _prerequisites, _percentages)
    return {make.__name__.strip("_"): (make(), forms) for make in makers} | {"unicode": (_unicode(), _unicode_users())}
