"""What a worker counts, until its next tally takes it to the leader."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

from gateway.telemetry import REQUEST_BUCKETS, NoMetrics
from gateway.workers.protocol import Answers, Flag, Tally


class Relay(NoMetrics):
    """Metrics of a worker; ``take`` gives what came since the last time.

    Openings, frames and closings are kept apart, because a stream may live between two tallies.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._opened: Counter[Flag] = Counter()
        self._closed: Counter[Flag] = Counter()
        self._frames: Counter[Flag] = Counter()
        self._refused: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._pushed: list[tuple[str, float]] = []
        self._answers: dict[tuple[str, str, int], list[int]] = {}
        self._seconds: dict[tuple[str, str, int], float] = {}
        self._lags: list[float] = []

    def take(self) -> Tally:
        """Return what was counted, and begin again."""
        tally = Tally(
            _told(self._opened),
            _told(self._closed),
            _told(self._frames),
            dict(self._refused),
            dict(self._dropped),
            self._pushed,
            [Answers(*answer, buckets, self._seconds[answer]) for answer, buckets in self._answers.items()],
            self._lags,
        )
        self._begin()
        return tally

    def stream_opened(self, sdk: str, flag: str | None) -> None:
        """One stream more."""
        self._opened[sdk, flag] += 1

    def stream_closed(self, sdk: str, flag: str | None) -> None:
        """One stream fewer."""
        self._closed[sdk, flag] += 1

    def frames_sent(self, sdk: str, flag: str | None, count: int) -> None:
        """Count events."""
        self._frames[sdk, flag] += count

    def stream_refused(self, reason: str) -> None:
        """One stream was not opened."""
        self._refused[reason] += 1

    def stream_dropped(self, reason: str) -> None:
        """One stream was given up."""
        self._dropped[reason] += 1

    def pushed(self, sdk: str, seconds: float) -> None:
        """A change is with all subscribers of this worker."""
        self._pushed.append((sdk, seconds))

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answer."""
        answer = (route, method, status)
        buckets = self._answers.get(answer)
        if buckets is None:
            buckets = self._answers[answer] = [0] * (len(REQUEST_BUCKETS) + 1)
            self._seconds[answer] = 0.0
        buckets[bisect_left(REQUEST_BUCKETS, seconds)] += 1
        self._seconds[answer] += seconds

    def loop_lag(self, seconds: float) -> None:
        """Keep one measurement of the reactor's lag."""
        self._lags.append(seconds)


def _told(counts: Counter[Flag]) -> list[tuple[Flag, int]]:
    """Return counts that can be encoded: a flag's key may hold a lone surrogate, which JSON can carry."""
    return [((sdk, flag and flag.encode("utf-8", "replace").decode()), count) for (sdk, flag), count in counts.items()]
