"""The routes of the API, each with all that the OpenAPI file describes of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen

from gateway.telemetry import LOCAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.telemetry import Caller, Role

BASE = "/api/v1"
EVENT_STREAM = "text/event-stream"
_NAME = re.compile(r"\\\{(\w+)\\\}")


@frozen
class Ask:
    """A request to a route: its path parameters, its query without empty values, its decoded body, and who sends it."""

    path: dict[str, str]
    query: dict[str, str]
    body: Any
    caller: Caller = LOCAL


@frozen
class Parameter:
    """A parameter of a query."""

    name: str
    description: str


@frozen
class Route:
    """A route; ``answer`` is the struct of its answer, and ``content`` its type.

    ``handle`` returns that struct, its bytes, or an awaitable of either, and raises ``RequestError``; for a stream of
    events it returns a function, which is called with the request and ends it.
    ``role`` is what a caller needs; a POST needs ``operate`` unless it only reads.
    """

    name: str
    method: Literal["GET", "POST"]
    path: str  # below ``BASE``, with ``{name}`` for parameters
    summary: str
    handle: Callable[[Ask], object]
    answer: Any
    body: Any = None
    body_limit: int = 0  # bytes
    query: tuple[Parameter, ...] = ()
    errors: tuple[int, ...] = ()  # besides those of every route
    content: str = "application/json"
    role: Role = field()
    pattern: re.Pattern[str] = field(init=False)

    @role.default
    def _role(self) -> Role:
        return "view" if self.method == "GET" else "operate"

    @pattern.default
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(BASE + _NAME.sub(r"(?P<\1>[^/]{1,1000})", re.escape(self.path)))
