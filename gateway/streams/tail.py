"""What the streams of one user are sent, with the reasons: noted while a tail is open, explained afterwards.

    Hub ──► Observers.event_sent ──► Tail: matches? ──► pending, bounded ──► explain_in_steps ──► TailEvent

Without a tail the hub has no observer, and nothing of this runs.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
from attrs import define, field

from gateway import flags
from gateway.streams.modes import causes_event

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

    from gateway.flags import Attribute, Explanation, Result, Snapshot, User
    from gateway.streams.cohort import Cohort
    from gateway.streams.impact import Impact

PENDING: Final = 100  # events of a tail that wait to be explained
FLAGS: Final = 50  # of an event that are explained; the rest is counted
VALUE_BYTES: Final = 1024  # of a value; a longer one is described by its length
RULE_LENGTH: Final = 300  # characters of the conditions of a rule
KEYS_AT_ONCE: Final = 32  # compared between two pauses
COHORTS_AT_ONCE: Final = 256  # compared between two pauses

Criteria = dict[str, str | float | tuple[str, ...]]


class TailedFlag(msgspec.Struct, frozen=True, array_like=True):
    """A flag of an event: its JSON before and after, and what decided; None where it does not exist or is unknown."""

    key: str
    before: bytes | None
    after: bytes | None
    decided_before: str | None
    decided_after: str | None


class TailEvent(msgspec.Struct, frozen=True, array_like=True):
    """An event that ``streams`` equal streams of one user were sent.

    ``kind`` is ``changes``, ``values`` for all values, as at the start of a stream, or ``open`` once for each process,
    with the number of streams that match.
    ``more`` counts flags beyond ``FLAGS``, ``missed`` events before this one that nothing is known of.
    """

    sdk_id: str
    kind: str
    streams: int
    tag: str = ""
    flag: str | None = None  # of the stream; None for all flags
    mode: str = ""
    flags: list[TailedFlag] = []
    more: int = 0
    missed: int = 0


class Observer(Protocol):
    """Is called after an event was written to all members of a cohort that read; must not raise."""

    def event_sent(self, cohort: Cohort, snapshot: Snapshot, impact: Impact | None, count: int) -> None:
        """Note an event to ``count`` members, which shows the changes of ``impact``, or all values."""


@define(eq=False)
class Tail:
    """Takes the events of users who have all attributes of ``criteria``, on streams of ``flag`` or all for None."""

    sdk_id: str
    criteria: Mapping[str, Attribute]
    flag: str | None = None
    pending: deque[tuple[Cohort, Snapshot, Impact | None, int]] = field(factory=deque)
    missed: int = 0

    def matches(self, cohort: Cohort) -> bool:
        """Return whether the events of ``cohort`` are wanted."""
        user = cohort.user
        if user is None or self.flag not in {None, cohort.key}:
            return False
        values = user.values
        return all(values.get(name) == value for name, value in self.criteria.items())

    def event_sent(self, cohort: Cohort, snapshot: Snapshot, impact: Impact | None, count: int) -> None:
        """See ``Observer``."""
        if not self.matches(cohort):
            return
        if len(self.pending) < PENDING:
            self.pending.append((cohort, snapshot, impact, count))
        else:
            self.missed += 1

    def explain_next(self) -> Generator[None, None, TailEvent]:
        """Return a generator that explains the oldest pending event, of which there must be one, in small steps."""
        cohort, snapshot, impact, count = self.pending.popleft()
        missed, self.missed = self.missed, 0
        old = None if impact is None else impact.base
        found: list[TailedFlag] = []
        more = 0
        for before, after, key in _shown(cohort, snapshot, impact):
            if key is None:
                yield
            elif len(found) == FLAGS:
                more += 1
            else:
                found.append(_tailed(cohort.user, key, (old, before), (snapshot, after)))
                yield
        return TailEvent(
            sdk_id=self.sdk_id,
            kind="values" if impact is None else "changes",
            streams=count,
            tag=snapshot.tag,
            flag=cohort.key,
            mode=cohort.mode,
            flags=found,
            more=more,
            missed=missed,
        )

    def count_open(self, cohorts: Sequence[Cohort]) -> Generator[None, None, TailEvent]:
        """Return a generator that counts the open streams that match, in small steps."""
        streams = 0
        for number, cohort in enumerate(cohorts):
            if number % COHORTS_AT_ONCE == 0:
                yield
            if self.matches(cohort):
                streams += len(cohort.members)
        return TailEvent(self.sdk_id, "open", streams)


class Observers:
    """Several observers as one."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = tuple(observers)

    def event_sent(self, cohort: Cohort, snapshot: Snapshot, impact: Impact | None, count: int) -> None:
        """See ``Observer``."""
        for each in self._observers:
            each.event_sent(cohort, snapshot, impact, count)


def _shown(
    cohort: Cohort, snapshot: Snapshot, impact: Impact | None
) -> Iterator[tuple[Result | None, Result | None, str | None]]:
    """Yield the results before and after of each flag that an event showed; a pause is a flag without a key."""
    if impact is None:
        keys = snapshot.keys if cohort.key is None else [cohort.key] if cohort.key in snapshot.flags else []
        for key in keys:
            yield None, snapshot.evaluate(key, cohort.user), key
        return
    changes = impact.by_key if cohort.key is None else {cohort.key} & impact.by_key.keys()
    for number, key in enumerate(changes, 1):
        change = impact.by_key[key].change_for(cohort.user)
        if causes_event(cohort.mode, cohort.key, change):
            yield change.old, change.new, key
        if number % KEYS_AT_ONCE == 0:
            yield None, None, None


def _tailed(
    user: User | None,
    key: str,
    before: tuple[Snapshot | None, Result | None],
    after: tuple[Snapshot | None, Result | None],
) -> TailedFlag:
    return TailedFlag(key, _json(before[1]), _json(after[1]), _decided(user, key, *before), _decided(user, key, *after))


def _decided(user: User | None, key: str, snapshot: Snapshot | None, result: Result | None) -> str | None:
    if snapshot is None or result is None:
        return None
    explanation = flags.explain(snapshot, key, user)
    if explanation.error is not None:
        return f"error: {explanation.error}"
    rule = _deciding_rule(explanation)
    return explanation.decided_by if rule is None else f"{explanation.decided_by}: {rule}"


def _deciding_rule(explanation: Explanation) -> str | None:
    """Return the conditions of the rule that decided, None if none did."""
    rule = next((rule for rule in explanation.rules if rule.decided), None)
    if rule is None:
        return None
    text = " and ".join(condition.says for condition in rule.conditions)
    return text if len(text) <= RULE_LENGTH else text[: RULE_LENGTH - 1] + "…"


def _json(result: Result | None) -> bytes | None:
    if result is None or len(result.json) <= VALUE_BYTES:
        return None if result is None else result.json
    return msgspec.json.encode({"value": f"({len(result.json)} bytes)", "variationId": result.variation_id})
