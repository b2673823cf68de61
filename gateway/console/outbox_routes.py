"""Deliveries: the pages of the diagnostics port, below ``/api/v1`` too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec

from gateway.console.outbox_schema import Deliveries, DeliveriesOfId, Retried
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
            name="retryDelivery",
            method="POST",
            path="/deliveries/{id}/retry",
            summary="Send failed or skipped messages again.",
            handle=_page(facade, "/deliveries/{id}/retry"),
            answer=Retried,
            errors=(404, 409, 503),
        ),
    )


def _page(facade: Facade, template: str) -> Callable[[Ask], Coroutine[Any, Any, bytes]]:
    async def handle(ask: Ask) -> bytes:
        query = urlencode(ask.query).encode()
        code, body = await facade.outbox.fetch(template.format(**ask.path), query, ask.caller)
        if code != 200:
            raise RequestError(code, msgspec.json.decode(body, type=Error).error)
        return body

    return handle
