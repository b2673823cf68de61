"""One log line per answered request at level debug: the route's pattern, never a URL, a key or a user.

At any other level nothing here is called, so that a request costs nothing for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.logger import component_logger

if TYPE_CHECKING:
    from gateway.settings import Http
    from gateway.web.ports import WebMetrics

_log = component_logger("http")


class LoggedMetrics:
    """``WebMetrics`` that also logs each answer."""

    def __init__(self, metrics: WebMetrics) -> None:
        self._metrics = metrics
        self.stream_refused = metrics.stream_refused

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count and log an answer."""
        self._metrics.answered(route, method, status, seconds)
        _log.debug(
            "{method} {route} answered {status} in {milliseconds:.1f} ms",
            method=method,
            route=route or "(no route)",
            status=status,
            milliseconds=round(seconds * 1000, 1),
        )


def with_request_log(metrics: WebMetrics, http: Http) -> WebMetrics:
    """Return ``metrics``, wrapped to log each answer if ``http.log.level`` is debug."""
    return LoggedMetrics(metrics) if http.log.level == "debug" else metrics
