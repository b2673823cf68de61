"""A worker process: ``python -m gateway.workers.worker``, started by the leader only.

    link ──► RegistryReplica ──► LocalServer ──► clients
      ▲                              │
      └───── metrics, requests ──────┘

It exits when its link closes, and ignores signals: one that is sent to the process group is for the leader.
"""

from __future__ import annotations

import random
import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.logger import globalLogBeginner

from gateway.deferreds import Repeating, supervise
from gateway.garbage import collect_rarely
from gateway.identity import IssuerKeys
from gateway.logger import component_logger
from gateway.open_files import HANDOVER_RESERVE, files_left, room_before_handover, room_for_connection
from gateway.serving import LocalServer, listen_error_text
from gateway.telemetry import LagMonitor, LogLevels, LogWriter, dropped_line, log_observer, reopen_log_file
from gateway.twisted_private import use_monotonic_timers
from gateway.upstream import Refreshed, compile_candidate
from gateway.web import WebState
from gateway.web.server import TlsError
from gateway.workers import protocol
from gateway.workers.config_intake import ConfigIntake
from gateway.workers.link import TO_WORKER_LIMIT, Link, connect
from gateway.workers.parent_death import die_with_leader
from gateway.workers.process import GROUP_SIGNALS, LINK_FD, LISTENER_FD
from gateway.workers.relay import MetricsSender
from gateway.workers.replica import RegistryReplica
from gateway.workers.reuseport import listen_shared
from gateway.workers.stream_counts import REPORT_SECONDS, WorkerStreams

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twisted.internet.interfaces import IProtocolFactory

    from gateway.settings import Settings

_log = component_logger("gateway")

FREE_AGAIN = 2  # times the files at which a worker is full: from then on it gets its connections again
METRICS_SECONDS = 1.0  # between two reports: how old the leader's metrics may be


class Worker:
    """Serves clients as the leader orders over ``link``."""

    def __init__(self, reactor: Any, inherited: Callable[[int], list[socket.socket]]) -> None:
        self._reactor = reactor
        self._inherited = inherited  # returns so many sockets on the main port, of all workers by their number
        self._sockets: list[socket.socket] = []
        self._ports: dict[int, Any] = {}  # of Twisted on these sockets, by the number of the worker
        self._accepts: set[int] = set()  # the ports of which it reads
        self._factory: IProtocolFactory | None = None
        self._full = False
        self._registry = RegistryReplica(self._refresh)
        self._metrics = MetricsSender()
        self._streams = WorkerStreams(self._report_streams_soon)
        self._levels = LogLevels()
        self._lag = LagMonitor(reactor, self._metrics.loop_lag)
        self._status: Mapping[str, object] = {}
        self._forecasting: dict[str | None, Deferred[None]] = {}  # by SDK those of connected users, under None others
        self._waiting: dict[int, Deferred[Any]] = {}  # for replies, by request id
        self._last_request = 0
        self._tails: dict[int, Callable[[], None]] = {}  # what ends each
        self._log_writer: LogWriter
        self._server: LocalServer
        self._intake: ConfigIntake
        self._started: Settings
        self.link: Link[protocol.ToWorker] = Link(protocol.to_worker, TO_WORKER_LIMIT, self.on_message, self.stop)

    def on_message(self, message: protocol.ToWorker) -> None:  # noqa: C901, PLR0912 - one case per kind of message
        """Handle a message.

        On return everything is done, except for a drain, a forecast and large configs.  What must not come before the
        last waits for them: the tags of earlier configs, the end of a first fetch, the result of a refresh, the opening
        of the port, a forecast, and the leader's ``Echo``.
        """
        match message:
            case protocol.Initialize():
                self._initialize(message)
            case protocol.AddSdk():
                self._add_sdk(message)
            case protocol.PublishConfig():
                self._intake.publish(message)
            case protocol.EarlierConfigs(sdk_id, tags):
                self._intake.settled(sdk_id).addCallback(lambda _: self._server.know_configs(sdk_id, tags))
            case protocol.FirstFetchEnded(sdk_id):
                self._first_fetch_ended(sdk_id)
            case protocol.RemoveSdk(sdk_id):
                self._registry.remove(sdk_id)
                self._server.remove_sdk(sdk_id)
            case protocol.Prepare():
                self._intake.settled().addCallback(lambda _: self._prepare())
            case protocol.Accept(numbers):
                self._accept(numbers)
            case (
                protocol.RefreshResult()
                | protocol.CallIdResult()
                | protocol.EvaluationsStored()
                | protocol.KeysRefreshed()
            ):
                self._replied(message)
            case protocol.IssuerKeySet(url, body):
                self._server.use_issuer_keys(url, body)
            case protocol.OtherStreams():
                self._streams.set_others(message)
            case protocol.StatusDocument(document):
                self._status = msgspec.json.decode(document)
            case protocol.ApplySettings(settings):
                self._apply(settings)
            case protocol.ReopenLog(path):
                self._log_writer.call(lambda: reopen_log_file(path))
            case protocol.RequestForecast():
                self._intake.settled(message.sdk_id).addCallback(lambda _: self._start_forecast(message))
            case protocol.RequestStreams():
                counted = Deferred.fromCoroutine(self._count_streams(message))
                supervise(counted, _log, "the open streams could not be counted")
            case protocol.RequestClients(request_id):
                self._server.seen_clients().addCallback(
                    lambda seen: self.link.send(protocol.ClientsResult(request_id, seen[0][0]))
                )
            case protocol.StartTail() | protocol.StopTail():
                self._tail(message)
            case protocol.Echo():
                self._intake.settled().addCallback(lambda _: self.link.send(message))
            case protocol.Drain():
                Deferred.fromCoroutine(self._drain())

    def stop(self) -> None:
        """Exit at once: the link is closed."""
        with suppress(ReactorNotRunning):
            self._reactor.stop()

    def _initialize(self, message: protocol.Initialize) -> None:
        settings = self._started = message.settings
        self._sockets = self._inherited(message.count)
        self._start_log(message.number, settings)
        self._registry.set_order(settings.sdks)
        self._server = LocalServer(
            self._reactor,
            self._registry,
            settings,
            metrics=self._metrics,
            status_document=lambda: self._status,
            rng=random.Random(),  # noqa: S311 - for jitter, not for secrets
            keep=lambda parcel: self.request(lambda number: protocol.StoreEvaluations(number, parcel)),
            state=WebState(SharedCallIds(self), self._streams, IssuerKeys(self._refresh_keys), message.own_secret),
        )
        self._server.report_reach(lambda reach: self.link.send(protocol.Reached(reach)))
        self._intake = ConfigIntake(self._reactor, self._registry, self._server.prepare, self._server.publish)
        # From now on: the leader ends a worker that is silent while it compiles the first configs.
        Repeating(self._reactor, self._report, _log, "the report to the leader failed").start(METRICS_SECONDS)

    def _start_log(self, number: int, settings: Settings) -> None:
        self._levels.replace(LogLevels.from_settings(settings))
        form = settings.log.format
        self._log_writer = LogWriter(lambda count: dropped_line(form, count, number))
        self._log_writer.start()
        # Standard output and error of this process become log lines: a print to a full pipe would block it.
        globalLogBeginner.beginLoggingTo([log_observer(form, self._levels, self._log_writer.put, number)])

    def _prepare(self) -> None:
        """Prepare everything but the port, once the first configs are in use."""
        try:
            self._factory = self._server.factory(self._has_room)
        except TlsError as error:
            self._fail(str(error))
            return
        self._server.start()
        self._lag.start()
        self.link.send(protocol.Ready())

    def _accept(self, numbers: Sequence[int]) -> None:
        """Read of these ports and of no others; all are opened at the first call, while files are left."""
        first = not self._ports
        try:
            for number, each in enumerate(self._sockets if first else (), 1):
                self._server.prepare_socket(each)
                self._ports[number] = listen_shared(self._reactor, each, self._factory)
                self._reactor.removeReader(self._ports[number])
        except CannotListenError as error:
            self._fail(listen_error_text(error, self._started))
            return
        for number in self._accepts.difference(numbers):
            self._reactor.removeReader(self._ports[number])
            self._server.release_port(self._ports[number])
        for number in set(numbers) - self._accepts:
            self._server.adopt_port(self._ports[number])
            self._reactor.addReader(self._ports[number])
        self._accepts = set(numbers)
        if first:
            self.link.send(protocol.Listening())

    def _has_room(self) -> bool:
        """Return whether another connection may stay open; when few more can follow, others shall accept them."""
        if not self._full and not room_before_handover():
            self._full = True
            self.link.send(protocol.Full(True))
        return room_for_connection()

    def _report_room(self) -> None:
        if self._full and files_left(HANDOVER_RESERVE, FREE_AGAIN, exact=True) > 0:
            self._full = False
            self.link.send(protocol.Full(False))

    def _fail(self, reason: str) -> None:
        self.link.send(protocol.StartFailed(reason))
        self.link.close()

    def _apply(self, settings: Settings) -> None:
        self._registry.set_order(settings.sdks)
        self._levels.replace(LogLevels.from_settings(settings))
        try:
            apply = self._server.check(settings)
        except TlsError as error:  # the files have changed since the leader read them
            _log.error("the new certificates cannot be used, the previous ones stay: {reason}", reason=str(error))
            apply = self._server.check(settings, keep_certificates=True)
        apply()

    def _add_sdk(self, message: protocol.AddSdk) -> None:
        is_known = self._registry.by_id(message.sdk_id) is not None
        sdk = self._registry.add(message)
        (self._server.restart_streams if is_known else self._server.add_sdk)(sdk)

    def _first_fetch_ended(self, sdk_id: str) -> None:
        sdk = self._registry.by_id(sdk_id)
        if sdk is not None:
            self._intake.settled(sdk_id).addCallback(lambda _: sdk.first_fetch_ended())

    def _tail(self, message: protocol.StartTail | protocol.StopTail) -> None:
        number = message.number
        self._tails.pop(number, lambda: None)()
        if isinstance(message, protocol.StartTail):
            self._tails[number] = self._server.tail(
                message.sdk_id,
                message.criteria,
                message.flag,
                lambda event: self.link.send(protocol.Tailed(number, event)),
            )

    async def _count_streams(self, request: protocol.RequestStreams) -> None:
        groups = await self._server.count_streams()
        self.link.send(protocol.StreamsResult(request.request_id, groups))

    def _start_forecast(self, request: protocol.RequestForecast) -> None:
        kind = request.sdk_id if request.connected else None
        self._forecasting.get(kind, succeed(None)).cancel()
        self._forecasting[kind] = Deferred.fromCoroutine(self._forecast(request))

    async def _forecast(self, request: protocol.RequestForecast) -> None:
        found, sdk = None, self._registry.by_id(request.sdk_id)
        try:
            if sdk is not None and sdk.snapshot is not None:
                candidate = await compile_candidate(self._reactor, request.body, sdk.snapshot)
                if request.connected:
                    forecasts = await self._server.foresee(request.sdk_id, candidate)
                else:
                    base = None
                    if request.base is not None:
                        base = await compile_candidate(self._reactor, request.base, sdk.snapshot)
                    forecasts = await self._server.forecast(request.sdk_id, candidate, base)
                found = next(iter(forecasts.found), None)
        except CancelledError:  # another request has come
            return
        except Exception:  # noqa: BLE001 - the leader would wait for the reply
            _log.failure("SDK {sdk_id}: the effect of a config could not be predicted", sdk_id=request.sdk_id)
        self.link.send(protocol.ForecastResult(request.request_id, found))

    async def _drain(self) -> None:
        await self._server.drain(lambda: False)
        self._report_metrics()
        self.link.close()

    def _report(self) -> None:
        self._report_metrics()
        self._report_room()

    def _report_metrics(self) -> None:
        self.link.send(self._metrics.report(self._log_writer.take_dropped()))

    def _report_streams_soon(self) -> None:
        self._reactor.callLater(REPORT_SECONDS, lambda: self.link.send(self._streams.report()))

    def _refresh(self, sdk_id: str, limited: bool, credit: bytes) -> Deferred[Refreshed]:  # noqa: FBT001 - of a callback
        reply = self.request(lambda number: protocol.Refresh(number, sdk_id, limited, credit))

        async def result() -> Refreshed:
            found = await reply
            await self._intake.settled(sdk_id)  # the leader sends a new config before the result
            return Refreshed(found.error, found.changed, found.cut_off)

        return Deferred.fromCoroutine(result())

    def _refresh_keys(self) -> Deferred[None]:
        return self.request(protocol.RefreshKeys).addCallback(lambda _: None)

    def request(self, make_request: Callable[[int], protocol.Request]) -> Deferred[Any]:
        """Send the request that ``make_request`` returns for an id; return a Deferred of the reply.

        It may be cancelled, and never fails: when the leader is gone, this process exits before a reply.
        """
        self._last_request += 1
        number = self._last_request

        def forget(_: object) -> None:
            self._waiting.pop(number, None)

        reply = self._waiting[number] = Deferred(forget)
        self.link.send(make_request(number))
        return reply

    def _replied(self, reply: protocol.Reply) -> None:
        waiting = self._waiting.pop(reply.request_id, None)
        if waiting is not None:
            waiting.callback(reply)


class SharedCallIds:
    """The ids of hook calls that any worker has accepted; the leader keeps them."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def seen(self, sdk_id: str, call_id: bytes, until: float, now: float) -> Deferred[bool]:  # noqa: ARG002 - Protocol
        """Return whether the id was accepted before, by the leader's clock."""
        reply = self._worker.request(lambda number: protocol.CheckCallId(number, sdk_id, call_id, until))
        return reply.addCallback(lambda result: result.seen)


def main() -> None:
    """Serve until the link closes."""
    # Ignored before they are unblocked, so that signals which came during the start are dropped.
    for number in GROUP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, GROUP_SIGNALS)
    end = socket.socket(fileno=LINK_FD)
    if not die_with_leader(end):
        return
    from twisted.internet import reactor as default  # noqa: TID251 - this process does not run gateway.tap

    reactor: Any = default
    use_monotonic_timers(reactor)
    worker = Worker(reactor, lambda count: [socket.socket(fileno=LISTENER_FD + place) for place in range(count)])
    connect(reactor, end, worker.link)
    collect_rarely()
    reactor.run(installSignalHandlers=False)  # Twisted's handlers would end the worker


if __name__ == "__main__":
    main()
