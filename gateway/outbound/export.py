"""Moves events from memory to disk once a second, and batches from disk to their receiver at each flush.

A batch that does not arrive is sent again at the next flush: the same id, the same bytes; there is no other schedule.
"""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from attrs import define
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from gateway import __version__
from gateway.outbound.signature import extra_headers, headers_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random

    from gateway.exporter import Collector
    from gateway.outbound.sender import Sender
    from gateway.outbound.spool import Batch, EventSpool
    from gateway.settings import Exporter

_log = Logger()

COMMIT_SECONDS: Final = 1.0  # between two commits: what was answered longer ago than that survives a crash


@define
class Export:
    """The exporter of kind ``webhook``; ``wall`` gives seconds since 1970."""

    clock: Any
    wall: Callable[[], float]
    rng: Random
    settings: Exporter
    collector: Collector
    spool: EventSpool
    sender: Sender
    encode: Callable[[Mapping[str, str], Sequence[bytes]], bytes]  # ``gateway.exporter.encode_batch``
    hostname: str
    _sequence: int = 0
    _loops: tuple[LoopingCall, ...] = ()
    _waiting: int = 0
    _pending: list[bytes] | None = None  # taken from memory, and not on disk yet
    _flushing: bool = False

    def start(self) -> None:
        """Begin; what an earlier run left on disk goes with the first flush."""
        for seconds, act in ((COMMIT_SECONDS, self.commit), (self.settings.flush_interval / 1000, self.flush)):
            loop = LoopingCall(act)
            loop.clock = self.clock
            loop.start(seconds, now=False)
            self._loops = (*self._loops, loop)

    def stop(self) -> Deferred[None]:
        """Put what is in memory on disk; a batch in flight is cut, and sent again after the next start."""
        for loop in self._loops:
            loop.stop()
        return Deferred.fromCoroutine(self._commit(all_minutes=True)).addCallback(lambda _: self.sender.close())

    def commit(self) -> Deferred[None]:
        """Put what is in memory on disk; when that makes a full batch, flush.  Never errs."""
        return Deferred.fromCoroutine(self._commit())

    def flush(self) -> Deferred[None]:
        """Send all that is on disk, the oldest first, until something does not arrive.  Never errs."""
        if self._flushing:
            return succeed(None)
        self._flushing = True
        return Deferred.fromCoroutine(self._flush()).addErrback(_complain).addCallback(self._flushed)

    async def _commit(self, *, all_minutes: bool = False) -> None:
        events = [*(self._pending or ()), *self.collector.take(all_minutes=all_minutes)]
        if not events:
            return
        self._pending = None
        try:
            dropped = await self.spool.keep(events)
        except sqlite3.Error as error:
            # Bounded like the memory that they came from; the oldest go first.
            self._pending = events[-self.settings.max_event_in_memory :]
            _log.warn("the spool cannot be written: {reason}", reason=str(error))
            return
        if dropped:
            _log.warn("the spool is full: {count} events were dropped", count=dropped)
        self._waiting += len(events)
        if self._waiting >= self.settings.max_event_in_memory:
            self.flush()

    async def _flush(self) -> None:
        self._waiting = 0
        settings = self.settings
        meta = {"hostname": self.hostname, **settings.meta}
        while (
            batch := await self.spool.next_batch(settings.max_event_in_memory, partial(self.encode, meta), self._made)
        ) is not None:
            if not await self._send(batch):
                return
            await self.spool.sent(batch)

    async def _send(self, batch: Batch) -> bool:
        self._sequence += 1
        settings = self.settings
        secrets = (settings.secret,) if settings.secret else ()
        now = int(self.wall())
        headers = headers_for(batch.id, "exporter", batch.body, secrets, now, self._sequence, __version__)
        attempt = await self.sender.send([*headers, *extra_headers(settings.headers)], batch.body)
        arrived = not attempt.fault and attempt.status is not None and 200 <= attempt.status < 300
        if not arrived:
            _log.warn("exporter: batch {batch} waits for the next flush: {why}", batch=batch.id, why=attempt.text)
        return arrived

    def _made(self) -> tuple[str, float]:
        return str(UUID(int=self.rng.getrandbits(128), version=4)), self.wall()

    def _flushed(self, _: object) -> None:
        self._flushing = False


def _complain(failure: Any) -> None:
    if failure.check(sqlite3.Error):
        _log.warn("the spool cannot be read: {reason}", reason=failure.getErrorMessage())
    else:
        _log.failure("a flush broke", failure=failure)
