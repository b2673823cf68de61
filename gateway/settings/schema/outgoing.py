"""Options of stored data: webhooks, evaluation events, the outbox that stores both, and the history of configs."""

from typing import Annotated, Literal

from gateway.settings.schema.base import ATTRIBUTE_ERROR, Attributes, Section
from gateway.settings.schema.option import option

EventType = Literal[
    "FLAG_CREATED",
    "FLAG_UPDATED",
    "FLAG_DELETED",
    "SEGMENT_UPDATED",
    "CONFIG_UPDATED",
    "USER_FLAGS_UPDATED",
    "CONFIG_HELD",
    "CONFIG_DEGRADED",
    "DELIVERY_FAILED",
    "WEBHOOK_TEST",
]
Format = Literal["envelope", "notifier", "environment", "audit_log", "slack", "teams", "discord"]
RequestHeaders = Annotated[dict[str, str | list[str]], option("Headers added to each request.", hidden="all")]
CaFile = Annotated[str, option("PEM file of certificate authorities to trust.")]
RequestTimeout = Annotated[float, option("Seconds that a request may take.", gt=0)]


class Endpoint(Section, frozen=True):
    """One webhook endpoint."""

    name: Annotated[str, option("Unique name, shown in logs, metrics and deliveries.")] = ""
    url: Annotated[str, option("URL of the receiver.", hidden="url")] = ""
    format: Annotated[Format, option("Format of the messages.")] = "envelope"
    events: Annotated[list[EventType], option("Event types to send; empty means all.")] = []
    sdks: Annotated[list[str], option("SDK ids whose changes are sent; empty means all.")] = []
    secret: Annotated[str, option("Secret for signing messages.", hidden="all")] = ""
    secrets: Annotated[list[str], option("Several secrets during a rotation, the new one first.", hidden="all")] = []
    headers: RequestHeaders = {}
    meta: Annotated[dict[str, str], option("Entries added to `meta` of notifier messages.")] = {}
    users: Annotated[
        list[Attributes],
        option(
            "Users whose values are watched; a change of them is sent as `USER_FLAGS_UPDATED`.",
            error=ATTRIBUTE_ERROR,
        ),
    ] = []
    ca_file: CaFile = ""
    concurrency: Annotated[
        int, option("Concurrent requests; with 1 messages arrive strictly in order.", ge=1, le=1000)
    ] = 8
    timeout: RequestTimeout = 10
    max_message_bytes: Annotated[
        int,
        option(
            "Largest body of a message in bytes; a larger one is sent without definitions, or without some keys.",
            ge=32768,
        ),
    ] = 921600
    retry_for: Annotated[float, option("Seconds during which a failed message is sent again.", ge=0)] = 259200

    @property
    def signing_secrets(self) -> tuple[str, ...]:
        """Return the secrets that messages are signed with, the newest first, each once."""
        return tuple(dict.fromkeys(secret for secret in (self.secret, *self.secrets) if secret))


class Exporter(Section, frozen=True):
    """Evaluation events for analysis."""

    kind: Annotated[
        Literal["webhook", "file"], option("`webhook` sends to an endpoint, `file` writes to rotated files.")
    ] = "webhook"
    path: Annotated[str, option("File to write to, one JSON object per line; kind `file`.")] = ""
    keep: Annotated[int, option("Rotated files to keep; kind `file`.", ge=0)] = 5
    endpoint_url: Annotated[
        str, option("URL of the receiver; kind `webhook`.", hidden="url", aliases=("endpointUrl",))
    ] = ""
    flush_interval: Annotated[float, option("Milliseconds between two batches.", gt=0, aliases=("flushInterval",))] = (
        60000
    )
    max_event_in_memory: Annotated[
        int,
        option(
            "Number of events that completes a batch before the interval ends.", ge=1, aliases=("maxEventInMemory",)
        ),
    ] = 100000
    max_batch_bytes: Annotated[
        int,
        option(
            "Largest body of a batch in bytes; a larger event is sent alone. Receivers often accept 1 MiB.", ge=1024
        ),
    ] = 921600
    secret: Annotated[str, option("Secret for signing batches.", hidden="all")] = ""
    meta: Annotated[dict[str, str], option("Entries added to `meta` of each batch, beside `hostname`.")] = {}
    headers: RequestHeaders = {}
    ca_file: CaFile = ""
    timeout: RequestTimeout = 10
    bulk: Annotated[bool, option("Whether evaluations of all flags at once are exported too.")] = False
    sampling: Annotated[float, option("Share of evaluations that are exported.", ge=0, le=1)] = 1.0
    aggregate: Annotated[
        bool, option("Export one event with a count per flag, variation and minute, without users.")
    ] = False
    max_bytes: Annotated[
        int,
        option(
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

    path: Annotated[str, option("Database file; empty means the state directory.", restart=True)] = ""
    url: Annotated[
        str,
        option(
            "PostgreSQL database in which several gateways share messages and configs; the file then holds only "
            "evaluations.",
            hidden="url",
            restart=True,
            example="postgresql://flaggateway:secret@db.example.com/flaggateway?sslmode=verify-full",
        ),
    ] = ""
    listen_url: Annotated[
        str,
        option(
            "The same database without the connection pooler of `url`, for notifications between gateways; set it "
            "if `url` is that of PgBouncer.",
            hidden="url",
            restart=True,
        ),
    ] = ""
    schema: Annotated[
        str,
        option("Schema of the tables in that database; gateways with the same one work together.", restart=True),
    ] = "flaggateway"
    keep: Annotated[float, option("Seconds that finished messages are kept.", ge=0)] = 604800
    max_bytes: Annotated[
        int,
        option(
            "Largest database in bytes; beyond it the oldest finished messages are deleted, then new ones refused.",
            ge=1024,
        ),
    ] = 4294967296


class History(Section, frozen=True):
    """The history of configs."""

    path: Annotated[
        str,
        option(
            "Database file; empty means `history.sqlite3` in the state directory.",
            restart=True,
            example="/var/lib/flaggateway/history.sqlite3",
        ),
    ] = ""
    keep: Annotated[
        float, option("Seconds that a config is kept after another one has replaced it; 0 keeps no history.", ge=0)
    ] = 2592000
    max_bytes: Annotated[
        int,
        option(
            "Largest history in bytes; beyond it the oldest configs are deleted, but never one that is in use.",
            ge=65536,
        ),
    ] = 268435456


class Delivery(Section, frozen=True):
    """Limits on the targets of outgoing requests."""

    allowed_networks: Annotated[list[str], option("Networks that may be called; empty means all.")] = []
    denied_networks: Annotated[list[str], option("Networks that must not be called.")] = []
    source_address: Annotated[str | None, option("Local address of outgoing connections.")] = None


class Project(Section, frozen=True):
    """The project in webhooks of the formats `environment` and `audit_log`."""

    id: Annotated[int, option("Number of the project.")] = 1
    name: Annotated[str, option("Name of the project.")] = "flaggateway"
    organisation: Annotated[int, option("Number of the organisation.")] = 1
