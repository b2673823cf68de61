"""What the status page says of the gateway itself, beside the peer's fields."""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from attrs import define, field

from gateway.text import printable, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ERROR_LIMIT = 20  # problems of a refused reload that are shown; the log has them all
ERROR_LENGTH = 300  # characters of one problem


@define
class Vitals:
    """Version, age, load and the last reload; ``started`` and every ``at`` are seconds since 1970."""

    version: str
    started: float
    streams: Callable[[], int]
    reloads: int = field(default=0, init=False)
    reload_errors: tuple[str, ...] = field(default=(), init=False)
    _reload_at: float | None = field(default=None, init=False)

    def reloaded(self, at: float, problems: Sequence[str] = ()) -> None:
        """Note a reload: applied when there are no problems, refused otherwise."""
        self.reloads += 1
        self._reload_at = at
        self.reload_errors = tuple(printable(redact(problem))[:ERROR_LENGTH] for problem in problems[:ERROR_LIMIT])

    def describe(self, now: float) -> dict[str, Any]:
        """Return a new dict for JSON."""
        last = None
        if self._reload_at is not None:
            outcome = "refused" if self.reload_errors else "applied"
            last = {"time": formatdate(self._reload_at, usegmt=True), "outcome": outcome}
        return {
            "version": self.version,
            "uptime_seconds": max(0, int(now - self.started)),
            "streams": self.streams(),
            "reloads": self.reloads,
            "last_reload": last,
            "reload_errors": list(self.reload_errors),
        }
