"""The answers about the outbox, as ``gateway.telemetry.OutboxPages`` gives them; times are seconds since 1970."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

State = Literal["pending", "delivered", "failed", "skipped"]
Next = Annotated[int | None, Meta(description="The `before` of the following page; null on the last one.")]


class Delivery(Struct, frozen=True):
    """A message to an endpoint."""

    id: str
    endpoint: str
    sequence: int
    format: str
    type: str
    subject: str
    sdk_id: str | None
    state: State
    reason: str
    tries: int
    created: float
    due: float | None
    finished: float | None


class Attempt(Struct, frozen=True):
    """An attempt to deliver a message; ``answer`` is null for callers without ``diag.auth_headers``."""

    number: int
    at: float
    status: int | None
    outcome: str
    duration: float
    answer: str | None


class DeliveryDetails(Delivery, frozen=True):
    """A message with its attempts; ``body`` is null for callers without ``diag.auth_headers``."""

    body: str | None
    body_length: int
    attempts: list[Attempt]


class Endpoint(Struct, frozen=True):
    """A webhook endpoint of the settings; the figures are up to 10 s old."""

    name: str
    pending: Annotated[int, Meta(description="Messages that wait for it.")]
    oldest_seconds: Annotated[float, Meta(description="The age of the oldest of them.")]


class Endpoints(Struct, frozen=True):
    """The endpoints, by name."""

    endpoints: list[Endpoint]


class RequestedTest(Struct, frozen=True):
    """The endpoint that gets a WEBHOOK_TEST within seconds; the message is in the list of deliveries then."""

    endpoint: str


class Deliveries(Struct, frozen=True):
    """A page of messages, the newest first."""

    deliveries: list[Delivery]
    next: Next


class DeliveriesOfId(Struct, frozen=True):
    """The messages with an id, one per endpoint."""

    deliveries: list[DeliveryDetails]


class Retried(Struct, frozen=True):
    """How many messages are due again, and why others with that id are not."""

    count: int
    refused: list[str]
