"""Format ``audit_log``, that of Flagsmith's audit log webhooks: one call per act, with its author if known.

The fields are described in ``docs/webhooks.md`` and ``docs/schemas/audit_log.schema.json``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import msgspec

from gateway.text import canonical_json, iso
from gateway.webhooks.formats.definition import SegmentEdit, segment_edits
from gateway.webhooks.formats.message import Message, message_about
from gateway.webhooks.formats.message_ids import message_id, sdk_message_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.settings import Endpoint
    from gateway.webhooks.formats.change import Author, Change
    from gateway.webhooks.formats.message import IntegerIds

FORMAT = "audit_log"


class AuthorView(msgspec.Struct, frozen=True):
    """The author of an act; unknown parts are null."""

    id: int | None
    email: str | None
    first_name: str | None
    last_name: str | None


class ProjectView(msgspec.Struct, frozen=True):
    """The project of the settings."""

    id: int
    name: str
    organisation: int


class Record(msgspec.Struct, frozen=True):
    """The whole call."""

    created_date: str
    log: str
    author: AuthorView | None
    environment: int | None
    project: ProjectView
    related_object_id: int
    related_object_type: str


@attrs.frozen
class _Act:
    type: str
    number: int
    log: str
    subject: str
    target: tuple[str, ...]


def compose(change: Change, endpoint: Endpoint, ids: IntegerIds) -> list[Message]:
    """Return the acts of a change: flags created, updated and deleted, then segments, then the environment."""
    return [
        message_about(
            change,
            endpoint,
            message_id(change, FORMAT, act.type, *act.target),
            act.type,
            act.subject,
            _encode(act, change.sdk_id, change.author, change.at, ids),
        )
        for act in _acts(change, ids)
    ]


def _acts(change: Change, ids: IntegerIds) -> Iterator[_Act]:
    changes, sdk = change.changes, change.sdk_id
    for key in changes.added:
        log = f"New Flag / Remote Config created: {key}"
        yield _Act("FEATURE", ids.feature(sdk, key).id, log, key, (key,))
    for key in changes.updated:
        log = f"Flag state updated for feature: {key}"
        yield _Act("FEATURE_STATE", ids.state(sdk, key, ""), log, key, (key,))
    for key in changes.removed:
        log = f"Flag / Remote Config deleted: {key}"
        yield _Act("FEATURE", ids.feature(sdk, key).id, log, key, (key,))
    for edit in segment_edits(change):
        target = (edit.name, str(edit.position)) if edit.position else (edit.name,)
        yield _Act("SEGMENT", ids.segment(sdk, edit.name), _segment_log(edit), edit.name, target)
    if changes.salt_changed:
        yield _Act("ENVIRONMENT", ids.environment(sdk), f"Environment updated: salt of {sdk} changed", sdk, ("salt",))
    if changes.preferences_changed and _unsalted(change.old.preferences) != _unsalted(change.new.preferences):
        log = f"Environment updated: preferences of {sdk} changed"
        yield _Act("ENVIRONMENT", ids.environment(sdk), log, sdk, ("preferences",))


def _segment_log(edit: SegmentEdit) -> str:
    if edit.old is None:
        return f"New Segment created: {edit.name}"
    return f"Segment deleted: {edit.name}" if edit.new is None else f"Segment updated: {edit.name}"


def _unsalted(preferences: Mapping[str, object]) -> bytes:
    # The salt is one of the preferences in a config JSON (``p.s``); its change is an act of its own.
    return canonical_json({name: value for name, value in preferences.items() if name != "s"})


def sdk_message(endpoint: Endpoint, sdk_id: str, ids: IntegerIds, at: float, count: int, *, added: bool) -> Message:
    """Return the act that an SDK was added to the settings or removed, for the ``count``-th time in this outbox."""
    act, log = (
        ("added", f"New Environment created: {sdk_id}") if added else ("removed", f"Environment deleted: {sdk_id}")
    )
    record = _Act("ENVIRONMENT", ids.environment(sdk_id), log, sdk_id, ())
    return Message(
        id=sdk_message_id(sdk_id, FORMAT, act, count),
        endpoint=endpoint.name,
        format=FORMAT,
        type=record.type,
        subject=sdk_id,
        body=_encode(record, sdk_id, None, at, ids),
        created=at,
        sdk_id=sdk_id,
    )


def _encode(act: _Act, sdk_id: str, author: Author | None, at: float, ids: IntegerIds) -> bytes:
    record = Record(
        created_date=iso(at, precise=True),
        log=act.log,
        author=_author(author),
        environment=ids.environment(sdk_id),
        project=ProjectView(*ids.project()),
        related_object_id=act.number,
        related_object_type=act.type,
    )
    return msgspec.json.encode(record)


def _author(author: Author | None) -> AuthorView | None:
    if author is None:
        return None
    return AuthorView(None, author.email or None, author.first_name or None, author.last_name or None)


def encode_test(log: str, at: float) -> bytes:
    """Return an act with the text ``log`` and no related object."""
    project = ProjectView(0, "", 0)
    return msgspec.json.encode(Record(iso(at, precise=True), log, None, None, project, 0, "ENVIRONMENT"))
