"""The OpenAPI 3.1 description of the API, generated from the routes and their structs.

``flaggateway schema --write-docs .`` writes it to ``FILE``, which is served at ``/api/v1/openapi.json``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.console.routes import BASE
from gateway.console.schema import Error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.console.routes import Route

FILE: Final = "gateway/console/openapi.json"
ERRORS: Final = {
    400: "The request is invalid.",
    401: "Neither a user of `diag.users` with the right password, nor the headers of `diag.auth_headers`.",
    403: "The user lacks the role `operate`; the caller is on another machine, and there are neither users nor headers;"
    " or a page of another site sent it.",
    404: "It does not exist.",
    409: "The state does not allow it.",
    413: "The body is too large.",
    429: "Too many wrong or simultaneous logins.",
    503: "It cannot be answered now.",
}
EVERYWHERE: Final = (401, 403, 429)
_TEMPLATE: Final = "#/components/schemas/{name}"
_DESCRIPTION: Final = (
    "Served on the diagnostics port to users of `diag.users` (Basic authentication) and to callers with the headers of "
    "`diag.auth_headers`; without either in the settings, to callers on the same machine."
)


def document_of(routes: Sequence[Route]) -> str:
    """Return the description of ``routes`` as JSON."""
    structs = list(dict.fromkeys([Error, *(each for route in routes for each in (route.body, route.answer) if each)]))
    schemas, components = msgspec.json.schema_components(structs, ref_template=_TEMPLATE)
    shown = dict(zip(structs, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(BASE + route.path, {})[route.method.lower()] = _operation(route, shown)
    document = {
        "openapi": "3.1.0",
        "info": {"title": "flaggateway", "version": "1", "description": _DESCRIPTION},
        "paths": paths,
        "components": {"schemas": components},
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _operation(route: Route, shown: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    names = route.pattern.groupindex
    parameters = [_parameter(name, "path", "") for name in names]
    parameters += [_parameter(each.name, "query", each.description) for each in route.query]
    codes = {*EVERYWHERE, *route.errors}
    codes |= {400} if route.query or route.body else set()
    codes |= {413} if route.body else set()
    answer = {"schema": shown[route.answer]} if route.answer else {"schema": {"type": "string"}}
    needed = " Needs the role `operate`." if route.role == "operate" else ""
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary + needed,
        "responses": {
            "200": {"description": "The answer.", "content": {route.content: answer}},
            **{str(code): _error(code, shown[Error]) for code in sorted(codes)},
        },
    }
    if parameters:
        operation["parameters"] = parameters
    if route.body:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": shown[route.body]}}}
    return operation


def _parameter(name: str, place: str, description: str) -> dict[str, Any]:
    made = {"name": name, "in": place, "required": place == "path", "schema": {"type": "string"}}
    return made | ({"description": description} if description else {})


def _error(code: int, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": ERRORS[code], "content": {"application/json": {"schema": schema}}}
