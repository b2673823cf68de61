"""The exporter of kind ``webhook``: writes events to the spool, and sends batches of them at each flush.

A batch that is not accepted is sent again at the next flush, with the same id and bytes; there is no other schedule.
One whose content the receiver refuses for good is divided at once, down to the single event, which is set aside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.logger import LogLevel

from gateway.deferreds import Repeating, Timer, settle_all, supervise
from gateway.export.batch_limit import REFUSALS, BatchLimit
from gateway.export.event import batch_head
from gateway.export.parcel import DropReason
from gateway.export.spool import EXPORTER
from gateway.http_client import extra_headers, headers_for
from gateway.logger import component_logger
from gateway.storage import DISK_ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure

    from gateway.export.metrics import ExportMetrics
    from gateway.export.parcel import Parcel
    from gateway.export.spool import Batch, EventSpool, SpoolSize
    from gateway.http_client import Attempt, Sender
    from gateway.settings import Exporter

_log = component_logger("gateway")

MINUTE: Final = 60
SET_ASIDE_AT_ONCE: Final = 8  # events in a row; if the receiver accepts nothing in between, then one per flush
# Of 4xx statuses that are no ``REFUSALS``, those that end by themselves.
PASSING: Final = frozenset({408, 425, 429})
REFUSED_SECONDS: Final = 86400.0  # after the last refused event, in which the status shows that there was one
LAST_SECONDS: Final = 3.0  # for the last flush when the gateway stops; the rest is sent after the next start


@frozen
class Trouble:
    """What fails at present, and since when (Unix seconds); ``lasting``: until an operator changes something."""

    text: str
    since: float
    lasting: bool = False


@define
class BatchSender:
    """A ``Sink``; ``wall`` returns Unix seconds.

    Sends one batch at a time, the oldest first; one that fails holds back the later ones until the next flush.
    """

    clock: IReactorTime
    wall: Callable[[], float]
    rng: Random
    settings: Exporter
    spool: EventSpool
    sender: Sender
    hostname: str
    metrics: ExportMetrics
    trouble: Trouble | None = None
    _limit: BatchLimit = field(init=False)
    _set_aside_in_a_row: int = 0  # events, since the last batch that the receiver accepted
    _refused: Trouble | None = None
    _refused_at: float = 0.0  # Unix seconds: when the last event was set aside
    _flushes: Repeating | None = None
    _unsent: int = 0  # events written since the last flush began
    _flushing: Deferred[None] | None = None
    _sending: Deferred[Attempt] | None = None
    _stopped: bool = False

    @_limit.default
    def _new_limit(self) -> BatchLimit:
        return BatchLimit(self.settings.max_event_in_memory, self.settings.max_batch_bytes)

    @property
    def refused(self) -> Trouble | None:
        """See ``Sink``."""
        return self._refused if 0 <= self.wall() - self._refused_at < REFUSED_SECONDS else None

    def start(self) -> None:
        """See ``Sink``; what an earlier run left on disk is sent at the first flush."""
        self._flushes = Repeating(self.clock, self.flush, _log, "the flush of evaluations failed")
        self._flushes.start(self.settings.flush_interval / 1000)
        # The receiver, or its address, may have been changed, so events that it refused are sent once more.
        self.spool.release().addCallbacks(self._add_size, lambda _: None)

    def write(self, parcels: Sequence[Parcel]) -> Deferred[int]:
        """See ``Sink``; flushes when that fills a batch."""
        return self.spool.write(parcels).addCallback(self._written, sum(parcel.count for parcel in parcels))

    def flush(self) -> Deferred[None]:
        """Send everything on disk except the current minute's counts, until an attempt fails.  Never fails."""
        if self._flushing is not None:
            return succeed(None)
        return self._begin(int(self.wall()) // MINUTE * MINUTE)

    def stop(self, *, last: bool) -> Deferred[None]:
        """See ``Sink``: waits for a running flush; the last flush includes the current minute's counts."""
        if self._flushes is not None:
            self._flushes.stop()
        timer = Timer(self.clock)
        timer.start(LAST_SECONDS, self._cancel)
        return Deferred.fromCoroutine(self._stop(last=last, timer=timer))

    async def _stop(self, *, last: bool, timer: Timer) -> None:
        if not last:
            self._stopped = True  # the running attempt is the last one; the successor sends the rest
        if self._flushing is not None:
            await settle_all([self._flushing])
        if last and not self._stopped:
            await self._begin(None)
        timer.cancel()
        await self.sender.close()

    def _cancel(self) -> None:
        self._stopped = True
        if self._sending is not None:
            self._sending.cancel()

    def _add_size(self, size: SpoolSize) -> None:
        self._unsent += size.count
        self.metrics.waiting(size.count, size.bytes)

    def _written(self, size: SpoolSize, count: int) -> int:
        self.metrics.waiting(size.count, size.bytes)
        self._unsent += count
        if self._unsent >= self.settings.max_event_in_memory:
            self.flush()
        return size.dropped

    def _begin(self, minute: int | None) -> Deferred[None]:
        flushing = Deferred.fromCoroutine(self._flush(minute)).addErrback(_handle_expected)
        self._flushing = done = supervise(flushing, _log, "exporter: the flush failed, events wait for the next")
        done.addCallback(self._flushed)
        return settle_all([done])

    async def _flush(self, minute: int | None) -> None:
        self._unsent = 0
        settings = self.settings
        head = batch_head({"hostname": self.hostname, **settings.meta})
        newest = await self.spool.close_minutes(minute)
        while not self._stopped:
            found = await self.spool.next_batch(newest, self._limit, head, self._new_id, self._headers)
            if found is None:
                return
            batch, headers = found
            attempt = await self._send(batch, headers)
            if attempt.delivered:
                await self._delivered(batch)
            elif attempt.status not in REFUSALS or not await self._divide(batch, attempt):
                return

    async def _delivered(self, batch: Batch) -> None:
        self._limit.accepted(batch.count, len(batch.body))
        self._set_aside_in_a_row = 0
        size = await self.spool.delete(batch)
        self.metrics.exported(batch.count)
        self.metrics.waiting(size.count, size.bytes)

    async def _divide(self, batch: Batch, attempt: Attempt) -> bool:
        """Divide a batch, or set its single event aside; return whether to go on with this flush."""
        assert attempt.status is not None
        self._limit.refused(attempt.status, batch.count, len(batch.body))
        if batch.count > 1:
            await self.spool.dissolve(batch)
            return True
        at = self.wall()
        size = await self.spool.set_aside(batch, at, attempt.status)
        self._set_aside_in_a_row += 1
        self.metrics.refused(1)
        self.metrics.waiting(size.count, size.bytes)
        if size.dropped:
            self.metrics.dropped(DropReason.REFUSED, size.dropped)
        self._log_set_aside(attempt.text, at)
        return self._set_aside_in_a_row < SET_ASIDE_AT_ONCE

    def _log_set_aside(self, reason: str, at: float) -> None:
        """Log the first event that is set aside, and update ``refused``."""
        before = self.refused
        self._refused = Trouble(reason, at if before is None else before.since, lasting=True)
        self._refused_at = at
        level = LogLevel.warn if before is None else LogLevel.debug
        _log.emit(
            level, "exporter: the receiver refuses an event for good, which is set aside: {reason}", reason=reason
        )

    def _headers(self, batch: Batch) -> list[tuple[str, str]]:
        """Sign a batch; runs in the database's thread."""
        settings = self.settings
        secrets = (settings.secret,) if settings.secret else ()
        headers = headers_for(batch.id, EXPORTER, batch.body, secrets, int(self.wall()), batch.sequence)
        return [*headers, *extra_headers(settings.headers)]

    async def _send(self, batch: Batch, headers: Sequence[tuple[str, str]]) -> Attempt:
        at = self.wall()
        self._sending = self.sender.send(headers, batch.body)
        attempt = await self._sending
        self._sending = None
        self.metrics.attempted(attempt.label, attempt.duration)
        if attempt.status in REFUSALS:
            text = "exporter: batch {batch_id} of {count} events is refused for good: {reason}"
            _log.debug(text, batch_id=batch.id, count=batch.count, reason=attempt.text)
        else:
            self._log_attempt(batch, attempt, at)
        return attempt

    def _log_attempt(self, batch: Batch, attempt: Attempt, at: float) -> None:
        """Log the result and update ``trouble``; only the first failure of a row is a warning."""
        before = self.trouble
        if attempt.delivered:
            self.trouble = None
            if before is not None:
                _log.info("exporter: the receiver accepts batches again")
            _log.debug("exporter: batch {batch_id} of {count} events delivered", batch_id=batch.id, count=batch.count)
            return
        status = attempt.status or 0
        lasting = 400 <= status < 500 and status not in PASSING
        self.trouble = Trouble(attempt.text, at if before is None else before.since, lasting)
        level = LogLevel.warn if before is None else LogLevel.info
        text = "exporter: batch {batch_id} waits for the next flush: {reason}"
        _log.emit(level, text, batch_id=batch.id, reason=attempt.text)

    def _new_id(self) -> str:
        return str(UUID(int=self.rng.getrandbits(128), version=4))

    def _flushed(self, _: object) -> None:
        self._flushing = None


def _handle_expected(failure: Failure) -> Any:
    if failure.check(*DISK_ERRORS):
        _log.warn("exporter: the spool cannot be read until the next flush: {reason}", reason=failure.getErrorMessage())
        return None
    return None if failure.check(CancelledError) else failure
