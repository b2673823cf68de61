"""What answers need besides the request: SDKs, streams, the clock, and the state that outlives a reload."""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING, Protocol

from attrs import Factory, define, field, frozen

from gateway.clocks import wall_clock
from gateway.identity import IssuerKeys
from gateway.logger import component_logger
from gateway.web.callers import CallerState
from gateway.web.client_log import ClientLog
from gateway.web.compress import ConfigEncodings
from gateway.web.public_url import PublicUrl
from gateway.web.stream_url import StreamUrls
from gateway.web.user_sample import UserSample

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from twisted.internet.interfaces import IReactorTime

    from gateway.export import Collector
    from gateway.flags import Result, User
    from gateway.settings import OtherAttributes
    from gateway.settings import Sdk as SdkSettings
    from gateway.streams import Hub
    from gateway.web.auth import Network
    from gateway.web.callers import Caller
    from gateway.web.ports import RefusalReason, Registry
    from gateway.web.stream_token import StreamTokens
    from gateway.web.values import Call, Reply

_log = component_logger("http.sse")  # the level of streams applies, not that of requests

CALL_ID_LIMIT = 10_000  # webhook call ids kept; ConfigCat sends one per change, so hours of the busiest product


class CallIds(Protocol):
    """The ids of accepted webhook calls, of this process or of all workers."""

    def seen(self, sdk_id: str, call_id: bytes, until: float, now: float) -> bool | Awaitable[bool]:
        """Return whether the id was accepted before; if not, keep it until ``until``."""


@define
class RecentCallIds:
    """The ids of webhook calls that this process accepted, each kept while its timestamp is acceptable.

    At the limit the oldest id is dropped: its call can then be repeated, which costs one fetch.
    """

    _until: dict[tuple[str, bytes], float] = field(factory=dict)
    _limit: int = CALL_ID_LIMIT

    def seen(self, sdk_id: str, call_id: bytes, until: float, now: float) -> bool:
        """Return whether the id was accepted before and is still kept; if not, keep it until ``until``."""
        known = self._until.get((sdk_id, call_id))
        if known is not None and known >= now:
            return True
        self._until.pop((sdk_id, call_id), None)
        self._drop_oldest(now)
        self._until[sdk_id, call_id] = until
        return False

    def _drop_oldest(self, now: float) -> None:
        while self._until:
            oldest = next(iter(self._until))
            if self._until[oldest] >= now and len(self._until) < self._limit:
                return
            del self._until[oldest]


@define
class OpenStreams:
    """Number of open streams, in total and per client address; with ``log_changes`` each change is a log line."""

    total: int = 0
    by_address: dict[str, int] = field(factory=dict)
    log_changes: bool = False

    def opened(self, address: str) -> None:
        """Count a stream of ``address``."""
        self.total += 1
        self.by_address[address] = self.by_address.get(address, 0) + 1
        if self.log_changes:
            _log.debug("stream opened, {total} open", total=self.total)

    def closed(self, address: str) -> None:
        """Stop counting a stream of ``address``."""
        self.total -= 1
        left = self.by_address[address] - 1
        if left:
            self.by_address[address] = left
        else:
            del self.by_address[address]
        if self.log_changes:
            _log.debug("stream closed, {total} open", total=self.total)


@define
class WebState:
    """What outlives a reload of the settings; a worker brings its own ``call_ids``, ``streams`` and ``issuers``.

    ``own_secret`` seals the stream URLs of signed users where ``http.sse.url_secret`` is empty; all processes of one
    gateway have the same.
    """

    call_ids: CallIds = field(factory=RecentCallIds)
    streams: OpenStreams = field(factory=OpenStreams)
    issuers: IssuerKeys = field(factory=IssuerKeys)
    own_secret: bytes = field(factory=lambda: os.urandom(32), repr=False)
    callers: defaultdict[str, CallerState] = field(factory=lambda: defaultdict(CallerState))  # by name, with keys
    waiting_for_keys: int = 0  # answers that wait for the key set of an issuer
    waiting: int = 0  # answers that wait for a config which the client has and this process has not


class Callers(Protocol):
    """The callers with keys, for stream URLs, which name one."""

    def context_of(self, name: str) -> Context | None:
        """Return the context of the caller ``name``; None for one that has no key any more."""

    def admit(self, name: str, group: str, call: Call) -> Reply | None:
        """Count a request of the caller ``name``, and return None; or the refusal."""


@frozen
class StreamLimits:
    """Limits on open streams; 0 is no limit."""

    total: int = 0
    per_address: int = 0


@frozen
class Context:
    """What every answer can use under the current settings; a reload makes a new one around the same ``state``."""

    registry: Registry
    hubs: Mapping[str, Hub]
    clock: IReactorTime
    status_document: Callable[[], Mapping[str, object]]
    sdks: Mapping[str, SdkSettings] = field(factory=dict)
    webhook_authenticated: bool = False
    refresh_authenticated: bool = False
    trusted_proxies: tuple[Network, ...] = ()
    limits: StreamLimits = field(default=StreamLimits())
    stream_retry: Callable[[], int] = field(default=lambda: 5_000)  # milliseconds
    collector: Collector | None = None
    on_evaluated: Callable[[Result, User | None], None] | None = None  # one flag; None when not exported
    on_all_evaluated: Callable[[Sequence[Result], User | None], None] | None = None  # all flags at once
    room_for_stream: Callable[[], bool] = field(default=lambda: True)  # of the limit of open files
    stream_refused: Callable[[RefusalReason], None] = field(default=lambda _reason: None)
    stream_tokens: StreamTokens | None = None  # None without OFREP streams
    stream_urls: StreamUrls = field(factory=StreamUrls.from_settings)
    public_url: PublicUrl = field(default=PublicUrl())
    other_attributes: OtherAttributes = "convert"  # of OFREP contexts
    sample: UserSample = field(default=Factory(lambda self: UserSample(self.clock), takes_self=True))
    clients: ClientLog = field(
        default=Factory(lambda self: ClientLog(self.clock, wall_clock(self.clock), sampling=False), takes_self=True)
    )
    caller: Caller | None = None  # whose key the request has; None where no key is needed
    callers: Callers | None = None  # None without keys
    state: WebState = field(factory=WebState)
    encodings: ConfigEncodings = field(factory=ConfigEncodings)
    key_lists: dict[str, tuple[object, bytes]] = field(factory=dict)  # SDK id -> snapshot, the answer of /api/keys
