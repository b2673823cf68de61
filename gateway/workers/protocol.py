"""What leader and workers say to each other; the order of the messages is the order of what happened.

A worker is told everything about every SDK before ``Serve``; each new config comes once, as the upstream's bytes.
Settings, secrets included, come this way and no other: arguments and environment of a process can be read by others.
``ask`` is a number that the asker chose; the answer carries it, and answers come in any order.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.export import Parcel  # noqa: TC001 - msgspec reads the annotations
from gateway.settings import Settings  # noqa: TC001 - msgspec reads the annotations

Defaults = dict[str, str | float | tuple[str, ...]]


class Message(msgspec.Struct, frozen=True, array_like=True, tag_field="kind"):
    """Base of everything that is said.  Fields go by their place, so both sides must be of one version."""


class Begin(Message, frozen=True, array_like=True, tag="begin"):
    """The first message to a worker: which one it is (from 1), and the settings."""

    number: int
    settings: Settings


class Began(Message, frozen=True, array_like=True, tag="began"):
    """An SDK is to be served, or one that is has other default attributes now, so that its streams end."""

    sdk_id: str
    key: str
    defaults: Defaults


class Config(Message, frozen=True, array_like=True, tag="config"):
    """An SDK has a new config."""

    sdk_id: str
    etag: str
    body: bytes


class Loaded(Message, frozen=True, array_like=True, tag="loaded"):
    """The first fetch of an SDK has ended, well or badly."""

    sdk_id: str


class Ended(Message, frozen=True, array_like=True, tag="ended"):
    """An SDK is no longer served."""

    sdk_id: str


class Serve(Message, frozen=True, array_like=True, tag="serve"):
    """Everything was told: open the port."""


class Apply(Message, frozen=True, array_like=True, tag="apply"):
    """Other settings hold from now on."""

    settings: Settings


class LogTo(Message, frozen=True, array_like=True, tag="log_to"):
    """Lines go to this file from now on: the one before was moved away."""

    path: str


class Others(Message, frozen=True, array_like=True, tag="others"):
    """How many streams the other workers have; ``addresses`` holds those callers whose number changed.

    ``fresh`` says that it holds all of them, so that every other one is forgotten.
    """

    total: int
    addresses: dict[str, int]
    fresh: bool = False


class Page(Message, frozen=True, array_like=True, tag="page"):
    """The status document, as JSON."""

    document: bytes


class Refreshed(Message, frozen=True, array_like=True, tag="refreshed"):
    """The answer to ``Refresh``."""

    ask: int
    error: str | None
    changed: bool


class Seen(Message, frozen=True, array_like=True, tag="seen"):
    """The answer to ``Accept``: whether that call was accepted before."""

    ask: int
    seen: bool


class Kept(Message, frozen=True, array_like=True, tag="kept"):
    """The answer to ``Evaluations``: they are on disk, or counted as dropped."""

    ask: int


class Echo(Message, frozen=True, array_like=True, tag="echo"):
    """To be sent back once everything before it holds."""

    number: int


class Drain(Message, frozen=True, array_like=True, tag="drain"):
    """Accept nobody new, end what is open, then end."""


class Ready(Message, frozen=True, array_like=True, tag="ready"):
    """The worker listens."""


class Unable(Message, frozen=True, array_like=True, tag="unable"):
    """The worker cannot serve, and ends."""

    reason: str


class Refresh(Message, frozen=True, array_like=True, tag="refresh"):
    """A client asks for a fetch; ``credit`` is the body of an authenticated one."""

    ask: int
    sdk_id: str
    limited: bool
    credit: bytes = b""


class Accept(Message, frozen=True, array_like=True, tag="accept"):
    """A signed webhook call came; its id may be used once until ``until``, Unix seconds."""

    ask: int
    sdk_id: str
    call_id: bytes
    until: float


class Open(Message, frozen=True, array_like=True, tag="open"):
    """How many streams the worker has; ``addresses`` holds those callers whose number changed."""

    total: int
    addresses: dict[str, int]


class Evaluations(Message, frozen=True, array_like=True, tag="evaluations"):
    """What a worker evaluated."""

    ask: int
    parcel: Parcel


class Answers(msgspec.Struct, frozen=True, array_like=True):
    """Answers of one route, method and status: how many fell into each bucket of duration, and their seconds."""

    route: str
    method: str
    status: int
    buckets: list[int]
    seconds: float


Flag = tuple[str, str | None]  # SDK id, and the flag's key or None for all flags


class Tally(Message, frozen=True, array_like=True, tag="tally"):
    """What happened in a worker since its last tally; a sign of life as well."""

    opened: list[tuple[Flag, int]]
    closed: list[tuple[Flag, int]]
    frames: list[tuple[Flag, int]]
    refused: dict[str, int]
    dropped: dict[str, int]
    pushed: list[tuple[str, float]]
    answers: list[Answers]
    lags: list[float]


Down = (
    Begin
    | Began
    | Config
    | Loaded
    | Ended
    | Serve
    | Apply
    | LogTo
    | Others
    | Page
    | Refreshed
    | Seen
    | Kept
    | Echo
    | Drain
)  # from the leader
Up = Ready | Unable | Refresh | Accept | Open | Tally | Evaluations | Echo  # from a worker

_encoder = msgspec.msgpack.Encoder()
_decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {
    "down": msgspec.msgpack.Decoder(Down),
    "up": msgspec.msgpack.Decoder(Up),
}


class NotUnderstood(Exception):
    """Bytes that are no message."""


def encode(message: Down | Up) -> bytes:
    """Return a message's bytes."""
    return _encoder.encode(message)


def decode_down(data: bytes) -> Down:
    """Return what the leader said; raises ``NotUnderstood`` for anything else."""
    message: Down = _decoded("down", data)
    return message


def decode_up(data: bytes) -> Up:
    """Return what a worker said; raises ``NotUnderstood`` for anything else."""
    message: Up = _decoded("up", data)
    return message


def _decoded(direction: str, data: bytes) -> Any:
    try:
        return _decoders[direction].decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NotUnderstood(type(error).__name__) from error
