"""A connection on the wire: order, segments, deadlines, slow readers, waiting, hand-over and streams."""

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

from gateway.settings import Certificate, Tls
from gateway.telemetry import NoMetrics
from gateway.web.server.fast_http import CLOSE_TIMEOUT, IDLE_TIMEOUT, PIPELINE_LIMIT
from gateway.web.server.fast_http_factory import SWEEP_SECONDS, WireFactory
from gateway.web.server.fast_stream import WireStream
from gateway.web.server.http1 import BODY_DEADLINE, BODY_LIMIT, HEAD_DEADLINE, HEADER_LIMIT, REQUEST_LINE_LIMIT
from gateway.web.server.tls import Certificates, TlsError
from gateway.web.server.write_batch import TlsLink
from web_memory import SDK_KEY, FakeRegistry, MemorySite, parse_answer, request_bytes, settings_of
from wire_memory import Carriers, Link, settled

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
def carriers() -> Carriers:
    return Carriers(CONFIG)


class Waiting(Carriers):
    """Carriers whose SDK is still loading."""

    def __init__(self) -> None:
        super().__init__(CONFIG, sdk={"snapshot": None, "loading": True})

    def loaded(self) -> None:
        for memory in (self.klein, self.wire):
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
def test_split_at_every_byte(carriers: Carriers, name: str) -> None:
    """A request cut in two anywhere, or byte by byte, is answered with the bytes that Klein gives it whole."""
    request = OWN[name]
    whole, wire = carriers.said(request)
    assert whole == wire
    assert b"" != whole.data
    for cut in range(1, len(request)):
        link = Link(carriers.factory)
        link.send(request[:cut])
        link.send(request[cut:])
        assert whole.data == settled(link.everything())
        link.hang_up()
    assert whole == carriers.said(request, piece=1)[1]
    assert 0 == len(carriers.factory.open)


def test_pipelined_requests_are_answered_in_order(carriers: Carriers) -> None:
    """Hot and handed-over requests in one segment get their answers in order; the connection stays handed over."""
    for batch in (
        [EVALUATE, KEYS, FILE] * 3,
        [EVALUATE, HEAD, KEYS, EVALUATE],
        [CHUNKED, EVALUATE],
        [KEYS, OPEN],
        [REFRESH, EVALUATE, REFRESH, KEYS],  # an answer that might have been waited for, and was there at once
    ):
        klein, wire = carriers.said(b"".join(batch))
        assert klein == wire
        assert len(batch) == wire.data.count(b"HTTP/1.1 200 OK")


def test_kept_alive(carriers: Carriers) -> None:
    """One connection carries request after request, before and after it is handed over."""
    link = Link(carriers.factory)
    for request, expected in ((EVALUATE, 200), (KEYS, 200), (HEAD, 200), (EVALUATE, 200), (OWN["no such route"], 404)):
        link.send(request)
        assert [expected] == statuses(link.received())
    assert not link.closed


def test_asks_to_continue(carriers: Carriers) -> None:
    """``Expect: 100-continue`` is answered before the body comes."""
    link = Link(carriers.factory)
    head, _, body = EXPECTING.partition(b"\r\n\r\n")
    link.send(head + b"\r\n\r\n")
    assert b"HTTP/1.1 100 Continue\r\n\r\n" == link.received()
    link.send(body)
    assert [200] == statuses(link.received())


def test_body_up_to_its_limit(carriers: Carriers) -> None:
    """A body of 1 MiB in many segments is read; of one byte more the head is enough for a 413."""
    body = '{"key":"on"}' + " " * (BODY_LIMIT - 12)
    klein, wire = carriers.said(request_bytes("POST", "/api/sdk1/eval", body=body), 1460)
    assert klein == wire
    assert [200] == statuses(wire.data)
    head = request_bytes("POST", "/api/sdk1/eval", {"Content-Length": str(BODY_LIMIT + 1)}, body="")
    klein, wire = carriers.said(head)
    assert (klein, [413], True) == (wire, statuses(wire.data), wire.closed)


@pytest.mark.parametrize("piece", [0, 1460])
def test_heads_up_to_their_limits(carriers: Carriers, piece: int) -> None:
    """Both carriers take request lines, fields and numbers of fields up to the same limits, and refuse alike beyond."""
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
        klein, wire = carriers.said(data, piece)
        assert (klein, [expected]) == (wire, statuses(wire.data))


def test_long_stream_target_in_many_segments(carriers: Carriers) -> None:
    """A stream whose user fills 64 KiB of the target opens on the wire."""
    request = request_bytes("GET", stream_target({"Identifier": "a", "Note": "n" * 49_500}))
    assert len(request) > 64 * 1024
    klein, wire = carriers.said(request, 1460)
    assert klein == wire
    link = Link(carriers.factory)
    link.send(request, 1460)
    assert isinstance(link.protocol, WireStream)


class Timed:
    """A factory that looks for late connections, on a clock that the test moves."""

    def __init__(self, memory: MemorySite, **more: Any) -> None:
        self.clock = memory.clock
        self.factory = WireFactory(memory.site, memory.clock)
        self.factory.startFactory()
        self.link = Link(self.factory, **more)

    def wait(self, seconds: float) -> None:
        self.clock.pump([SWEEP_SECONDS] * int(seconds))
        self.link.turn()


@pytest.fixture
def timed(carriers: Carriers) -> Timed:
    return Timed(carriers.wire)


def test_a_handshake_has_the_time_of_a_head(carriers: Carriers, tmp_path: Path) -> None:
    """A client that does not end it is cut; one that has may then be silent for as long as on any connection."""
    authority = trustme.CA()
    authority.issue_cert("g").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "pem"))
    certificate = Certificate(str(tmp_path / "pem"), str(tmp_path / "pem"))
    clock = carriers.wire.clock
    wires = WireFactory(carriers.wire.site, clock, TlsLink())
    wires.startFactory()
    certificates = Certificates(Tls(enabled=True, certificates=(certificate,)))
    factory = TLSMemoryBIOFactory(certificates, False, wires, clock)
    silent, slow, done = [Link(factory) for _ in range(3)]
    slow.send(b"\x16\x03\x01\x02\x00\x01")
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    heard, said = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trust.wrap_bio(heard, said, server_hostname="g")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    done.send(said.read())
    heard.write(done.received())
    client.do_handshake()
    done.send(said.read())
    clock.pump([SWEEP_SECONDS] * int(HEAD_DEADLINE + 2))
    assert [True, True, False] == [link.closed for link in (silent, slow, done)]
    clock.pump([SWEEP_SECONDS] * int(IDLE_TIMEOUT - HEAD_DEADLINE - 4))
    client.write(KEYS)
    done.send(said.read())
    heard.write(done.received())
    assert [200] == statuses(client.read(1000))
    wires.stopFactory()


def test_slow_head_is_told(timed: Timed) -> None:
    """A head that is not whole in time is 408, however steadily its bytes drip; so is a second one."""
    timed.link.send(KEYS)
    assert [200] == statuses(timed.link.received())
    timed.wait(IDLE_TIMEOUT - 5)
    for number in range(int(HEAD_DEADLINE)):
        timed.link.send(KEYS[number : number + 1])
        timed.wait(1)
    assert b"" == timed.link.received()
    timed.wait(2)
    assert ([408], True) == (statuses(timed.link.received()), timed.link.closed)


def test_slow_body_is_told(timed: Timed) -> None:
    """A body that does not come in time is 408; the time for its head does not count."""
    timed.link.send(EVALUATE[:20])
    timed.wait(HEAD_DEADLINE - 1)
    timed.link.send(EVALUATE[20:-2])
    timed.wait(BODY_DEADLINE - 1)
    assert (b"", False) == (timed.link.received(), timed.link.closed)
    timed.wait(3)
    assert ([408], True) == (statuses(timed.link.received()), timed.link.closed)


def test_idle_connection_is_closed_in_silence(timed: Timed) -> None:
    """A kept-alive connection that stays silent is closed, and no timer or connection is left behind."""
    timed.link.send(KEYS)
    timed.link.received()
    timed.wait(IDLE_TIMEOUT - 1)
    assert not timed.link.closed
    timed.wait(3)
    assert (b"", True, set()) == (timed.link.received(), timed.link.closed, timed.factory.open)
    timed.factory.stopFactory()
    assert [] == timed.clock.getDelayedCalls()


def test_answers_that_nobody_reads_do_not_pile_up() -> None:
    """A client that only sends is soon neither read nor answered; what it did not read arrives when it does."""
    config = {"f": {"on": {"t": 1, "v": {"s": "x" * 4_000}, "i": "v1"}}}
    carriers = Carriers(config)
    link = Link(carriers.factory, window=60_000)
    link.send(FILE * 1000)
    assert link.transport.unsent < 80_000
    before = link.undelivered
    link.send(FILE * 200)
    assert link.undelivered - before == 200 * len(FILE)
    assert link.protocol._held_size <= 64 * 1024
    data = link.everything()
    assert 1200 == data.count(b"HTTP/1.1 200 OK")
    link.send(KEYS)
    assert [200] == statuses(link.received())


def test_client_that_never_reads_is_dropped(carriers: Carriers) -> None:
    """What nobody reads is kept for the idle time and a little longer, then the connection goes."""
    timed = Timed(carriers.wire, window=100)
    timed.link.send(FILE * 2000)
    timed.wait(IDLE_TIMEOUT + 2)
    assert timed.link.transport.disconnecting
    assert not timed.link.closed
    timed.wait(CLOSE_TIMEOUT + 1)
    assert (True, set()) == (timed.link.closed, timed.factory.open)


def test_last_answers_are_read_after_the_close(carriers: Carriers) -> None:
    """A slow reader that is being closed still gets what was sent to it, and then the end."""
    timed = Timed(carriers.wire, window=100)
    timed.link.send(KEYS)
    timed.wait(IDLE_TIMEOUT + 2)
    assert ([200], True) == (statuses(timed.link.everything()), timed.link.closed)


def test_requests_behind_one_that_waits() -> None:
    """While an SDK loads nothing overtakes: what came behind is answered after it, in order."""
    carriers = Waiting()
    klein, wire = carriers.links()
    coffee = OWN["coffee"]
    for link in (klein, wire):
        link.send(EVALUATE + coffee)
        link.send(KEYS[:30])
        link.send(KEYS[30:] + HEAD)
        assert b"" == link.received()
    assert 1 == carriers.wire.site.answering
    carriers.loaded()
    assert 0 == carriers.wire.site.answering
    answers = [settled(link.everything()) for link in (klein, wire)]
    assert answers[0] == answers[1]
    assert [200, 418, 200, 200] == statuses(answers[1])


def test_several_wait_on_one_connection() -> None:
    """Two requests that have to wait for the first fetch are both answered when it has ended badly."""
    carriers = Waiting()
    link = Link(carriers.factory)
    link.send(EVALUATE + EVALUATE)
    carriers.wire.sdk.first_fetch_ended(None)
    assert [500, 500] == statuses(link.everything())


def test_no_deadline_while_waiting() -> None:
    """A connection that waits for us is not late, and gets its whole idle time afterwards."""
    carriers = Waiting()
    timed = Timed(carriers.wire)
    timed.link.send(EVALUATE + KEYS[:10])
    timed.wait(2 * IDLE_TIMEOUT)
    assert not timed.link.closed
    carriers.loaded()
    assert [200] == statuses(timed.link.received())
    timed.wait(HEAD_DEADLINE - 1)
    timed.link.send(KEYS[10:])
    assert [200] == statuses(timed.link.received())


def test_too_much_behind_a_waiting_request_is_not_read() -> None:
    """At most 64 KiB, and the segment that exceeds them, are read of what cannot be answered yet."""
    carriers = Waiting()
    link = Link(carriers.factory)
    link.send(EVALUATE)
    link.send(KEYS * 10_000)
    assert link.protocol._held_size <= 2 * PIPELINE_LIMIT
    assert link.undelivered > 0
    carriers.loaded()
    assert 10_001 == link.everything().count(b"HTTP/1.1 200 OK")


def test_client_that_leaves_while_waiting() -> None:
    """The answer to a client that went away is dropped without a word; a shutdown does not wait for it."""
    carriers = Waiting()
    link = Link(carriers.factory)
    link.send(EVALUATE + KEYS)
    link.hang_up()
    carriers.loaded()
    assert (b"", 0, set()) == (link.received(), carriers.wire.site.answering, carriers.factory.open)


def test_stream_after_waiting_goes_on_reading() -> None:
    """A stream that had to wait opens; that its client then leaves is noticed, however much it had sent before."""
    carriers = Waiting()
    link = Link(carriers.factory)
    link.send(OPEN)
    link.send(KEYS * 10_000)
    assert link.transport not in link.transport.interest.readers
    carriers.loaded()
    assert link.received().startswith(b"HTTP/1.1 200 OK")
    assert link.transport in link.transport.interest.readers or link.closed


def test_bytes_behind_a_stream_are_ignored(carriers: Carriers) -> None:
    """What a client sends behind the request of a stream is not answered, at once or later."""
    klein, wire = carriers.links()
    for link in (klein, wire):
        link.send(OPEN + KEYS)
        link.send(KEYS)
    answers = [settled(link.everything()) for link in (klein, wire)]
    assert answers[0] == answers[1]
    assert [200] == statuses(answers[1])
    assert isinstance(wire.protocol, WireStream)
    assert set() == carriers.factory.open
    wire.hang_up()
    assert [] == carriers.wire.hub.subscribers()


def test_reload_between_requests(carriers: Carriers) -> None:
    """The next request on an open connection is answered under the new settings, though its head was seen before."""
    link = Link(carriers.factory)
    link.send(EVALUATE)
    assert None is parse_answer(link.received())["X-New"]
    carriers.wire.site.reconfigure(settings_of({"http": {"api": {"headers": {"X-New": "1"}}}}))
    link.send(EVALUATE)
    assert "1" == parse_answer(link.received())["X-New"]
    carriers.wire.site.reconfigure(settings_of({"http": {"api": {"enabled": False}}}))
    link.send(EVALUATE)
    assert [404] == statuses(link.received())


def test_fault_of_ours_costs_one_request(carriers: Carriers, logged_errors: Any, monkeypatch: Any) -> None:
    """An answer that raises is 500 and told in the log; the connection lives on."""
    monkeypatch.setattr(carriers.wire.registry, "by_id", lambda _: 1 / 0)
    link = Link(carriers.factory)
    link.send(EVALUATE)
    assert [500] == statuses(link.received())
    assert 1 == len(logged_errors.flush())
    monkeypatch.undo()
    link.send(EVALUATE)
    assert [200] == statuses(link.received())


def test_sdk_that_goes_away_as_its_stream_opens(carriers: Carriers) -> None:
    """A stream whose SDK has just been removed is told so, alike, and the connection lives on."""
    for memory in (carriers.klein, carriers.wire):
        memory.site.page.dispatcher.context.hubs.clear()  # type: ignore[attr-defined]
    klein, wire = carriers.said(OPEN + KEYS)
    assert (klein, [500, 200]) == (wire, statuses(wire.data))


def test_unusual_heads_do_not_crowd_out(carriers: Carriers) -> None:
    """More different heads than are remembered are all answered rightly, and the memory of them is bounded."""
    link = Link(carriers.factory)
    for number in range(1200):
        link.send(request_bytes("POST", f"/api/sdk{number % 7}/eval", {"X": str(number)}, body='{"key":"on"}'))
        assert [200 if number % 7 == 1 else 404] == statuses(link.received())
    assert len(carriers.factory.matcher._known) <= 512


def test_stream_targets_are_not_remembered(carriers: Carriers) -> None:
    """A target that carries a user is forgotten once its stream is open."""
    link = Link(carriers.factory)
    link.send(OPEN)
    assert ({}, {}) == (carriers.factory.matcher._known, carriers.factory.matcher._targets)


def test_nothing_comes_after_the_last_chunk(carriers: Carriers) -> None:
    """A slow reader whose stream has been ended, and which is still reading, is sent no later event or heartbeat."""
    link = Link(carriers.factory, window=400)
    link.send(OPEN)
    (subscriber,) = carriers.wire.hub.subscribers()
    subscriber.write(b"x" * 500)
    subscriber.outlet.finish()
    subscriber.write(b"late")
    assert link.everything().endswith(b"x\r\n0\r\n\r\n")
    assert link.closed


def test_certificates_that_broke_since_they_were_checked_leave_everything_as_it_was(
    tmp_path: Path,
) -> None:
    """A reload reads them before it changes any answer."""
    from gateway.serving import LocalServer

    pem, missing = str(tmp_path / "pem"), str(tmp_path / "missing.pem")
    trustme.CA().issue_cert("g").private_key_and_cert_chain_pem.write_to_path(pem)
    tls = {"enabled": True, "certificates": [{"cert": pem, "key": pem}]}
    server = LocalServer(
        Clock(), FakeRegistry(), settings_of({"tls": tls}), metrics=NoMetrics(), status_document=dict,
        rng=random.Random(1), keep=lambda _: succeed(None),
    )  # fmt: skip
    server.factory()
    page = server.site.page
    broken = {"enabled": True, "certificates": [{"cert": missing, "key": pem}]}
    with pytest.raises(TlsError, match=r"missing\.pem"):
        server.apply(settings_of({"tls": broken, "http": {"api": {"enabled": False}}}))
    assert page is server.site.page
    server.apply(settings_of({"tls": tls, "http": {"api": {"enabled": False}}}))
    assert page is not server.site.page
