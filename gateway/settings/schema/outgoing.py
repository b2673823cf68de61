"""Options of outgoing data: webhooks, evaluation events, and the outbox that stores both."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import field

from gateway.settings.marks import note
from gateway.settings.schema.base import Attributes, Section

EventType = Literal[
    "FLAG_CREATED",
    "FLAG_UPDATED",
    "FLAG_DELETED",
    "SEGMENT_UPDATED",
    "CONFIG_UPDATED",
    "USER_FLAGS_UPDATED",
    "DELIVERY_FAILED",
    "WEBHOOK_TEST",
]
Format = Literal["envelope", "notifier", "environment", "audit_log", "slack", "teams", "discord"]


class Endpoint(Section, frozen=True):
    """One webhook endpoint."""

    name: Annotated[str, note("Unique name, shown in logs, metrics and deliveries.")] = ""
    url: Annotated[str, note("URL of the receiver.", hidden="url")] = ""
    format: Annotated[Format, note("Format of the messages.")] = "envelope"
    events: Annotated[list[EventType], note("Event types to send; empty means all.")] = field(default_factory=list)
    sdks: Annotated[list[str], note("SDK ids whose changes are sent; empty means all.")] = field(default_factory=list)
    secret: Annotated[str, note("Secret for signing messages.", hidden="all")] = ""
    secrets: Annotated[list[str], note("Several secrets during a rotation, the new one first.", hidden="all")] = field(
        default_factory=list
    )
    headers: Annotated[dict[str, str | list[str]], note("Headers added to each request.", hidden="all")] = field(
        default_factory=dict
    )
    meta: Annotated[dict[str, str], note("Entries added to `meta` of notifier messages.")] = field(default_factory=dict)
    users: Annotated[
        list[Attributes],
        note(
            "Users whose values are watched; a change of them is sent as `USER_FLAGS_UPDATED`.",
            error="'{key}' has an invalid type, only 'string', 'number', and 'string[]' types are allowed",
        ),
    ] = field(default_factory=list)
    ca_file: Annotated[str, note("PEM file of certificate authorities to trust.")] = ""
    concurrency: Annotated[
        int, note("Concurrent requests; with 1 messages arrive strictly in order.", ge=1, le=1000)
    ] = 8
    timeout: Annotated[float, note("Seconds that a request may take.", gt=0)] = 10
    retry_for: Annotated[float, note("Seconds during which a failed message is sent again.", ge=0)] = 259200

    @property
    def signing_secrets(self) -> tuple[str, ...]:
        """Return the secrets that messages are signed with, the newest first, each once."""
        return tuple(dict.fromkeys(secret for secret in (self.secret, *self.secrets) if secret))


class Exporter(Section, frozen=True):
    """Evaluation events for analysis."""

    kind: Annotated[
        Literal["webhook", "file"], note("`webhook` sends to an endpoint, `file` writes to rotated files.")
    ] = "webhook"
    path: Annotated[str, note("File to write to, one JSON object per line; kind `file`.")] = ""
    keep: Annotated[int, note("Rotated files to keep; kind `file`.", ge=0)] = 5
    endpoint_url: Annotated[
        str, note("URL of the receiver; kind `webhook`.", hidden="url", aliases=("endpointUrl",))
    ] = ""
    flush_interval: Annotated[float, note("Milliseconds between two batches.", gt=0, aliases=("flushInterval",))] = (
        60000
    )
    max_event_in_memory: Annotated[
        int,
        note("Number of events that completes a batch before the interval ends.", ge=1, aliases=("maxEventInMemory",)),
    ] = 100000
    secret: Annotated[str, note("Secret for signing batches.", hidden="all")] = ""
    meta: Annotated[dict[str, str], note("Entries added to `meta` of each batch, beside `hostname`.")] = field(
        default_factory=dict
    )
    headers: Annotated[dict[str, str | list[str]], note("Headers added to each request.", hidden="all")] = field(
        default_factory=dict
    )
    ca_file: Annotated[str, note("PEM file of certificate authorities to trust.")] = ""
    timeout: Annotated[float, note("Seconds that a request may take.", gt=0)] = 10
    bulk: Annotated[bool, note("Whether evaluations of all flags at once are exported too.")] = False
    sampling: Annotated[float, note("Share of evaluations that are exported.", ge=0, le=1)] = 1.0
    aggregate: Annotated[bool, note("Export one event with a count per flag, variation and minute, without users.")] = (
        False
    )
    max_bytes: Annotated[
        int,
        note(
            "Largest spool in bytes, beyond it the oldest events are dropped; with kind `file` the size of a file.",
            ge=1024,
        ),
    ] = 1073741824

    @property
    def on(self) -> bool:
        """Whether evaluations are exported: a target is configured."""
        return bool(self.path if self.kind == "file" else self.endpoint_url)

    @property
    def spools(self) -> bool:
        """Whether events are stored in the outbox database."""
        return self.on and self.kind == "webhook"


class Outbox(Section, frozen=True):
    """The database of messages."""

    path: Annotated[str, note("Database file; empty means the state directory.", restart=True)] = ""
    keep: Annotated[float, note("Seconds that finished messages are kept.", ge=0)] = 604800
    max_bytes: Annotated[
        int,
        note(
            "Largest database in bytes; beyond it the oldest finished messages are deleted, then new ones refused.",
            ge=1024,
        ),
    ] = 4294967296


class Delivery(Section, frozen=True):
    """Limits on the targets of outgoing requests."""

    allowed_networks: Annotated[list[str], note("Networks that may be called; empty means all.")] = field(
        default_factory=list
    )
    denied_networks: Annotated[list[str], note("Networks that must not be called.")] = field(default_factory=list)
    source_address: Annotated[str | None, note("Local address of outgoing connections.")] = None


class Project(Section, frozen=True):
    """The project in webhooks of the formats `environment` and `audit_log`."""

    id: Annotated[int, note("Number of the project.")] = 1
    name: Annotated[str, note("Name of the project.")] = "flaggateway"
    organisation: Annotated[int, note("Number of the organisation.")] = 1
