"""Serves clients: the main port, the site behind it, and the streams of all SDKs.

    Registry ──► add_sdk, publish, remove_sdk ──► Server ──► hubs, site ──► clients

``LocalServer`` does this in one process; ``gateway.workers.Leader`` has the same methods and uses several processes.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorFDSet, IReactorTCP, IReactorTime
from twisted.internet.task import deferLater
from twisted.protocols.tls import TLSMemoryBIOFactory

from gateway.clocks import wall_clock
from gateway.export import Collector, Forwarder
from gateway.logger import component_logger
from gateway.open_files import room_for_connection, room_for_stream
from gateway.serving.forecast import FORECAST_SECONDS, FORESEE_SECONDS, forecast
from gateway.serving.listening import BACKLOG, BoundedFactory, listen
from gateway.serving.push_loop import PushLoop
from gateway.serving.tails import Tails
from gateway.slices import in_turns
from gateway.streams import Criteria, ExposureRecorder, Forecasts, Reach, StreamGroup, TailEvent, count_groups
from gateway.web import ClientLog, Context, UserSample, WebState
from gateway.web.server import (
    Certificates,
    ConnectionEpoll,
    FastHttpFactory,
    PlainWriter,
    TlsWriter,
    build_context,
    configure_listener,
    connection_epoll,
    separate_epoll,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

    from twisted.internet.interfaces import IListeningPort, IProtocolFactory

    from gateway import upstream
    from gateway.export import Parcel
    from gateway.flags import Snapshot
    from gateway.serving.push_loop import ServingMetrics
    from gateway.settings import Settings
    from gateway.telemetry import SeenClients, WorkerState
    from gateway.web import Registry, Sdk

_log = component_logger("gateway")

IN_FLIGHT_SECONDS = 5.0  # time limit for answers in progress when the server stops, as in ConfigCat Proxy
POLL_SECONDS = 0.05  # between two checks whether streams and answers have ended


class IServerReactor(IReactorFDSet, IReactorTCP, IReactorTime):
    """The parts of the reactor that a server uses."""


class Server(Protocol):
    """Serves clients, in this process or in others; all methods must be called in the reactor thread."""

    @property
    def stream_count(self) -> int:
        """The number of open streams."""

    @property
    def serving(self) -> bool:
        """Whether requests are answered."""

    def open(self) -> None:
        """Open the main port; raises ``CannotListenError`` or ``TlsError``."""

    def start(self) -> None:
        """Start to serve streams; to be called once all SDKs are added."""

    def add_sdk(self, sdk: upstream.Sdk) -> None:
        """Serve an SDK; no effect if it is served already."""

    def remove_sdk(self, sdk_id: str) -> None:
        """Stop serving an SDK, and end its streams."""

    def restart_streams(self, sdk: upstream.Sdk) -> None:
        """End the streams of an SDK: its clients reconnect, and get its new default attributes."""

    def know_configs(self, sdk_id: str, tags: Sequence[str]) -> None:
        """Take clients that come with one of these tags, oldest first, for such with an earlier config.

        To be called after ``publish``: clients that wait for one of them are answered with the config in use.
        """

    def prepare(self, sdk_id: str, snapshot: Snapshot) -> Deferred[None]:
        """Do the part of ``publish`` that takes long for a large config, in slices; the Deferred never fails."""

    def publish(self, sdk_id: str, snapshot: Snapshot) -> None:
        """Push the changes of an SDK's new config to its streams."""

    def check(self, settings: Settings) -> Callable[[], None]:
        """Read and build what other settings need; return the function that applies them, which does not fail.

        Open streams stay open when they are applied.

        :raises TlsError: when the certificates cannot be used
        :raises ValueError: when the routes cannot be built
        """

    def use_issuer_keys(self, url: str, body: bytes) -> None:
        """Check tokens by the key set that was fetched from ``url`` from now on.

        :raises ValueError: when it is not a usable key set; the previous one stays.
        """

    def log_to(self, path: str) -> None:
        """Write the log of the server's own processes, if it has any, to this file from now on."""

    def workers(self) -> list[WorkerState]:
        """Return the state of each worker process; nothing if this process serves."""

    def stream_groups(self) -> Deferred[tuple[list[tuple[int, list[StreamGroup]]], int]]:
        """Return the open streams of each process with its number, and the number of processes that gave none."""

    def seen_clients(self) -> Deferred[tuple[list[SeenClients], int]]:
        """Return the clients that each process has seen, and the number of processes that gave none."""

    def forecast(self, sdk_id: str, candidate: Snapshot, base: Snapshot | None = None) -> Deferred[Forecasts]:
        """Return what a config would change of ``base``, or of the config in use, for the users of each process.

        A further call ends the one before it.  The Deferred may be cancelled.
        """

    def foresee(self, sdk_id: str, candidate: Snapshot) -> Deferred[Forecasts]:
        """As ``forecast``, for connected users only and within some seconds; calls for other SDKs go on."""

    def report_reach(self, on_reached: Callable[[Reach], None]) -> None:
        """Call ``on_reached``, which must not raise, with the reach of each change in each process."""

    def tail(
        self, sdk_id: str, criteria: Criteria, flag: str | None, on_event: Callable[[TailEvent], None]
    ) -> Callable[[], None]:
        """Call ``on_event`` with what users who have all attributes of ``criteria`` are sent; return what ends that.

        Each process begins with the number of open streams that match.  ``flag`` leaves only the streams of a flag.
        """

    def problems(self) -> list[str]:
        """Return a sentence for each problem that an operator should know; its text is stable while it lasts."""

    def settled(self) -> Deferred[None]:
        """Return a Deferred that fires when all calls so far have taken effect for all clients; it never fails."""

    async def drain(self, cut_short: Callable[[], bool]) -> None:
        """Close the port, end streams over the drain window, and finish answers; stop waiting once ``cut_short()``.

        The port stays open for ``http.shutdown_delay``; each answer from now on is the last of its connection.
        """

    def stop(self) -> None:
        """Stop serving streams."""


class LocalServer:
    """Serves in this process, on the port that ``open`` opens or the ports that ``adopt_port`` is given.

    :param keep: stores evaluations; its Deferred fires once they are stored and never fails.
    :raises IdentityError: when a key that tokens are checked with cannot be used.
    """

    def __init__(
        self,
        reactor: IServerReactor,
        registry: Registry,
        settings: Settings,
        *,
        metrics: ServingMetrics,
        status_document: Callable[[], Mapping[str, object]],
        rng: random.Random,
        keep: Callable[[Parcel], Deferred[None]],
        state: WebState | None = None,
    ) -> None:
        from gateway.web.server.site import make_site  # imports klein, which installs the reactor

        self._reactor = reactor
        self._settings = settings  # of the start; ports and whether TLS is used take a restart
        self._current = settings
        self._ports: list[IListeningPort] = []
        self._certificates: Certificates | None = None
        self._connections: FastHttpFactory | None = None
        self._epoll: ConnectionEpoll | None = None
        self._collector = Collector(wall_clock(reactor), rng.random)
        self._forwarder = Forwarder(reactor, self._collector, keep)
        self._writer = TlsWriter() if settings.tls.enabled else PlainWriter()
        self.push_loop = PushLoop(reactor, rng, metrics, settings.http.sse, self._writer)
        self._tails = Tails(reactor, self.push_loop)
        self._sample = UserSample(reactor, settings.impact.sample_users)
        self._clients = ClientLog(reactor, wall_clock(reactor))
        self._state = WebState() if state is None else state
        context = Context(
            registry,
            self.push_loop.hubs,
            reactor,
            status_document,
            collector=self._collector,
            state=self._state,
            room_for_stream=room_for_stream,
            sample=self._sample,
            clients=self._clients,
        )
        self.site = make_site(context, settings, metrics, rng=rng)
        self._configure_export(settings)

    @property
    def stream_count(self) -> int:
        """The number of open streams."""
        return self.push_loop.stream_count

    @property
    def serving(self) -> bool:
        """True, because the port is open before the first request for this value."""
        return True

    def open(self) -> None:
        """Listen on the main port if the settings enable it."""
        http = self._settings.http
        if not http.enabled:
            return
        self.adopt_port(listen(self._reactor, http.port, self.factory(), http.bind))
        scheme = "HTTP" if self._certificates is None else "HTTPS"
        _log.info("{scheme} server listening on port: {port}", scheme=scheme, port=http.port, report=True)

    def factory(self, has_room: Callable[[], bool] = room_for_connection) -> IProtocolFactory:
        """Return the factory of the main port's connections, which are closed at once while not ``has_room()``.

        :raises TlsError: when the certificates cannot be used
        """
        self._connections = FastHttpFactory(self.site, self._reactor, self._writer)
        factory: IProtocolFactory = self._connections
        if self._settings.tls.enabled:
            self._certificates = Certificates(self._current.tls)
            factory = TLSMemoryBIOFactory(self._certificates, False, factory, self._reactor)
        return BoundedFactory(factory, has_room)

    def adopt_port(self, port: IListeningPort) -> None:
        """Serve the connections of an open port of ``factory``, and close it when draining."""
        self._prepare(port)
        if self._epoll is None:
            self._epoll = connection_epoll(self._reactor, self._writer)
        self._ports.append(separate_epoll(port, self._epoll))

    def prepare_socket(self, listening: socket.socket) -> None:
        """Set the options that connections inherit from a socket, before it listens."""
        configure_listener(listening, self._current.http.sse.stall_timeout)

    def release_port(self, port: IListeningPort) -> None:
        """Leave an adopted port as it is, open or not, also when draining; its open connections stay."""
        if port in self._ports:  # a drain has removed it otherwise
            self._ports.remove(port)

    def start(self) -> None:
        """Start heartbeats and the forwarding of evaluations."""
        self.push_loop.start()
        self._forwarder.start()

    def add_sdk(self, sdk: Sdk) -> None:
        """Create the SDK's hub if it has none."""
        if sdk.id not in self.push_loop.hubs:
            self.push_loop.add(sdk.id, sdk.snapshot)

    def remove_sdk(self, sdk_id: str) -> None:
        """Remove the SDK's hub and end its streams."""
        self.push_loop.remove(sdk_id)

    def restart_streams(self, sdk: Sdk) -> None:
        """End the SDK's streams and replace its hub."""
        self.push_loop.remove(sdk.id)
        self.push_loop.add(sdk.id, sdk.snapshot)

    def know_configs(self, sdk_id: str, tags: Sequence[str]) -> None:
        """See ``Server``."""
        hub = self.push_loop.hubs.get(sdk_id)
        if hub is not None:
            hub.known_configs.add(*tags)

    def prepare(self, sdk_id: str, snapshot: Snapshot) -> Deferred[None]:
        """Compute the changes of a large config, in slices."""
        return self.push_loop.prepare(sdk_id, snapshot)

    def publish(self, sdk_id: str, snapshot: Snapshot) -> None:
        """Push the changes of the SDK's new config."""
        self.push_loop.publish(sdk_id, snapshot)

    def check(self, settings: Settings, *, keep_certificates: bool = False) -> Callable[[], None]:
        """Read the certificates, unless the current ones are to be kept, and build the routes; see ``Server``."""
        certificates = None if keep_certificates else self._certificates
        context = None if certificates is None else build_context(settings.tls)
        page = self.site.prepare(settings)

        def apply() -> None:
            self.site.use(page)
            if certificates is not None and context is not None:
                certificates.use(context)
            self._current = settings
            for port in _open_ports(self._ports):
                self._prepare(port)
            self.push_loop.reconfigure(settings.http.sse)
            self._configure_export(settings)
            self._sample.resize(settings.impact.sample_users)

        return apply

    def use_issuer_keys(self, url: str, body: bytes) -> None:
        """See ``Server``."""
        self._state.issuers.use(url, body)

    def log_to(self, path: str) -> None:
        """Do nothing: there is no other process."""

    def workers(self) -> list[WorkerState]:
        """Return nothing: this process serves."""
        return []

    def stream_groups(self) -> Deferred[tuple[list[tuple[int, list[StreamGroup]]], int]]:
        """Return the open streams of this process, whose number is 0; see ``Server``."""
        return Deferred.fromCoroutine(self.count_streams()).addCallback(lambda groups: ([(0, groups)], 0))

    async def count_streams(self) -> list[StreamGroup]:
        """Return the open streams of this process, counted in slices."""
        groups: list[StreamGroup] = []
        for hub in list(self.push_loop.hubs.values()):
            groups += await in_turns(self._reactor, count_groups(hub))
        return groups

    def seen_clients(self) -> Deferred[tuple[list[SeenClients], int]]:
        """Return the clients that this process has seen; see ``Server``."""
        return succeed(([self._clients.seen()], 0))

    def forecast(self, sdk_id: str, candidate: Snapshot, base: Snapshot | None = None) -> Deferred[Forecasts]:
        """Return what a config would change for the users of this process; see ``Server``."""
        return Deferred.fromCoroutine(self._forecast(sdk_id, candidate, base, FORECAST_SECONDS, sampled=True))

    def foresee(self, sdk_id: str, candidate: Snapshot) -> Deferred[Forecasts]:
        """Return what a config would change for the connected users of this process; see ``Server``."""
        return Deferred.fromCoroutine(self._forecast(sdk_id, candidate, None, FORESEE_SECONDS, sampled=False))

    def report_reach(self, on_reached: Callable[[Reach], None]) -> None:
        """Report the pushes of this process; see ``Server``."""
        self.push_loop.on_reached = on_reached

    def tail(
        self, sdk_id: str, criteria: Criteria, flag: str | None, on_event: Callable[[TailEvent], None]
    ) -> Callable[[], None]:
        """Follow the streams of this process; see ``Server``."""
        return self._tails.open(sdk_id, criteria, flag, on_event)

    def problems(self) -> list[str]:
        """Return nothing: problems of one process are those of its other parts."""
        return []

    def settled(self) -> Deferred[None]:
        """Return a Deferred that has fired: all calls take effect at once."""
        return succeed(None)

    async def drain(self, cut_short: Callable[[], bool]) -> None:
        """Keep the port open for the delay, close it, end the streams over the drain window, then finish answers.

        From the call on every answer is the last of its connection.
        """
        http = self._current.http
        self._begin_drain()
        if http.shutdown_delay and self._ports:
            await self._wait(cut_short, http.shutdown_delay)
        for port in _open_ports(self._ports):
            _accept_waiting(port)
            with suppress(OSError):  # another worker has closed it already
                port.socket.shutdown(socket.SHUT_RDWR)  # the leader and the other workers have the socket open too
            await maybeDeferred(port.stopListening)
        self._ports.clear()
        self._begin_drain()  # connections of the delay
        window = http.sse.drain_window if self.stream_count else 0.0
        self.push_loop.drain(window)
        await self._wait(lambda: self.stream_count == 0 or cut_short(), window + 2 * POLL_SECONDS)
        await self._wait(lambda: not self._requests_follow() or cut_short(), IN_FLIGHT_SECONDS)
        self._forwarder.flush()

    def stop(self) -> None:
        """Stop heartbeats, pushes and the forwarding of evaluations."""
        self.push_loop.stop()
        self._forwarder.stop()

    async def _forecast(
        self, sdk_id: str, candidate: Snapshot, base: Snapshot | None, seconds: float, *, sampled: bool
    ) -> Forecasts:
        hubs, sample = self.push_loop.hubs, self._sample
        found = await forecast(self._reactor, hubs, sample, sdk_id, candidate, base, seconds, sampled=sampled)
        return Forecasts([] if found is None else [found])

    def _begin_drain(self) -> None:
        if self._connections is not None:
            self._connections.begin_drain()

    def _requests_follow(self) -> bool:
        """Whether answers are in progress, or requests in the middle of arriving."""
        return self.site.answering > 0 or (self._connections is not None and self._connections.in_use())

    def _prepare(self, port: Any) -> None:
        self.prepare_socket(port.socket)  # IListeningPort lacks ``socket``

    def _configure_export(self, settings: Settings) -> None:
        """Record the events of streams; ``site`` applies the settings for answers."""
        exporter = settings.exporter
        self._collector.configure(
            sampling=exporter.sampling, aggregate=exporter.aggregate, batch_events=exporter.max_event_in_memory
        )
        recorder = ExposureRecorder(self._collector.record_all, exporter.bulk) if exporter.on else None
        self.push_loop.record_exposures(recorder)

    async def _wait(self, done: Callable[[], bool], seconds: float) -> None:
        """Return once ``done()``, or after ``seconds``; then one more interval, in which written data leaves."""
        until = self._reactor.seconds() + seconds
        while not done() and self._reactor.seconds() < until:
            await deferLater(self._reactor, POLL_SECONDS, lambda: None)
        await deferLater(self._reactor, POLL_SECONDS, lambda: None)


def _accept_waiting(port: Any) -> None:
    """Accept the connections that wait in the kernel, which would reset them when the port is closed."""
    port.numberAccepts = BACKLOG
    port.doRead()


def _open_ports(ports: list[IListeningPort]) -> list[Any]:
    """Return the ports that the reactor has not dropped, as it does when the leader closes the socket of a worker."""
    return [port for port in ports if port.connected]  # type: ignore[attr-defined]  # IListeningPort lacks it, Port has it
