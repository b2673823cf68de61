"""One message to one endpoint, and the integers that some formats want."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:
    from gateway.settings import Endpoint


@attrs.frozen
class Message:
    """What is sent to one endpoint; ``body`` never changes once the message was made.

    ``id`` is unique among the messages of one endpoint: two endpoints of one format get equal ids for one change.
    """

    id: str
    endpoint: str  # the endpoint's name
    format: str
    type: str  # envelope: the event type; environment: event_type; audit_log: related_object_type; else CONFIG_UPDATED
    subject: str  # what it is about, for people: a flag's key, a segment's name, an SDK id
    body: bytes  # JSON
    created: float  # Unix seconds
    sdk_id: str | None = None  # None for tests
    old_etag: str | None = None
    new_etag: str | None = None


@attrs.frozen
class Skipped:
    """Messages that an endpoint did not want: nothing is dropped in silence, so this is recorded."""

    id: str
    endpoint: str
    format: str
    type: str
    subject: str
    reason: str
    count: int  # messages that this stands for
    created: float
    sdk_id: str


@attrs.frozen
class Feature:
    """What the outbox keeps of a flag for as long as the database lives."""

    id: int
    created: float  # Unix seconds: when the gateway first saw the flag
    initial_value: bool | str | None  # ``definition.initial_value`` of that moment


class Ids(Protocol):
    """Stable integers, from 1: assigned when first asked for, kept, and never given to anything else.

    Asked inside a transaction, in the database's thread; what is assigned in one that fails is assigned anew.
    """

    def environment(self, sdk_id: str) -> int:
        """Return the number of an SDK: the one in the settings, else one assigned."""

    def project(self) -> tuple[int, str, int]:
        """Return the project's number, its name, and the organisation's number."""

    def feature(self, sdk_id: str, key: str) -> Feature:
        """Return what is kept of a flag, also of one that is deleted; one that comes back is the same feature."""

    def state(self, sdk_id: str, key: str, target: str) -> int:
        """Return the number of a flag's state: ``target`` is "", ``segment:<name>`` or ``identifier:<text>``."""

    def segment(self, sdk_id: str, name: str) -> int:
        """Return the number of a segment, by its name: a renamed one is another."""


@attrs.frozen
class Told:
    """All that one endpoint is told about one change, and what it is not."""

    messages: tuple[Message, ...]
    skipped: tuple[Skipped, ...] = ()
    omitted: int = 0  # identifiers beyond the bound of a rule


def secrets_of(endpoint: Endpoint) -> tuple[str, ...]:
    """Return the secrets that messages to ``endpoint`` are signed with, the newest first, each once."""
    return tuple(dict.fromkeys(secret for secret in (endpoint.secret, *endpoint.secrets) if secret))
