"""The messages between leader and workers; each side handles them in the order in which they were sent.

Before ``Prepare`` a worker receives the state of every SDK.  Settings, secrets included, are sent as messages only:
other processes can read arguments and environment.
A worker numbers its requests with ``request_id``; the reply repeats the number, and replies come in any order.
"""

import msgspec

from gateway.export import Parcel
from gateway.settings import Settings
from gateway.streams import Criteria, Forecast, Reach, StreamGroup, TailEvent
from gateway.telemetry import SeenClients

Defaults = dict[str, str | float | tuple[str, ...]]
StreamKind = tuple[str, str | None]  # SDK id, and the key of the stream's flag or None for all flags


class Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Base of all messages.  Fields are encoded by position, so both sides must be of one version."""


# From the leader:


class Initialize(Message, frozen=True):
    """The first message to a worker: its number (from 1), and the settings with which the gateway was started.

    ``own_secret`` is the same for all workers of this start.  ``count`` is the number of workers, and so of the sockets
    that the worker has inherited.
    """

    number: int
    settings: Settings
    own_secret: bytes
    count: int


class ApplySettings(Message, frozen=True):
    """Serve under these settings, after a reload."""

    settings: Settings


class AddSdk(Message, frozen=True):
    """Serve an SDK; if it is served already, its default attributes have changed, and its streams end."""

    sdk_id: str
    key: str
    defaults: Defaults


class PublishConfig(Message, frozen=True):
    """Serve an SDK's new config: ``body`` and ``etag`` of the upstream's response."""

    sdk_id: str
    etag: str
    body: bytes


class EarlierConfigs(Message, frozen=True):
    """Know these tags of an SDK, oldest first: clients may come with them from an earlier run, or another node.

    It follows the config that they are earlier than.
    """

    sdk_id: str
    tags: tuple[str, ...]


class FirstFetchEnded(Message, frozen=True):
    """The first fetch of an SDK has ended, with a config or without, or its cached config is in use."""

    sdk_id: str


class RemoveSdk(Message, frozen=True):
    """Stop serving an SDK."""

    sdk_id: str


class Prepare(Message, frozen=True):
    """Everything that a new worker needs has been sent; replied to with ``Ready``."""


class Accept(Message, frozen=True):
    """Accept the connections of the sockets of the workers with these numbers, and of no others.

    Besides its own these are of workers that do not serve at the moment, or are full; a full one may get none.
    The first is replied to with ``Listening``.
    """

    numbers: tuple[int, ...]


class ReopenLog(Message, frozen=True):
    """Write log lines to this path from now on: the file that had this name was moved away."""

    path: str


class OtherStreams(Message, frozen=True):
    """The streams of all other workers; ``addresses`` holds the client addresses whose number has changed.

    With ``complete`` it holds all addresses; the number of any other address is 0.
    """

    total: int
    addresses: dict[str, int]
    complete: bool = False


class IssuerKeySet(Message, frozen=True):
    """Check tokens by the key set that was fetched from ``url``."""

    url: str
    body: bytes


class KeysRefreshed(Message, frozen=True):
    """The reply to ``RefreshKeys``; key sets that have changed were sent before."""

    request_id: int


class StatusDocument(Message, frozen=True):
    """The status document as JSON."""

    document: bytes


class RefreshResult(Message, frozen=True):
    """The reply to ``Refresh``."""

    request_id: int
    error: str | None
    changed: bool
    cut_off: bool = False


class CallIdResult(Message, frozen=True):
    """The reply to ``CheckCallId``: whether the id was accepted before."""

    request_id: int
    seen: bool


class EvaluationsStored(Message, frozen=True):
    """The reply to ``StoreEvaluations``: they are on disk, or counted as dropped."""

    request_id: int


class RequestForecast(Message, frozen=True):
    """Predict what this config JSON would change of ``base``, or of the config in use; it ends an earlier request.

    ``connected`` is for connected users only and within some seconds; it ends one of the same kind and SDK.
    Replied to with ``ForecastResult``.
    """

    request_id: int
    sdk_id: str
    body: bytes
    base: bytes | None = None
    connected: bool = False


class RequestStreams(Message, frozen=True):
    """Count the open streams; replied to with ``StreamsResult``."""

    request_id: int


class RequestClients(Message, frozen=True):
    """Return the clients that were seen; replied to with ``ClientsResult``."""

    request_id: int


class StartTail(Message, frozen=True):
    """Follow the streams of the users who have all these attributes; replied to with ``Tailed``, until ``StopTail``."""

    number: int
    sdk_id: str
    criteria: Criteria
    flag: str | None


class StopTail(Message, frozen=True):
    """End a tail; one that is unknown is ignored."""

    number: int


class Drain(Message, frozen=True):
    """Accept no new connections, end the open streams, then exit."""


# From either side:


class Echo(Message, frozen=True):
    """Sent by the leader; a worker sends it back once everything before it is done."""

    number: int


# From a worker:


class Ready(Message, frozen=True):
    """The worker can accept connections; it waits for ``Accept``."""


class Full(Message, frozen=True):
    """The worker has few files left for new connections, or has enough again."""

    full: bool


class Listening(Message, frozen=True):
    """The worker serves clients."""


class StartFailed(Message, frozen=True):
    """The worker cannot serve, and exits."""

    reason: str


class Refresh(Message, frozen=True):
    """Request to fetch an SDK's config; ``credit`` is the body of an authenticated hook call."""

    request_id: int
    sdk_id: str
    limited: bool
    credit: bytes = b""


class RefreshKeys(Message, frozen=True):
    """Request to fetch the key sets of issuers, since a token names an unknown key."""

    request_id: int


class CheckCallId(Message, frozen=True):
    """Request to accept a signed hook call; its id may be used once until ``until``, Unix seconds."""

    request_id: int
    sdk_id: str
    call_id: bytes
    until: float


class StoreEvaluations(Message, frozen=True):
    """Request to store a batch of evaluation events."""

    request_id: int
    parcel: Parcel


class OwnStreams(Message, frozen=True):
    """The number of the worker's streams; ``addresses`` holds the client addresses whose number has changed."""

    total: int
    addresses: dict[str, int]


class ForecastResult(Message, frozen=True):
    """The reply to ``RequestForecast``; None if the worker cannot predict."""

    request_id: int
    forecast: Forecast | None


class StreamsResult(Message, frozen=True):
    """The reply to ``RequestStreams``."""

    request_id: int
    groups: list[StreamGroup]


class ClientsResult(Message, frozen=True):
    """The reply to ``RequestClients``."""

    request_id: int
    clients: SeenClients


class Reached(Message, frozen=True):
    """What the worker has reached with a change; sent at the end of its push, and when paced events are sent."""

    reach: Reach


class Tailed(Message, frozen=True):
    """An event of a tail."""

    number: int
    event: TailEvent


class AnswerCounts(msgspec.Struct, frozen=True, array_like=True):
    """Answers of one route, method and status: their number per duration bucket, and the sum of their durations."""

    route: str
    method: str
    status: int
    buckets: list[int]
    seconds: float


class MetricsReport(Message, frozen=True):
    """What a worker has counted since its last report; sent each second, so it is a sign of life as well."""

    opened: list[tuple[StreamKind, int]]
    closed: list[tuple[StreamKind, int]]
    frames: list[tuple[StreamKind, int]]
    refused: dict[str, int]
    dropped: dict[str, int]
    pushed: list[tuple[str, float]]
    answers: list[AnswerCounts]
    lags: list[float]
    dropped_lines: int  # of the log


Reply = RefreshResult | CallIdResult | EvaluationsStored | KeysRefreshed
SdkMessage = AddSdk | PublishConfig | EarlierConfigs | FirstFetchEnded | RemoveSdk
ToWorker = (
    Initialize
    | ApplySettings
    | SdkMessage
    | Prepare
    | Accept
    | ReopenLog
    | OtherStreams
    | IssuerKeySet
    | StatusDocument
    | Reply
    | RequestForecast
    | RequestStreams
    | RequestClients
    | StartTail
    | StopTail
    | Drain
    | Echo
)
Request = Refresh | RefreshKeys | CheckCallId | StoreEvaluations
ToLeader = (
    Ready
    | Full
    | Listening
    | StartFailed
    | Request
    | OwnStreams
    | MetricsReport
    | ForecastResult
    | StreamsResult
    | ClientsResult
    | Reached
    | Tailed
    | Echo
)

encode = msgspec.msgpack.Encoder().encode
to_worker = msgspec.msgpack.Decoder(ToWorker)
to_leader = msgspec.msgpack.Decoder(ToLeader)
DECODE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError)
"""What the decoders raise for bytes that are not a message."""
