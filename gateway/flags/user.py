"""A user: attributes as received, and as rules read them."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from gateway.flags.coercion import (
    VersionKey,
    list_text,
    number_text,
    parse_list,
    parse_number,
    parse_version,
    well_formed,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

Attribute = str | float | tuple[str, ...]

# An evaluation blocks the process, and each rule on a hashed attribute hashes the whole of it.
TEXT_LIMIT = (
    128 * 1024
)  # characters of one attribute, the items of a list together: as long as the path of a stream; 0.2 ms
ITEM_LIMIT = 4096  # items of one list: 3 ms
ATTRIBUTE_LIMIT = 4096  # of one user: 6 ms


class InvalidAttribute(ValueError):
    """A user attribute has an invalid type or value; the message may be shown to the client."""


class User:
    """An immutable, hashable set of attributes; equality is on all of them, types and list items included.

    Texts must be encodable as UTF-8, which ``attributes_from_json`` ensures.
    Integers become floats, ``-0.0`` becomes ``0.0``, lists become tuples; the mapping is copied.
    What rules read is computed once per attribute and kept; equality ignores it.
    """

    __slots__ = (
        "_hash", "_lists", "_numbers", "_versions", "memo", "memo_token", "present", "text", "values",
    )  # fmt: skip

    def __init__(self, attributes: Mapping[str, Attribute], *, present: bool = True) -> None:
        clean: dict[str, Attribute] = dict(attributes)
        text: dict[str, str] | None = None
        for value in clean.values():
            if type(value) is not str:
                clean, text = _settle(clean)
                break
        self.values: Final[Mapping[str, Attribute]] = clean  # for this room; a proxy costs time at each look-up
        self.text: Final[Mapping[str, str]] = clean if text is None else text  # type: ignore[assignment]  # all texts
        self.present: Final = present  # False only for MISSING_USER
        self._hash: int | None = None
        self._numbers: dict[str, float | None] | None = None
        self._versions: dict[str, VersionKey | None] | None = None
        self._lists: dict[str, tuple[str, ...] | None] | None = None
        self.memo = b""  # written by ``all_flags``: one byte per personal flag, and the sum of their fingerprints
        self.memo_token: object = None  # the ``Partition.token`` that ``memo`` belongs to

    @property
    def attributes(self) -> Mapping[str, Attribute]:
        """The attributes, read-only: users are shared."""
        return MappingProxyType(self.values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, User):
            return NotImplemented
        return self is other or (self.values == other.values and self.present == other.present)

    def __hash__(self) -> int:
        known = self._hash
        if known is None:
            known = self._hash = hash(frozenset(self.values.items()))
        return known

    def __repr__(self) -> str:
        # Attributes are private: the repr of a User may end up in a traceback or a log.
        return f"<User of {len(self.values)} attributes>"

    def number(self, name: str) -> float | None:
        """Return the attribute as a number; None if it is missing or is none."""
        value = self.values.get(name)
        if type(value) is not str:
            return value if type(value) is float else None
        known = self._numbers
        if known is None:
            known = self._numbers = {}
        if name not in known:
            known[name] = parse_number(value)
        return known[name]

    def version(self, name: str) -> VersionKey | None:
        """Return the attribute as a sortable semantic version; None if it is missing or is none."""
        value = self.values.get(name)
        if type(value) is not str:
            return None
        known = self._versions
        if known is None:
            known = self._versions = {}
        if name not in known:
            known[name] = parse_version(value)
        return known[name]

    def items(self, name: str) -> tuple[str, ...] | None:
        """Return the attribute as a list of texts; None if it is missing or is none."""
        value = self.values.get(name)
        if type(value) is not str:
            return value if type(value) is tuple else None
        known = self._lists
        if known is None:
            known = self._lists = {}
        if name not in known:
            known[name] = parse_list(value)
        return known[name]


def _settle(attributes: dict[str, Attribute]) -> tuple[dict[str, Attribute], dict[str, str]]:
    clean: dict[str, Attribute] = {}
    text: dict[str, str] = {}
    for name, value in attributes.items():
        if isinstance(value, str):
            clean[name] = text[name] = value
        elif isinstance(value, tuple | list):
            items = clean[name] = tuple(value)
            text[name] = list_text(items)
        else:
            number = clean[name] = float(value) + 0.0  # adding zero turns -0.0 into 0.0
            text[name] = number_text(number)
    return clean, text


MISSING_USER: Final = User({}, present=False)
"""Stands for a missing user inside this room: every rule and percentage option is skipped."""


def attributes_from_json(value: object, *, bounded: bool = True) -> dict[str, Attribute]:
    """Return the attributes of a decoded JSON object.

    Numbers become floats; of a list only texts are kept.  With ``bounded`` sizes are limited.

    :raises InvalidAttribute: for booleans, nulls and objects, and if ``bounded`` for what is too large
    """
    if not isinstance(value, dict):
        raise InvalidAttribute("the user must be a JSON object")
    if bounded and len(value) > ATTRIBUTE_LIMIT:
        raise InvalidAttribute(f"the user has more than {ATTRIBUTE_LIMIT} attributes")
    attributes: dict[str, Attribute] = {}
    for key, item in value.items():
        name = str(key)
        if type(item) is str and len(item) <= TEXT_LIMIT and item.isascii() and name.isascii():  # nearly all
            attributes[name] = item
            continue
        name = well_formed(name)
        attribute = attributes[name] = _attribute(name, item)
        if bounded:
            _check_size(name, attribute)
    return attributes


def _check_size(name: str, attribute: Attribute) -> None:
    if isinstance(attribute, tuple):
        if len(attribute) > ITEM_LIMIT:
            raise InvalidAttribute(f"'{name}' has more than {ITEM_LIMIT} items")
        size = sum(map(len, attribute))
    else:
        size = len(attribute) if isinstance(attribute, str) else 0
    if size > TEXT_LIMIT:
        raise InvalidAttribute(f"'{name}' is longer than {TEXT_LIMIT} characters")


def _attribute(name: str, item: object) -> Attribute:
    if isinstance(item, str):
        return well_formed(item)
    if isinstance(item, int | float) and not isinstance(item, bool):
        return _number(name, item)
    if isinstance(item, list):
        return tuple(well_formed(part) for part in item if isinstance(part, str))
    raise InvalidAttribute(f"'{name}' has an invalid type, only 'string', 'number', and 'string[]' types are allowed")


def _number(name: str, item: float) -> float:
    try:
        number = float(item) + 0.0
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InvalidAttribute(f"'{name}' is a number that does not fit 64 bits")
    return number


def effective_user(request: Mapping[str, Attribute] | None, *defaults: Mapping[str, Attribute]) -> User | None:
    """Return the user of a request with default attributes added; of several defaults the last has priority.

    None without a user and without defaults: targeting is then skipped.
    """
    if request is not None and not any(defaults):  # the usual case
        return User(request)
    merged: dict[str, Attribute] = {}
    for layer in defaults:
        merged.update(layer)
    if request is not None:
        merged.update(request)
    return User(merged) if merged else None
