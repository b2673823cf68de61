"""All routes of the API."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, cast

from gateway.console import schema
from gateway.console.api import ConsoleApi
from gateway.console.openapi import document_of
from gateway.console.overview import overview
from gateway.console.routes import Route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.console.facade import Facade


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
    )
