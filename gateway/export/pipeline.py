"""What becomes of evaluations in the process that leads: gathered for a moment, then written, then acknowledged.

    keep ──► waiting ──► (0.2 s) ──► Sink: spool or file ──► the Deferreds fire

A reload may put another sink in place: what came before is written to the old one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, succeed

from gateway.deferreds import Timer, settle_all, supervise
from gateway.export import MEMORY, SPOOL_FULL, UNWANTED
from gateway.export import file_sink as eventfile
from gateway.export.batch_sender import Export
from gateway.export.file_sink import EventFile
from gateway.export.sink import DISK_FAULTS, Trouble
from gateway.export.spool import EventSpool
from gateway.http_client import MakeSender, Route, load_trust, make_sender
from gateway.logger import component_logger
from gateway.storage import LockTaken
from gateway.text import iso

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from gateway.export import Parcel
    from gateway.export.metrics import ExportMetrics
    from gateway.export.sink import Sink
    from gateway.settings import Delivery, Exporter, Settings
    from gateway.storage import Store

_log = component_logger("gateway")

BROKE: Final = "the exporter broke"
GATHER_SECONDS: Final = 0.2  # from the first parcel until all that have come are written together
RETRY_SECONDS: Final = 1.0  # between two tries of a disk that is full or locked
WRITE_BYTES: Final = 8 * 1024 * 1024  # and a parcel, in one transaction
SAY_SECONDS: Final = 60.0  # between two lines about events that go: at the cap some do with each write
WAITING_BYTES: Final = 64 * 1024 * 1024  # in memory for a disk that does not keep up; senders stop far below that
FAILING_LONG: Final = 600.0  # seconds after which a receiver that fails is a problem of the gateway


class ExporterUnusable(Exception):
    """The exporter of the settings cannot work; the text names the option."""


class Exports:
    """The exporter of the settings, none included; ``wall`` gives seconds since 1970."""

    def __init__(
        self, reactor: Any, wall: Callable[[], float], rng: Random, hostname: str, metrics: ExportMetrics,
        sender: MakeSender = make_sender,
    ) -> None:  # fmt: skip
        self._reactor = reactor
        self._wall = wall
        self._rng = rng
        self._hostname = hostname
        self._metrics = metrics
        self._make_sender = sender
        self._sink: Sink | None = None
        self._settings: tuple[Exporter, Delivery] | None = None
        self._store: Store | None = None
        self._moving: Deferred[None] | None = None  # from one sink to the next
        self._waiting: list[tuple[Parcel, Deferred[None]]] = []
        self._waiting_bytes = 0
        self._timer = Timer(reactor)
        self._writing: Deferred[None] | None = None
        self._trouble: Trouble | None = None
        self._stopped = False
        self._unsaid, self._said_at = 0, float("-inf")  # dropped events that no line of the log has told of yet

    def check(self, settings: Settings) -> None:
        """Raise ``ExporterUnusable`` or ``TrustError`` if the exporter of the settings cannot work."""
        exporter = settings.exporter
        if not exporter.on:
            return
        try:
            if exporter.kind == "file":
                before = None if self._settings is None else self._settings[0]
                ours = before is not None and (before.kind, before.path) == ("file", exporter.path)
                eventfile.check(exporter.path, ours=ours)
        except LockTaken as error:
            taken = f"{exporter.path} is in use by another gateway; each gateway needs a file of its own"
            raise ExporterUnusable(f"exporter.path: {taken}") from error
        except OSError as error:
            raise ExporterUnusable(f"exporter.path: {exporter.path} cannot be written: {error.strerror}") from error
        load_trust(exporter.ca_file, "exporter.ca_file")

    def configure(self, settings: Settings, store: Store | None) -> None:
        """Export as the settings say, once what is under way has ended; ``store`` is there where they want a spool."""
        wanted = (settings.exporter, settings.delivery) if settings.exporter.on else None
        if wanted != self._settings:
            self._settings = wanted
            self._store = store
            if self._moving is None:
                moving = supervise(Deferred.fromCoroutine(self._move()), _log, BROKE)
                self._moving = None if moving.called else moving
                moving.addCallback(self._moved)

    def keep(self, parcel: Parcel) -> Deferred[None]:
        """Put events on disk; fires when they are there, or are counted as dropped; never errs.

        While the disk takes nothing it does not fire, so whoever sends waits, within bounds of its own.
        """
        self._metrics.collected(parcel.collected)
        for reason, count in parcel.dropped.items():
            self._metrics.dropped(reason, count)
        if not parcel.told:
            return succeed(None)
        if self._settings is None or self._waiting_bytes > WAITING_BYTES:
            self._metrics.dropped(UNWANTED if self._settings is None else MEMORY, parcel.told)
            return succeed(None)
        kept: Deferred[None] = Deferred()
        self._waiting.append((parcel, kept))
        self._waiting_bytes += parcel.size
        self._arm(GATHER_SECONDS)
        return kept

    async def stop(self) -> None:
        """Put on disk what waits and try to send it, within some seconds."""
        self._stopped = True
        for under_way in (self._moving, self._writing):
            if under_way is not None:
                await settle_all([under_way])
        self._timer.cancel()
        await self._write_all()
        if self._waiting:
            lost = sum(parcel.told for parcel, _ in self._waiting)
            _log.error("{count} evaluations could not be written and are lost", count=lost)
        sink, self._sink, self._settings = self._sink, None, None
        if sink is not None:
            await sink.stop(last=True)

    def problems(self) -> list[str]:
        """Return what an operator should look at, one sentence each."""
        found = []
        if self._trouble is not None:
            found.append(f"evaluations cannot be written: {self._trouble.text}")
        trouble = None if self._sink is None else self._sink.trouble
        if trouble is not None and self._wall() - trouble.since > FAILING_LONG:
            found.append(f"the exporter's receiver has taken nothing since {iso(trouble.since)}")
        return found

    def _arm(self, seconds: float) -> None:
        if not self._timer.active and self._writing is None and self._moving is None and not self._stopped:
            self._timer.start(seconds, self._fire)

    def _fire(self) -> None:
        writing = supervise(Deferred.fromCoroutine(self._write()), _log, BROKE)
        self._writing = None if writing.called else writing
        writing.addCallback(self._rest)

    def _rest(self, _: object) -> None:
        self._writing = None
        if self._waiting:
            self._arm(GATHER_SECONDS if self._trouble is None else RETRY_SECONDS)

    async def _write_all(self) -> None:
        """Write until nothing waits, or the disk takes nothing."""
        left = -1
        while self._sink is not None and self._waiting and len(self._waiting) != left:
            left = len(self._waiting)
            await self._write()

    async def _write(self) -> None:
        if self._sink is None:
            return
        waiting = self._next()
        try:
            dropped = await self._sink.write([parcel for parcel, _ in waiting])
        except DISK_FAULTS as error:
            self._waiting = [*waiting, *self._waiting]
            self._failed(str(error))
        else:
            self._written(waiting, dropped)

    def _next(self) -> list[tuple[Parcel, Deferred[None]]]:
        """Take what is written together: the same file takes changes, which do not wait long."""
        size = taken = 0
        for parcel, _ in self._waiting:
            size += parcel.size
            taken += 1
            if size >= WRITE_BYTES:
                break
        found, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return found

    def _written(self, written: list[tuple[Parcel, Deferred[None]]], dropped: int) -> None:
        if self._trouble is not None:
            _log.warn("evaluations are written again")
            self._trouble = None
        if dropped:
            self._metrics.dropped(SPOOL_FULL, dropped)
            self._say_full(dropped)
        self._waiting_bytes -= sum(parcel.size for parcel, _ in written)
        for _, kept in written:
            kept.callback(None)

    def _say_full(self, dropped: int) -> None:
        self._unsaid += dropped
        now = self._wall()
        if now - self._said_at >= SAY_SECONDS:
            _log.warn("the spool is full: {count} evaluations were dropped, the oldest first", count=self._unsaid)
            self._said_at, self._unsaid = now, 0

    def _give_up(self, reason: str) -> None:
        waiting, self._waiting = self._waiting, []
        for parcel, kept in waiting:
            self._waiting_bytes -= parcel.size
            self._metrics.dropped(reason, parcel.told)
            kept.callback(None)

    def _failed(self, reason: str) -> None:
        if self._trouble is None:
            _log.error("evaluations cannot be written, flags go on without it: {reason}", reason=reason)
            self._trouble = Trouble(reason, self._wall())

    async def _move(self) -> None:
        """End one sink, then begin the next: never two that send the same."""
        wanted: object = None
        while self._sink is not None or wanted != self._settings:
            wanted = self._settings
            await self._write_all()
            old, self._sink = self._sink, None
            if old is not None:
                await old.stop(last=False)
            if wanted == self._settings and self._settings is not None:
                self._sink = self._made(*self._settings)
                self._sink.start()
                return

    def _made(self, exporter: Exporter, delivery: Delivery) -> Sink:
        if exporter.kind == "file":
            return EventFile(self._reactor, self._wall, exporter, self._metrics)
        assert self._store is not None
        sender = self._make_sender(self._reactor, _route(exporter, delivery))
        spool = EventSpool(self._store, exporter.max_bytes)
        return Export(self._reactor, self._wall, self._rng, exporter, spool, sender, self._hostname, self._metrics)

    def _moved(self, _: object) -> None:
        self._moving = None
        if self._sink is None:
            self._trouble = None
            self._give_up(UNWANTED)
        elif self._waiting:
            self._arm(GATHER_SECONDS)


def _route(exporter: Exporter, delivery: Delivery) -> Route:
    return Route(exporter.endpoint_url, exporter.ca_file, 1, exporter.timeout, delivery)
