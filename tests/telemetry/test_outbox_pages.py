"""The pages about deliveries and changes: access, parameters, errors."""

import sqlite3

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from gateway.settings import Diag, Settings
from gateway.telemetry import Metrics, Readiness, Status, make_diagnostics_site
from gateway.telemetry.caller import LOCAL
from gateway.telemetry.outbox_pages import LIMIT, OutboxPages
from memory_port import MemoryPort

ELSEWHERE = "set diag.users or diag.auth_headers to read deliveries, changes and held configs from other machines"
SECRET = {"Authorization": "Bearer s"}


class FakeAdmin:
    """Notes its calls, and returns what the test sets."""

    def __init__(self):
        self.asked = []
        self.answer = lambda: succeed(b"{}")
        self.retried = lambda: succeed((1, ()))

    def deliveries(self, **asked):
        self.asked.append(("deliveries", asked))
        return self.answer()

    def changes(self, **asked):
        self.asked.append(("changes", asked))
        return self.answer()

    def delivery(self, message_id, *, whole):
        self.asked.append((message_id, whole))
        return self.answer()

    def retry(self, message_id):
        self.asked.append(("retry", message_id))
        return self.retried()

    def test(self, endpoint):
        self.asked.append(("test", endpoint))
        return succeed(endpoint == "ops")


class Port(MemoryPort):
    """The diagnostics server, over a transport in memory."""

    def __init__(self, auth=None, admin=None):
        self.admin = admin
        status = Status(lambda: 0.0)
        settings = Settings(diag=Diag(auth_headers=auth or {}))
        readiness = Readiness(list, status)
        self.site = make_diagnostics_site(
            status, Metrics(lambda: 0.0, "test"), readiness, settings, self.clock, lambda: self.admin
        )


@pytest.fixture
def port():
    return Port(admin=FakeAdmin())


def test_a_list_is_filtered_by_the_query(port):
    """All parameters are passed on; missing ones have defaults."""
    assert (200, {}) == port.ask("/deliveries?endpoint=&state=&since=&before=&limit=")
    port.ask("/deliveries?endpoint=o%70s&state=failed&since=2026-05-01T12:00:00Z&before=17&limit=5")
    port.ask("/changes?sdk=shop&since=1700000000.5")
    nothing = {"since": 0.0, "before": None, "limit": LIMIT}
    assert [
        ("deliveries", {"endpoint": None, "state": None} | nothing),
        ("deliveries", {"endpoint": "ops", "state": "failed", "since": 1777636800.0, "before": 17, "limit": 5}),
        ("changes", {"sdk_id": "shop"} | nothing | {"since": 1700000000.5}),
    ] == port.admin.asked


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("2026-05-01", 1777593600.0),
        ("2026-05-01T12:00", 1777636800.0),
        ("2026-05-01T14:00%2B02:00", 1777636800.0),
        ("2026-05-01T14:00+02:00", 1777636800.0),
        ("2026-05-01%2012:00:00", 1777636800.0),
    ],
)
def test_moments_are_seconds_or_dates_in_utc(port, text, seconds):
    """A plus sign that was not percent-encoded is accepted."""
    assert 200 == port.ask(f"/deliveries?since={text}")[0]
    assert seconds == port.admin.asked[0][1]["since"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("state=odd", "state 'odd' is not one of: pending, delivered, failed, skipped"),
        ("stat=failed", "unknown parameter 'stat'; known: endpoint, state, since, before, limit"),
        ("endpoint=a&endpoint=b", "the parameter 'endpoint' is given twice"),
        ("endpoint=&endpoint=", "the parameter 'endpoint' is given twice"),
        ("endpoint=" + "a" * 257, "more than 256 characters"),
        ("endpoint=%ff", "the query cannot be read"),
        ("&".join(f"a{number}=1" for number in range(11)), "at most 10 parameters"),
        ("limit=0", "limit is not a number from 1 to 1000"),
        ("limit=1001", "limit is not a number from 1 to 1000"),
        ("limit=-1", "limit is not"),
        ("limit=1e2", "limit is not"),
        ("limit=%D9%A1", "limit is not"),
        ("before=x", "before is not a number"),
        ("before=" + "9" * 19, "before is not a number"),
        ("since=yesterday", "since is neither a date"),
        ("since=nan", "since is neither a date"),
        ("since=-5", "since is neither a date"),
        ("since=10000-01-01", "since is neither a date"),
        ("since=" + "9" * 200, "since is neither a date"),
        ("state=failed'%20OR%201=1", "state 'failed' OR 1=1' is not one of"),
    ],
)
def test_a_bad_parameter_is_400_with_what_is_allowed(port, query, words):
    """The outbox is not queried."""
    code, body = port.ask(f"/deliveries?{query}")
    assert 400 == code
    assert words in body["error"]
    assert [] == port.admin.asked


def test_without_an_outbox_every_page_is_404_with_a_sentence():
    """And the list of pages does not contain them."""
    port = Port()
    for path, method in (("/deliveries", "GET"), ("/deliveries/a", "GET"), ("/deliveries/a/retry", "POST")):
        code, body = port.ask(path, method)
        assert (404, True) == (code, body["error"].startswith("no outbox is open: "))
    assert b"/deliveries" not in port.ask("/")[1]
    port.admin = FakeAdmin()
    assert b"/changes\n/deliveries\n" in port.ask("/")[1]


@pytest.mark.parametrize(
    "path", ["/deliveries/", "/deliveries/a/b", "/deliveries/a%20b", "/%64eliveries", "/changes/1"]
)
def test_other_paths_are_the_plain_404(port, path):
    """Each page has one spelling."""
    assert (404, b"404 page not found\n") == port.ask(path)


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        ("/deliveries", "POST", "GET, HEAD"),
        ("/changes", "DELETE", "GET, HEAD"),
        ("/deliveries/a", "POST", "GET, HEAD"),
        ("/deliveries/a/retry", "GET", "POST"),
        ("/deliveries/a/retry", "HEAD", "POST"),
    ],
)
def test_other_methods_are_405(port, path, method, allowed):
    """With the allowed methods; following a link never retries a message."""
    _, wire = port.send(path, method)
    head = wire.value().split(b"\r\n\r\n")[0].decode()
    assert head.startswith("HTTP/1.1 405 ")
    assert f"Allow: {allowed}" in head.split("\r\n")
    assert [] == port.admin.asked


def test_configured_auth_headers_are_needed_from_every_machine(port):
    """A request with them also gets the bodies of messages."""
    port = Port(SECRET, FakeAdmin())
    assert 401 == port.ask("/deliveries")[0]
    assert 401 == port.ask("/deliveries/a/retry", "POST", headers={"Authorization": "Bearer t"})[0]
    assert [] == port.admin.asked
    assert 200 == port.ask("/deliveries/a", peer="10.0.0.1", host="gateway.internal", headers=SECRET)[0]
    assert [("a", True)] == port.admin.asked


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("127.0.0.1", "localhost:8051"),
        ("127.9.9.9", "LOCALHOST"),
        ("::1", "[::1]:8051"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
    ],
)
def test_without_auth_headers_this_machine_is_answered(port, peer, host):
    """Without the bodies of messages, because every user of the machine can send requests."""
    assert 200 == port.ask("/deliveries/a", peer=peer, host=host)[0]
    assert [("a", False)] == port.admin.asked


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("10.0.0.1", "localhost:8051"),
        ("::ffff:10.0.0.1", "localhost"),
        ("fe80::1", "[::1]"),
        ("127.0.0.1", "evil.example:8051"),
        ("127.0.0.1", "127.0.0.1.evil.example"),
        ("127.0.0.1", ""),
    ],
)
def test_without_auth_headers_other_machines_are_refused(port, peer, host):
    """And a web page in a browser here whose own name resolves to this machine."""
    code, body = port.ask("/deliveries", peer=peer, host=host)
    assert (403, ELSEWHERE) == (
        code,
        body["error"],
    )
    assert [] == port.admin.asked


def test_an_unknown_message_is_404(port):
    """Reading it, and retrying it."""
    port.admin.answer = port.admin.retried = lambda: succeed(None)
    for path, method in (("/deliveries/a-1", "GET"), ("/deliveries/a-1/retry", "POST")):
        assert (404, {"error": "the outbox holds no message a-1"}) == port.ask(path, method)


def test_a_retry_returns_the_number_and_why_others_were_refused(port):
    """Without any to retry it is 409."""
    port.admin.retried = lambda: succeed((1, ("ops has taken it",)))
    assert (200, {"count": 1, "refused": ["ops has taken it"]}) == port.ask("/deliveries/a/retry", "POST")
    port.admin.retried = lambda: succeed((0, ("ops has taken it",)))
    assert (409, {"error": "not sent again: ops has taken it"}) == port.ask("/deliveries/a/retry", "POST")


def test_an_outbox_that_cannot_be_read_is_503(port, logged_errors):
    """A lock, a full queue, a timeout; unexpected errors are 500 and logged."""
    port.admin.answer = lambda: fail(sqlite3.OperationalError("database is locked"))
    assert (503, {"error": "the outbox cannot be read: database is locked"}) == port.ask("/deliveries")
    port.admin.answer = lambda: fail(KeyError("secret"))
    code, body = port.ask("/deliveries")
    assert (500, "internal error; the log has the details") == (code, body["error"])
    assert 1 == len(logged_errors.flush())


def test_head_has_the_length(port):
    """As for every page."""
    _, wire = port.send("/deliveries", "HEAD")
    head, _, body = wire.value().partition(b"\r\n\r\n")
    assert (True, b"") == (b"Content-Length: 2" in head, body)


def test_a_closed_connection_gets_no_answer(port):
    """A late answer is dropped without an error."""
    late = Deferred()
    port.admin.answer = lambda: late
    protocol, wire = port.send("/deliveries")
    protocol.connectionLost()
    late.callback(b"{}")
    assert b"" == wire.value()


@pytest.mark.parametrize(
    ("origin", "code"),
    [
        ("http://127.0.0.1:8051", 200),
        ("http://localhost:3000", 403),
        ("http://[::1]", 403),
        ("https://evil.example", 403),
        ("null", 403),
        ("file://", 403),
    ],
)
def test_a_foreign_web_page_in_a_browser_here_is_refused(port, origin, code):
    """It could retry messages without reading the answer; another port of this machine is another site too."""
    assert code == port.ask("/deliveries/a/retry", "POST", headers={"Origin": origin})[0]
    assert (code == 200) == bool(port.admin.asked)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://console.example"}, 200),  # a proxy changed Host
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:8051"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "https://console.example"}, 403),
        ({}, 200),
    ],
)
def test_a_page_of_another_site_changes_nothing_by_the_credentials_of_a_browser(headers, code):
    """A browser adds the headers of ``diag.auth_headers`` if they are credentials; reading is left to CORS."""
    port = Port(auth=SECRET, admin=FakeAdmin())
    assert code == port.ask("/deliveries/a/retry", "POST", headers=SECRET | headers)[0]
    assert (code == 200) == bool(port.admin.asked)
    assert 200 == port.ask("/deliveries", headers=SECRET | headers)[0]


def test_a_test_message_needs_a_known_endpoint_and_an_outbox():
    """An unknown name is 404, as is a gateway without an outbox; a broken one is 503."""
    admin = FakeAdmin()
    answers = [OutboxPages(lambda: admin).test(name, LOCAL).result for name in ("ops", "other")]
    assert [200, 404] == [code for code, _ in answers]
    assert b"'other'" in answers[1][1]
    assert 404 == OutboxPages(lambda: None).test("ops", LOCAL).result[0]
    admin.test = lambda _: fail(sqlite3.OperationalError("disk I/O error"))
    assert 503 == OutboxPages(lambda: admin).test("ops", LOCAL).result[0]
