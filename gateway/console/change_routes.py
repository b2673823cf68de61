"""The routes below ``/api/v1/changes``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.console.change_schema import ChangeDetails, ChangeList
from gateway.console.routes import Parameter, Route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.console.changes import ChangeRoutes


def change_routes(changes: ChangeRoutes) -> Sequence[Route]:
    """Return the routes; they answer 503 while the history is off."""
    return (
        Route(
            name="changes",
            method="GET",
            path="/changes",
            summary="Configs that replaced another one, the newest first, with author, words and reach.",
            handle=changes.listed,
            answer=ChangeList,
            query=(
                Parameter("sdk", "Only changes of this SDK."),
                Parameter("since", "A time in ISO 8601, or seconds since 1970."),
                Parameter("before", "The `next` of the page before."),
                Parameter("limit", "Entries of the page, from 1 to 100; 20 by default. It may have fewer."),
            ),
            errors=(404, 503),
        ),
        Route(
            name="change",
            method="GET",
            path="/changes/{id}",
            summary="A change with the definitions before and after, and its deliveries per endpoint.",
            handle=changes.shown,
            answer=ChangeDetails,
            errors=(404, 503),
        ),
    )
