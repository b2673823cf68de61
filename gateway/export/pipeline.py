"""The exporter in the leading process: gathers parcels, writes them to a spool or a file, and acknowledges them.

    write ──► waiting ──► (0.2 s) ──► Sink: BatchSender or FileSink ──► the Deferreds fire

A reload may replace the sink; what arrived before is written to the old one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from twisted.internet.defer import Deferred, succeed

from gateway.deferreds import Timer, settle_all, supervise
from gateway.export.batch_sender import BatchSender, Trouble
from gateway.export.file_sink import FileSink, check_file
from gateway.export.parcel import DropReason
from gateway.export.spool import EventSpool
from gateway.http_client import MakeSender, Route, Trust, load_trust, make_sender
from gateway.logger import component_logger
from gateway.storage import DISK_ERRORS, LockTaken
from gateway.text import ProblemText, iso, log_command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from gateway.export.metrics import ExportMetrics
    from gateway.export.parcel import Parcel
    from gateway.http_client import Reactor
    from gateway.settings import Delivery, Exporter, Settings
    from gateway.storage import Store

_log = component_logger("gateway")

GATHER_SECONDS: Final = 0.2  # between the first parcel and the write of all that arrived since
RETRY_SECONDS: Final = 1.0  # before another attempt to write to a disk that is full or locked
WRITE_BYTES: Final = 8 * 1024 * 1024  # in one transaction; the last parcel may exceed it
LOG_SECONDS: Final = 60.0  # between two lines about dropped events: a full spool drops some at each write
WAITING_BYTES: Final = 64 * 1024 * 1024  # in memory for a slow disk; forwarders stop far below
OUTAGE_SECONDS: Final = 600.0  # after which a failing receiver is a problem of the gateway


class ExporterUnusable(Exception):
    """The configured exporter cannot work; the text names the option."""


class Sink(Protocol):
    """Writes events to disk, within a bound; all methods belong to the reactor's thread."""

    def start(self) -> None:
        """Start to work; the first call, made once."""

    def write(self, parcels: Sequence[Parcel]) -> Deferred[int]:
        """Write events to disk; the result is the number of older ones that were dropped for them.

        Fails with one of ``DISK_ERRORS`` if nothing was written; the same parcels may then be written again.
        """

    def stop(self, *, last: bool) -> Deferred[None]:
        """Stop, within a few seconds; ``last`` means that no successor follows, so waiting events are sent now."""

    @property
    def trouble(self) -> Trouble | None:
        """Why the receiver accepts nothing at present; None while it does."""

    @property
    def refused(self) -> Trouble | None:
        """Why the receiver has refused single events for good; None if it has refused none for a day."""


class ExportPipeline:
    """Exports evaluations as configured, or none; ``wall`` returns Unix seconds."""

    def __init__(
        self, reactor: Reactor, wall: Callable[[], float], rng: Random, hostname: str, metrics: ExportMetrics,
        sender: MakeSender = make_sender,
    ) -> None:  # fmt: skip
        self._reactor = reactor
        self._wall = wall
        self._rng = rng
        self._hostname = hostname
        self._metrics = metrics
        self._make_sender = sender
        self._sink: Sink | None = None
        self._settings: tuple[Exporter, Delivery, Trust] | None = None
        self._store: Store | None = None
        self._switching: Deferred[None] | None = None  # from one sink to the next
        self._waiting: list[tuple[Parcel, Deferred[None]]] = []
        self._waiting_bytes = 0
        self._timer = Timer(reactor)
        self._writing: Deferred[None] | None = None
        self._trouble: Trouble | None = None  # of the disk
        self._stopped = False
        self._unlogged, self._logged_at = 0, float("-inf")  # dropped events since the last line about them

    def check(self, settings: Settings) -> Trust | None:
        """Create the exporter's file if it is missing, and return its CA file; None without an exporter.

        :raises ExporterUnusable: when the file cannot be written
        :raises TrustError: when the CA file cannot be used
        """
        exporter = settings.exporter
        if not exporter.on:
            return None
        try:
            if exporter.kind == "file":
                before = None if self._settings is None else self._settings[0]
                ours = before is not None and (before.kind, before.path) == ("file", exporter.path)
                check_file(exporter.path, ours=ours)
        except LockTaken as error:
            taken = f"{exporter.path} is in use by another gateway; each gateway needs a file of its own"
            raise ExporterUnusable(f"exporter.path: {taken}") from error
        except OSError as error:
            raise ExporterUnusable(f"exporter.path: {exporter.path} cannot be written: {error.strerror}") from error
        return load_trust(exporter.ca_file, "exporter.ca_file")

    def configure(self, settings: Settings, store: Store | None, trust: Trust | None) -> None:
        """Apply settings once the running writes have ended; ``check`` has returned ``trust`` for them.

        ``store`` is needed where they ask for a spool.  Does not fail.
        """
        wanted = None if trust is None else (settings.exporter, settings.delivery, trust)
        if wanted != self._settings:
            self._settings = wanted
            self._store = store
            if self._switching is None:
                switching = Deferred.fromCoroutine(self._switch())
                self._switching = supervise(switching, _log, "exporter: changing its settings failed")
                self._switching.addCallback(self._switched)

    def write(self, parcel: Parcel) -> Deferred[None]:
        """Write events to disk; fires once they are there or counted as dropped, and never fails.

        It does not fire while the disk is full or locked, so the forwarders keep later events, within their bounds.
        """
        self._metrics.collected(parcel.collected)
        for reason, count in parcel.dropped.items():
            self._metrics.dropped(reason, count)
        if not parcel.evaluations:
            return succeed(None)
        if self._settings is None or self._waiting_bytes > WAITING_BYTES:
            why = DropReason.UNWANTED if self._settings is None else DropReason.MEMORY
            self._metrics.dropped(why, parcel.evaluations)
            return succeed(None)
        written: Deferred[None] = Deferred()
        self._waiting.append((parcel, written))
        self._waiting_bytes += parcel.size
        self._schedule(GATHER_SECONDS)
        return written

    async def stop(self) -> None:
        """Write and send what waits, within some seconds."""
        self._stopped = True
        for running in (self._switching, self._writing):
            if running is not None:
                await settle_all([running])
        self._timer.cancel()
        await self._write_all()
        if self._waiting:
            lost = sum(parcel.evaluations for parcel, _ in self._waiting)
            _log.error("{count} evaluations could not be written and are lost", count=lost)
        sink, self._sink, self._settings = self._sink, None, None
        if sink is not None:
            await sink.stop(last=True)

    def problems(self) -> list[str]:
        """Return what an operator should look at, one sentence each; unchanged while a problem lasts."""
        found: list[str] = []
        if self._trouble is not None:
            found.append(ProblemText(f"evaluations cannot be written: {self._trouble.text}", "flaggateway check"))
        trouble, refused = (None, None) if self._sink is None else (self._sink.trouble, self._sink.refused)
        if trouble is not None and trouble.lasting:
            text = f"the exporter's receiver refuses every batch since {iso(trouble.since)}: {trouble.text}"
            found.append(ProblemText(text, log_command("exporter")))
        elif (
            trouble is not None and not 0 <= self._wall() - trouble.since <= OUTAGE_SECONDS
        ):  # or the clock was set back
            text = f"the exporter's receiver has accepted nothing since {iso(trouble.since)}"
            found.append(ProblemText(text, log_command("exporter")))
        if refused is not None:
            text = f"evaluations that the exporter's receiver refuses are set aside since {iso(refused.since)}"
            found.append(ProblemText(text, log_command("exporter")))
        return found

    def _schedule(self, seconds: float) -> None:
        if not self._timer.active and self._writing is None and self._switching is None and not self._stopped:
            self._timer.start(seconds, self._start_write)

    def _start_write(self) -> None:
        self._writing = supervise(Deferred.fromCoroutine(self._write()), _log, "exporter: writing evaluations failed")
        self._writing.addCallback(self._write_ended)

    def _write_ended(self, _: object) -> None:
        self._writing = None
        if self._waiting:
            self._schedule(GATHER_SECONDS if self._trouble is None else RETRY_SECONDS)

    async def _write_all(self) -> None:
        """Write until nothing waits or a write fails."""
        left = -1
        while self._sink is not None and self._waiting and len(self._waiting) != left:
            left = len(self._waiting)
            await self._write()

    async def _write(self) -> None:
        if self._sink is None:
            return
        parcels = self._take_waiting()
        try:
            dropped = await self._sink.write([parcel for parcel, _ in parcels])
        except DISK_ERRORS as error:
            self._waiting = [*parcels, *self._waiting]
            self._write_failed(str(error))
        else:
            self._written(parcels, dropped)

    def _take_waiting(self) -> list[tuple[Parcel, Deferred[None]]]:
        """Return what one transaction writes: changes of flags use the same file and must not wait long."""
        size = taken = 0
        for parcel, _ in self._waiting:
            size += parcel.size
            taken += 1
            if size >= WRITE_BYTES:
                break
        found, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return found

    def _written(self, parcels: list[tuple[Parcel, Deferred[None]]], dropped: int) -> None:
        if self._trouble is not None:
            _log.warn("evaluations are written again")
            self._trouble = None
        if dropped:
            self._metrics.dropped(DropReason.SPOOL_FULL, dropped)
            self._log_dropped(dropped)
        self._waiting_bytes -= sum(parcel.size for parcel, _ in parcels)
        for _, written in parcels:
            written.callback(None)

    def _log_dropped(self, dropped: int) -> None:
        self._unlogged += dropped
        now = self._wall()
        if not 0 <= now - self._logged_at < LOG_SECONDS:
            _log.warn("the spool is full: {count} evaluations were dropped, the oldest first", count=self._unlogged)
            self._logged_at, self._unlogged = now, 0

    def _drop_waiting(self, reason: DropReason) -> None:
        waiting, self._waiting = self._waiting, []
        for parcel, written in waiting:
            self._waiting_bytes -= parcel.size
            self._metrics.dropped(reason, parcel.evaluations)
            written.callback(None)

    def _write_failed(self, reason: str) -> None:
        if self._trouble is None:
            _log.error("evaluations cannot be written, flags are served without it: {reason}", reason=reason)
            self._trouble = Trouble(reason, self._wall())

    async def _switch(self) -> None:
        """Stop the old sink before the new one starts, so that no two send the same batch."""
        wanted: object = None
        while self._sink is not None or wanted != self._settings:
            wanted = self._settings
            await self._write_all()
            old, self._sink = self._sink, None
            if old is not None:
                await old.stop(last=False)
            if wanted == self._settings and self._settings is not None:
                self._sink = self._make_sink(*self._settings)
                self._sink.start()
                return

    def _make_sink(self, exporter: Exporter, delivery: Delivery, trust: Trust) -> Sink:
        if exporter.kind == "file":
            return FileSink(self._reactor, self._wall, exporter, self._metrics)
        assert self._store is not None
        route = Route(exporter.endpoint_url, exporter.ca_file, 1, exporter.timeout, delivery, trust)
        sender = self._make_sender(self._reactor, route)
        spool = EventSpool(self._store, exporter.max_bytes)
        return BatchSender(self._reactor, self._wall, self._rng, exporter, spool, sender, self._hostname, self._metrics)

    def _switched(self, _: object) -> None:
        self._switching = None
        if self._sink is None:
            self._trouble = None
            self._drop_waiting(DropReason.UNWANTED)
        elif self._waiting:
            self._schedule(GATHER_SECONDS)
