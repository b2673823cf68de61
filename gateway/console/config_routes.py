"""The routes below ``/api/v1/configs/{sdkId}``: earlier configs, and decisions about what is served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.console import schema
from gateway.console.routes import Ask, Parameter, Route

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.console.configs import ConfigRoutes

SERVE_LIMIT: Final = 1024  # bytes of a body with one id


def config_routes(configs: ConfigRoutes) -> Sequence[Route]:
    """Return the routes about earlier configs and decisions."""
    one = "/configs/{sdkId}"
    return (
        Route(
            name="listConfigs",
            method="GET",
            path=one,
            summary="The configs that were in use, the newest first, and what is pinned.",
            handle=configs.listed,
            answer=schema.ConfigList,
            query=(Parameter("before", "The `next` of the page before."), Parameter("limit", "From 1 to 1000.")),
            errors=(404, 503),
        ),
        Route(
            name="compareConfigs",
            method="GET",
            path=f"{one}/diff",
            summary="What changed from one config to another, per flag in words.",
            handle=configs.compared,
            answer=schema.ConfigDiffAnswer,
            query=(
                Parameter("from", "Id of the earlier config, or `live`."),
                Parameter("to", "Id of the later config; by default `live`, the one in use."),
            ),
            errors=(404, 503),
        ),
        Route(
            name="showConfig",
            method="GET",
            path=f"{one}/{{config}}",
            summary="A config JSON, by its id or the beginning of it.",
            handle=configs.shown,
            answer=schema.ConfigAnswer,
            errors=(404, 503),
        ),
        Route(
            name="serveConfig",
            method="POST",
            path=f"{one}/serve",
            summary="Serve an earlier config and pin it: what the source brings waits for the release.",
            handle=configs.serve,
            answer=schema.PinAnswer,
            body=schema.ServeBody,
            body_limit=SERVE_LIMIT,
            errors=(404, 409, 503),
        ),
        *(
            Route(
                name=f"{act}Config",
                method="POST",
                path=f"{one}/{act}",
                summary=summary,
                handle=handle,
                answer=answer,
                body_limit=SERVE_LIMIT,  # clients may send an empty object
                errors=(404, 409),
            )
            for act, summary, handle, answer in _decisions(configs)
        ),
    )


def _decisions(configs: ConfigRoutes) -> Sequence[tuple[str, str, Callable[[Ask], object], Any]]:
    return (
        ("release", "End the pin: the source decides again.", configs.release, schema.PinAnswer),
        ("accept", "Use the config that is held.", configs.accept, schema.Decided),
        ("reject", "Drop the config that is held, until the source has another one.", configs.reject, schema.Decided),
    )
