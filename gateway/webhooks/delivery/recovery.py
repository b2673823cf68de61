"""Early retries: when an endpoint accepts messages again after an outage, the others are sent before they are due.

    success ──► EarlyRetries ──► the next of them, in order, as many as may be in flight ──► success ──► …

Only a success releases more of them, so an endpoint that fails again gets no more than it may have in flight.  Pure.
"""

from typing import Final

from attrs import define, field

from gateway.webhooks.store.message_table import EarlyRetries

# Seconds between two failures, with no success between them, that make an outage.  After a shorter one the messages
# wait for two minutes at most.  A single message that is refused at every attempt, while others are accepted, makes no
# outage, so it is retried early at most once per failure of its own schedule.  Several such messages may make an outage
# together; then a success releases as many of them as may be in flight, and their failures end the early retries.
OUTAGE: Final = 60.0


@define
class Recovery:
    """Which messages of one endpoint may be sent early; ``early`` is None while there are none.

    Messages created before ``_started``, the start of this process, may be sent early after the first success.
    """

    _started: float | None  # Unix seconds; None after the first success
    early: EarlyRetries | None = field(default=None, init=False)

    def delivered(self, now: float, outage: float) -> None:
        """Take note of a success at ``now``, after failures over ``outage`` seconds."""
        if outage >= OUTAGE:
            self.early = EarlyRetries(now)
        elif self._started is not None:
            self.early = EarlyRetries(self._started)
        self._started = None

    def released(self, early: EarlyRetries, rest: EarlyRetries | None) -> None:
        """Take note that only ``rest`` of ``early`` is left."""
        if self.early is early:  # otherwise a later success has replaced it
            self.early = rest
