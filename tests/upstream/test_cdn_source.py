"""The CDN source against a fake CDN on loopback: every error, redirect and encoding."""

from __future__ import annotations

from base64 import b64encode
from random import Random

import msgspec
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError
from twisted.logger import globalLogPublisher
from twisted.web.server import Site

import gateway
from gateway.settings import Settings
from gateway.testing.cdn import FakeCdn
from gateway.upstream import Registry
from gateway.upstream.cdn_source import CDN, config_url

KEY = "a" * 22 + "/" + "b" * 22
PATH = f"/configuration-files/{KEY}/config_v6.json"


def config(value):
    return msgspec.json.encode({"f": {"flag": {"t": 1, "v": {"s": value}}}})


class Remembering:
    def __init__(self):
        self.messages, self.outcomes, self.requests = [], [], []

    def record(self, sdk_id, ok, message):
        self.messages.append(message)

    def fetched(self, sdk_id, outcome, seconds):
        self.outcomes.append(outcome)

    def requested(self, sdk_id, status, seconds):
        self.requests.append((sdk_id, status, seconds >= 0))


class Upstream:
    """A fake CDN and a registry with one SDK that reads from it; ends itself."""

    def __init__(self, reactor):
        self.reactor = reactor
        self.cdn = FakeCdn(config("red"))
        self.port = self.cdn.listen(reactor)
        self.base = f"http://127.0.0.1:{self.port}"
        self.reporter = Remembering()
        self.changes = []
        self.registry = None
        self.others = []

    async def open(self, *, limits=None, environ=None, **sdk):
        settings = msgspec.convert(
            {
                "sdks": {"one": {"key": KEY, "base_url": self.base, "poll_interval": 3600, **sdk}},
                "upstream": limits or {},
            },
            Settings,
        )
        self.registry = Registry(
            self.reactor,
            settings,
            rng=Random(1),
            reporter=self.reporter,
            environ=environ,
            on_change=lambda sdk, old, new: self.changes.append(new.evaluate("flag", None).value),
        )
        self.registry.start()
        await self.sdk.when_loaded()
        return self.sdk

    @property
    def sdk(self):
        return self.registry.by_id("one")

    async def refresh(self):
        return await self.sdk.refresh()

    def another(self, body):
        cdn = FakeCdn(body)
        port = cdn.listen(self.reactor)
        self.others.append(cdn)
        return cdn, f"http://127.0.0.1:{port}"

    def close(self):
        closing = [cdn.close() for cdn in (self.cdn, *self.others)]
        if self.registry is not None:
            closing.append(self.registry.stop())
        return gatherResults(closing)


@pytest_twisted.async_yield_fixture
async def upstream(reactor):
    """A fake CDN with one SDK on it."""
    made = Upstream(reactor)
    yield made
    await made.close()


def value(sdk):
    return None if sdk.snapshot is None else sdk.snapshot.evaluate("flag", None).value


@pytest_twisted.ensureDeferred
async def test_fetch_and_not_modified(upstream):
    """The first request is unconditional, later ones carry the ETag verbatim; 304 changes nothing."""
    upstream.cdn.etag = 'W/"odd, but verbatim"'
    sdk = await upstream.open()
    assert ("red", 'W/"odd, but verbatim"', config("red")) == (value(sdk), sdk.snapshot.etag, sdk.snapshot.body)
    assert (None, False) == ((await upstream.refresh()).error, (await upstream.refresh()).changed)
    assert {PATH: 3} == dict(upstream.cdn.requests)
    assert [None, upstream.cdn.etag, upstream.cdn.etag] == [seen.get("if-none-match") for seen in upstream.cdn.seen]
    agent = f"flaggateway/{gateway.__version__}"
    expected = {"user-agent": agent, "x-configcat-useragent": agent, "accept-encoding": "gzip"}
    assert expected == {name: upstream.cdn.seen[0].get(name) for name in expected}
    assert ["config fetched", "config not modified", "config not modified"] == upstream.reporter.messages
    assert [("one", 200, True), ("one", 304, True), ("one", 304, True)] == upstream.reporter.requests
    upstream.cdn.body, upstream.cdn.etag = config("blue"), '"2"'
    assert (await upstream.refresh()).changed
    assert (["red", "blue"], '"2"') == (upstream.changes, sdk.snapshot.etag)


@pytest_twisted.ensureDeferred
async def test_base_url_may_end_in_a_slash(upstream):
    """A slash at the end of the base URL makes no double slash in the path."""
    upstream.base += "/"
    assert "red" == value(await upstream.open())
    assert {PATH: 1} == dict(upstream.cdn.requests)


@pytest_twisted.ensureDeferred
async def test_credentials_in_the_base_url_are_sent_as_basic(upstream):
    """Percent escapes are decoded, each request has them, and the host is without them."""
    upstream.base = upstream.base.replace("://", "://user:p%40%C3%A4@")
    assert "red" == value(await upstream.open())
    await upstream.refresh()
    expected = "Basic " + b64encode("user:p@ä".encode()).decode()
    assert [expected, expected] == [seen["authorization"] for seen in upstream.cdn.seen]
    assert [f"127.0.0.1:{upstream.port}"] * 2 == [seen["host"] for seen in upstream.cdn.seen]


@pytest_twisted.ensureDeferred
async def test_an_ipv6_address_is_fetched_from(upstream, reactor):
    """With its brackets, as it is written in a URL."""
    try:
        listening = reactor.listenTCP(0, Site(upstream.cdn), interface="::1")
    except CannotListenError:
        pytest.skip("no IPv6 loopback here")
    upstream.base = f"http://[::1]:{listening.getHost().port}"
    try:
        assert "red" == value(await upstream.open())
        assert upstream.base.removeprefix("http://") == upstream.cdn.seen[0]["host"]
    finally:
        await upstream.registry.stop()
        upstream.registry = None
        await listening.stopListening()


@pytest_twisted.ensureDeferred
async def test_upstream_without_etag(upstream):
    """Without an ETag one is made from the body, no conditional request is sent, and equal bytes are no change."""
    upstream.cdn.mode = "no-etag"
    sdk = await upstream.open()
    first = sdk.snapshot
    assert first.etag.startswith('W/"')
    assert not (await upstream.refresh()).changed
    assert first is sdk.snapshot
    assert [None, None] == [seen.get("if-none-match") for seen in upstream.cdn.seen]
    upstream.cdn.body = config("blue")
    assert (await upstream.refresh()).changed
    assert first.etag != sdk.snapshot.etag


@pytest.mark.parametrize("mode", ["ok", "gzip", "no-etag"])
@pytest_twisted.ensureDeferred
async def test_a_byte_order_mark_is_removed(upstream, mode):
    """The config is served without it, under the upstream's ETag."""
    upstream.cdn.mode, upstream.cdn.body = mode, b"\xef\xbb\xbf" + config("red")
    sdk = await upstream.open()
    assert ("red", config("red")) == (value(sdk), sdk.snapshot.body)
    assert (None, False) == ((found := await upstream.refresh()).error, found.changed)


@pytest_twisted.ensureDeferred
async def test_a_redirect_after_a_byte_order_mark_is_followed(upstream):
    """The redirect in the body is read as well."""
    other, base = upstream.another(config("blue"))
    redirect = config("red").replace(b"{", b'{"p":{"u":"%b","r":2},' % base.encode(), 1)
    upstream.cdn.body = b"\xef\xbb\xbf" + redirect
    assert ("blue", 1) == (value(await upstream.open()), other.count)


@pytest_twisted.ensureDeferred
async def test_gzip(upstream):
    """A compressed response is decompressed."""
    upstream.cdn.mode = "gzip"
    assert "red" == value(await upstream.open())


STATUS = "unexpected HTTP response was received while trying to fetch config JSON: "
FAULT = "unexpected error occurred while trying to fetch config JSON: "
TOO_LARGE = "the config JSON is larger than upstream.max_bytes"
INVALID = "invalid config JSON content: the config JSON is not valid JSON: it ends too early"
FAULTS = {  # the beginning of the caller's text and its end, which the status record has too; kind; record
    "404": (STATUS, "404 Not Found", "status", "unexpected response received"),
    "500": (STATUS, "500 Internal Server Error", "status", "unexpected response received"),
    "malformed": ("", INVALID, "config", "config fetch failed"),
    "truncated": (FAULT, "the config JSON ended early", "truncated", "config fetch failed"),
    "oversized": (FAULT, TOO_LARGE, "too_large", "config fetch failed"),
    "bomb": (FAULT, TOO_LARGE, "too_large", "config fetch failed"),
    "bad-gzip": (FAULT, "the config JSON cannot be decompressed", "encoding", "config fetch failed"),
}


@pytest.mark.parametrize("mode", FAULTS)
@pytest_twisted.ensureDeferred
async def test_faults_leave_the_last_good_config(upstream, mode):
    """Each error has its own text and kind, the good config stays, and the next good response replaces it.

    The record names host and port as well, the answer to the caller does not.
    """
    text, cause, kind, record = FAULTS[mode]
    sdk = await upstream.open(limits={"max_bytes": 100_000})
    good, upstream.cdn.mode = sdk.snapshot, mode
    error = (await upstream.refresh()).error
    assert f"config fetch failed: {text}{cause}" == error
    assert kind == upstream.reporter.outcomes[-1]
    assert f"{record}: {cause} (127.0.0.1:{upstream.port})" == upstream.reporter.messages[-1]
    assert good is sdk.snapshot
    upstream.cdn.mode, upstream.cdn.body = "ok", config("blue")
    assert (await upstream.refresh()).changed
    assert "blue" == value(sdk)


@pytest_twisted.ensureDeferred
async def test_an_endless_body_is_aborted(upstream):
    """The limit is counted while bytes arrive, and the connection is closed at it."""
    sdk = await upstream.open(limits={"max_bytes": 200_000})
    upstream.cdn.mode = "oversized"
    await upstream.refresh()
    sent = upstream.cdn.sent
    assert 200_000 < sent < 20_000_000
    upstream.cdn.mode = "ok"
    await upstream.refresh()
    assert sent == upstream.cdn.sent
    assert "red" == value(sdk)


@pytest_twisted.ensureDeferred
async def test_an_endless_head_is_aborted(upstream):
    """Header fields are bounded as well: the connection is aborted long before the timeout."""
    upstream.cdn.mode = "babble"
    await upstream.open(limits={"max_bytes": 100_000})
    assert ["connect"] == upstream.reporter.outcomes


@pytest_twisted.ensureDeferred
async def test_a_kept_connection_does_not_add_up(upstream):
    """Bytes of earlier fetches do not count in later ones, and one connection serves them all."""
    upstream.cdn.mode, upstream.cdn.body = "no-etag", config("red") + b" " * 90_000
    await upstream.open(limits={"max_bytes": 100_000})
    ports = {request.port for request in upstream.cdn.peers}
    for _ in range(20):
        assert None is (await upstream.refresh()).error
    assert ports == {request.port for request in upstream.cdn.peers}


@pytest_twisted.ensureDeferred
async def test_a_hanging_upstream_ends_at_the_timeout(upstream):
    """An upstream that accepts and never answers fails the first fetch at the total timeout; later ones recover."""
    upstream.cdn.mode = "hang"
    sdk = await upstream.open(limits={"timeout": 0.2})
    assert (None, ["timeout"]) == (sdk.snapshot, upstream.reporter.outcomes)
    late = f"config fetch failed: no complete answer within 0.2 s (127.0.0.1:{upstream.port})"
    assert [late] == upstream.reporter.messages
    error = (await upstream.refresh()).error
    assert ("config fetch failed: request timed out while trying to fetch config JSON. Timeout value: 200ms") == error
    upstream.cdn.mode = "ok"
    assert (await upstream.refresh()).changed


@pytest_twisted.ensureDeferred
async def test_a_refused_connection_has_its_own_text(upstream):
    """A closed port is a failed fetch."""
    sdk = await upstream.open()
    await upstream.cdn.close()
    error = (await upstream.refresh()).error
    assert "connect" == upstream.reporter.outcomes[-1]
    assert f"config fetch failed: {FAULT}the connection failed: Connection refused" == error
    record = f"config fetch failed: the connection failed: Connection refused (127.0.0.1:{upstream.port})"
    assert record == upstream.reporter.messages[-1]
    assert "red" == value(sdk)
    upstream.cdn.listen(upstream.reactor)


@pytest_twisted.ensureDeferred
async def test_stop_ends_a_hanging_fetch(upstream):
    """Stop does not wait for an upstream, and leaves no connection."""
    await upstream.open()
    upstream.cdn.mode = "hang"
    refreshed = upstream.sdk.refresh()
    await upstream.cdn.next_request()
    gone = upstream.cdn.hanging[0].notifyFinish()
    await upstream.registry.stop()
    assert "the SDK was stopped" == (await refreshed).error
    await gatherResults([gone], consumeErrors=True).addErrback(lambda _: None)
    assert [] == upstream.cdn.hanging


@pytest_twisted.ensureDeferred
async def test_a_refresh_during_a_fetch_makes_a_new_one(upstream):
    """Callers during a fetch get one that began after their call; a first caller that disconnects ends neither."""
    await upstream.open()
    upstream.cdn.mode = "hang"
    first = upstream.sdk.refresh()
    await upstream.cdn.next_request()
    upstream.cdn.mode, upstream.cdn.body = "ok", config("blue")
    later = [upstream.sdk.refresh() for _ in range(20)]
    first.addErrback(lambda _: None)
    first.cancel()
    stale = upstream.cdn.hanging[0]
    stale.setHeader("ETag", "old")
    upstream.cdn.hanging.clear()
    stale.write(config("stale"))
    stale.finish()
    results = await gatherResults(later)
    assert [True] * 20 == [result.changed for result in results]
    assert (3, ["red", "stale", "blue"]) == (upstream.cdn.count, upstream.changes)


@pytest_twisted.ensureDeferred
async def test_http_redirects_are_followed(upstream):
    """A 3xx answer is followed to another origin, relative targets included, with the conditional header."""
    other, base = upstream.another(config("blue"))
    upstream.cdn.mode, upstream.cdn.location = "moved", f"{base}/elsewhere"
    other.mode, other.location = "ok", ""
    await upstream.open()
    assert {"/elsewhere": 1} == dict(other.requests)
    upstream.cdn.location = base + PATH
    assert (await upstream.refresh()).changed
    assert "blue" == value(upstream.sdk)


@pytest_twisted.ensureDeferred
async def test_http_redirects_end_somewhere(upstream):
    """A loop of 3xx answers is a failure after ten, and a target that is no http URL at once."""
    upstream.cdn.mode, upstream.cdn.location = "moved", PATH
    await upstream.open()
    assert (11, ["redirect"]) == (upstream.cdn.count, upstream.reporter.outcomes)
    assert 11 == len(upstream.reporter.requests)
    upstream.cdn.location = "file:///etc/passwd"
    await upstream.refresh()
    assert (12, ["redirect", "redirect"]) == (upstream.cdn.count, upstream.reporter.outcomes)


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("http://me:secret@127.0.0.1:1/x/key", "127.0.0.1:1"),
        ("http://[::1]:1/", "[::1]:1"),
        ("//localhost:1/", "localhost:1"),
        ("http://127.0.0.1:99999/", "an address that cannot be read"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_the_record_names_the_place_that_failed(upstream, location, place):
    """Not the upstream that redirects there; neither path nor password is in it."""
    upstream.cdn.mode, upstream.cdn.location = "moved", location
    await upstream.open()
    assert upstream.reporter.messages[0].endswith(f" ({place})")
    assert [] == [text for text in ("secret", "/x", KEY) if text in upstream.reporter.messages[0]]


@pytest.mark.parametrize("location", ["http://[::1", "//user@[", "http://user:secret@127.0.0.1:1:1/"])
@pytest_twisted.ensureDeferred
async def test_a_redirect_to_no_address_is_a_failure(upstream, location):
    """Whichever parser refuses it, the reason is the same and holds nothing of the address."""
    upstream.cdn.mode, upstream.cdn.location = "moved", location
    await upstream.open()
    reason = (await upstream.refresh()).error
    assert reason is not None
    assert reason.endswith("the upstream redirects to an address that cannot be read")
    assert {"redirect"} == set(upstream.reporter.outcomes)


@pytest_twisted.ensureDeferred
async def test_forced_redirect_in_the_body(upstream):
    """A config with a forced redirect is fetched from there, and later fetches begin there."""
    other, base = upstream.another(config("blue"))
    upstream.cdn.mode, upstream.cdn.redirect = "redirect-in-body", (base, 2)
    sdk = await upstream.open()
    assert ("blue", 1, 1) == (value(sdk), upstream.cdn.count, other.count)
    await upstream.refresh()
    assert (1, 2) == (upstream.cdn.count, other.count)


@pytest_twisted.ensureDeferred
async def test_a_custom_base_is_not_left_without_force(upstream):
    """A redirect of kind 1 away from a base URL of the settings is refused; with kind 0 the body is accepted."""
    other, base = upstream.another(config("blue"))
    upstream.cdn.mode, upstream.cdn.redirect = "redirect-in-body", (base, 1)
    sdk = await upstream.open()
    assert (None, ["redirect"], 0) == (value(sdk), upstream.reporter.outcomes, other.count)
    upstream.cdn.redirect = (base, 0)
    assert (await upstream.refresh()).changed
    await upstream.refresh()
    assert ("red", 3, 0) == (value(sdk), upstream.cdn.count, other.count)


@pytest.mark.parametrize(("kind", "fetches"), [(0, [1, 1]), (1, [1, 2])])
@pytest_twisted.ensureDeferred
async def test_an_unforced_redirect_leaves_a_default_base(upstream, monkeypatch, kind, fetches):
    """From a default CDN, kind 0 moves the next fetch and kind 1 this one; the operator is warned once."""
    other, base = upstream.another(config("blue"))
    monkeypatch.setitem(CDN, "eu", upstream.base)
    upstream.cdn.mode, upstream.cdn.redirect = "redirect-in-body", (base, kind)
    warned = []
    globalLogPublisher.addObserver(warned.append)
    try:
        sdk = await upstream.open(base_url="", data_governance="eu")
        assert value(sdk) == ("blue" if kind else "red")
        await upstream.refresh()
    finally:
        globalLogPublisher.removeObserver(warned.append)
    assert ("blue", fetches) == (value(sdk), [upstream.cdn.count, other.count])
    assert 1 == len([event for event in warned if "data_governance" in (event.get("log_format") or "")])


@pytest_twisted.ensureDeferred
async def test_unknown_encodings_are_refused(upstream):
    """An encoding that was not requested is a failure of its own kind."""
    upstream.cdn.mode = "brotli"
    await upstream.open()
    assert ["encoding"] == upstream.reporter.outcomes


@pytest_twisted.ensureDeferred
async def test_body_redirects_in_a_circle(upstream):
    """After three fetches that redirect again the refresh fails."""
    other, base = upstream.another(config("blue"))
    upstream.cdn.mode, upstream.cdn.redirect = "redirect-in-body", (base, 2)
    other.mode, other.redirect = "redirect-in-body", (upstream.base, 2)
    sdk = await upstream.open()
    assert (None, ["redirect"], 2, 1) == (value(sdk), upstream.reporter.outcomes, upstream.cdn.count, other.count)


@pytest_twisted.ensureDeferred
async def test_polls_come_by_themselves(upstream):
    """A change is found without a refresh."""
    changed = Deferred()
    await upstream.open(poll_interval=0.05)
    upstream.registry.by_id("one")._on_change = lambda sdk, old, new: changed.callback(value(sdk))
    upstream.cdn.body = config("blue")
    assert "blue" == await changed


@pytest_twisted.ensureDeferred
async def test_keys_and_urls_stay_out_of_the_log(upstream):
    """No log event of any level holds the SDK key, whatever fails."""
    events = []
    globalLogPublisher.addObserver(events.append)
    try:
        await upstream.open(limits={"max_bytes": 2000, "timeout": 0.2})
        for mode in (*FAULTS, "hang", "moved"):
            upstream.cdn.mode = mode
            result = await upstream.refresh()
            assert KEY not in str(result.error)
        await upstream.cdn.close()
        await upstream.refresh()
        upstream.cdn.listen(upstream.reactor)
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert any("reason" in event for event in events)
    assert not any(KEY[:22] in repr(event) for event in events)


@pytest.mark.parametrize("base", ["http://h/p", "http://h/p/", "http://h/p//"])
def test_config_url_tolerates_slashes(base):
    """Slashes at the end of a base URL make no difference, and odd characters of a key are escaped."""
    expected = "http://h/p/configuration-files/configcat-proxy/a%20b%3F/config_v6.json"
    assert expected == config_url(base, "configcat-proxy/a b?")
