"""What changed from one Snapshot to the next, and whom it can concern."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import attrs

from gateway.flags.config_json import read_piece
from gateway.flags.definition import Fault
from gateway.flags.graph import affected_by
from gateway.flags.percentage import Share, same_share
from gateway.flags.snapshot import Snapshot, changed_positions
from gateway.text import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.flags.flag import Flag
    from gateway.flags.segment import Group
    from gateway.flags.user import User


@attrs.frozen
class ChangeSet:
    """The difference of two Snapshots; every tuple is sorted by UTF-8 bytes.

    ``updated`` flags have another definition, or use a segment or the salt that changed; a change of formatting only
    is none. ``affected`` are those, the added and the removed, and all that ask one of them as a prerequisite.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    updated: tuple[str, ...]
    affected: tuple[str, ...]
    segments: tuple[str, ...]  # names of segments added, removed or changed
    salt_changed: bool
    preferences_changed: bool  # the member ``p`` as a whole, the salt included

    def __bool__(self) -> bool:
        """Whether anything at all changed."""
        return bool(self.affected or self.segments or self.preferences_changed)


def difference(old: Snapshot, new: Snapshot) -> ChangeSet:
    """Return what changed; cheapest when ``new`` was loaded with ``old`` as ``previous``."""
    added = new.flags.keys() - old.flags.keys()
    removed = old.flags.keys() - new.flags.keys()
    salted = old.salt != new.salt
    moved = frozenset(
        index
        for index in changed_positions(old.groups, new.groups)
        if not _same_group(old.groups[index : index + 1], new.groups[index : index + 1])
    )
    updated = {
        key
        for key, flag in new.flags.items()
        if key not in added and flag is not old.flags[key] and _updated(old.flags[key], flag, moved, salted=salted)
    }
    touched = added | removed | updated
    reached = affected_by(touched, old.flags, new.flags) if touched else set()
    return ChangeSet(
        added=_sorted(added),
        removed=_sorted(removed),
        updated=_sorted(updated),
        affected=_sorted(touched | reached),
        segments=_changed_names(old.groups, new.groups),
        salt_changed=salted,
        preferences_changed=canonical_json(dict(old.preferences)) != canonical_json(dict(new.preferences)),
    )


def unmoved(before: Flag, after: Flag) -> Callable[[User], bool]:
    """Return the quickest way to see that two versions of a flag give a user the very same Result."""
    if isinstance(before.form, Share) and isinstance(after.form, Share):
        same = same_share(before.form, after.form)
        if same is not None:
            return same
    old, new = before.resolve, after.resolve
    return lambda user: old(user) is new(user)


def _updated(old: Flag, new: Flag, moved: frozenset[int], *, salted: bool) -> bool:
    if salted and (old.hashed or new.hashed):
        return True
    return not moved.isdisjoint(new.segments) or not _same(old.source, new.source)


def _same(old: bytes, new: bytes) -> bool:
    return old == new or canonical_json(read_piece(old)) == canonical_json(read_piece(new))


def _same_group(old: tuple[Group, ...], new: tuple[Group, ...]) -> bool:
    return len(old) == len(new) and all(_same(a.source, b.source) for a, b in zip(old, new, strict=True))


def _changed_names(old: Iterable[Group], new: Iterable[Group]) -> tuple[str, ...]:
    # A name is the start of the segment's full name only, so several segments may share it.
    before, after = _by_name(old), _by_name(new)
    return _sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _by_name(groups: Iterable[Group]) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = defaultdict(list)
    for group in groups:
        name = "" if isinstance(group.segment, Fault) else group.segment.name
        found[name].append(canonical_json(read_piece(group.source)))
    return found


def _sorted(keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(keys))
