"""How an endpoint does, as its lane sees it: counted, remembered, and logged when it changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define, field
from twisted.logger import LogLevel

from gateway.logger import component_logger

if TYPE_CHECKING:
    import sqlite3

    from gateway.http_client import Attempt
    from gateway.webhooks.metrics import WebhookMetrics
    from gateway.webhooks.store.message_table import Letter

_log = component_logger("gateway")

FAILING_LONG: Final = 600.0  # seconds after which an endpoint that fails is a problem of the gateway


@define
class Standing:
    """One endpoint's; the lane tells everything that happens."""

    name: str
    _metrics: WebhookMetrics
    failing_since: float | None = field(default=None, init=False)  # of the first failure after the last success
    failed_at: float | None = field(default=None, init=False)  # the last failure of this run
    trouble: str = field(default="", init=False)  # why the outbox cannot be read or written; empty while it can

    @property
    def silence(self) -> float:
        """Seconds from the first to the last failure after the last success."""
        return 0.0 if self.failing_since is None else max((self.failed_at or 0.0) - self.failing_since, 0.0)

    def took(self, letter: Letter, attempt: Attempt) -> None:
        """Count and log a delivery."""
        failing, self.failing_since = self.failing_since is not None, None
        self._metrics.attempted(self.name, attempt.label, attempt.duration)
        if failing:
            _log.info("endpoint {endpoint} takes messages again", endpoint=self.name)
        _log.debug("endpoint {endpoint}: message {message} delivered", endpoint=self.name, message=letter.message.id)

    def refused(self, at: float, letter: Letter, attempt: Attempt, due: float | None) -> None:
        """Count and log an attempt that failed: loud when it begins, and when a message is given up (no ``due``)."""
        first = self.failing_since is None
        self.failing_since = at if self.failing_since is None else self.failing_since
        self.failed_at = at
        self._metrics.attempted(self.name, attempt.label, attempt.duration)
        if due is None:
            self._metrics.given_up(self.name)
            words = "endpoint {endpoint}: message {message} given up after attempt {number}: {reason}"
        else:
            words = "endpoint {endpoint}: message {message} waits for {pause:.0f} s after attempt {number}: {reason}"
        _log.emit(
            LogLevel.warn if first or due is None else LogLevel.debug,
            words,
            endpoint=self.name,
            message=letter.message.id,
            pause=0.0 if due is None else due - at,
            number=letter.tries + 1,
            reason=attempt.text,
        )

    def troubled(self, error: sqlite3.Error | None) -> None:
        """Remember how the outbox does; one line per change of state."""
        was, self.trouble = self.trouble, "" if error is None else str(error) or "unknown"
        if self.trouble and not was:
            words = "endpoint {endpoint}: the outbox cannot be used: {reason}"
            _log.warn(words, endpoint=self.name, reason=self.trouble)
        elif was and not self.trouble:
            _log.warn("endpoint {endpoint}: the outbox can be used again", endpoint=self.name)
