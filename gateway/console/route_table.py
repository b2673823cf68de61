"""All routes of the API."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final, cast

from gateway.console import schema
from gateway.console.api import ConsoleApi
from gateway.console.explaining import explained
from gateway.console.openapi import document_of
from gateway.console.overview import overview
from gateway.console.routes import Route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.console.facade import Facade

EXPLAIN_LIMIT: Final = 512 * 1024  # bytes of a body: two users of the largest size that requests usually have


def make_api(facade: Facade) -> ConsoleApi:
    """Return the API over ``facade``."""
    return ConsoleApi(routes(facade), files("gateway.console").joinpath("openapi.json").read_bytes())


def openapi_document() -> str:
    """Return the OpenAPI document of the API, which the package has as ``FILE``."""
    return document_of(routes(cast("Facade", None)))  # the routes are described, and none is called


def routes(facade: Facade) -> Sequence[Route]:
    """Return all routes, in the order of the document."""
    return (
        Route(
            name="overview",
            method="GET",
            path="/overview",
            summary="The state of the gateway, its SDKs and its workers.",
            handle=lambda _: overview(facade),
            answer=schema.Overview,
        ),
        Route(
            name="explain",
            method="POST",
            path="/explain",
            summary="Why a user has the value of a flag, and where two users or two moments part.",
            handle=lambda ask: explained(facade, ask.body),
            answer=schema.ExplainAnswer,
            body=schema.ExplainBody,
            body_limit=EXPLAIN_LIMIT,
            errors=(404, 503),
        ),
    )
