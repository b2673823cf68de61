"""The pages about deliveries and changes: who may see them, what may be asked, and that no query gets further."""

import json
import sqlite3

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from gateway.settings import Settings
from gateway.settings.schema.root import Diag
from gateway.telemetry import NoMetrics, Readiness, Status, make_diagnostics_site
from gateway.telemetry.outbox_pages import LIMIT

SECRET = {"Authorization": "Bearer s"}


class FakeDesk:
    """Notes what it is asked, and answers as told."""

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


class Port:
    """The diagnostics server, over a transport in memory."""

    def __init__(self, auth=None, desk=None):
        self.desk = desk
        status = Status(lambda: 0.0)
        settings = Settings(diag=Diag(auth_headers=auth or {}))
        readiness = Readiness([], status)
        self.site = make_diagnostics_site(status, NoMetrics(), readiness, settings, Clock(), lambda: self.desk)

    def send(self, path, method="GET", host="127.0.0.1:8051", peer="127.0.0.1", headers=None):
        family = IPv6Address if ":" in peer else IPv4Address
        protocol = self.site.buildProtocol(family("TCP", peer, 1))
        wire = StringTransport(peerAddress=family("TCP", peer, 1))
        protocol.makeConnection(wire)
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        protocol.dataReceived(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n".encode("latin-1"))
        return protocol, wire

    def ask(self, path, method="GET", **options):
        """Return status and decoded body."""
        _, wire = self.send(path, method, **options)
        head, _, body = wire.value().partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body) if body.startswith((b"{", b"[")) else body


@pytest.fixture
def port():
    return Port(desk=FakeDesk())


def test_a_list_is_asked_for_as_the_query_says(port):
    """Every parameter is handed on, and what is not given has its default."""
    assert (200, {}) == port.ask("/deliveries?endpoint=&state=&since=&before=&limit=")
    port.ask("/deliveries?endpoint=o%70s&state=failed&since=2026-05-01T12:00:00Z&before=17&limit=5")
    port.ask("/changes?sdk=shop&since=1700000000.5")
    nothing = {"since": 0.0, "before": None, "limit": LIMIT}
    assert [
        ("deliveries", {"endpoint": None, "state": None} | nothing),
        ("deliveries", {"endpoint": "ops", "state": "failed", "since": 1777636800.0, "before": 17, "limit": 5}),
        ("changes", {"sdk_id": "shop"} | nothing | {"since": 1700000000.5}),
    ] == port.desk.asked


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
    """A plus sign that nobody encoded is understood."""
    assert 200 == port.ask(f"/deliveries?since={text}")[0]
    assert seconds == port.desk.asked[0][1]["since"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("state=odd", "state 'odd' is not one of: pending, delivered, failed, skipped"),
        ("stat=failed", "there is no parameter 'stat'; there are: endpoint, state, since, before, limit"),
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
def test_a_bad_parameter_is_400_and_says_what_is_allowed(port, query, words):
    """Nothing is asked of the outbox."""
    code, body = port.ask(f"/deliveries?{query}")
    assert 400 == code
    assert words in body["error"]
    assert [] == port.desk.asked


def test_without_an_outbox_every_page_is_404_with_a_sentence():
    """And the list of pages does not name them."""
    port = Port()
    for path, method in (("/deliveries", "GET"), ("/deliveries/a", "GET"), ("/deliveries/a/retry", "POST")):
        code, body = port.ask(path, method)
        assert (404, True) == (code, body["error"].startswith("no outbox is open: "))
    assert b"/deliveries" not in port.ask("/")[1]
    port.desk = FakeDesk()
    assert b"/changes\n/deliveries\n" in port.ask("/")[1]


@pytest.mark.parametrize(
    "path", ["/deliveries/", "/deliveries/a/b", "/deliveries/a%20b", "/%64eliveries", "/changes/1"]
)
def test_other_paths_are_the_plain_404(port, path):
    """There is one spelling."""
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
    """With what is allowed; a retry is never made by following a link."""
    _, wire = port.send(path, method)
    head = wire.value().split(b"\r\n\r\n")[0].decode()
    assert head.startswith("HTTP/1.1 405 ")
    assert f"Allow: {allowed}" in head.split("\r\n")
    assert [] == port.desk.asked


def test_with_auth_headers_nobody_else_is_answered(port):
    """From wherever they come; whoever shows them sees what messages say."""
    port = Port(SECRET, FakeDesk())
    assert 401 == port.ask("/deliveries")[0]
    assert 401 == port.ask("/deliveries/a/retry", "POST", headers={"Authorization": "Bearer t"})[0]
    assert [] == port.desk.asked
    assert 200 == port.ask("/deliveries/a", peer="10.0.0.1", host="gateway.internal", headers=SECRET)[0]
    assert [("a", True)] == port.desk.asked


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
    """But does not see what messages say: anybody on it may ask."""
    assert 200 == port.ask("/deliveries/a", peer=peer, host=host)[0]
    assert [("a", False)] == port.desk.asked


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
def test_without_auth_headers_nobody_else_is_answered(port, peer, host):
    """Neither another machine, nor a page in a browser here that has its own name lead to this machine."""
    code, body = port.ask("/deliveries", peer=peer, host=host)
    assert (403, "set diag.auth_headers to look at deliveries and changes from other machines") == (code, body["error"])
    assert [] == port.desk.asked


def test_a_message_that_nobody_knows_is_404(port):
    """For a look and for another try."""
    port.desk.answer = port.desk.retried = lambda: succeed(None)
    for path, method in (("/deliveries/a-1", "GET"), ("/deliveries/a-1/retry", "POST")):
        assert (404, {"error": "the outbox holds no message a-1"}) == port.ask(path, method)


def test_a_retry_says_how_many_and_why_not_the_others(port):
    """When there is none to try again it is 409."""
    port.desk.retried = lambda: succeed((1, ("ops has taken it",)))
    assert (200, {"count": 1, "refused": ["ops has taken it"]}) == port.ask("/deliveries/a/retry", "POST")
    port.desk.retried = lambda: succeed((0, ("ops has taken it",)))
    assert (409, {"error": "not sent again: ops has taken it"}) == port.ask("/deliveries/a/retry", "POST")


def test_an_outbox_that_cannot_answer_is_503(port, logged_errors):
    """A lock, a full queue, a look that takes too long; what nobody foresaw is 500 and logged."""
    port.desk.answer = lambda: fail(sqlite3.OperationalError("database is locked"))
    assert (503, {"error": "the outbox gives no answer now: database is locked"}) == port.ask("/deliveries")
    port.desk.answer = lambda: fail(KeyError("secret"))
    code, body = port.ask("/deliveries")
    assert (500, "the page could not be made; the log has the details") == (code, body["error"])
    assert 1 == len(logged_errors.flush())


def test_head_tells_the_length(port):
    """As for every page."""
    _, wire = port.send("/deliveries", "HEAD")
    head, _, body = wire.value().partition(b"\r\n\r\n")
    assert (True, b"") == (b"Content-Length: 2" in head, body)


def test_a_caller_who_left_gets_no_answer(port):
    """The late answer disturbs nobody."""
    late = Deferred()
    port.desk.answer = lambda: late
    protocol, wire = port.send("/deliveries")
    protocol.connectionLost()
    late.callback(b"{}")
    assert b"" == wire.value()


@pytest.mark.parametrize(
    ("origin", "code"),
    [
        ("http://localhost:3000", 200),
        ("http://[::1]", 200),
        ("https://evil.example", 403),
        ("null", 403),
        ("file://", 403),
    ],
)
def test_somebody_elses_page_in_a_browser_here_is_not_answered(port, origin, code):
    """It could have messages sent again without seeing an answer."""
    assert code == port.ask("/deliveries/a/retry", "POST", headers={"Origin": origin})[0]
    assert (code == 200) == bool(port.desk.asked)
