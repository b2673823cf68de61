"""The routes about clients and streams, live ones included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.console.client_schema import ClientsAnswer
from gateway.console.clients import clients
from gateway.console.events import LISTENERS
from gateway.console.open_streams import open_streams, open_user_stream
from gateway.console.routes import EVENT_STREAM, Route
from gateway.console.schema import StreamsAnswer, UserStreamBody
from gateway.console.tail import TailRoute
from gateway.console.tail_schema import TailBody
from gateway.telemetry import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.console.facade import Facade
    from gateway.telemetry import BoundedRequest

TAIL_LIMIT: Final = 64 * 1024  # bytes of a body with one user


def live_routes(facade: Facade) -> Sequence[Route]:
    """Return the routes."""
    tail = TailRoute(facade)
    return (
        Route(
            name="streams",
            method="GET",
            path="/streams",
            summary="The open streams by SDK, flag, mode and worker.",
            handle=lambda _: open_streams(facade),
            answer=StreamsAnswer,
        ),
        Route(
            name="tailStreams",
            method="POST",
            path="/streams/tail",
            summary="What the streams of one user are sent, live and with the reasons, as server-sent events.",
            handle=lambda ask: tail.opened(ask.body),
            answer=None,
            body=TailBody,
            body_limit=TAIL_LIMIT,
            errors=(404, 503),
            content=EVENT_STREAM,
            role="view",
        ),
        Route(
            name="testStream",
            method="POST",
            path="/streams/test",
            summary="What a user would be sent, live and with what decides each value, as server-sent events.",
            handle=lambda ask: open_user_stream(facade, ask.body),
            answer=None,
            body=UserStreamBody,
            body_limit=TAIL_LIMIT,
            errors=(404, 503),
            content=EVENT_STREAM,
            role="view",
        ),
        Route(
            name="clients",
            method="GET",
            path="/clients",
            summary="User agents and SDKs, requests and errors by route, and the flags that requests name.",
            handle=lambda _: clients(facade),
            answer=ClientsAnswer,
        ),
        Route(
            name="events",
            method="GET",
            path="/events",
            summary="What just happened, as server-sent events.",
            handle=lambda _: _listen(facade),
            answer=None,
            errors=(503,),
            content=EVENT_STREAM,
        ),
    )


def _listen(facade: Facade) -> Callable[[BoundedRequest], None]:
    if facade.feed.listener_count >= LISTENERS:
        raise RequestError(503, f"{LISTENERS} streams of events are open, which is the limit")
    return facade.feed.listen
