"""Configs and users for the benchmark: three mixes of flags, generated from a fixed seed.

| of every ten flags                      | light | usual | heavy |
| --------------------------------------- | ----: | ----: | ----: |
| no rules                                |     7 |     3 |     3 |
| a one-of rule on the country            |     3 |     2 |     2 |
| percentage options                      |       |     2 |     2 |
| a hashed rule on the identifier         |       |     1 |     1 |
| a rule on one of three segments         |       |     1 |       |
| a rule on a segment of e-mail addresses |       |       |     1 |
| a prerequisite without rules            |       |     1 |       |
| a prerequisite with a hashed rule       |       |       |     1 |

In the heavy mix half of the flags read attributes that every user has alone, so that users share less work.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from typing import Any

SALT = "YmVuY2htYXJr"
COUNTRIES = ("DE", "FR", "US", "GB", "JP", "BR", "IN", "ZA", "SE", "PL", "ES", "IT", "NL", "AU", "CA", "MX")
PLANS = ("free", "team", "business", "enterprise")


def served(value: bool) -> dict[str, Any]:
    """Return a served boolean with its variation id."""
    return {"v": {"b": value}, "i": "on" if value else "off"}


def rule(condition: dict[str, Any]) -> dict[str, Any]:
    """Return a boolean flag that is on if the condition holds."""
    return {"t": 0, **served(False), "r": [{"c": [condition], "s": served(True)}]}


def hashed(value: str, key: str) -> str:
    """Return the hash of a comparison value, as a hashed comparator expects it."""
    return hashlib.sha256(f"{value}{SALT}{key}".encode()).hexdigest()


def light(number: int, _key: str, chance: random.Random) -> dict[str, Any]:
    """Return flag ``number`` of the light mix."""
    if number % 10 < 7:
        return {"t": 0, **served(chance.random() < 0.5)}
    return rule({"u": {"a": "Country", "c": 0, "l": chance.sample(COUNTRIES, 4)}})


def heavy(number: int, key: str, chance: random.Random) -> dict[str, Any]:
    """Return flag ``number`` of the heavy mix."""
    if number % 10 == 8:
        return rule({"s": {"s": 2, "c": 0}})
    if number % 10 == 9:
        return rule({"p": {"f": f"flag{number - 4:05}", "c": 0, "v": {"b": True}}})
    return usual(number, key, chance)


def usual(number: int, key: str, chance: random.Random) -> dict[str, Any]:
    """Return flag ``number`` of the usual mix."""
    kind = number % 10
    if kind < 3:
        return {"t": 0, **served(chance.random() < 0.5)}
    if kind < 5:
        return rule({"u": {"a": "Country", "c": 0, "l": chance.sample(COUNTRIES, 4)}})
    if kind == 5:
        people = [hashed(f"user-{chance.randrange(10_000)}", key) for _ in range(5)]
        return rule({"u": {"a": "Identifier", "c": 16, "l": people}})
    if kind < 8:
        share = chance.randrange(5, 95)
        return {"t": 0, **served(False), "p": [{"p": share, **served(True)}, {"p": 100 - share, **served(False)}]}
    if kind == 8:
        return rule({"s": {"s": chance.randrange(3), "c": 0}})
    return rule({"p": {"f": f"flag{number - 9:05}", "c": 0, "v": {"b": True}}})


Mix = Callable[[int, str, random.Random], dict[str, Any]]


def config(count: int, mix: Mix = usual, **edits: dict[str, Any]) -> bytes:
    """Return a config JSON of ``count`` flags; ``edits`` replaces or adds flags by key."""
    chance = random.Random(4711)
    flags = {f"flag{number:05}": mix(number, f"flag{number:05}", chance) for number in range(count)}
    segments = [
        {"n": "europe", "r": [{"a": "Country", "c": 0, "l": ["DE", "FR", "SE", "PL", "ES", "IT", "NL"]}]},
        {"n": "paying", "r": [{"a": "Plan", "c": 0, "l": ["business", "enterprise"]}]},
        {"n": "staff", "r": [{"a": "Email", "c": 32, "l": ["@example.com"]}]},
    ]
    document = {"p": {"u": "https://example.invalid", "r": 0, "s": SALT}, "s": segments, "f": {**flags, **edits}}
    return json.dumps(document).encode()


def user(number: int) -> dict[str, Any]:
    """Return user ``number``; all users are distinct."""
    return {
        "Identifier": f"user-{number}",
        "Email": f"user-{number}@example.{'com' if number % 20 == 0 else 'org'}",
        "Country": COUNTRIES[number % len(COUNTRIES)],
        "Plan": PLANS[number % len(PLANS)],
    }


MARKED = "XK"  # country of the users that a targeted change affects; no flag of the mix uses it


def watched_user(number: int, *, marked: bool) -> dict[str, Any]:
    """Return user ``number``; if ``marked``, from the country that targeted changes affect."""
    return user(number) | ({"Country": MARKED} if marked else {})


def text_flag(text: str) -> dict[str, Any]:
    """Return a flag with the value ``text`` for all users: a new text is a change for all."""
    return {"t": 1, "v": {"s": text}, "i": text}


def marked_flag(text: str) -> dict[str, Any]:
    """Return a flag with the value ``text`` for marked users, and a constant value for all others."""
    condition = {"u": {"a": "Country", "c": 0, "l": [MARKED]}}
    return {"t": 1, "v": {"s": "same"}, "i": "same", "r": [{"c": [condition], "s": {"v": {"s": text}, "i": text}}]}


def split_flag(parts: int) -> dict[str, Any]:
    """Return a percentage flag that is on for half of all users, the same ones for any number of ``parts``.

    Another number of parts is another definition: the flag is evaluated again for every user, and no value changes.
    """
    piece = 50 // parts
    off = [{"p": piece, **served(False)} for _ in range(parts - 1)]
    last = {"p": 50 - piece * (parts - 1), **served(False)}
    return {"t": 0, **served(False), "p": [{"p": 50, **served(True)}, *off, last]}
