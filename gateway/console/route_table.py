"""All routes of the API."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final, cast

from gateway.console import schema
from gateway.console.api import ConsoleApi
from gateway.console.change_routes import change_routes
from gateway.console.changes import ChangeRoutes
from gateway.console.config_routes import config_routes
from gateway.console.configs import ConfigRoutes
from gateway.console.explaining import explained
from gateway.console.impact import ImpactRoute
from gateway.console.live_routes import live_routes
from gateway.console.openapi import document_of
from gateway.console.outbox_routes import outbox_routes
from gateway.console.overview import overview
from gateway.console.routes import Ask, Parameter, Route
from gateway.telemetry import RequestError, read_moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.console.facade import Facade

EXPLAIN_LIMIT: Final = 512 * 1024  # bytes of a body: two users of the largest size that requests usually have

IMPACT_LIMIT: Final = 16 * 1024 * 1024  # bytes: a config of 40,000 flags


def make_api(facade: Facade) -> ConsoleApi:
    """Return the API over ``facade``."""
    return ConsoleApi(routes(facade), files("gateway.console").joinpath("openapi.json").read_bytes())


def openapi_document() -> str:
    """Return the OpenAPI document of the API, which the package has as ``FILE``."""
    return document_of(routes(cast("Facade", None)))  # the routes are described, and none is called


def routes(facade: Facade) -> Sequence[Route]:
    """Return all routes, in the order of the document."""
    impact = ImpactRoute(facade)
    return (
        Route(
            name="overview",
            method="GET",
            path="/overview",
            summary="The state of the gateway, its SDKs and its workers.",
            handle=lambda ask: overview(facade, ask.caller),
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
            role="view",
            errors=(404, 503),
        ),
        Route(
            name="impact",
            method="POST",
            path="/impact",
            summary="What a candidate config would change for connected and recently evaluated users.",
            handle=lambda ask: impact.answer(ask.body, reveal=_reveals(ask)),
            answer=schema.ImpactAnswer,
            body=schema.ImpactBody,
            body_limit=IMPACT_LIMIT,
            role="view",
            query=(Parameter("reveal", "`1` shows all attributes of the example users; needs the role `operate`."),),
            errors=(404, 503),
        ),
        Route(
            name="series",
            method="GET",
            path="/series",
            summary="The last hour in points of five seconds.",
            handle=lambda ask: facade.ring.answer(read_moment(ask.query.get("since", "0"))),
            answer=schema.SeriesAnswer,
            query=(Parameter("since", "A time in ISO 8601, or seconds since 1970: only later points and changes."),),
        ),
        *live_routes(facade),
        *outbox_routes(facade),
        *change_routes(ChangeRoutes(facade)),
        *config_routes(ConfigRoutes(facade)),
    )


def _reveals(ask: Ask) -> bool:
    """Return whether attributes of users are shown.

    :raises RequestError: with 403 if the caller may not see them
    """
    wanted = ask.query.get("reveal") == "1"
    lacking = ask.caller.lacks_operate
    if wanted and lacking is not None:
        raise RequestError(403, lacking)
    if wanted and not ask.caller.proven:
        raise RequestError(403, "set diag.users or diag.auth_headers, and log in, to reveal attributes of users")
    return wanted
