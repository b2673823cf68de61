"""Keeps messages within ``max_message_bytes``: first without definitions and values, then with fewer keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Omitted(msgspec.Struct, frozen=True):
    """What a message leaves out, in the member ``omitted``, which only such messages have."""

    definitions: bool  # definitions and values; they are empty objects or null
    keys: int  # number of keys and names


def cut(lists: Mapping[str, Sequence[str]], room: int, more: Mapping[str, int]) -> tuple[dict[str, list[str]], int]:
    """Return the first items of each list that fit into ``room`` bytes of JSON together, and the number of the others.

    ``more`` has the bytes that an item takes beyond its own JSON and a comma.  Each list may use an equal share; what a
    short list leaves over is for the longer ones.
    """
    sizes = {
        name: [len(msgspec.json.encode(item)) + 1 + more.get(name, 0) for item in items]
        for name, items in lists.items()
    }
    kept: dict[str, list[str]] = {}
    missing = 0
    for done, name in enumerate(sorted(sizes, key=lambda each: sum(sizes[each]))):
        left = share = max(room, 0) // (len(lists) - done)
        count = 0
        for size in sizes[name]:
            if size > left:
                break
            left -= size
            count += 1
        kept[name] = list(lists[name][:count])
        missing += len(lists[name]) - count
        room -= share - left
    return kept, missing
