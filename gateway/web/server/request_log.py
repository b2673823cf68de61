"""What the log tells of each request at level debug: the route's pattern, never a URL, a key or a user.

At any other level nothing of this is called: a request must not pay for lines that nobody wants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.logger import component_logger

if TYPE_CHECKING:
    from gateway.settings import Http
    from gateway.web.ports import WebMetrics

_log = component_logger("http")


class LoggedMetrics:
    """``WebMetrics`` that also writes a line per answer."""

    def __init__(self, counted: WebMetrics) -> None:
        self._counted = counted
        self.stream_refused = counted.stream_refused

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answer and tell of it."""
        self._counted.answered(route, method, status, seconds)
        shown = f"{seconds * 1000:.1f}"
        _log.debug(
            "{method} {route} answered {status} in {milliseconds} ms",
            method=method,
            route=route or "(no route)",
            status=status,
            milliseconds=shown,
        )


def with_request_log(counted: WebMetrics, http: Http) -> WebMetrics:
    """Return ``counted``, with a line per answer if the settings ask for it."""
    return LoggedMetrics(counted) if http.log.level == "debug" else counted
