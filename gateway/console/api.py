"""Answers requests below ``/api/v1``: finds the route, checks access, reads query and body, encodes the answer.

request ──► Route ──► Ask ──► handle ──► struct ──► JSON
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.web.server import NOT_DONE_YET

from gateway.console.page_files import PageFiles
from gateway.console.routes import BASE, EVENT_STREAM, Ask
from gateway.logger import component_logger
from gateway.telemetry import RequestError, error_body, read_parameters, refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.web.server import Request

    from gateway.console.routes import Route
    from gateway.telemetry import BoundedRequest, Caller

_log = component_logger("diag")

Answer = tuple[int, bytes]  # status, JSON

JSON: Final = b"application/json"
UNKNOWN: Final = f"no such page; {BASE}/openapi.json lists all of them"


class ConsoleApi:
    """``gateway.telemetry.Api`` for these routes; ``description`` is the OpenAPI document."""

    def __init__(self, routes: Sequence[Route], description: bytes) -> None:
        self._routes = routes
        self._description = description
        self._files = PageFiles()

    def render_file(self, request: Request) -> bytes | None:
        """Answer a request for a file of the page; see ``gateway.telemetry.Api``."""
        return self._files.render(request)

    def body_limit(self, path: bytes) -> int:
        """Return the largest body of the routes with this path."""
        return max((route.body_limit for route, _ in self._found(path)), default=0)

    def render(self, request: BoundedRequest, caller: Caller) -> bytes | int:
        """Answer a request; see ``gateway.telemetry.Api``."""
        if request.path == f"{BASE}/openapi.json".encode():
            refused = refusal(request, caller, b"GET")
            return _written(request, *(refused or (200, self._description)))
        found = self._found(request.path)
        method = request.method.decode("ascii", "replace").replace("HEAD", "GET")
        route, path = next(((each, path) for each, path in found if each.method == method), (None, {}))
        # For an unknown path and another method as well: who may not see a page does not learn whether it exists.
        expected = request.method if not found else found[0][0].method.encode() if route is None else method.encode()
        refused = refusal(request, caller, expected, "view" if route is None else route.role)
        if refused is not None:
            return _written(request, *refused)
        if route is None:
            return _written(request, 404, error_body(UNKNOWN))
        if route.content == EVENT_STREAM:
            return _stream(request, route, path, caller)
        return self._answer(request, route, path, caller)

    def _found(self, path: bytes) -> list[tuple[Route, dict[str, str]]]:
        text = path.decode("ascii", "replace")
        matches = ((route, route.pattern.fullmatch(text)) for route in self._routes)
        return [(route, match.groupdict()) for route, match in matches if match is not None]

    def _answer(self, request: BoundedRequest, route: Route, path: dict[str, str], caller: Caller) -> bytes | int:
        ready: list[Answer] = []
        answering = Deferred.fromCoroutine(_respond(request, route, path, caller)).addCallback(ready.append)
        if ready:
            return _written(request, *ready[0])
        closed: list[object] = []

        def finish(_: object) -> None:
            if not closed:
                request.write(_written(request, *ready[0]))
                request.finish()

        def close(reason: object) -> None:
            closed.append(reason)
            answering.cancel()

        request.notifyFinish().addErrback(close)
        answering.addCallback(finish)
        return NOT_DONE_YET


def _stream(request: BoundedRequest, route: Route, path: dict[str, str], caller: Caller) -> bytes | int:
    """Open a stream of events, or return the error."""
    try:
        opened: Any = route.handle(_read(request, route, path, caller))
    except RequestError as error:
        return _written(request, error.code, error_body(str(error)))
    if request.method == b"HEAD":
        return _written(request, 200, b"", EVENT_STREAM.encode())
    opened(request)
    return NOT_DONE_YET


def _read(request: BoundedRequest, route: Route, path: dict[str, str], caller: Caller) -> Ask:
    query = read_parameters(request.uri.partition(b"?")[2], tuple(each.name for each in route.query))
    names = {name: unquote(value) for name, value in path.items()}
    return Ask(names, query, _read_body(request, route), caller)


async def _respond(request: BoundedRequest, route: Route, path: dict[str, str], caller: Caller) -> Answer:
    """Return the answer of a route; raises nothing."""
    try:
        result = route.handle(_read(request, route, path, caller))
        if isinstance(result, Awaitable):
            result = await result
        return 200, result if isinstance(result, bytes) else msgspec.json.encode(result)
    except RequestError as error:
        return error.code, error_body(str(error))
    except CancelledError:
        return 503, error_body("the request was cancelled")
    except Exception:  # noqa: BLE001 - a fault in one route must not end the connection without an answer
        _log.failure("answering a request to the API failed")
        return 500, error_body("internal error; the log has the details")


def _read_body(request: BoundedRequest, route: Route) -> Any:
    if route.body is None:
        return None  # what a client sends all the same was dropped
    if request.too_large:
        raise RequestError(413, f"the body has more than {route.body_limit} bytes")
    assert request.content is not None
    try:
        return msgspec.json.decode(request.content.read(), type=route.body)
    except msgspec.ValidationError as error:
        raise RequestError(400, f"the body does not fit its schema: {error}") from None
    except (msgspec.DecodeError, RecursionError):
        raise RequestError(400, "the body is not JSON") from None


def _written(request: BoundedRequest, code: int, body: bytes, kind: bytes = JSON) -> bytes:
    """Set status and headers, and return the bytes to write."""
    request.setResponseCode(code)
    headers = request.responseHeaders
    headers.setRawHeaders(b"Content-Type", [kind])
    headers.setRawHeaders(b"Cache-Control", [b"no-store"])
    headers.setRawHeaders(b"X-Content-Type-Options", [b"nosniff"])
    headers.setRawHeaders(b"Content-Length", [b"%d" % len(body)])
    return b"" if request.method == b"HEAD" else body
