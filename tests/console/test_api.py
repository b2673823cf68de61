"""The router: paths, methods, access, bodies, errors, answers that come later."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport

from gateway.console.api import ConsoleApi
from gateway.console.routes import Ask, Parameter, Route
from gateway.settings import Diag, Settings
from gateway.telemetry import Metrics, Readiness, RequestError, Status, make_diagnostics_site
from memory_port import MemoryPort
from passwords import cheap_hash, login

SECRET = {"Authorization": "Bearer s"}
LIMIT = 40 * 1024  # above the limit of other pages


class Wish(msgspec.Struct):
    """The body of the tested route."""

    flag: str


class Port(MemoryPort):
    """The diagnostics port with some routes; ``asks`` are the requests that reached one."""

    def __init__(self, auth: dict[str, str] | None = None, users: dict[str, str] | None = None) -> None:
        self.verifications: list[tuple[Callable[[], bool], Deferred[bool]]] = []
        self.asks: list[Ask] = []
        self.result: Any = {"fine": True}
        routes = (
            Route("list", "GET", "/things", "", self.handle, None, query=(Parameter("sdk", ""),)),
            Route("one", "GET", "/things/{id}", "", self.handle, None),
            Route("change", "POST", "/things/{id}", "", self.handle, None, body=Wish, body_limit=LIMIT),
        )
        status = Status(lambda: 0.0)
        self.site = make_diagnostics_site(
            status,
            Metrics(lambda: 0.0, "test"),
            Readiness(list, status),
            Settings(diag=Diag(auth_headers=auth or {}, users=users or {}, operators=list(users or ()))),
            self.clock,
            api=ConsoleApi(routes, b"{}"),
            in_thread=self._in_thread,
        )

    def _in_thread(self, work: Callable[[], bool]) -> Deferred[bool]:
        done: Deferred[bool] = Deferred()
        self.verifications.append((work, done))
        return done

    def verify(self) -> None:
        """Do what waits for a thread."""
        for work, done in self.verifications:
            done.callback(work())

    def handle(self, ask: Ask) -> Any:
        """Note the request."""
        self.asks.append(ask)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def change(port: Port, body: bytes, **options: Any) -> tuple[int, Any]:
    """Send a body to the tested route."""
    return port.ask("/api/v1/things/a", "POST", body=body, **options)


def test_a_route_gets_path_query_and_body() -> None:
    """Path parameters are decoded, empty parameters of the query are left out."""
    port = Port()
    assert (200, {"fine": True}) == port.ask("/api/v1/things?sdk=a%20b")
    assert (200, {"fine": True}) == port.ask("/api/v1/things/a%2Fb?")
    assert (200, {"fine": True}) == change(port, b'{"flag":"banner"}')
    assert [({}, {"sdk": "a b"}), ({"id": "a/b"}, {}), ({"id": "a"}, {})] == [
        (ask.path, ask.query) for ask in port.asks
    ]
    assert [None, None, Wish("banner")] == [ask.body for ask in port.asks]
    assert (200, {}) == port.ask("/api/v1/openapi.json")
    assert b"/api/v1/openapi.json\n" in port.ask("/")[1]


@pytest.mark.parametrize(
    ("path", "method", "code", "part"),
    [
        ("/api/v1/nothing", "GET", 404, "openapi.json"),
        ("/api/v2/things", "GET", 404, "openapi.json"),
        ("/api/v1/things/a/b", "GET", 404, "openapi.json"),
        ("/api/v1/things", "POST", 405, "is for GET"),
        ("/api/v1/things/a", "DELETE", 405, "is for GET"),
        ("/api/v1/openapi.json", "POST", 405, "is for GET"),
        ("/api/v1/things?color=red", "GET", 400, "unknown parameter 'color'"),
        ("/api/v1/things?sdk=%FF", "GET", 400, "cannot be read"),
    ],
)
def test_errors_have_one_form(path: str, method: str, code: int, part: str) -> None:
    """Each is an object with the member ``error``."""
    port = Port()
    got, body = port.ask(path, method)
    assert (code, ["error"]) == (got, list(body))
    assert part in body["error"]
    assert [] == port.asks


@pytest.mark.parametrize(
    ("body", "code", "part"),
    [
        (b"{", 400, "not JSON"),
        (b"", 400, "not JSON"),
        (b"[" * 20_000, 400, "does not fit its schema"),
        (b"\xff", 400, "not JSON"),
        (b'{"flag":1}', 400, "`$.flag`"),
        (b'{"flag":"' + b"x" * (LIMIT - 11) + b'"}', 200, ""),
        (b'{"flag":"' + b"x" * (LIMIT - 10) + b'"}', 413, f"more than {LIMIT} bytes"),
    ],
)
def test_a_body_is_bounded_and_fits_its_schema(body: bytes, code: int, part: str) -> None:
    """Anything else is refused; a body that is too large is read and dropped, so that the client gets the answer."""
    got, answer = change(Port(), body)
    assert code == got
    assert part in answer.get("error", "")


def test_a_large_body_of_a_caller_without_access_is_not_kept() -> None:
    """It may have the size of other pages' bodies."""
    port = Port(auth=SECRET)
    body = b'{"flag":"' + b"x" * 20_000 + b'"}'
    assert 401 == change(port, body)[0]
    assert 200 == change(port, body, headers=SECRET, peer="192.0.2.1")[0]
    port = Port()
    assert 403 == change(port, body, peer="192.0.2.1")[0]
    assert 200 == change(port, body)[0]


def test_access_is_as_for_the_other_pages_of_operators() -> None:
    """The headers if there are any, else this machine; an unknown page looks the same to a stranger."""
    guarded = Port(auth=SECRET)
    assert [401, 401, 401] == [
        guarded.ask(path)[0] for path in ("/api/v1/things", "/api/v1/no", "/api/v1/openapi.json")
    ]
    assert 200 == guarded.ask("/api/v1/things", headers=SECRET, peer="192.0.2.1")[0]
    open_port = Port()
    assert [403, 403] == [open_port.ask(path, peer="192.0.2.1")[0] for path in ("/api/v1/things", "/api/v1/no")]
    assert 403 == open_port.ask("/api/v1/things", host="evil.example:8051")[0]
    assert 200 == open_port.ask("/api/v1/things")[0]
    assert [True, False] == [ask.caller.proven for ask in (*guarded.asks, *open_port.asks)]


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
def test_a_page_of_another_site_cannot_post(headers: dict[str, str]) -> None:
    """Also with valid credentials, which the browser adds."""
    port = Port(auth=SECRET)
    assert 403 == change(port, b'{"flag":"a"}', headers=SECRET | headers)[0]
    assert [] == port.asks


def test_errors_of_a_handler(logged_errors: Any) -> None:
    """Its own errors are shown; what it did not expect is logged and not shown."""
    port = Port()
    port.result = RequestError(404, "no SDK shop")
    assert (404, {"error": "no SDK shop"}) == port.ask("/api/v1/things")
    port.result = KeyError("secret")
    assert (500, {"error": "internal error; the log has the details"}) == port.ask("/api/v1/things")
    assert 1 == len(logged_errors.flush())


def test_a_later_answer() -> None:
    """It is written when it comes; the handler's work is cancelled when the client leaves."""
    port = Port()
    port.result = late = Deferred()
    _, wire = port.send("/api/v1/things")
    assert b"" == wire.value()
    late.callback({"late": 1})
    head, _, body = wire.value().partition(b"\r\n\r\n")
    assert (b"HTTP/1.1 200 OK", {"late": 1}) == (head.split(b"\r\n")[0], json.loads(body))
    cancelled: list[object] = []
    port.result = Deferred(cancelled.append)
    protocol, wire = port.send("/api/v1/things")
    protocol.connectionLost()
    assert (1, b"") == (len(cancelled), wire.value())


def test_head_has_the_length() -> None:
    """As for every page."""
    _, wire = Port().send("/api/v1/things", "HEAD")
    head, _, body = wire.value().partition(b"\r\n\r\n")
    assert (True, b"") == (b"Content-Length: 13" in head, body)


def test_a_body_has_more_time_if_it_may_be_large() -> None:
    """Other requests have five seconds."""
    port = Port()
    protocol = port.site.buildProtocol(None)
    protocol.makeConnection(StringTransport(peerAddress=protocol_address()))
    lines = "POST /api/v1/things/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 17\r\n\r\n"
    protocol.dataReceived(lines.encode())
    port.clock.advance(30)
    protocol.dataReceived(b'{"flag":"banner"}')
    assert 1 == len(port.asks)


@pytest.mark.parametrize(("password", "code"), [("right horse", b"200"), ("wrong horse", b"401")])
def test_a_large_body_waits_for_the_login(password: str, code: bytes) -> None:
    """Nothing more is read from the connection until the password is verified; a stranger's body is not kept."""
    port = Port(users={"anna": cheap_hash("right horse")})
    body = b'{"flag":"' + b"x" * 30_000 + b'"}'
    protocol = port.site.buildProtocol(None)
    wire = StringTransport(peerAddress=protocol_address())
    protocol.makeConnection(wire)
    fields = login("anna", password) | {"Host": "localhost", "Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    protocol.dataReceived(f"POST /api/v1/things/a HTTP/1.1\r\n{lines}\r\n".encode() + body[:20_000])
    assert ("paused", 1) == (wire.producerState, len(port.verifications))
    port.verify()
    assert "producing" == wire.producerState
    protocol.dataReceived(body[20_000:])
    assert (code, 1) == (wire.value().split()[1], len(port.verifications))
    assert (code == b"200") == bool(port.asks)


def test_a_stranger_who_sends_on_is_cut_off() -> None:
    """What arrives while the password is verified is bounded, whatever the connection delivers."""
    port = Port(users={"anna": cheap_hash("right horse")})
    body = b"x" * 200_000
    _, wire = port.send("/api/v1/things/a", "POST", headers=login("anna", "wrong horse"), body=body)
    assert (True, b"") == (wire.disconnecting, wire.value())
    port.verify()
    assert [] == port.asks


def test_a_client_that_leaves_during_its_login_is_not_answered() -> None:
    """Its request reaches no route."""
    port = Port(users={"anna": cheap_hash("right horse")})
    protocol, wire = port.send("/api/v1/things", headers=login("anna", "right horse"))
    protocol.connectionLost()
    port.verify()
    assert ([], b"") == (port.asks, wire.value())


def protocol_address() -> Any:
    """Return a client address on this machine."""
    from twisted.internet.address import IPv4Address

    return IPv4Address("TCP", "127.0.0.1", 1)
