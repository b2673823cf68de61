"""What the leader makes of the workers' tallies: sums over the whole service, without the streams of the dead."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.telemetry import Metrics
    from gateway.workers.protocol import Flag, Tally


class Ledger:
    """The account of one worker; ``known`` tells whether an SDK is still configured."""

    def __init__(self, metrics: Metrics, known: Callable[[str], object]) -> None:
        self._metrics = metrics
        self._known = known
        self._open: Counter[Flag] = Counter()

    def enter(self, tally: Tally) -> None:
        """Add what a tally says: openings before the events on them, and those before the closings."""
        metrics = self._metrics
        for flag, count in tally.opened:
            self._open[flag] += count
            _repeat(count, metrics.stream_opened, *flag)
        for flag, count in tally.frames:
            metrics.frames_sent(*flag, count)
        for flag, count in tally.closed:
            self._close(flag, count)
        for reason, count in tally.refused.items():
            _repeat(count, metrics.stream_refused, reason)
        for reason, count in tally.dropped.items():
            _repeat(count, metrics.stream_dropped, reason)
        for sdk_id, seconds in tally.pushed:
            if self._known(sdk_id):
                metrics.pushed(sdk_id, seconds)
        for answers in tally.answers:
            metrics.answered_elsewhere(answers.route, answers.method, answers.status, answers.buckets, answers.seconds)
        for lag in tally.lags:
            metrics.loop_lag(lag)

    def close(self) -> None:
        """The worker is gone, and its streams with it; what they counted stays.  No tally comes after that."""
        for flag, count in list(self._open.items()):
            self._close(flag, count)

    def _close(self, flag: Flag, count: int) -> None:
        self._open[flag] -= count
        if not self._open[flag]:
            del self._open[flag]
        _repeat(count, self._metrics.stream_closed, *flag)


def _repeat(count: int, tell: Callable[..., None], *what: str | None) -> None:
    for _ in range(count):
        tell(*what)
