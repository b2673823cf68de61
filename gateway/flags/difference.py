"""The difference between two Snapshots, and a test for users that it does not concern."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import attrs

from gateway.flags.config_json import decode_piece
from gateway.flags.definition import Fault
from gateway.flags.forms import PercentageForm
from gateway.flags.graph import affected_by_in_steps
from gateway.flags.percentage import by_bucket
from gateway.flags.snapshot import Snapshot, changed_positions
from gateway.flags.steps import CHEAP, finish, pieces
from gateway.text import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from gateway.flags.flag import Flag
    from gateway.flags.segment import Segment
    from gateway.flags.user import User

FLAGS_PER_STEP = 128  # compared between two pauses, those whose bytes differ: some 4 ms


@attrs.frozen
class ConfigDiff:
    """The difference of two Snapshots; every tuple is sorted by UTF-8 bytes.

    ``updated`` flags have another definition, or use a segment or the salt that changed; formatting does not count.
    ``affected`` are the added, the removed and the updated flags, and all that have one of them as a prerequisite.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    updated: tuple[str, ...]
    affected: tuple[str, ...]
    segments: tuple[str, ...]  # names of segments added, removed or changed
    salt_changed: bool
    preferences_changed: bool  # the member ``p`` as a whole, the salt included

    def __bool__(self) -> bool:
        """Whether anything changed."""
        return bool(self.affected or self.segments or self.preferences_changed)


def difference(old: Snapshot, new: Snapshot) -> ConfigDiff:
    """Return what changed; fastest if ``new`` was loaded with ``old`` as ``previous``."""
    return finish(difference_in_steps(old, new))


def difference_in_steps(old: Snapshot, new: Snapshot) -> Generator[None, None, ConfigDiff]:
    """Return a generator that compares a few flags per step, and returns what ``difference`` returns."""
    added = yield from _keys_without(new, old)
    removed = yield from _keys_without(old, new)
    salted = old.salt != new.salt
    moved = frozenset(
        index
        for index in changed_positions(old.segments, new.segments)
        if not _same_segment(old.segments[index : index + 1], new.segments[index : index + 1])
    )
    updated = yield from _updated_keys(old, new, moved, salted=salted)
    touched = added | removed | updated
    reached: set[str] = (yield from affected_by_in_steps(touched, old.flags, new.flags)) if touched else set()
    ordered = []
    for keys in (added, removed, updated, touched | reached):
        yield
        ordered.append((yield from _sorted_in_steps(keys, old, new)))
    yield
    return ConfigDiff(
        added=ordered[0],
        removed=ordered[1],
        updated=ordered[2],
        affected=ordered[3],
        segments=_changed_names(old.segments, new.segments),
        salt_changed=salted,
        preferences_changed=canonical_json(dict(old.preferences)) != canonical_json(dict(new.preferences)),
    )


def _keys_without(one: Snapshot, other: Snapshot) -> Generator[None, None, set[str]]:
    """Return the keys of ``one`` that ``other`` does not have."""
    found: set[str] = set()
    flags = other.flags
    for first in range(0, len(one.keys), CHEAP):
        found.update([key for key in one.keys[first : first + CHEAP] if key not in flags])
        yield
    return found


def _sorted_in_steps(keys: set[str], old: Snapshot, new: Snapshot) -> Generator[None, None, tuple[str, ...]]:
    """Return sorted keys of these configs, which have theirs in that order."""
    if len(keys) <= CHEAP:
        return _sorted(keys)
    ordered: list[str] = []
    for source in (old, new):
        for piece in pieces(source.keys, CHEAP):
            ordered += [key for key in piece if key in keys and (source is new or key not in new.flags)]
            yield
    return _sorted(ordered)  # of two sorted parts, which are only merged


def _updated_keys(
    old: Snapshot, new: Snapshot, moved: frozenset[int], *, salted: bool
) -> Generator[None, None, set[str]]:
    updated: set[str] = set()
    compared = 0
    for number, (key, flag) in enumerate(new.flags.items(), 1):
        if number % CHEAP == 0:
            yield
        before = old.flags.get(key)
        if before is None or flag is before:
            continue
        compared += 1
        if compared % FLAGS_PER_STEP == 0:
            yield
        if _updated(before, flag, moved, salted=salted):
            updated.add(key)
    return updated


def unchanged_test(before: Flag, after: Flag) -> Callable[[User], bool]:
    """Return a fast test whether two versions of a flag give a user the same Result."""
    a, b = before.form, after.form
    if (
        isinstance(a, PercentageForm)
        and isinstance(b, PercentageForm)
        and (a.attribute, a.prefix, a.default_text) == (b.attribute, b.prefix, b.default_text)
    ):
        kept = [old is new for old, new in zip(a.results, b.results, strict=True)]
        return by_bucket(b.attribute, b.prefix, b.default_text, kept, a.skipped is b.skipped)
    resolve_old, resolve_new = before.resolve, after.resolve
    return lambda user: resolve_old(user) is resolve_new(user)


def _updated(old: Flag, new: Flag, moved: frozenset[int], *, salted: bool) -> bool:
    if salted and (old.hashed or new.hashed):
        return True
    return not moved.isdisjoint(new.segment_indexes) or not _same(old.source, new.source)


def _same(old: bytes, new: bytes) -> bool:
    return old == new or canonical_json(decode_piece(old)) == canonical_json(decode_piece(new))


def _same_segment(old: tuple[Segment, ...], new: tuple[Segment, ...]) -> bool:
    return len(old) == len(new) and all(_same(a.source, b.source) for a, b in zip(old, new, strict=True))


def _changed_names(old: Iterable[Segment], new: Iterable[Segment]) -> tuple[str, ...]:
    # The name may be the start of a longer one, so several segments can share it.
    before, after = _by_name(old), _by_name(new)
    return _sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _by_name(segments: Iterable[Segment]) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = defaultdict(list)
    for segment in segments:
        name = "" if isinstance(segment.definition, Fault) else segment.definition.name
        found[name].append(canonical_json(decode_piece(segment.source)))
    return found


def _sorted(keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(keys))
