"""Deliveries: the pages of the diagnostics port, below ``/api/v1`` too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec

from gateway.console.outbox_schema import (
    Deliveries,
    DeliveriesOfId,
    Endpoint,
    Endpoints,
    RequestedTest,
    Retried,
)
from gateway.console.routes import Parameter, Route
from gateway.console.schema import Error
from gateway.telemetry import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from gateway.console.facade import Facade
    from gateway.console.routes import Ask

WINDOW = (
    Parameter("since", "A time in ISO 8601, or seconds since 1970."),
    Parameter("before", "The `next` of the page before."),
    Parameter("limit", "Entries of the page, from 1 to 1000; 100 by default."),
)


def outbox_routes(facade: Facade) -> Sequence[Route]:
    """Return the routes; all of them answer 404 while no outbox is open."""
    return (
        Route(
            name="deliveries",
            method="GET",
            path="/deliveries",
            summary="Webhook messages, the newest first.",
            handle=_page(facade, "/deliveries"),
            answer=Deliveries,
            query=(Parameter("endpoint", "Only messages to it."), Parameter("state", "Only such messages."), *WINDOW),
            errors=(404, 503),
        ),
        Route(
            name="delivery",
            method="GET",
            path="/deliveries/{id}",
            summary="The messages with an id, with their attempts.",
            handle=_page(facade, "/deliveries/{id}"),
            answer=DeliveriesOfId,
            errors=(404, 503),
        ),
        Route(
            name="endpoints",
            method="GET",
            path="/endpoints",
            summary="The webhook endpoints, with what waits for them.",
            handle=lambda _: _endpoints(facade),
            answer=Endpoints,
        ),
        Route(
            name="testEndpoint",
            method="POST",
            path="/endpoints/{name}/test",
            summary="Send a WEBHOOK_TEST to an endpoint.",
            handle=lambda ask: _tested(facade, ask),
            answer=RequestedTest,
            errors=(404, 503),
        ),
        Route(
            name="retryDelivery",
            method="POST",
            path="/deliveries/{id}/retry",
            summary="Send failed or skipped messages again.",
            handle=_page(facade, "/deliveries/{id}/retry"),
            answer=Retried,
            errors=(404, 409, 503),
        ),
    )


def _endpoints(facade: Facade) -> Endpoints:
    queues = sorted(facade.metrics.deliveries.queues().items())
    return Endpoints([Endpoint(name, pending, round(age, 3)) for name, (pending, age) in queues])


async def _tested(facade: Facade, ask: Ask) -> bytes:
    return _checked(await facade.outbox.test(ask.path["name"], ask.caller))


def _checked(answer: tuple[int, bytes]) -> bytes:
    """Return the body of an answer.

    :raises RequestError: for an error
    """
    code, body = answer
    if code != 200:
        raise RequestError(code, msgspec.json.decode(body, type=Error).error)
    return body


def _page(facade: Facade, template: str) -> Callable[[Ask], Coroutine[Any, Any, bytes]]:
    async def handle(ask: Ask) -> bytes:
        query = urlencode(ask.query).encode()
        return _checked(await facade.outbox.fetch(template.format(**ask.path), query, ask.caller))

    return handle
