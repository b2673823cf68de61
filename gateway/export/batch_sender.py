"""The exporter of kind ``webhook``: events to the spool, and batches from there to their receiver at each flush.

A batch that does not arrive is sent again at the next flush: the same id, the same bytes; there is no other schedule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from attrs import define
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import LogLevel

from gateway import __version__
from gateway.deferreds import Timer, settle_all, supervise
from gateway.export import batch_head
from gateway.export.sink import DISK_FAULTS, Trouble
from gateway.export.spool import EXPORTER
from gateway.http_client import extra_headers, headers_for
from gateway.logger import component_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from gateway.export import Parcel
    from gateway.export.metrics import ExportMetrics
    from gateway.export.spool import Batch, EventSpool, Held
    from gateway.http_client import Sender
    from gateway.settings import Exporter

_log = component_logger("gateway")

MINUTE: Final = 60
LAST_SECONDS: Final = 3.0  # for a last flush when the gateway stops; what did not go then goes after the next start


@define
class Export:
    """A ``Sink``; ``wall`` gives seconds since 1970.

    One batch is under way at a time, the oldest; one that is refused holds back those behind it until the next flush.
    """

    clock: Any
    wall: Callable[[], float]
    rng: Random
    settings: Exporter
    spool: EventSpool
    sender: Sender
    hostname: str
    metrics: ExportMetrics
    trouble: Trouble | None = None
    _flushes: LoopingCall | None = None
    _fresh: int = 0  # events on disk since the last flush began
    _flushing: Deferred[None] | None = None
    _sending: Deferred[Any] | None = None
    _stopped: bool = False

    def start(self) -> None:
        """Begin; what an earlier run left on disk goes with the first flush."""
        self._flushes = LoopingCall(self.flush)
        self._flushes.clock = self.clock
        self._flushes.start(self.settings.flush_interval / 1000, now=False)
        self.spool.held().addCallbacks(self._found, lambda _: None)

    def write(self, parcels: Sequence[Parcel]) -> Deferred[int]:
        """See ``Sink``; when that makes a full batch, flush."""
        return self.spool.write(parcels).addCallback(self._written, sum(parcel.count for parcel in parcels))

    def flush(self) -> Deferred[None]:
        """Send all that is on disk by now, the oldest first, until something does not arrive.  Never errs."""
        if self._flushing is not None:
            return succeed(None)
        return self._begin(int(self.wall()) // MINUTE * MINUTE)

    def stop(self, *, last: bool) -> Deferred[None]:
        """See ``Sink``: a flush that is under way may end; the last one sends the minute that is not over, too."""
        if self._flushes is not None and self._flushes.running:
            self._flushes.stop()
        timer = Timer(self.clock)
        timer.start(LAST_SECONDS, self._cut)
        return Deferred.fromCoroutine(self._stop(last, timer))

    async def _stop(self, last: bool, timer: Timer) -> None:  # noqa: FBT001 - a coroutine of the method above
        if not last:
            self._stopped = True  # the batch that is under way is the last one; the successor goes on
        if self._flushing is not None:
            await settle_all([self._flushing])
        if last and not self._stopped:
            await self._begin(None)
        timer.cancel()
        await self.sender.close()

    def _cut(self) -> None:
        self._stopped = True
        if self._sending is not None:
            self._sending.cancel()

    def _found(self, held: Held) -> None:
        self._fresh += held.count
        self.metrics.waiting(held.count, held.bytes)

    def _written(self, held: Held, count: int) -> int:
        self.metrics.waiting(held.count, held.bytes)
        self._fresh += count
        if self._fresh >= self.settings.max_event_in_memory:
            self.flush()
        return held.dropped

    def _begin(self, minute: int | None) -> Deferred[None]:
        flushing = Deferred.fromCoroutine(self._flush(minute)).addErrback(_foreseen)
        self._flushing = done = supervise(flushing, _log, "a flush broke")
        if not done.called:
            done.addCallback(self._flushed)
        else:
            self._flushing = None
        return settle_all([done])

    async def _flush(self, minute: int | None) -> None:
        self._fresh = 0
        settings = self.settings
        head = batch_head({"hostname": self.hostname, **settings.meta})
        mark = await self.spool.newest(minute)
        while not self._stopped:
            found = await self.spool.next_batch(mark, settings.max_event_in_memory, head, self._made, self._headers)
            if found is None or not await self._send(*found):
                return
            batch, _ = found
            held = await self.spool.sent(batch)
            self.metrics.exported(batch.count)
            self.metrics.waiting(held.count, held.bytes)

    def _headers(self, batch: Batch) -> list[tuple[str, str]]:
        """In the database's thread."""
        settings = self.settings
        secrets = (settings.secret,) if settings.secret else ()
        headers = headers_for(batch.id, EXPORTER, batch.body, secrets, int(self.wall()), batch.sequence, __version__)
        return [*headers, *extra_headers(settings.headers)]

    async def _send(self, batch: Batch, headers: Sequence[tuple[str, str]]) -> bool:
        at = self.wall()
        self._sending = self.sender.send(headers, batch.body)
        attempt = await self._sending
        self._sending = None
        self.metrics.attempted(attempt.label, attempt.duration)
        self._judge(batch, None if attempt.delivered else attempt.text, at)
        return attempt.delivered

    def _judge(self, batch: Batch, why: str | None, at: float) -> None:
        """Note and log how an attempt went: loud when the receiver begins to fail."""
        before = self.trouble
        if why is None:
            self.trouble = None
            if before is not None:
                _log.info("exporter: the receiver takes batches again")
            _log.debug("exporter: batch {batch} of {count} events delivered", batch=batch.id, count=batch.count)
            return
        self.trouble = Trouble(why, at if before is None else before.since)
        level = LogLevel.warn if before is None else LogLevel.info
        _log.emit(level, "exporter: batch {batch} waits for the next flush: {why}", batch=batch.id, why=why)

    def _made(self) -> str:
        return str(UUID(int=self.rng.getrandbits(128), version=4))

    def _flushed(self, _: object) -> None:
        self._flushing = None


def _foreseen(failure: Any) -> Any:
    if failure.check(*DISK_FAULTS):
        _log.warn("the spool cannot be read: {reason}", reason=failure.getErrorMessage())
        return None
    return None if failure.check(CancelledError) else failure
