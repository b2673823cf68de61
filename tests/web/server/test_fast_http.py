"""A connection of the fast path: order, segments, deadlines, slow readers, waiting, hand-over and streams."""

from __future__ import annotations

import base64
import json
import random
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory

from gateway.settings import Certificate, Http, Tls
from gateway.telemetry import Metrics
from gateway.web.server.fast_http import (
    CLOSE_TIMEOUT,
    PIPELINE_LIMIT,
    SWEEP_SECONDS,
    TRANSITIONS,
    Event,
    FastHttp,
    FastHttpFactory,
    State,
)
from gateway.web.server.fast_stream import FastStream
from gateway.web.server.http1 import (
    BODY_DEADLINE,
    BODY_LIMIT,
    HEAD_DEADLINE,
    HEADER_LIMIT,
    REQUEST_LINE_LIMIT,
    UNREAD_TIMEOUT,
)
from gateway.web.server.route_matcher import RouteMatcher
from gateway.web.server.tls import Certificates, TlsError
from gateway.web.server.write_batch import TlsWriter
from server_paths import Client, ServerPaths, without_dates
from web_memory import SDK_KEY, FakeRegistry, MemorySite, parse_answer, request_bytes, settings_of

CONFIG = {
    "f": {
        "on": {"t": 0, "v": {"b": True}, "i": "v1"},
        "who": {
            "t": 1,
            "v": {"s": "nobody"},
            "i": "w0",
            "r": [{"c": [{"u": {"a": "Identifier", "c": 0, "l": ["a"]}}], "s": {"v": {"s": "a"}, "i": "w1"}}],
        },
    }
}
IDLE_TIMEOUT = Http().keep_alive_timeout
EVALUATE = request_bytes("POST", "/api/sdk1/eval", body='{"key":"who","user":{"Identifier":"a"}}')
KEYS = request_bytes("GET", "/api/sdk1/keys")
REFRESH = request_bytes("POST", "/api/sdk1/refresh")
HEAD = request_bytes("HEAD", "/api/sdk1/keys")
FILE = request_bytes("GET", "/configuration-files/configcat-proxy/sdk1/config_v6.json")


def stream_target(user: dict[str, Any]) -> str:
    return "/sse/sdk1/eval-all/" + base64.urlsafe_b64encode(json.dumps({"user": user}).encode()).decode()


OPEN = request_bytes("GET", stream_target({"Identifier": "a"}))
EXPECTING = request_bytes("POST", "/api/sdk1/eval", {"Expect": "100-continue"}, body='{"key":"on"}')
CHUNKED = (
    b"POST /api/sdk1/eval HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'5\r\n{"key\r\n7;x=y\r\n":"on"}\r\n0\r\n\r\n'
)


@pytest.fixture
def paths() -> ServerPaths:
    return ServerPaths(CONFIG)


class Waiting(ServerPaths):
    """Both paths, whose SDK is still loading."""

    def __init__(self) -> None:
        super().__init__(CONFIG, sdk={"snapshot": None, "loading": True})

    def loaded(self) -> None:
        for memory in (self.klein, self.fast):
            memory.sdk.first_fetch_ended(memory.snapshot)
            memory.hub.publish(memory.snapshot)


def statuses(data: bytes) -> list[int]:
    return [int(part[:3]) for part in data.split(b"HTTP/1.1 ")[1:]]


OWN = {
    "evaluate": EVALUATE,
    "evaluate, gzip": request_bytes("POST", "/api/sdk1/eval-all", {"Accept-Encoding": "gzip, br"}, body="{}"),
    "evaluate by key": request_bytes("POST", "/api/eval", {"X-ConfigCat-SdkKey": SDK_KEY}, body='{"key":"on"}'),
    "bad JSON": request_bytes("POST", "/api/sdk1/eval", body="{"),
    "no body": request_bytes("POST", "/api/sdk1/eval"),
    "unknown flag": request_bytes("POST", "/api/sdk1/eval", body='{"key":"none"}'),
    "unknown SDK": request_bytes("POST", "/api/sdk9/eval", body='{"key":"on"}'),
    "origin": request_bytes("POST", "/api/sdk1/eval", {"Origin": "https://a.test"}, body='{"key":"on"}'),
    "preflight": request_bytes("OPTIONS", "/api/sdk1/eval", {"Origin": "https://a.test"}),
    "file": FILE,
    "file, gzip": request_bytes("GET", f"/configuration-files/{SDK_KEY}/config_v6.json", {"Accept-Encoding": "gzip"}),
    "file, brotli": request_bytes("GET", f"/configuration-files/{SDK_KEY}/config_v6.json", {"Accept-Encoding": "br"}),
    "file, known": request_bytes("GET", f"/configuration-files/{SDK_KEY}/config_v6.json", {"If-None-Match": '"tag"'}),
    "file, known by query": request_bytes("GET", f'/configuration-files/{SDK_KEY}/config_v6.json?ccetag="tag"'),
    "file, head": request_bytes("HEAD", f"/configuration-files/{SDK_KEY}/config_v6.json"),
    "bulk": request_bytes(
        "POST", "/ofrep/v1/evaluate/flags", {"X-ConfigCat-SdkId": "sdk1"}, body='{"context":{"targetingKey":"a"}}'
    ),
    "single": request_bytes("POST", "/ofrep/v1/evaluate/flags/who", {"X-ConfigCat-SdkId": "sdk1"}, body="{}"),
    "single, escaped key": request_bytes("POST", "/ofrep/v1/evaluate/flags/wh%6f", {"X-ConfigCat-SdkId": "sdk1"}),
    "no such method": request_bytes("DELETE", "/api/sdk1/eval"),
    "no such route": request_bytes("GET", "/nowhere"),
    "coffee": request_bytes("GET", "/api/icanhascoffee"),
    "redirect": request_bytes("GET", "//api/sdk1/keys"),
    "stream": OPEN,
    "stream of one flag": request_bytes("GET", "/sse/sdk1/eval/eyJrZXkiOiJvbiJ9"),
    "stream of no flag": request_bytes("GET", "/sse/sdk1/eval/e30", {"Accept": "text/event-stream"}),
    "stream, head": request_bytes("HEAD", "/sse/sdk1/eval-all"),
    "stream, bad data": request_bytes("GET", "/sse/sdk1/eval-all/!"),
    "expectation": EXPECTING,
    "chunks": CHUNKED,
    "head": HEAD,
    "hook without SDK": request_bytes("POST", "/hook", body="{}"),
    "close": request_bytes("POST", "/api/sdk1/eval", {"Connection": "close"}, body='{"key":"on"}'),
}


@pytest.mark.parametrize("name", OWN)
def test_split_at_every_byte(paths: ServerPaths, name: str) -> None:
    """A request cut in two anywhere, or byte by byte, is answered with the bytes that Klein gives it whole."""
    request = OWN[name]
    whole, fast = paths.answers(request)
    assert whole == fast
    assert b"" != whole.data
    for cut in range(1, len(request)):
        client = Client(paths.factory)
        client.send(request[:cut])
        client.send(request[cut:])
        assert whole.data == without_dates(client.everything())
        client.hang_up()
    assert whole == paths.answers(request, piece=1)[1]
    assert 0 == len(paths.factory.open)


def test_pipelined_requests_are_answered_in_order(paths: ServerPaths) -> None:
    """Hot and handed-over requests in one segment get their answers in order; the connection stays handed over."""
    for batch in (
        [EVALUATE, KEYS, FILE] * 3,
        [EVALUATE, HEAD, KEYS, EVALUATE],
        [CHUNKED, EVALUATE],
        [KEYS, OPEN],
        [REFRESH, EVALUATE, REFRESH, KEYS],  # an answer that might have been waited for, and was there at once
    ):
        klein, fast = paths.answers(b"".join(batch))
        assert klein == fast
        assert len(batch) == fast.data.count(b"HTTP/1.1 200 OK")


def test_kept_alive(paths: ServerPaths) -> None:
    """One connection carries request after request, before and after it is handed over."""
    client = Client(paths.factory)
    for request, expected in ((EVALUATE, 200), (KEYS, 200), (HEAD, 200), (EVALUATE, 200), (OWN["no such route"], 404)):
        client.send(request)
        assert [expected] == statuses(client.received())
    assert not client.closed


def test_expect_100_continue(paths: ServerPaths) -> None:
    """``Expect: 100-continue`` is answered before the body comes."""
    client = Client(paths.factory)
    head, _, body = EXPECTING.partition(b"\r\n\r\n")
    client.send(head + b"\r\n\r\n")
    assert b"HTTP/1.1 100 Continue\r\n\r\n" == client.received()
    client.send(body)
    assert [200] == statuses(client.received())


def test_body_up_to_its_limit(paths: ServerPaths) -> None:
    """A body of 1 MiB in many segments is read; of one byte more the head is enough for a 413."""
    body = '{"key":"on"}' + " " * (BODY_LIMIT - 12)
    klein, fast = paths.answers(request_bytes("POST", "/api/sdk1/eval", body=body), 1460)
    assert klein == fast
    assert [200] == statuses(fast.data)
    head = request_bytes("POST", "/api/sdk1/eval", {"Content-Length": str(BODY_LIMIT + 1)}, body="")
    klein, fast = paths.answers(head)
    assert (klein, [413], True) == (fast, statuses(fast.data), fast.closed)


@pytest.mark.parametrize("piece", [0, 1460])
def test_heads_up_to_their_limits(paths: ServerPaths, piece: int) -> None:
    """Both paths take request lines, fields and numbers of fields up to the same limits, and refuse alike beyond."""
    line = b"GET /" + b"x" * (REQUEST_LINE_LIMIT - len("GET / HTTP/1.1"))
    room = HEADER_LIMIT - len("Host: g\r\nX: \r\n")
    start = b"GET /api/sdk1/keys HTTP/1.1\r\nHost: g\r\n"
    for data, expected in (
        (line + b" HTTP/1.1\r\nHost: g\r\n\r\n", 404),
        (line + b"x HTTP/1.1\r\nHost: g\r\n\r\n", 414),
        (line + b"x" * 20, 414),
        (start + b"X: " + b"y" * room + b"\r\n\r\n", 200),
        (start + b"X: " + b"y" * (room + 1) + b"\r\n\r\n", 431),
        (start + b"X: " + b"y" * (room + 1000), 431),
        (start + b"X: y\r\n" * 99 + b"\r\n", 200),
        (start + b"X: y\r\n" * 100 + b"\r\n", 431),
    ):
        klein, fast = paths.answers(data, piece)
        assert (klein, [expected]) == (fast, statuses(fast.data))


def test_long_stream_target_in_many_segments(paths: ServerPaths) -> None:
    """A stream whose user fills 64 KiB of the target opens on the fast path."""
    request = request_bytes("GET", stream_target({"Identifier": "a", "Note": "n" * 49_500}))
    assert len(request) > 64 * 1024
    klein, fast = paths.answers(request, 1460)
    assert klein == fast
    client = Client(paths.factory)
    client.send(request, 1460)
    assert isinstance(client.protocol, FastStream)


class Timed:
    """A factory that looks for late connections, on a clock that the test moves."""

    def __init__(self, memory: MemorySite, **more: Any) -> None:
        self.clock = memory.clock
        self.factory = FastHttpFactory(memory.site, memory.clock)
        self.factory.startFactory()
        self.client = Client(self.factory, **more)

    def wait(self, seconds: float) -> None:
        self.clock.pump([SWEEP_SECONDS] * int(seconds))
        self.client.turn()


@pytest.fixture
def timed(paths: ServerPaths) -> Timed:
    return Timed(paths.fast)


def test_a_tls_handshake_has_the_deadline_of_a_head(paths: ServerPaths, tmp_path: Path) -> None:
    """A client that does not finish it is cut; after it the idle timeout applies."""
    authority = trustme.CA()
    authority.issue_cert("g").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "pem"))
    certificate = Certificate(str(tmp_path / "pem"), str(tmp_path / "pem"))
    clock = paths.fast.clock
    wires = FastHttpFactory(paths.fast.site, clock, TlsWriter())
    wires.startFactory()
    certificates = Certificates(Tls(enabled=True, certificates=(certificate,)))
    factory = TLSMemoryBIOFactory(certificates, False, wires, clock)
    silent, slow, done = [Client(factory) for _ in range(3)]
    slow.send(b"\x16\x03\x01\x02\x00\x01")
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trust.wrap_bio(received, sent, server_hostname="g")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    done.send(sent.read())
    received.write(done.received())
    client.do_handshake()
    done.send(sent.read())
    clock.pump([SWEEP_SECONDS] * int(HEAD_DEADLINE + 2))
    assert [True, True, False] == [client.closed for client in (silent, slow, done)]
    clock.pump([SWEEP_SECONDS] * int(IDLE_TIMEOUT - HEAD_DEADLINE - 4))
    client.write(KEYS)
    done.send(sent.read())
    received.write(done.received())
    assert [200] == statuses(client.read(1000))
    wires.stopFactory()


def test_a_slow_head_is_refused(timed: Timed) -> None:
    """A head that is not whole in time is 408, however steadily its bytes drip; so is a second one."""
    timed.client.send(KEYS)
    assert [200] == statuses(timed.client.received())
    timed.wait(IDLE_TIMEOUT - 5)
    for number in range(int(HEAD_DEADLINE)):
        timed.client.send(KEYS[number : number + 1])
        timed.wait(1)
    assert b"" == timed.client.received()
    timed.wait(2)
    assert ([408], True) == (statuses(timed.client.received()), timed.client.closed)


def test_a_slow_body_is_refused(timed: Timed) -> None:
    """A body that does not come in time is 408; the time for its head does not count."""
    timed.client.send(EVALUATE[:20])
    timed.wait(HEAD_DEADLINE - 1)
    timed.client.send(EVALUATE[20:-2])
    timed.wait(BODY_DEADLINE - 1)
    assert (b"", False) == (timed.client.received(), timed.client.closed)
    timed.wait(3)
    assert ([408], True) == (statuses(timed.client.received()), timed.client.closed)


def test_an_idle_connection_is_closed_without_an_answer(timed: Timed) -> None:
    """A kept-alive connection that stays silent is closed, and no timer or connection is left behind."""
    timed.client.send(KEYS)
    timed.client.received()
    timed.wait(IDLE_TIMEOUT - 1)
    assert not timed.client.closed
    timed.wait(3)
    assert (b"", True, set()) == (timed.client.received(), timed.client.closed, timed.factory.open)
    timed.factory.stopFactory()
    assert [] == timed.clock.getDelayedCalls()


@pytest.mark.parametrize("first", [KEYS, HEAD], ids=["fast path", "Klein path"])
@pytest.mark.parametrize("seconds", [5, 620])
def test_the_idle_timeout_is_an_option(first: bytes, seconds: int) -> None:
    """Load balancers keep connections for up to ten minutes; a reload applies to the requests after it."""
    memory = MemorySite(CONFIG, {"http": {"keep_alive_timeout": seconds}})
    timed = Timed(memory)
    for _ in range(2):
        timed.client.send(first)
        assert [200] == statuses(timed.client.everything()), first
        timed.wait(seconds - 2)
        assert not timed.client.closed
    timed.wait(4)
    assert timed.client.closed
    memory.site.use(memory.site.prepare(settings_of({"http": {"keep_alive_timeout": 9}})))
    timed.client = Client(timed.factory)
    timed.client.send(first)
    timed.wait(7)
    assert not timed.client.closed
    timed.wait(4)
    assert timed.client.closed


def test_unread_answers_do_not_accumulate() -> None:
    """A client that only sends is soon neither read nor answered; when it reads, it gets every answer."""
    config = {"f": {"on": {"t": 1, "v": {"s": "x" * 4_000}, "i": "v1"}}}
    paths = ServerPaths(config)
    client = Client(paths.factory, window=60_000)
    client.send(FILE * 1000)
    assert client.transport.unsent < 80_000
    before = client.undelivered
    client.send(FILE * 200)
    assert client.undelivered - before == 200 * len(FILE)
    assert client.protocol._held_size <= 64 * 1024
    data = client.everything()
    assert 1200 == data.count(b"HTTP/1.1 200 OK")
    client.send(KEYS)
    assert [200] == statuses(client.received())


def test_client_that_never_reads_is_dropped(paths: ServerPaths) -> None:
    """Unread answers are kept for ``UNREAD_TIMEOUT`` and ``CLOSE_TIMEOUT``, then the connection is dropped."""
    settings = Http(keep_alive_timeout=3600)
    timed = Timed(MemorySite(CONFIG, {"http": {"keep_alive_timeout": settings.keep_alive_timeout}}), window=100)
    timed.client.send(FILE * 2000)
    timed.wait(UNREAD_TIMEOUT + 2)
    assert timed.client.transport.disconnecting
    assert not timed.client.closed
    timed.wait(CLOSE_TIMEOUT + 1)
    assert (True, set()) == (timed.client.closed, timed.factory.open)


def test_last_answers_are_read_after_the_close(paths: ServerPaths) -> None:
    """A slow reader that is being closed still gets what was sent to it, and then the end."""
    timed = Timed(paths.fast, window=100)
    timed.client.send(KEYS)
    timed.wait(IDLE_TIMEOUT + 2)
    assert ([200], True) == (statuses(timed.client.everything()), timed.client.closed)


EFFECTS = {
    # state: the state after HANDSHAKE_DONE, ANSWER_PENDING, ANSWER_READY, BUFFER_FULL, BUFFER_DRAINED, CLOSE, LEAVE
    State.OPEN: "OPEN WAITING OPEN BLOCKED OPEN CLOSING GONE",
    State.WAITING: "WAITING WAITING OPEN WAITING_BLOCKED WAITING WAITING GONE",
    State.BLOCKED: "BLOCKED BLOCKED BLOCKED BLOCKED OPEN CLOSING GONE",
    State.WAITING_BLOCKED: "WAITING_BLOCKED WAITING_BLOCKED BLOCKED WAITING_BLOCKED WAITING WAITING_BLOCKED GONE",
    State.HANDSHAKE: "OPEN HANDSHAKE HANDSHAKE HANDSHAKE HANDSHAKE HANDSHAKE GONE",
    State.CLOSING: "CLOSING CLOSING CLOSING CLOSING CLOSING CLOSING GONE",
    State.GONE: "GONE GONE GONE GONE GONE GONE GONE",
}


@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
def test_each_event_in_each_state(state: State) -> None:
    """Every event leads from each state to the one that is written down, and every entry of the table counts."""
    after = []
    for event in Event:
        connection = FastHttp()
        connection._state = state
        connection._on(event)
        after.append(connection._state.name)
    assert EFFECTS[state].split() == after
    assert all(type(before) is State and type(after) is State for (before, _), after in TRANSITIONS.items())


def test_states_of_a_connection() -> None:
    """A connection walks through the states as its client, its answers and its transport make it."""
    paths = Waiting()
    client = Client(paths.factory, window=100)
    connection = client.protocol
    assert State.OPEN is connection._state
    client.send(EVALUATE)
    assert State.WAITING is connection._state
    connection.pauseProducing()
    assert State.WAITING_BLOCKED is connection._state
    client.send(KEYS)
    connection.timed_out()
    assert (State.WAITING_BLOCKED, len(KEYS)) == (connection._state, client.undelivered + connection._held_size)
    paths.loaded()
    assert State.BLOCKED is connection._state
    connection.resumeProducing()
    assert State.OPEN is connection._state
    connection.timed_out()
    assert (State.CLOSING, True) == (connection._state, client.transport.disconnecting)
    connection.dataReceived(KEYS)
    assert (State.CLOSING, 0) == (connection._state, connection._held_size)
    connection.timed_out()
    assert (State.GONE, True) == (connection._state, client.closed)


@pytest.mark.parametrize("request_bytes", [OPEN, HEAD], ids=["stream", "Klein path"])
def test_a_connection_that_is_no_longer_of_the_fast_path(paths: ServerPaths, request_bytes: bytes) -> None:
    """An event stream and a hand-over leave the protocol in its last state."""
    client = Client(paths.factory)
    connection = client.protocol
    client.send(request_bytes)
    assert (State.GONE, set()) == (connection._state, paths.factory.open)


def test_requests_behind_one_that_waits() -> None:
    """While an SDK loads nothing overtakes: what came behind is answered after it, in order."""
    paths = Waiting()
    klein, fast = paths.clients()
    coffee = OWN["coffee"]
    for client in (klein, fast):
        client.send(EVALUATE + coffee)
        client.send(KEYS[:30])
        client.send(KEYS[30:] + HEAD)
        assert b"" == client.received()
    assert 1 == paths.fast.site.answering
    paths.loaded()
    assert 0 == paths.fast.site.answering
    answers = [without_dates(client.everything()) for client in (klein, fast)]
    assert answers[0] == answers[1]
    assert [200, 418, 200, 200] == statuses(answers[1])


def test_several_wait_on_one_connection() -> None:
    """Two requests that have to wait for the first fetch are both answered when it has ended badly."""
    paths = Waiting()
    client = Client(paths.factory)
    client.send(EVALUATE + EVALUATE)
    paths.fast.sdk.first_fetch_ended(None)
    assert [500, 500] == statuses(client.everything())


def test_no_deadline_while_waiting() -> None:
    """A connection that waits for us is not late, and gets its whole idle time afterwards."""
    paths = Waiting()
    timed = Timed(paths.fast)
    timed.client.send(EVALUATE + KEYS[:10])
    timed.wait(2 * IDLE_TIMEOUT)
    assert not timed.client.closed
    paths.loaded()
    assert [200] == statuses(timed.client.received())
    timed.wait(HEAD_DEADLINE - 1)
    timed.client.send(KEYS[10:])
    assert [200] == statuses(timed.client.received())


def test_too_much_behind_a_waiting_request_is_not_read() -> None:
    """At most 64 KiB, and the segment that exceeds them, are read of what cannot be answered yet."""
    paths = Waiting()
    client = Client(paths.factory)
    client.send(EVALUATE)
    client.send(KEYS * 10_000)
    assert client.protocol._held_size <= 2 * PIPELINE_LIMIT
    assert client.undelivered > 0
    paths.loaded()
    assert 10_001 == client.everything().count(b"HTTP/1.1 200 OK")


def test_client_that_leaves_while_waiting() -> None:
    """The answer to a client that hung up is dropped without a log line; a shutdown does not wait for it."""
    paths = Waiting()
    client = Client(paths.factory)
    client.send(EVALUATE + KEYS)
    client.hang_up()
    paths.loaded()
    assert (b"", 0, set()) == (client.received(), paths.fast.site.answering, paths.factory.open)


def test_stream_after_waiting_goes_on_reading() -> None:
    """A stream that had to wait opens; that its client then leaves is noticed, however much it had sent before."""
    paths = Waiting()
    client = Client(paths.factory)
    client.send(OPEN)
    client.send(KEYS * 10_000)
    assert client.transport not in client.transport.interest.readers
    paths.loaded()
    assert client.received().startswith(b"HTTP/1.1 200 OK")
    assert client.transport in client.transport.interest.readers or client.closed


def test_bytes_behind_a_stream_are_ignored(paths: ServerPaths) -> None:
    """What a client sends behind the request of a stream is not answered, at once or later."""
    klein, fast = paths.clients()
    for client in (klein, fast):
        client.send(OPEN + KEYS)
        client.send(KEYS)
    answers = [without_dates(client.everything()) for client in (klein, fast)]
    assert answers[0] == answers[1]
    assert [200] == statuses(answers[1])
    assert isinstance(fast.protocol, FastStream)
    assert set() == paths.factory.open
    fast.hang_up()
    assert [] == paths.fast.hub.subscribers()


def test_reload_between_requests(paths: ServerPaths) -> None:
    """The next request on an open connection is answered under the new settings, though its head was seen before."""
    client = Client(paths.factory)
    client.send(EVALUATE)
    assert None is parse_answer(client.received())["X-New"]
    paths.fast.site.use(paths.fast.site.prepare(settings_of({"http": {"api": {"headers": {"X-New": "1"}}}})))
    client.send(EVALUATE)
    assert "1" == parse_answer(client.received())["X-New"]
    paths.fast.site.use(paths.fast.site.prepare(settings_of({"http": {"api": {"enabled": False}}})))
    client.send(EVALUATE)
    assert [404] == statuses(client.received())


def test_an_answer_that_raises_costs_one_request(paths: ServerPaths, logged_errors: Any, monkeypatch: Any) -> None:
    """An answer that raises is 500 and logged; the connection stays open."""
    monkeypatch.setattr(paths.fast.registry, "by_id", lambda _: 1 / 0)
    client = Client(paths.factory)
    client.send(EVALUATE)
    assert [500] == statuses(client.received())
    assert 1 == len(logged_errors.flush())
    monkeypatch.undo()
    client.send(EVALUATE)
    assert [200] == statuses(client.received())


def test_sdk_that_goes_away_as_its_stream_opens(paths: ServerPaths) -> None:
    """A stream whose SDK was just removed is refused alike by both paths, and the connection stays open."""
    for memory in (paths.klein, paths.fast):
        memory.site.routes.dispatcher.context.hubs.clear()  # type: ignore[attr-defined]
    klein, fast = paths.answers(OPEN + KEYS)
    assert (klein, [500, 200]) == (fast, statuses(fast.data))


def test_caches_of_heads_are_bounded(paths: ServerPaths) -> None:
    """More different heads than the cache holds are all answered correctly."""
    client = Client(paths.factory)
    for number in range(1200):
        client.send(request_bytes("POST", f"/api/sdk{number % 7}/eval", {"X": str(number)}, body='{"key":"on"}'))
        assert [200 if number % 7 == 1 else 404] == statuses(client.received())
    assert len(paths.factory.matcher._heads) <= 512


def test_stream_targets_are_not_cached(paths: ServerPaths) -> None:
    """A target that contains a user is not kept in memory."""
    client = Client(paths.factory)
    client.send(OPEN)
    assert ({}, {}) == (paths.factory.matcher._heads, paths.factory.matcher._targets)


PLAIN_LINES = [b"GET /sse/sdk1/eval-all/eyJ9?mode=delta", b"POST /api/sdk1/eval", b"GET /nowhere", b"OPTIONS /status"]
RARE_LINES = [
    b"GET /status\x01", b"GET /st\xc3\xa4tus", b"GET  /status", b"GET /sta tus", b"HEAD /status", b"GET status",
    b"get /status", b"GET /status/" + b"x" * REQUEST_LINE_LIMIT, b"GET /status\n",
]  # fmt: skip
FIELDS = [b"Host: g", b"Host: g\r\nContent-Length: 3", b"Host: g\r\nConnection: close", b"X: 1", b"Host: g\r\nX: \x00"]


@pytest.mark.parametrize("fields", FIELDS)
def test_a_head_is_read_alike_when_its_fields_were_seen_before(paths: ServerPaths, fields: bytes) -> None:
    """The fields of another request with the same ones are used again; the request line is judged each time."""
    routes = paths.factory.matcher
    used = RouteMatcher(paths.fast.site.routes.dispatcher)
    for line in PLAIN_LINES:  # all fields are known from here on
        used.match(line + b" HTTP/1.1\r\n" + fields + b"\r\n\r\n")
    for line in PLAIN_LINES + RARE_LINES:
        for version in (b" HTTP/1.1", b" HTTP/1.0", b""):
            head = line + version + b"\r\n" + fields + b"\r\n\r\n"
            routes._fields.clear()
            routes._heads.clear()
            assert routes.match(head) == used.match(head)


def test_fields_are_kept_within_bounds(paths: ServerPaths) -> None:
    """Streams with many different fields, and with long ones, do not fill the memory."""
    client = Client(paths.factory)
    for number in range(600):
        client.send(request_bytes("GET", "/api/sdk1/keys", {"X": f"{number}"}))
    client.send(request_bytes("GET", "/api/sdk1/keys", {"X": "x" * 2000}))
    known = paths.factory.matcher._fields
    assert 0 < len(known) <= 512
    assert all(len(fields) <= 1024 for fields in known)


def test_nothing_comes_after_the_last_chunk(paths: ServerPaths) -> None:
    """A slow reader whose stream has been ended, and which is still reading, is sent no later event or heartbeat."""
    client = Client(paths.factory, window=400)
    client.send(OPEN)
    (subscriber,) = paths.fast.hub.subscribers()
    subscriber.write(b"x" * 500)
    subscriber.outlet.finish()
    subscriber.write(b"late")
    assert client.everything().endswith(b"x\r\n0\r\n\r\n")
    assert client.closed


def test_certificates_that_broke_since_they_were_checked_leave_everything_as_it_was(
    tmp_path: Path,
) -> None:
    """A reload reads them before it changes any answer."""
    from gateway.serving import LocalServer

    pem, missing = str(tmp_path / "pem"), str(tmp_path / "missing.pem")
    trustme.CA().issue_cert("g").private_key_and_cert_chain_pem.write_to_path(pem)
    tls = {"enabled": True, "certificates": [{"cert": pem, "key": pem}]}
    server = LocalServer(
        Clock(), FakeRegistry(), settings_of({"tls": tls}), metrics=Metrics(lambda: 0.0, "test"), status_document=dict,
        rng=random.Random(1), keep=lambda _: succeed(None),
    )  # fmt: skip
    server.factory()
    routes = server.site.routes
    broken = {"enabled": True, "certificates": [{"cert": missing, "key": pem}]}
    with pytest.raises(TlsError, match=r"missing\.pem"):
        server.check(settings_of({"tls": broken, "http": {"api": {"enabled": False}}}))()
    assert routes is server.site.routes
    server.check(settings_of({"tls": tls, "http": {"api": {"enabled": False}}}))()
    assert routes is not server.site.routes
