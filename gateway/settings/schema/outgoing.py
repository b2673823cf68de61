"""Options of everything that leaves the gateway: web hooks, evaluation events, and the outbox between."""

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
    """One receiver of web hooks."""

    name: Annotated[str, note("Unique name, shown in logs, metrics and deliveries.")] = ""
    url: Annotated[str, note("Where to send.", hidden="url")] = ""
    format: Annotated[Format, note("Form of the messages.")] = "envelope"
    events: Annotated[list[EventType], note("Types that are sent; none means all.")] = field(default_factory=list)
    sdks: Annotated[list[str], note("SDK ids whose changes are sent; none means all.")] = field(default_factory=list)
    secret: Annotated[str, note("Secret that messages are signed with.", hidden="all")] = ""
    secrets: Annotated[list[str], note("Several secrets while rotating, the new one first.", hidden="all")] = field(
        default_factory=list
    )
    headers: Annotated[dict[str, str | list[str]], note("Headers of each call.", hidden="all")] = field(
        default_factory=dict
    )
    meta: Annotated[dict[str, str], note("Added to `meta` of notifier messages.")] = field(default_factory=dict)
    users: Annotated[
        list[Attributes],
        note(
            "Users whose own values are watched.",
            error="'{key}' has an invalid type, only 'string', 'number', and 'string[]' types are allowed",
        ),
    ] = field(default_factory=list)
    ca_file: Annotated[str, note("PEM file of certificate authorities to trust.")] = ""
    concurrency: Annotated[int, note("Calls in flight; 1 keeps them strictly in order.", ge=1, le=1000)] = 8
    timeout: Annotated[float, note("Seconds that a call may take.", gt=0)] = 10
    retry_for: Annotated[float, note("Seconds for which a message is tried again.", ge=0)] = 259200


class Exporter(Section, frozen=True):
    """Evaluation events for analysis."""

    kind: Annotated[Literal["webhook", "file"], note("Send to an endpoint, or write to rotated files.")] = "webhook"
    path: Annotated[str, note("File to write to, one JSON object per line; kind `file`.")] = ""
    keep: Annotated[int, note("Rotated files to keep; kind `file`.", ge=0)] = 5
    endpoint_url: Annotated[str, note("Where to send; kind `webhook`.", hidden="url", aliases=("endpointUrl",))] = ""
    flush_interval: Annotated[float, note("Milliseconds between two batches.", gt=0, aliases=("flushInterval",))] = (
        60000
    )
    max_event_in_memory: Annotated[
        int,
        note("Events that make a batch before the interval is over.", ge=1, aliases=("maxEventInMemory",)),
    ] = 100000
    secret: Annotated[str, note("Secret that batches are signed with.", hidden="all")] = ""
    meta: Annotated[dict[str, str], note("Added to `meta` of each batch; `hostname` is always there.")] = field(
        default_factory=dict
    )
    headers: Annotated[dict[str, str | list[str]], note("Headers of each call.", hidden="all")] = field(
        default_factory=dict
    )
    ca_file: Annotated[str, note("PEM file of certificate authorities to trust.")] = ""
    timeout: Annotated[float, note("Seconds that a call may take.", gt=0)] = 10
    bulk: Annotated[bool, note("Whether evaluations of all flags at once count too.")] = False
    sampling: Annotated[float, note("Share of evaluations that are told.", ge=0, le=1)] = 1.0
    aggregate: Annotated[bool, note("One event with a count per flag, variation and minute, without users.")] = False
    max_bytes: Annotated[
        int, note("Largest spool on disk, in bytes, then the oldest go; of kind `file`, largest file.", ge=1024)
    ] = 1073741824

    @property
    def on(self) -> bool:
        """Whether evaluations are exported at all: it is said where to."""
        return bool(self.path if self.kind == "file" else self.endpoint_url)

    @property
    def spools(self) -> bool:
        """Whether events wait in the outbox's database."""
        return self.on and self.kind == "webhook"


class Outbox(Section, frozen=True):
    """The database of messages."""

    path: Annotated[str, note("Database file; empty means the state directory.", restart=True)] = ""
    keep: Annotated[float, note("Seconds that finished deliveries stay listed.", ge=0)] = 604800
    max_bytes: Annotated[
        int, note("Largest database, in bytes; then the oldest finished go, then new messages are refused.", ge=1024)
    ] = 4294967296


class Delivery(Section, frozen=True):
    """Where outgoing calls may go."""

    allowed_networks: Annotated[list[str], note("Networks that may be called; none means all.")] = field(
        default_factory=list
    )
    denied_networks: Annotated[list[str], note("Networks that may not be called.")] = field(default_factory=list)
    source_address: Annotated[str | None, note("Local address of outgoing calls.")] = None


class Project(Section, frozen=True):
    """The project in environment and audit log web hooks."""

    id: Annotated[int, note("Number of the project.")] = 1
    name: Annotated[str, note("Name of the project.")] = "flaggateway"
    organisation: Annotated[int, note("Number of the organisation.")] = 1
