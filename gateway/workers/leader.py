"""The leader: serves by worker processes, sends them what changes and answers their requests.

Registry ──► Leader ──► WorkerPool ──► WorkerProcess ══► a worker
"""

from __future__ import annotations

import atexit
import os
from typing import TYPE_CHECKING

import msgspec
from twisted.internet.defer import succeed
from twisted.internet.interfaces import IReactorCore
from twisted.internet.task import deferLater

from gateway.clocks import wall_clock
from gateway.deferreds import Repeating
from gateway.identity import IssuerKeys, with_file_contents
from gateway.logger import component_logger
from gateway.serving import FORECAST_SECONDS, FORESEE_SECONDS
from gateway.streams import Criteria, Forecast, Forecasts, Reach, StreamGroup, TailEvent
from gateway.telemetry import SeenClients, WorkerState
from gateway.web import Context, RecentCallIds, build_dispatcher
from gateway.web.server import build_context
from gateway.workers import protocol
from gateway.workers.gatherer import Gathered, Gatherer
from gateway.workers.pool import WorkerPool
from gateway.workers.process import IProcessReactor
from gateway.workers.process_metrics import WorkerMetrics
from gateway.workers.relay import MetricsReceiver
from gateway.workers.reuseport import reserve_port, shared_socket
from gateway.workers.stream_counts import ServiceStreams

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from twisted.internet.defer import Deferred

    from gateway.export import Parcel
    from gateway.flags import Snapshot
    from gateway.settings import Settings
    from gateway.telemetry import Metrics
    from gateway.upstream import Refreshed, Registry, Sdk
    from gateway.workers.process import WorkerProcess

_log = component_logger("gateway")

COMPILE_SECONDS = 10.0  # of a candidate in a worker, in addition to the time of the forecast
EARLIER_LIMIT = 64  # tags of earlier configs for workers that start later: those of the history, and of other nodes
COUNT_SECONDS = 5.0  # for workers to count their streams
TICK_SECONDS = 1.0  # between two checks of the workers
STOP_SECONDS = 8.0  # beyond the drain window: a worker waits 5 s for requests in flight; the rest is for a busy host
FIRST_CONFIG_SECONDS = 120.0  # for which readiness waits until all workers have compiled a first config
KILL_SECONDS = 1.0  # until a killed worker has ended; the sum is below TimeoutStopSec of the systemd unit
POLL_SECONDS = 0.05  # between two checks whether all workers have ended


class ILeaderReactor(IProcessReactor, IReactorCore):
    """A reactor that starts workers, and stops when they cannot serve."""


class Leader:
    """``gateway.serving.Server`` by worker processes; all methods must be called in the reactor thread.

    ``keep`` stores what workers evaluated; its Deferred never fails, and a worker may send more once it has fired.
    ``refresh_keys`` fetches the key sets of issuers again, see ``IssuerKeys``.

    :raises IdentityError: when a key file cannot be read.
    """

    def __init__(  # noqa: PLR0913 - one argument for each neighbour
        self,
        reactor: ILeaderReactor,
        registry: Registry,
        settings: Settings,
        *,
        count: int,
        environ: Mapping[str, str],
        metrics: Metrics,
        status_document: Callable[[], Mapping[str, object]],
        keep: Callable[[Parcel], Deferred[None]],
        refresh_keys: Callable[[], Deferred[None]] = lambda: succeed(None),
    ) -> None:
        self._reactor = reactor
        self._registry = registry
        # For ports and other options that need a restart; the workers read no key files, which may have changed.
        self._started = _with_keys(settings)
        self._settings = self._started
        self._own_secret = os.urandom(32)
        self._refresh_keys = refresh_keys
        self._issuers = IssuerKeys()
        self._count = count
        self._metrics = metrics
        self._status_document = status_document
        self._keep = keep
        self._listeners: list[socket.socket] = []
        self._pool = WorkerPool(reactor, self, count, environ, self._listeners)
        metrics.registry.register(WorkerMetrics(self._pool))
        self._sdks: dict[str, Sdk] = {}
        self._earlier: dict[str, tuple[str, ...]] = {}  # tags of configs that came before the one in use
        self._streams = ServiceStreams()
        self._forecasts: Gatherer[Forecast] = Gatherer(reactor, FORECAST_SECONDS + COMPILE_SECONDS)
        self._groups: Gatherer[list[StreamGroup]] = Gatherer(reactor, COUNT_SECONDS)
        self._clients: Gatherer[SeenClients] = Gatherer(reactor, COUNT_SECONDS)
        self._on_reached: Callable[[Reach], None] = lambda _reach: None
        self._tails: dict[int, tuple[protocol.StartTail, Callable[[TailEvent], None]]] = {}
        self._last_tail = 0
        self._call_ids = RecentCallIds()
        self._wall = wall_clock(reactor)
        self._reserved: socket.socket | None = None
        self._ticks = Repeating(reactor, self._tick, _log, "the check of the workers failed")
        self._failed = False
        self._unconfirmed = 0  # first configs that not all workers have confirmed

    @property
    def stream_count(self) -> int:
        """The number of open streams of all workers."""
        return self._streams.total

    @property
    def serving(self) -> bool:
        """Whether all workers have been listening once and have the first configs, and one is listening now."""
        return self._pool.serving and not self._unconfirmed

    def open(self) -> None:
        """Check the certificates, reserve the port and bind a socket for each worker; the workers will listen."""
        self.check(self._started)
        http = self._started.http
        self._reserved = reserve_port(http.port, http.bind)
        for _ in range(self._count):
            self._listeners.append(shared_socket(http.port, http.bind))

    def start(self) -> None:
        """Start the workers."""
        self._pool.start()
        self._ticks.start(TICK_SECONDS)

    def add_sdk(self, sdk: Sdk) -> None:
        """Have an SDK served."""
        if self._sdks.get(sdk.id) is sdk:
            return
        self._sdks[sdk.id] = sdk
        for message in self._messages_of(sdk):
            self._pool.broadcast(message)
        if sdk.loading:
            sdk.when_loaded().addCallback(lambda _: self._first_fetch_ended(sdk))

    def remove_sdk(self, sdk_id: str) -> None:
        """Stop serving an SDK."""
        del self._sdks[sdk_id]
        self._earlier.pop(sdk_id, None)
        self._pool.broadcast(protocol.RemoveSdk(sdk_id))

    def restart_streams(self, sdk: Sdk) -> None:
        """Have an SDK's streams ended."""
        self._pool.broadcast(_add_message(sdk))

    def prepare(self, sdk_id: str, snapshot: Snapshot) -> Deferred[None]:  # noqa: ARG002 - the workers do this
        """Do nothing: each worker compares the configs itself."""
        return succeed(None)

    def know_configs(self, sdk_id: str, tags: Sequence[str]) -> None:
        """Have the workers know these tags, also workers that start later."""
        both = dict.fromkeys((*self._earlier.get(sdk_id, ()), *tags))
        self._earlier[sdk_id] = tuple(both)[-EARLIER_LIMIT:]
        self._pool.broadcast(protocol.EarlierConfigs(sdk_id, tuple(tags)))

    def publish(self, sdk_id: str, snapshot: Snapshot) -> None:
        """Send a config to the workers."""
        self._pool.broadcast(protocol.PublishConfig(sdk_id, snapshot.etag, snapshot.body))

    def check(self, settings: Settings) -> Callable[[], None]:
        """Read the certificates and build the routes, as the workers will; see ``Server``."""
        if self._started.tls.enabled:
            build_context(settings.tls)
        settings = _with_keys(settings)
        build_dispatcher(Context(self._registry, {}, self._reactor, dict), settings)
        return lambda: self._apply(settings)

    def use_issuer_keys(self, url: str, body: bytes) -> None:
        """Have the workers use a key set, also workers that start later; see ``Server``."""
        self._issuers.use(url, body)
        self._pool.broadcast(protocol.IssuerKeySet(url, body))

    def log_to(self, path: str) -> None:
        """Have the workers write log lines to ``path``; workers that start later inherit it."""
        self._pool.broadcast(protocol.ReopenLog(path))

    def workers(self) -> list[WorkerState]:
        """Return the state of each worker, by number."""
        now = self._reactor.seconds()
        return [
            WorkerState(
                number=number,
                pid=worker.pid,
                listening=worker.listening,
                responding=not worker.unresponsive,
                streams=self._streams.of(worker),
                uptime=round(now - worker.started, 3),
            )
            for number, worker in sorted(self._pool.workers.items())
        ]

    def seen_clients(self) -> Deferred[tuple[list[SeenClients], int]]:
        """Return the clients that each worker which serves has seen."""

        def clients(gathered: Gathered[SeenClients]) -> tuple[list[SeenClients], int]:
            return [part for _, part in gathered.found], gathered.missing

        return self._clients.request(self._listening(), protocol.RequestClients).addCallback(clients)

    def forecast(self, sdk_id: str, candidate: Snapshot, base: Snapshot | None = None) -> Deferred[Forecasts]:
        """Return what a config would change for the users of each worker that serves."""
        body, base_body = candidate.body, None if base is None else base.body
        return self._forecast(lambda number: protocol.RequestForecast(number, sdk_id, body, base_body))

    def foresee(self, sdk_id: str, candidate: Snapshot) -> Deferred[Forecasts]:
        """Return what a config would change for the connected users of each worker that serves."""
        body = candidate.body
        return self._forecast(
            lambda number: protocol.RequestForecast(number, sdk_id, body, connected=True),
            FORESEE_SECONDS + COMPILE_SECONDS,
        )

    def _forecast(
        self, make: Callable[[int], protocol.RequestForecast], seconds: float | None = None
    ) -> Deferred[Forecasts]:
        def forecasts(gathered: Gathered[Forecast]) -> Forecasts:
            return Forecasts([part for _, part in gathered.found], gathered.missing)

        return self._forecasts.request(self._listening(), make, seconds).addCallback(forecasts)

    def stream_groups(self) -> Deferred[tuple[list[tuple[int, list[StreamGroup]]], int]]:
        """Return the open streams of each worker that serves."""

        def groups(gathered: Gathered[list[StreamGroup]]) -> tuple[list[tuple[int, list[StreamGroup]]], int]:
            return gathered.found, gathered.missing

        return self._groups.request(self._listening(), protocol.RequestStreams).addCallback(groups)

    def report_reach(self, on_reached: Callable[[Reach], None]) -> None:
        """Report the pushes of each worker; see ``Server``."""
        self._on_reached = on_reached

    def tail(
        self, sdk_id: str, criteria: Criteria, flag: str | None, on_event: Callable[[TailEvent], None]
    ) -> Callable[[], None]:
        """Follow the streams of all workers, also of those that start later; see ``Server``."""
        self._last_tail += 1
        message = protocol.StartTail(self._last_tail, sdk_id, criteria, flag)
        self._tails[message.number] = message, on_event
        self._pool.broadcast(message)

        def close() -> None:
            if self._tails.pop(message.number, None) is not None:
                self._pool.broadcast(protocol.StopTail(message.number))

        return close

    def _listening(self) -> list[WorkerProcess]:
        return [worker for worker in self._pool.workers.values() if worker.listening]

    def problems(self) -> list[str]:
        """Return a sentence for each worker that does not answer."""
        return self._pool.problems()

    def settled(self) -> Deferred[None]:
        """Return a Deferred that fires when every worker has handled what was sent, or has ended, or after 5 s."""
        return self._pool.settled()

    async def drain(self, cut_short: Callable[[], bool]) -> None:
        """Have every worker drain, wait until they have ended, and kill those that take too long."""
        http = self._settings.http
        self._pool.stop_replacing()
        self._pool.broadcast(protocol.Drain())
        await self._workers_ended(http.shutdown_delay + http.sse.drain_window + STOP_SECONDS, cut_short)
        self._pool.kill()
        await self._workers_ended(KILL_SECONDS, lambda: False)

    def stop(self) -> None:
        """Stop checking the workers, and release the port."""
        self._ticks.stop()
        if self._reserved is not None:
            self._reserved.close()
        for listener in self._listeners:
            listener.close()

    def new_metrics(self) -> MetricsReceiver:
        """Return the receiver of a new worker's metrics."""
        return MetricsReceiver(self._metrics, lambda sdk_id: self._registry.by_id(sdk_id) is not None)

    def initial_messages(self, worker: WorkerProcess) -> Iterator[protocol.ToWorker]:
        """Yield the state of everything, then the order to prepare for clients.

        The pool sends them in one turn of the reactor, so no change falls between them and the next broadcast.
        """
        yield protocol.Initialize(worker.number, self._started, self._own_secret, self._count)
        yield protocol.ApplySettings(self._settings)
        yield from (protocol.IssuerKeySet(url, body) for url, body in self._issuers.bodies.items())
        for sdk in self._sdks.values():
            yield from self._messages_of(sdk)
        yield from (message for message, _ in self._tails.values())
        yield self._streams_of_others(worker)
        if self._settings.http.status.enabled:
            yield self._encoded_status()
        yield protocol.Prepare()

    def on_message(self, worker: WorkerProcess, message: protocol.ToLeader) -> None:  # noqa: C901, PLR0912 - one case per kind
        """Handle a message of a worker."""
        match message:
            case protocol.MetricsReport():
                worker.metrics.add(message)
            case protocol.ForecastResult():
                self._forecasts.replied(worker, message.request_id, message.forecast)
            case protocol.StreamsResult():
                self._groups.replied(worker, message.request_id, message.groups)
            case protocol.Reached(reach):
                self._on_reached(reach)
            case protocol.ClientsResult():
                self._clients.replied(worker, message.request_id, message.clients)
            case protocol.Tailed(number, event):
                if number in self._tails:
                    self._tails[number][1](event)
            case protocol.OwnStreams():
                self._streams.update(worker, message)
                self._send_streams(worker, message.addresses)
            case protocol.Refresh():
                self._refresh(worker, message)
            case protocol.RefreshKeys(request_id):
                refreshed = protocol.KeysRefreshed(request_id)
                self._refresh_keys().addCallback(lambda _: worker.link.send(refreshed))
            case protocol.CheckCallId(request_id, sdk_id, call_id, until):
                seen = self._call_ids.seen(sdk_id, call_id, until, self._wall())
                worker.link.send(protocol.CallIdResult(request_id, seen))
            case protocol.StoreEvaluations(request_id, parcel):
                stored = protocol.EvaluationsStored(request_id)
                self._keep(parcel).addCallback(lambda _: worker.link.send(stored))
            case protocol.Ready():
                self._pool.ready(worker)
            case protocol.Full(full):
                self._pool.full(worker, full)
            case protocol.Listening():
                if self._pool.listening(worker):
                    self._log_listening()
            case protocol.StartFailed(reason):
                self._start_failed(worker, reason)

    def on_end(self, worker: WorkerProcess) -> None:
        """Stop counting the streams of a worker that has ended."""
        worker.metrics.close()
        self._forecasts.ended(worker)
        self._groups.ended(worker)
        self._clients.ended(worker)
        self._send_streams(worker, self._streams.remove(worker))

    def _apply(self, settings: Settings) -> None:
        self._settings = settings
        self._pool.broadcast(protocol.ApplySettings(settings))
        for worker in self._pool.workers.values():  # a new cap needs counts that were not sent without one
            worker.link.send(self._streams_of_others(worker))

    def _log_listening(self) -> None:
        scheme = "HTTPS" if self._started.tls.enabled else "HTTP"
        text = "{scheme} server listening on port: {port}, with {count} workers"
        _log.info(text, scheme=scheme, port=self._started.http.port, count=self._count, report=True)

    def _start_failed(self, worker: WorkerProcess, reason: str) -> None:
        """End the gateway if a worker cannot serve at the first start; later the other workers go on."""
        if self._pool.complete:
            _log.error("worker {number} cannot serve: {reason}", number=worker.number, reason=reason)
        elif not self._failed:
            self._failed = True
            self._pool.stop_replacing()
            _log.critical("not started: {reason}", reason=reason)
            atexit.register(os._exit, 1)  # after an orderly stop twistd would exit with 0
            self._reactor.stop()

    def _refresh(self, worker: WorkerProcess, request: protocol.Refresh) -> None:
        sdk = self._registry.by_id(request.sdk_id)
        if sdk is None:
            worker.link.send(protocol.RefreshResult(request.request_id, "the SDK was stopped", False))
            return

        def reply(result: Refreshed) -> None:
            found = protocol.RefreshResult(request.request_id, result.error, result.changed, result.cut_off)
            worker.link.send(found)

        sdk.refresh(limited=request.limited, credit=request.credit).addCallback(reply)

    def _first_fetch_ended(self, sdk: Sdk) -> None:
        if self._sdks.get(sdk.id) is sdk:
            self._pool.broadcast(protocol.FirstFetchEnded(sdk.id))
            self._unconfirmed += 1
            self._pool.settled(FIRST_CONFIG_SECONDS).addCallback(self._confirmed)

    def _confirmed(self, _: None) -> None:
        self._unconfirmed -= 1

    def _send_streams(self, worker: WorkerProcess, addresses: Iterable[str]) -> None:
        """Send all workers but ``worker`` the stream counts that it has changed."""
        for other in self._pool.workers.values():
            if other is not worker:
                other.link.send(self._streams_of_others(other, addresses))

    def _streams_of_others(
        self, worker: WorkerProcess, addresses: Iterable[str] | None = None
    ) -> protocol.OtherStreams:
        """Return the streams of the other workers; by client address only if there is a cap per address."""
        capped = self._settings.http.sse.max_connections_per_address
        return self._streams.others(worker, addresses if capped else ())

    def _tick(self) -> None:
        self._pool.tick()
        if self._settings.http.status.enabled:
            self._pool.broadcast(self._encoded_status())

    def _encoded_status(self) -> protocol.StatusDocument:
        return protocol.StatusDocument(msgspec.json.encode(self._status_document()))

    def _messages_of(self, sdk: Sdk) -> Iterator[protocol.ToWorker]:
        """Yield the messages by which a worker gets the state of an SDK."""
        yield _add_message(sdk)
        if sdk.snapshot is not None:
            yield protocol.PublishConfig(sdk.id, sdk.snapshot.etag, sdk.snapshot.body)
        if sdk.id in self._earlier:
            yield protocol.EarlierConfigs(sdk.id, self._earlier[sdk.id])
        if not sdk.loading:
            yield protocol.FirstFetchEnded(sdk.id)

    async def _workers_ended(self, seconds: float, cut_short: Callable[[], bool]) -> None:
        """Wait until all workers have ended, ``cut_short()`` is true or ``seconds`` have passed."""
        until = self._reactor.seconds() + seconds
        while self._pool.workers and self._reactor.seconds() < until and not cut_short():
            await deferLater(self._reactor, POLL_SECONDS, lambda: None)


def _with_keys(settings: Settings) -> Settings:
    """Return the settings with the content of key files.

    :raises IdentityError: when one cannot be read.
    """
    return msgspec.structs.replace(settings, identity=with_file_contents(settings.identity))


def _add_message(sdk: Sdk) -> protocol.AddSdk:
    return protocol.AddSdk(sdk.id, sdk.key, dict(sdk.defaults))
