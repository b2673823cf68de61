"""SDK ids: the names operators give to SDKs, and the environment variables that follow from them."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from gateway.settings.fields import PREFIX, fields, options
from gateway.settings.schema.root import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Stricter than ``keys.valid_key``, which asks what a CDN may know: here a wrong yes would refuse a good id.
_SDK_KEY = re.compile(r"(configcat-sdk-[0-9]+/)?[A-Za-z0-9_-]{22}/[A-Za-z0-9_-]{22}", re.ASCII)


def environment_prefix(sdk_id: str) -> str:
    """Return what the environment variables of an SDK begin with, without the last underscore."""
    return f"{PREFIX}_{sdk_id.upper().replace('-', '_')}"


def looks_like_key(sdk_id: str) -> bool:
    """Tell whether an SDK id is an SDK key in truth: the map was written the wrong way round."""
    return _SDK_KEY.fullmatch(sdk_id) is not None


def collisions(sdk_ids: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each SDK id whose environment variables are not its own alone, with what they collide with."""
    taken: dict[str, str] = {}
    for sdk_id in sdk_ids:
        prefix = environment_prefix(sdk_id)
        names = {prefix + suffix for suffix in _suffixes()}
        if prefix in _reserved() or names & _variables():
            yield sdk_id, f"options of the gateway itself also begin with {prefix}_"
        others = sorted({taken[name] for name in names if name in taken})
        if others:
            yield sdk_id, f"SDK '{others[0]}' has the same environment variables"
        for name in names:
            taken.setdefault(name, sdk_id)


@cache
def _suffixes() -> frozenset[str]:
    mark = f"{PREFIX}_<ID>"
    return frozenset(name.removeprefix(mark) for option in options() for name in option.names if mark in name)


@cache
def _variables() -> frozenset[str]:
    return frozenset(name for option in options() for name in option.names if "<ID>" not in name)


@cache
def _reserved() -> frozenset[str]:
    # Sections of our own do not count: an SDK called "project" worked before and its variables differ from ours.
    return frozenset(
        f"{PREFIX}_{found.name.upper()}"
        for found in fields(Settings)
        if (found.section is not None and not found.marks.ours) or found.entries is not None
    )
