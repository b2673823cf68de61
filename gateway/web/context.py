"""What the answers need besides the call: SDKs, streams, the clock, and the few things that are remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import define, field, frozen

from gateway.logger import component_logger
from gateway.web.compress import Encodings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from twisted.internet.interfaces import IReactorTime

    from gateway.export import Collector
    from gateway.flags import Result, User
    from gateway.settings import Sdk as SdkSettings
    from gateway.web.answers.stream_token import Authority
    from gateway.web.auth import Network
    from gateway.web.ports import Hub, Registry

_log = component_logger("http.sse")  # the streams' level decides, not that of requests

REPLAY_LIMIT = 10_000  # webhook ids remembered; ConfigCat sends one per change, so hours of the busiest product


class Accepted(Protocol):
    """The ids of accepted webhook calls, wherever they are kept."""

    def seen(self, sdk_id: str, call_id: bytes, until: float, now: float) -> bool | Awaitable[bool]:
        """Return whether this id was accepted before; remember it until ``until`` if not."""


@define
class Replays:
    """The ids of accepted webhook calls, each kept for as long as its timestamp stays acceptable.

    At the bound the oldest id is forgotten: its call could then be repeated, which costs one fetch.
    """

    _until: dict[tuple[str, bytes], float] = field(factory=dict)
    _limit: int = REPLAY_LIMIT

    def seen(self, sdk_id: str, call_id: bytes, until: float, now: float) -> bool:
        """Return whether this id was accepted before and is still remembered; remember it until ``until`` if not."""
        known = self._until.get((sdk_id, call_id))
        if known is not None and known >= now:
            return True
        self._until.pop((sdk_id, call_id), None)
        self._forget(now)
        self._until[sdk_id, call_id] = until
        return False

    def _forget(self, now: float) -> None:
        while self._until:
            oldest = next(iter(self._until))
            if self._until[oldest] >= now and len(self._until) < self._limit:
                return
            del self._until[oldest]


@define
class OpenStreams:
    """How many streams are open, in all and per caller's address; ``traced`` has the log say so at each change."""

    total: int = 0
    by_address: dict[str, int] = field(factory=dict)
    traced: bool = False

    def opened(self, address: str) -> None:
        """Count a stream of ``address``."""
        self.total += 1
        self.by_address[address] = self.by_address.get(address, 0) + 1
        if self.traced:
            _log.debug("a stream opened, {total} are open", total=self.total)

    def closed(self, address: str) -> None:
        """Stop counting a stream of ``address``."""
        self.total -= 1
        left = self.by_address[address] - 1
        if left:
            self.by_address[address] = left
        else:
            del self.by_address[address]
        if self.traced:
            _log.debug("a stream ended, {total} are open", total=self.total)


@define
class Memory:
    """What outlives a reload of the settings."""

    replays: Accepted = field(factory=Replays)
    streams: OpenStreams = field(factory=OpenStreams)
    waiting: int = 0  # answers that wait for a config which the caller has seen and this process has not


@frozen
class StreamLimits:
    """Caps on open streams; 0 is none."""

    total: int = 0
    per_address: int = 0


@frozen
class Context:
    """The world of the answers; a reload makes a new one, and what is remembered is carried over."""

    registry: Registry
    hubs: Mapping[str, Hub]
    clock: IReactorTime
    status_document: Callable[[], Mapping[str, object]]
    sdks: Mapping[str, SdkSettings] = field(factory=dict)
    webhook_authenticated: bool = False
    refresh_authenticated: bool = False
    trusted: tuple[Network, ...] = ()
    limits: StreamLimits = field(default=StreamLimits())
    stream_retry: Callable[[], int] = field(default=lambda: 5_000)
    evaluations: Collector | None = None
    evaluated: Callable[[Result, User | None], None] | None = None  # told of each flag evaluated alone, where wanted
    evaluated_all: Callable[[Sequence[Result], User | None], None] | None = None  # and of all flags at once
    stream_refused: Callable[[str], None] = field(default=lambda _reason: None)
    authority: Authority | None = None
    memory: Memory = field(factory=Memory)
    encodings: Encodings = field(factory=Encodings)
    keys: dict[str, tuple[object, bytes]] = field(factory=dict)
