"""The Klein path: Klein finds the route of a request and calls its answer.

Importing this module imports klein, which installs a reactor; only ``gateway.web.server.site`` imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from klein import Klein
from werkzeug.exceptions import MethodNotAllowed, NotFound

from gateway.web.answers.lookup import REQUEST_FAILED, SDK_NOT_LOADED
from gateway.web.errors import log_failure, shield
from gateway.web.server.klein_stream import StreamResource
from gateway.web.server.request_target import decoded
from gateway.web.server.route_matcher import PARAMETER
from gateway.web.server.unrouted import NOT_FOUND, not_allowed
from gateway.web.values import Call, Reply, StreamReply

if TYPE_CHECKING:
    from collections.abc import Callable

    from klein.resource import KleinResource
    from twisted.python.failure import Failure

    from gateway.web.dispatch import BoundRoute, Dispatcher
    from gateway.web.server.klein_request import KleinRequest
    from gateway.web.values import AnyReply


def resource(dispatcher: Dispatcher) -> KleinResource:
    """Return the Klein resource that answers the routes of ``web``."""
    app = Klein()
    app.url_map.merge_slashes = False  # ``request_target.parse`` redirects those; a stream's data may contain some
    for number, bound in enumerate(dispatcher.routes):
        rule = PARAMETER.sub(lambda part: f"<path:{part[1]}>" if part[2] else f"<{part[1]}>", bound.route.pattern)
        app.route(rule, methods=bound.route.methods, endpoint=str(number))(_endpoint(bound))

    @app.handle_errors(Exception)
    def failed(request: Any, failure: Failure) -> bytes:
        return cast(bytes, request.reply(_error_reply(request, failure)))

    return app.resource()


def _error_reply(request: KleinRequest, failure: Failure) -> Reply:
    """Return the answer to a request without a route, or with a wrong method, or whose answer raised."""
    error = failure.value
    if isinstance(error, NotFound):
        return request.without_route(NOT_FOUND)
    if isinstance(error, MethodNotAllowed):
        return request.without_route(not_allowed(error.valid_methods or ()))
    log_failure(request.route, failure)
    return request.without_route(REQUEST_FAILED)


def _endpoint(bound: BoundRoute) -> Callable[..., Any]:
    """Return the Klein endpoint of one route."""

    def endpoint(request: KleinRequest, **parameters: str) -> object:
        request.route = bound.route.pattern
        outcome = bound.answer(_call(request, parameters))
        if isinstance(outcome, (Reply, StreamReply)):
            return _delivered(bound, request, outcome)
        return shield(outcome).addCallback(lambda answered: _delivered(bound, request, answered))

    return endpoint


def _call(request: KleinRequest, parameters: dict[str, str]) -> Call:
    target = request.target
    return Call(
        request.method.decode("ascii"),
        target.path,
        {name: decoded(value) for name, value in parameters.items()},
        target.query,
        request.fields(),
        request.content.read(),
        getattr(request.client, "host", ""),
    )


def _delivered(bound: BoundRoute, request: KleinRequest, answered: AnyReply) -> bytes | StreamResource:
    if isinstance(answered, Reply):
        return request.reply(answered)
    hub = bound.context.hubs.get(answered.sdk.id)
    if hub is None:  # the SDK was removed between the answer and now
        return request.reply(request.without_route(SDK_NOT_LOADED))
    return StreamResource(answered, hub, answered.counter or bound.context.state.streams)
