"""What a candidate config would change for the users of one process: a push that is computed and not sent.

Snapshot, candidate ──► Impact ──► per user: would a stream get an event? ──► Prediction, merged over processes

A user counts as changed if one of the user's streams would get an event, by the rules of ``modes``.
"""

from __future__ import annotations

from collections.abc import Generator
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from gateway.streams.impact import VALUE_CHANGED, impact_in_steps
from gateway.streams.modes import causes_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gateway.flags import Attribute, Result, Snapshot, User
    from gateway.streams.cohort import Cohort
    from gateway.streams.impact import FlagChange, Impact

EXAMPLES: Final = 20  # users
SHOWN_CHANGES: Final = 10  # flags of an example
TRANSITIONS: Final = 2_000  # different changes of values; the rest is counted together
PAIRS: Final = 200_000  # of users and changes of values, by which a user of several processes counts once: 2 MB
VALUE_BYTES: Final = 1024  # of a value that is shown; a longer one is described by its length
TEXT_LENGTH: Final = 200  # characters of an example's attribute
ATTRIBUTES: Final = 50  # of an example
FLAGS_AT_ONCE: Final = 32  # evaluated between two pauses
USERS_AT_ONCE: Final = 256  # merged between two pauses
DIGEST_BYTES: Final = 8

Steps = Generator[None, None, "Prediction"]


class Transition(msgspec.Struct, frozen=True, array_like=True):
    """A flag's JSON before and after (None: the flag does not exist), and the number of users with that change."""

    key: str
    before: bytes | None
    after: bytes | None
    users: int


class Example(msgspec.Struct, frozen=True, array_like=True):
    """A user with changes; texts are cut. ``attributes`` is None without a user; ``users`` of changes are 1."""

    attributes: dict[str, str | float | tuple[str, ...]] | None
    changes: list[Transition]


class Prediction(msgspec.Struct, frozen=True, array_like=True):
    """The effect of a candidate on the users of a process.

    ``digests`` holds ``DIGEST_BYTES`` per examined user and ``changed`` one byte, which is 1 if the user is changed;
    ``users`` is the number of users, of which some are not examined when the time was over.
    ``more`` counts changes beyond the limit of ``transitions``.
    ``shown`` has for each changed user the positions in ``transitions``; the lists are empty beyond ``PAIRS`` in all.
    """

    users: int
    streams: int
    changed_streams: int
    digests: bytes
    changed: bytes
    transitions: list[Transition]
    more: int
    examples: list[Example]
    shown: list[list[int]] = []


class Forecast(msgspec.Struct, frozen=True, array_like=True):
    """The predictions for the connected users of a process, and for its sample of evaluated users."""

    connected: Prediction
    sample: Prediction


class Forecasts(NamedTuple):
    """The forecasts of the processes that serve; ``missing`` is the number of those that gave none."""

    found: list[Forecast]
    missing: int = 0


def predict(
    old: Snapshot, new: Snapshot, audience: Mapping[User | None, Sequence[Cohort]], out_of_time: Callable[[], bool]
) -> Steps:
    """Return a generator that examines users in small steps and returns the Prediction.

    ``audience`` has the cohorts of each user; without cohorts the user counts as one who evaluates all flags.
    Once ``out_of_time()``, the users that were examined are the result.
    """
    impact = yield from impact_in_steps(old, new)
    tally = _Tally()
    for user, cohorts in audience.items():
        if out_of_time():
            break
        changes = yield from _changes(impact, user)
        tally.add(user, cohorts, changes)
        yield
    return tally.result(len(audience))


def by_user(cohorts: Iterable[Cohort]) -> Generator[None, None, dict[User | None, list[Cohort]]]:
    """Return a generator that groups cohorts by their user, in small steps."""
    found: dict[User | None, list[Cohort]] = {}
    for number, cohort in enumerate(cohorts):
        found.setdefault(cohort.user, []).append(cohort)
        if number % USERS_AT_ONCE == 0:
            yield
    return found


def merge(parts: Sequence[Prediction]) -> Steps:
    """Return a generator that adds the predictions of processes: a user of several of them counts once.

    In ``streams`` such a user counts once per process; in ``transitions`` only if the user is beyond ``PAIRS``.
    """
    if len(parts) == 1:
        return parts[0]
    users: dict[bytes, int] = {}
    counts: dict[tuple[str, bytes | None, bytes | None], int] = {}
    seen: dict[bytes, set[tuple[str, bytes | None, bytes | None]]] = {}  # the changes of users of earlier parts
    for part in parts:
        changes = [(each.key, each.before, each.after) for each in part.transitions]
        for change, each in zip(changes, part.transitions, strict=True):
            counts[change] = counts.get(change, 0) + each.users
        shown = iter(part.shown)
        for number, changed in enumerate(part.changed):
            digest = part.digests[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES]
            users[digest] = users.get(digest, 0) | changed
            if changed:
                own = {changes[position] for position in next(shown, ())}
                for change in own & seen.get(digest, set()):
                    counts[change] -= 1
                seen.setdefault(digest, set()).update(own)
            if number % USERS_AT_ONCE == 0:
                yield
    unexamined = sum(part.users - len(part.changed) for part in parts)
    return Prediction(
        users=len(users) + unexamined,
        streams=sum(part.streams for part in parts),
        changed_streams=sum(part.changed_streams for part in parts),
        digests=b"".join(users),
        changed=bytes(users.values()),
        transitions=[Transition(*change, count) for change, count in counts.items()],
        more=sum(part.more for part in parts),
        examples=[example for part in parts for example in part.examples][:EXAMPLES],
    )


def user_digest(user: User | None) -> bytes:
    """Return ``DIGEST_BYTES`` that are equal in all processes for equal users."""
    encoded = b"" if user is None else msgspec.json.encode(dict(user.values), order="sorted")
    return sha256(encoded, usedforsecurity=False).digest()[:DIGEST_BYTES]


def _changes(impact: Impact, user: User | None) -> Generator[None, None, list[tuple[str, FlagChange]]]:
    """Return the changes of the affected flags that differ for ``user``, with pauses if there are many flags."""
    found = []
    for number, (key, flag) in enumerate(impact.by_key.items(), 1):
        change = flag.change_for(user)
        if change.kind:
            found.append((key, change))
        if number % FLAGS_AT_ONCE == 0:
            yield
    return found


class _Tally:
    """Counts users, streams and changes."""

    def __init__(self) -> None:
        self._streams = self._changed_streams = self._more = 0
        self._digests = bytearray()
        self._changed = bytearray()
        self._counts: dict[tuple[str, Result | None, Result | None], int] = {}
        self._positions: dict[tuple[str, Result | None, Result | None], int] = {}
        self._shown: list[list[int]] = []
        self._pairs = 0
        self._examples: list[Example] = []

    def add(self, user: User | None, cohorts: Sequence[Cohort], changes: list[tuple[str, FlagChange]]) -> None:
        """Count a user with the changes of flags, of which the user's streams may show some."""
        seen: dict[str, FlagChange] = {}
        for cohort in cohorts:
            count = len(cohort.members)
            shown = [
                (key, change)
                for key, change in changes
                if cohort.key in {None, key} and causes_event(cohort.mode, cohort.key, change)
            ]
            self._streams += count
            if shown and count:
                self._changed_streams += count
                seen.update(shown)
        if not cohorts:
            seen = {key: change for key, change in changes if change.kind >= VALUE_CHANGED}
        self._digests += user_digest(user)
        self._changed.append(bool(seen))
        for key, change in seen.items():
            self._count((key, change.old, change.new))
        if seen:
            self._note(seen)
        if seen and len(self._examples) < EXAMPLES:
            self._examples.append(_example(user, seen))

    def result(self, users: int) -> Prediction:
        """Return the counts."""
        return Prediction(
            users=users,
            streams=self._streams,
            changed_streams=self._changed_streams,
            digests=bytes(self._digests),
            changed=bytes(self._changed),
            transitions=[_transition(*change, count) for change, count in self._counts.items()],
            more=self._more,
            examples=self._examples,
            shown=self._shown,
        )

    def _note(self, seen: dict[str, FlagChange]) -> None:
        """Keep which changes a user has, if there is room."""
        found: list[int] = []
        if self._pairs < PAIRS:
            for key, change in seen.items():
                position = self._positions.get((key, change.old, change.new))
                if position is not None:
                    found.append(position)
            self._pairs += len(found)
        self._shown.append(found)

    def _count(self, change: tuple[str, Result | None, Result | None]) -> None:
        if change in self._counts or len(self._counts) < TRANSITIONS:
            self._positions.setdefault(change, len(self._positions))
            self._counts[change] = self._counts.get(change, 0) + 1
        else:
            self._more += 1


def _transition(key: str, old: Result | None, new: Result | None, users: int) -> Transition:
    return Transition(key, _json(old), _json(new), users)


def _json(result: Result | None) -> bytes | None:
    if result is None or len(result.json) <= VALUE_BYTES:
        return None if result is None else result.json
    return msgspec.json.encode({"value": f"({len(result.json)} bytes)", "variationId": result.variation_id})


def _example(user: User | None, seen: dict[str, FlagChange]) -> Example:
    changes = [_transition(key, change.old, change.new, 1) for key, change in list(seen.items())[:SHOWN_CHANGES]]
    if user is None:
        return Example(None, changes)
    return Example({name[:TEXT_LENGTH]: _cut(value) for name, value in list(user.values.items())[:ATTRIBUTES]}, changes)


def _cut(value: Attribute) -> Attribute:
    if isinstance(value, str):
        return value[:TEXT_LENGTH]
    return tuple(item[:TEXT_LENGTH] for item in value[:ATTRIBUTES]) if isinstance(value, tuple) else value
