"""The web room without sockets: fake SDKs, and a client that speaks HTTP/1.1 to a real site over memory."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

import msgspec
from attrs import define, field, frozen
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from gateway.flags import Snapshot, load
from gateway.settings import Settings
from gateway.streams import HeartbeatWheel, Hub
from gateway.web import Context

SDK_KEY = "configcat-sdk-1/AAAAAAAAAAAAAAAAAAAAAA/BBBBBBBBBBBBBBBBBBBBBB"
NOW = 1_700_000_000.0


@frozen
class Refreshed:
    error: str | None = None
    cut_off: bool = False


@define(eq=False)
class FakeSdk:
    """An SDK whose fetches the test ends by hand, or at once when ``instant``."""

    id: str
    key: str
    snapshot: Snapshot | None = None
    defaults: Mapping[str, Any] = field(factory=dict)
    loading: bool = False
    instant: bool = True
    error: str | None = None
    cut_off: bool = False
    failed_cut_off: bool = False  # in the result of a fetch
    waiting: list[Deferred[None]] = field(factory=list)
    refreshes: list[bool] = field(factory=list)  # each call's ``limited``
    credits: list[bytes] = field(factory=list)  # each call's
    pending: list[Deferred[Refreshed]] = field(factory=list)

    def when_loaded(self) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self.waiting.append(done)
        return done

    def first_fetch_ended(self, snapshot: Snapshot | None) -> None:
        self.snapshot, self.loading = snapshot, False
        waiting, self.waiting = self.waiting, []
        for done in waiting:
            done.callback(None)

    def refresh(self, *, limited: bool = False, credit: bytes = b"") -> Deferred[Refreshed]:
        self.refreshes.append(limited)
        self.credits.append(credit)
        if self.instant:
            return succeed(Refreshed(self.error, cut_off=self.failed_cut_off))
        done: Deferred[Refreshed] = Deferred()
        self.pending.append(done)
        return done


class FakeRegistry:
    def __init__(self, *sdks: FakeSdk) -> None:
        self.sdks = sdks

    def by_id(self, sdk_id: str) -> FakeSdk | None:
        return next((sdk for sdk in self.sdks if sdk.id == sdk_id), None)

    def by_key(self, key: str) -> FakeSdk | None:
        return next((sdk for sdk in self.sdks if sdk.key == key and key), None)


class NoMetrics:
    def stream_opened(self, sdk: str, flag: str | None) -> None: ...
    def stream_closed(self, sdk: str, flag: str | None) -> None: ...
    def frames_sent(self, sdk: str, flag: str | None, count: int) -> None: ...


@define
class RecordedMetrics:
    """``WebMetrics`` that records route, method and status of each reply."""

    answers: list[tuple[str, str, int]] = field(factory=list)
    refusals: list[str] = field(factory=list)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        assert seconds >= 0
        self.answers.append((route, method, status))

    def stream_refused(self, reason: str) -> None:
        self.refusals.append(reason)


@frozen
class Answer:
    """A response. Header names are as received."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def __getitem__(self, name: str) -> str | None:
        """Return the header's values, joined, whatever the case of its name."""
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(found) if found else None

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@define
class Connection:
    """One connection to a site."""

    site: Any
    peer: str = "192.0.2.7"
    transport: StringTransport = field(init=False)
    protocol: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.transport = StringTransport(peerAddress=IPv4Address("TCP", self.peer, 40000))
        self.protocol = self.site.buildProtocol(self.transport.getPeer())
        self.protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    def received(self) -> bytes:
        """Return what has arrived since the last call."""
        data = self.transport.value()
        self.transport.clear()
        return data

    @property
    def closed(self) -> bool:
        return bool(self.transport.disconnecting or self.transport.disconnected)

    def hang_up(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))


def request_bytes(
    method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | str | None = None
) -> bytes:
    """Return one HTTP/1.1 request."""
    raw = body.encode() if isinstance(body, str) else body
    lines = {"Host": "gateway.test", **(headers or {})}
    if raw is not None or method == "POST":
        lines.setdefault("Content-Length", str(len(raw or b"")))
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return head.encode("latin-1") + b"\r\n" + (raw or b"")


def parse_answer(data: bytes) -> Answer:
    """Return the one answer in ``data``; a chunked body is joined as far as it has arrived."""
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = tuple((name, value) for name, _, value in (line.partition(": ") for line in lines))
    answer = Answer(int(status.split(" ")[1]), headers, body)
    if answer["transfer-encoding"] == "chunked":
        return Answer(answer.status, headers, _dechunked(body))
    return answer


def _dechunked(data: bytes) -> bytes:
    whole = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        whole += data[: int(size, 16)]
        data = data[int(size, 16) + 2 :]
    return whole


class MemorySite:
    """A site over memory with one SDK ``sdk1``, its hub, and a clock that only the test moves."""

    def __init__(
        self,
        config: object,
        settings: Mapping[str, Any] | None = None,
        *,
        etag: str = '"tag"',
        sdk: Mapping[str, Any] | None = None,
    ) -> None:
        from gateway.web.server.site import make_site

        self.clock = Clock()
        self.clock.advance(NOW)
        body = config if isinstance(config, bytes) else json.dumps(config).encode()
        self.snapshot = load(body, etag)
        self.sdk = FakeSdk("sdk1", SDK_KEY, **{"snapshot": self.snapshot, **(sdk or {})})
        self.registry = FakeRegistry(self.sdk)
        self.metrics = RecordedMetrics()
        wheel = HeartbeatWheel(20, 60, lambda subscriber: subscriber.outlet.abort())
        self.hub = Hub(
            "sdk1", self.sdk.snapshot, wheel=wheel, now=self.clock.seconds, rng=random.Random(1), metrics=NoMetrics()
        )
        context = Context(self.registry, {"sdk1": self.hub}, self.clock, lambda: {"status": "healthy"})
        self.site = make_site(context, settings_of(settings or {}), self.metrics, rng=random.Random(2))

    def connect(self, peer: str = "192.0.2.7") -> Connection:
        return Connection(self.site, peer)

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | str | None = None,
        *,
        peer: str = "192.0.2.7",
    ) -> Answer:
        """Return the answer to one request on a connection of its own."""
        connection = self.connect(peer)
        connection.send(request_bytes(method, path, headers, body))
        answer = parse_answer(connection.received())
        connection.hang_up()
        return answer


def settings_of(values: Mapping[str, Any]) -> Settings:
    """Return settings without validation across options; an SDK ``sdk1`` is always there."""
    merged = {**values, "sdks": {"sdk1": {"key": SDK_KEY}, **values.get("sdks", {})}}
    return msgspec.convert(merged, Settings)
