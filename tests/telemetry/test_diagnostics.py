"""The diagnostics port, driven byte by byte over a transport in memory."""

import json

import pytest
from attrs import define
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from gateway.settings import Diag, OnByDefault, Settings
from gateway.settings import Metrics as MetricsSettings
from gateway.telemetry import Metrics, Readiness, SdkState, Status, make_diagnostics_site
from gateway.telemetry.bounded_http import BODY_LIMIT, CONNECTION_LIMIT, HEADER_COUNT, HEADER_LIMIT, REQUEST_DEADLINE


class Wire(StringTransport):
    """A transport that notes whether it was aborted."""

    aborted = False

    def abortConnection(self):
        self.aborted = True
        self.loseConnection()


@define
class Answer:
    code: int
    headers: dict
    body: bytes


class Port:
    """The diagnostics server and its callers."""

    def __init__(self, diag=None, metrics=None, states=(("a", False, True),)):
        self.clock = Clock()
        self.status = Status(lambda: 0.0)
        self.states = list(states)
        for sdk_id, _, _ in self.states:
            self.status.add(sdk_id, "configcat-sdk-1/" + "A" * 22 + "/" + "B" * 22, "online", "remote")
        self.readiness = Readiness(lambda: [SdkState(*state) for state in self.states], self.status)
        self.settings = Settings(diag=diag or Diag())
        self.site = make_diagnostics_site(
            self.status,
            metrics or Metrics(lambda: 0.0, "1"),
            self.readiness,
            self.settings,
            self.clock,
        )

    def connect(self):
        protocol = self.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        wire = Wire()
        protocol.makeConnection(wire)
        return protocol, wire

    def send(self, data):
        protocol, wire = self.connect()
        protocol.dataReceived(data)
        return protocol, wire

    def ask(self, path, method="GET", **headers):
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        _, wire = self.send(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
        head, _, body = wire.value().partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in rest)}
        return Answer(int(first.split()[1]), fields, body)


@pytest.fixture
def port():
    return Port()


def test_status_is_the_document_as_json(port):
    """/status is the status document, always 200, even when everything is down."""
    port.status.record("a", False, "config fetch failed")
    answer = port.ask("/status")
    assert (200, "application/json") == (answer.code, answer.headers["content-type"])
    assert port.status.document() == json.loads(answer.body)
    assert "down" == json.loads(answer.body)["status"]


def test_metrics_is_the_text_format(port):
    """/metrics is Prometheus' text with its version."""
    answer = port.ask("/metrics")
    assert (200, "text/plain; version=0.0.4; charset=utf-8") == (answer.code, answer.headers["content-type"])
    assert b"flaggateway_build_info{" in answer.body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "ODD"])
@pytest.mark.parametrize("path", ["/status", "/metrics"])
def test_any_method_is_answered_as_get(port, method, path):
    """As in ConfigCat Proxy, any method is accepted on both pages."""
    answer = port.ask(path, method)
    assert (200, True) == (answer.code, len(answer.body) > 50)


def test_head_has_the_length_and_no_body(port):
    """The length is that of the answer to GET."""
    answer = port.ask("/livez", "HEAD")
    assert (200, "3", b"") == (answer.code, answer.headers["content-length"], answer.body)


def test_livez_is_ok_while_the_loop_runs(port):
    """Liveness does not depend on any SDK."""
    port.states[0] = ("a", True, False)
    assert (200, b"ok\n") == ((answer := port.ask("/livez")).code, answer.body)


def test_readyz_follows_the_sdks_and_the_shutdown(port):
    """200 when ready, 503 with reasons otherwise, always 503 during the stop."""
    assert 200 == port.ask("/readyz").code
    port.states[0] = ("a", True, False)
    answer = port.ask("/readyz")
    assert (503, "waiting for the first fetch of: a") == (answer.code, json.loads(answer.body)["reason"])
    port.states[0] = ("a", False, True)
    port.readiness.stop()
    assert 503 == port.ask("/readyz").code


def test_the_age_of_a_cached_config_is_a_header_of_status_and_readyz(port):
    """Of the oldest one, in whole seconds; absent on other pages, and once a fetch has succeeded."""
    port.status.stale("a", -90.0)
    ages = {path: port.ask(path).headers.get("x-flaggateway-config-age") for path in ("/status", "/readyz", "/livez")}
    assert {"/status": "90", "/readyz": "90", "/livez": None} == ages
    port.status.stale("a", None)
    assert "x-flaggateway-config-age" not in port.ask("/readyz").headers


def test_root_lists_the_pages(port):
    """The page / lists all pages."""
    assert b"/livez\n/metrics\n/readyz\n/status\n" == port.ask("/").body


@pytest.mark.parametrize("path", ["/nope", "/status/", "/metrics/x", "//", "/%73tatus", "/status%2f"])
def test_anything_else_is_a_plain_404(port, path):
    """No trailing slash, no other spelling, and no HTML."""
    answer = port.ask(path)
    assert (404, b"404 page not found\n", "text/plain; charset=utf-8") == (
        answer.code,
        answer.body,
        answer.headers["content-type"],
    )


def test_query_strings_are_ignored(port):
    """/livez?verbose is /livez."""
    assert 200 == port.ask("/livez?verbose").code


@pytest.mark.parametrize("path", ["/", "/status", "/metrics", "/livez", "/readyz", "/nope"])
def test_no_answer_names_the_server_or_may_be_cached(port, path):
    """No Server header, and no cache keeps an old state."""
    headers = port.ask(path).headers
    assert "server" not in headers
    assert "no-store" == headers["cache-control"]


def test_auth_headers_protect_status_and_metrics_only():
    """Without the header 401; probes and the list need none."""
    port = Port(Diag(auth_headers={"X-Auth": "sécret", "X-Two": "b"}))
    right = {"x-auth": "sécret", "X-TWO": "b"}
    assert [401, 401, 401, 200, 200, 200, 200] == [
        port.ask("/status").code,
        port.ask("/metrics", **{"X-Auth": "sécret", "X-Two": "c"}).code,
        port.ask("/metrics", **{"X-Two": "b"}).code,
        port.ask("/status", **right).code,
        port.ask("/metrics", **right).code,
        port.ask("/livez").code,
        port.ask("/readyz").code,
    ]
    assert b"the headers of diag.auth_headers are needed\n" == port.ask("/status").body


def test_auth_headers_follow_a_reload():
    """New auth headers apply from the next request on."""
    port = Port(Diag(auth_headers={"X-Auth": "old"}))
    port.site.reconfigure(Settings(diag=Diag(auth_headers={"X-Auth": "new"})))
    assert [401, 200] == [port.ask("/status", **{"X-Auth": value}).code for value in ("old", "new")]


def test_the_status_page_is_switched_by_a_reload():
    """diag.status.enabled applies from the next request on, in both directions."""
    port = Port()
    port.site.reconfigure(Settings(diag=Diag(status=OnByDefault(enabled=False))))
    assert 404 == port.ask("/status").code
    port.site.reconfigure(Settings())
    assert 200 == port.ask("/status").code


@pytest.mark.parametrize(
    "diag",
    [
        Diag(metrics=MetricsSettings(enabled=False)),
        Diag(metrics=MetricsSettings(prometheus=OnByDefault(enabled=False))),
    ],
)
def test_disabled_metrics_have_no_page(diag):
    """Either option removes the page, from the list too."""
    port = Port(diag, Metrics(lambda: 0.0, "test"))
    assert (404, b"/livez\n/readyz\n/status\n") == (port.ask("/metrics").code, port.ask("/").body)


def test_disabled_status_has_no_page():
    """diag.status.enabled removes the page."""
    assert 404 == Port(Diag(status=OnByDefault(enabled=False))).ask("/status").code


def test_connections_are_reused(port):
    """Two requests on one connection get two answers."""
    protocol, wire = port.connect()
    for _ in range(2):
        protocol.dataReceived(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    assert 2 == wire.value().count(b"HTTP/1.1 200 OK")
    assert not wire.disconnecting


def test_a_slow_request_is_aborted_at_the_deadline(port):
    """A byte each second does not keep a connection open for longer."""
    protocol, wire = port.send(b"GET /livez HT")
    for _ in range(int(REQUEST_DEADLINE)):
        assert not wire.aborted
        port.clock.advance(1)
        protocol.dataReceived(b"T")
    assert wire.aborted


def test_a_complete_request_ends_its_deadline(port):
    """A connection that waits for its next request is not aborted by it."""
    _, wire = port.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    port.clock.advance(REQUEST_DEADLINE + 1)
    assert not wire.aborted


def test_a_small_body_is_ignored_and_a_large_one_closes_the_connection(port):
    """No page uses bodies, so none may cost memory or disk."""
    _, wire = port.send(b"POST /status HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
    assert b"200 OK" in wire.value()
    length = BODY_LIMIT + 1
    _, wire = port.send(b"POST /status HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length + b"x" * length)
    assert (True, b"") == (wire.aborted, wire.value())


@pytest.mark.parametrize(
    "head",
    [(b"X-Long: " + b"x" * (HEADER_LIMIT // 2) + b"\r\n") * 2, b"X-Many: 1\r\n" * (HEADER_COUNT + 1)],
    ids=["long", "many"],
)
def test_large_heads_are_refused(port, head):
    """Too many or too long header fields are a 400."""
    _, wire = port.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n")
    assert wire.value().startswith(b"HTTP/1.1 400 ")


def test_a_line_without_end_closes_the_connection(port):
    """A header that never ends is not kept."""
    _, wire = port.send(b"GET /livez HTTP/1.1\r\nX-Long: " + b"x" * (HEADER_LIMIT + 1))
    assert (True, b"") == (wire.disconnecting, wire.value())


def test_the_answer_to_options_star_does_not_name_the_server(port):
    """OPTIONS * is answered by Twisted, and without a Server header too."""
    answer = port.ask("*", "OPTIONS")
    assert (200, False) == (answer.code, "server" in answer.headers)


def test_connections_beyond_the_limit_are_refused_until_others_end(port):
    """One more than the limit is closed at once; after another has ended one is accepted."""
    open_ones = [port.connect() for _ in range(CONNECTION_LIMIT)]
    refused, wire = port.connect()
    assert wire.aborted
    refused.connectionLost(Failure(ConnectionDone()))
    assert CONNECTION_LIMIT == port.site.connections
    open_ones[0][0].connectionLost(Failure(ConnectionDone()))
    assert not port.connect()[1].aborted
    for protocol, _ in open_ones[1:]:
        protocol.connectionLost(Failure(ConnectionDone()))
    assert 1 == port.site.connections


def test_an_idle_connection_is_closed(port):
    """A connection without requests ends after the idle timeout."""
    _, wire = port.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    port.clock.advance(121)
    assert wire.disconnecting


@pytest.mark.parametrize(("host", "code"), [(b"a:8051", 200), (b"a b", 400), (b"<script>", 400), (b"a:99999", 400)])
def test_a_host_that_is_none_is_refused(host, code):
    """As on the main port."""
    protocol, wire = Port().connect()
    protocol.dataReceived(b"GET /livez HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
    assert wire.value().startswith(b"HTTP/1.1 %d " % code)
    assert wire.disconnecting == (code == 400)


def test_close_counts_in_any_place_of_the_list():
    """As on the main port."""
    protocol, wire = Port().connect()
    protocol.dataReceived(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: x, close, y\r\n\r\n")
    assert b"Connection: close\r\n" in wire.value()
    assert wire.disconnecting
