"""A message to one endpoint, and the integer ids that some formats contain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

from gateway.webhooks.formats.message_ids import message_id

if TYPE_CHECKING:
    from gateway.settings import Endpoint
    from gateway.webhooks.formats.change import Change


@attrs.frozen
class Message:
    """What is sent to one endpoint; ``body`` never changes.

    ``id`` is unique per endpoint: two endpoints of one format get the same id for the same change.
    """

    id: str
    endpoint: str  # the endpoint's name
    format: str
    type: str  # envelope: the event type; environment: event_type; audit_log: related_object_type; else CONFIG_UPDATED
    subject: str  # shown to operators: a flag's key, a segment's name, an SDK id
    body: bytes  # JSON
    created: float  # Unix seconds
    sdk_id: str | None = None  # None for tests
    old_etag: str | None = None
    new_etag: str | None = None


@attrs.frozen
class Skipped:
    """Messages that an endpoint does not get, recorded with the reason."""

    id: str
    endpoint: str
    format: str
    type: str
    subject: str
    reason: str
    count: int  # number of messages
    created: float
    sdk_id: str


@attrs.frozen
class Feature:
    """What is stored about a flag for as long as the database exists."""

    id: int
    created: float  # Unix seconds: when the gateway first saw the flag
    initial_value: bool | str | None  # ``definition.initial_value`` at that time


class IntegerIds(Protocol):
    """Stable integers from 1, assigned at the first call, stored, and never given to anything else.

    Used inside a transaction, in the database's thread; a failed transaction assigns nothing.
    """

    def environment(self, sdk_id: str) -> int:
        """Return the id of an SDK: the one in the settings, else an assigned one."""

    def project(self) -> tuple[int, str, int]:
        """Return the project's id, its name, and the organisation's id."""

    def feature(self, sdk_id: str, key: str) -> Feature:
        """Return what is stored about a flag; a flag that is created again after its deletion is the same feature."""

    def state(self, sdk_id: str, key: str, target: str) -> int:
        """Return the id of a flag's state; ``target`` is "", ``segment:<name>`` or ``identifier:<text>``."""

    def segment(self, sdk_id: str, name: str) -> int:
        """Return the id of a segment, by its name: a renamed segment is another one."""


@attrs.frozen
class EndpointMessages:
    """The messages to one endpoint about one change, and those that it does not get."""

    messages: tuple[Message, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    omitted: int = 0  # identifiers beyond the limit of a rule


def message_about(change: Change, endpoint: Endpoint, name: str, kind: str, subject: str, body: bytes) -> Message:
    """Return a message about a change, with the id ``name``."""
    old, new = change.old.etag, change.new.etag
    return Message(name, endpoint.name, endpoint.format, kind, subject, body, change.at, change.sdk_id, old, new)


def skipped(
    change: Change, endpoint: Endpoint, kind: str, reason: str, count: int = 1, what: str = "skipped"
) -> Skipped:
    """Return the record of ``count`` messages that the endpoint does not get."""
    name, sdk_id = message_id(change, endpoint.format, kind, "", what), change.sdk_id
    return Skipped(name, endpoint.name, endpoint.format, kind, sdk_id, reason, count, change.at, sdk_id)
