"""Format ``environment``, that of Flagsmith's webhooks: one call per changed flag, and one per changed override of it.

The source of each field, and the fields that are always null: ``docs/webhooks.md``.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from gateway.text import iso
from gateway.webhooks.formats.bounds import Omitted
from gateway.webhooks.formats.definition import Value, default_value, is_boolean
from gateway.webhooks.formats.message import EndpointMessages, Message, message_about, skipped
from gateway.webhooks.formats.message_ids import message_id
from gateway.webhooks.formats.overrides import Override, Target, overrides

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.flags import Snapshot
    from gateway.settings import Endpoint
    from gateway.webhooks.formats.change import Change
    from gateway.webhooks.formats.message import IntegerIds

FORMAT = "environment"
IDENTIFIER_LIMIT = 100  # calls per rule and change, of whose identifiers there may be thousands


class FeatureView(msgspec.Struct, frozen=True):
    """The flag; ``initial_value`` and ``created_date`` are from when the gateway first saw it."""

    created_date: str
    default_enabled: bool
    description: None
    id: int
    initial_value: bool | str | None
    name: str
    project: int
    type: str


class SegmentView(msgspec.Struct, frozen=True):
    """A segment."""

    id: int
    name: str


class FeatureSegment(msgspec.Struct, frozen=True):
    """A rule on a segment."""

    id: int
    segment: SegmentView
    priority: int


class State(msgspec.Struct, frozen=True):
    """What a flag serves by default, to a segment, or to one identifier; ``id`` is that of flag and target.

    The value of a boolean flag is ``enabled``; other flags are always enabled, with a ``feature_state_value``.
    """

    enabled: bool
    environment: int
    feature: FeatureView
    feature_segment: FeatureSegment | None
    feature_state_value: Value | None
    id: int
    identity: None
    identity_identifier: str | None


class Data(msgspec.Struct, frozen=True):
    """A state before and after; null for a state that does not exist."""

    changed_by: str | None
    new_state: State | None
    previous_state: State | None
    timestamp: str


class Event(msgspec.Struct, frozen=True):
    """The whole call."""

    data: Data
    event_type: str
    omitted: Omitted | msgspec.UnsetType = msgspec.UNSET


def compose(change: Change, endpoint: Endpoint, ids: IntegerIds) -> EndpointMessages:
    """Return the calls of a change, sorted by flag key: first the flag's default state, then its overrides.

    New and changed overrides are in the order of the rules; removed ones follow.
    """
    changes = change.changes
    messages: list[Message] = []
    omitted = 0
    for key in sorted((*changes.added, *changes.updated, *changes.removed)):
        states = _States(change, ids, key)
        messages.append(_message(change, endpoint, key, states.before_and_after(None, None, None)))
        sent: Counter[tuple[bool, int]] = Counter()
        for target, before, after in _changed(change, key):
            if target.kind == "identifier":
                rule = (after is None, (after or before or _NONE).priority)
                sent[rule] += 1
                if sent[rule] > IDENTIFIER_LIMIT:
                    omitted += 1
                    continue
            messages.append(_message(change, endpoint, key, states.before_and_after(target, before, after), target))
    if not omitted:
        return EndpointMessages(tuple(messages))
    reason = f"identifiers beyond the first {IDENTIFIER_LIMIT} of a rule"
    record = skipped(change, endpoint, "FLAG_UPDATED", reason, omitted, "omitted")
    return EndpointMessages(tuple(messages), (record,), omitted)


_NONE = Override(0, None, b"")


def _changed(change: Change, key: str) -> Iterator[tuple[Target, Override | None, Override | None]]:
    before, after = overrides(change.old, key), overrides(change.new, key)
    for target, override in after.items():
        earlier = before.get(target)
        if earlier is None or earlier.basis != override.basis:
            yield target, earlier, override
    for target, override in before.items():
        if target not in after:
            yield target, override, None


class _States:
    """The states of one flag before and after a change."""

    def __init__(self, change: Change, ids: IntegerIds, key: str) -> None:
        self._change = change
        self._ids = ids
        self._key = key
        self._feature = ids.feature(change.sdk_id, key)
        self._environment = ids.environment(change.sdk_id)
        self._project = ids.project()[0]

    def before_and_after(self, target: Target | None, before: Override | None, after: Override | None) -> Data:
        """Return the default state before and after, or the state of one override."""
        return Data(
            changed_by=self._change.author.display_name if self._change.author else None,
            new_state=self._state(self._change.new, target, after),
            previous_state=self._state(self._change.old, target, before),
            timestamp=iso(self._change.at),
        )

    def _state(self, snapshot: Snapshot, target: Target | None, override: Override | None) -> State | None:
        if self._key not in snapshot.flags or (target is not None and override is None):
            return None
        definition = snapshot.flags[self._key].definition
        value = default_value(definition) if override is None else override.value
        boolean = is_boolean(definition)
        name = "" if target is None else f"{target.kind}:{target.name}"
        number = self._ids.state(self._change.sdk_id, self._key, name)
        return State(
            enabled=value is True if boolean else True,
            environment=self._environment,
            feature=self._feature_view(boolean=boolean),
            feature_segment=self._segment_view(number, target, override),
            feature_state_value=None if boolean else value,
            id=number,
            identity=None,
            identity_identifier=target.name if target is not None and target.kind == "identifier" else None,
        )

    def _feature_view(self, *, boolean: bool) -> FeatureView:
        initial = self._feature.initial_value
        return FeatureView(
            created_date=iso(self._feature.created, precise=True),
            default_enabled=initial if isinstance(initial, bool) else not boolean,
            description=None,
            id=self._feature.id,
            initial_value=initial,
            name=self._key,
            project=self._project,
            type="FLAG" if boolean else "CONFIG",
        )

    def _segment_view(self, number: int, target: Target | None, override: Override | None) -> FeatureSegment | None:
        if target is None or override is None or target.kind != "segment":
            return None
        segment = SegmentView(self._ids.segment(self._change.sdk_id, target.name), target.name)
        return FeatureSegment(number, segment, override.priority)


def _message(change: Change, endpoint: Endpoint, key: str, data: Data, target: Target | None = None) -> Message:
    kind = "FLAG_DELETED" if data.new_state is None else "FLAG_UPDATED"
    target_name = () if target is None else (target.kind, target.name)
    name = message_id(change, FORMAT, kind, key, *target_name)
    body = msgspec.json.encode(Event(data, kind))
    if len(body) > endpoint.max_message_bytes:
        body = msgspec.json.encode(Event(_without_values(data), kind, Omitted(definitions=True, keys=0)))
    return message_about(change, endpoint, name, kind, key, body)


def _without_values(data: Data) -> Data:
    """Return ``data`` with null in place of values of any length."""
    states = {"new_state": data.new_state, "previous_state": data.previous_state}
    return msgspec.structs.replace(
        data,
        **{
            name: msgspec.structs.replace(
                state,
                feature=msgspec.structs.replace(state.feature, initial_value=None),
                feature_state_value=None,
            )
            for name, state in states.items()
            if state is not None
        },
    )
