"""The leader's side: tells the workers what changes, and answers what they ask.

Registry ──► Crew ──► Roll ──► Member ══► a worker
"""

from __future__ import annotations

import atexit
import os
from typing import TYPE_CHECKING, Any

import msgspec
from twisted.internet.task import LoopingCall, deferLater

from gateway.logger import component_logger
from gateway.telemetry import PrometheusMetrics
from gateway.web.context import Context, RecentCallIds
from gateway.web.dispatch import build_dispatcher
from gateway.web.server import build_context
from gateway.workers import protocol as say
from gateway.workers.ledger import Ledger
from gateway.workers.pool import Roll
from gateway.workers.process_metrics import Usage
from gateway.workers.reuseport import hold
from gateway.workers.stream_counts import Census

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Mapping

    from twisted.internet.defer import Deferred

    from gateway import upstream
    from gateway.export import Parcel
    from gateway.flags import Snapshot
    from gateway.settings import Settings
    from gateway.telemetry import Metrics
    from gateway.workers.process import Member

_log = component_logger("gateway")

TICK_SECONDS = 1.0  # between two looks at the workers
STOP_SECONDS = 8.0  # beyond the drain window: a worker waits 5 s for requests in flight; the rest is for a busy host
KILL_SECONDS = 1.0  # until the system has ended a killed worker; in all less than systemd is told to wait
LOOK_SECONDS = 0.05  # between two looks at whether all workers have ended


class Crew:
    """``gateway.serving.Server`` over worker processes; all methods belong to the reactor thread.

    ``keep`` is given what workers evaluated; its Deferred never errs, and a worker may send more once it has fired.
    """

    def __init__(
        self,
        reactor: Any,
        registry: upstream.Registry,
        settings: Settings,
        *,
        count: int,
        environ: Mapping[str, str],
        metrics: Metrics,
        status_document: Callable[[], Mapping[str, object]],
        keep: Callable[[Parcel], Deferred[None]],
    ) -> None:
        self._reactor = reactor
        self._registry = registry
        self._started = settings  # ports, and what else takes a restart
        self._settings = settings
        self._count = count
        self._metrics = metrics
        self._status_document = status_document
        self._keep = keep
        self._roll = Roll(reactor, self, count, environ)
        if isinstance(metrics, PrometheusMetrics):
            metrics.registry.register(Usage(self._roll))
        self._sdks: dict[str, upstream.Sdk] = {}
        self._census = Census()
        self._call_ids = RecentCallIds()
        self._held: socket.socket | None = None
        self._ticks = LoopingCall(self._tick)
        self._ticks.clock = reactor
        self._failed = False
        self._taking = 0  # first configs that the workers were told and have not all taken yet

    @property
    def stream_count(self) -> int:
        """How many streams the workers have."""
        return self._census.total

    @property
    def serving(self) -> bool:
        """Whether all workers have been ready once and have taken the first configs, and one is ready now."""
        return self._roll.serving and not self._taking

    def open(self) -> None:
        """Make sure of port and certificates; the workers open the port."""
        self.check(self._started)
        self._held = hold(self._started.http.port, self._started.http.bind)

    def start(self) -> None:
        """Start the workers."""
        self._roll.start()
        self._ticks.start(TICK_SECONDS, now=False)

    def add_sdk(self, sdk: upstream.Sdk) -> None:
        """Have an SDK served."""
        if self._sdks.get(sdk.id) is sdk:
            return
        self._sdks[sdk.id] = sdk
        for message in _told_of(sdk):
            self._roll.tell(message)
        if sdk.loading:
            sdk.when_loaded().addCallback(lambda _: self._loaded(sdk))

    def remove_sdk(self, sdk_id: str) -> None:
        """Have an SDK served no longer."""
        del self._sdks[sdk_id]
        self._roll.tell(say.Ended(sdk_id))

    def restart_streams(self, sdk: upstream.Sdk) -> None:
        """Have the SDK's streams ended."""
        self._roll.tell(_began(sdk))

    def publish(self, sdk_id: str, snapshot: Snapshot) -> None:
        """Hand on a config."""
        self._roll.tell(say.Config(sdk_id, snapshot.etag, snapshot.body))

    def check(self, settings: Settings) -> None:
        """Read the certificates and build the routes, for nothing but the errors."""
        if self._started.tls.enabled:
            build_context(settings.tls)
        build_dispatcher(Context(self._registry, {}, self._reactor, dict), settings)

    def apply(self, settings: Settings) -> None:
        """Have the workers answer under other settings."""
        self.check(settings)
        self._settings = settings
        self._roll.tell(say.Apply(settings))
        for member in self._roll.members.values():  # a cap may be new, and what counts towards it untold
            member.link.send(self._others(member))

    def log_to(self, path: str) -> None:
        """Have the workers write their lines there; one that starts later inherits the place."""
        self._roll.tell(say.LogTo(path))

    def settled(self) -> Deferred[None]:
        """Fires when every worker has done what it was told, or is gone, or after 5 s."""
        return self._roll.settled()

    async def drain(self, cut_short: Callable[[], bool]) -> None:
        """Have every worker drain, wait until they have ended, and kill those that take too long."""
        self._roll.dismiss()  # first: whoever ends from now on is not replaced
        self._roll.tell(say.Drain())
        await self._await_end(self._started.http.sse.drain_window + STOP_SECONDS, cut_short)
        self._roll.kill()
        await self._await_end(KILL_SECONDS, lambda: False)

    def stop(self) -> None:
        """Stop looking after workers, and let the port go."""
        if self._ticks.running:
            self._ticks.stop()
        if self._held is not None:
            self._held.close()

    def account(self) -> Ledger:
        """Return an account for a new worker."""
        return Ledger(self._metrics, self._registry.by_id)

    def greeting(self, member: Member) -> Iterator[say.Down]:
        """Yield the state of everything, and last that the worker may serve.

        It is asked for and sent in one turn, so nothing that changes can fall between it and what is told to all.
        """
        yield say.Begin(member.number, self._started)
        yield say.Apply(self._settings)
        for sdk in self._sdks.values():
            yield from _told_of(sdk)
        yield self._others(member)
        if self._settings.http.status.enabled:
            yield self._page()
        yield say.Serve()

    def said(self, member: Member, message: say.Up) -> None:
        """Do what a worker asks."""
        if isinstance(message, say.Tally):
            member.ledger.enter(message)
        elif isinstance(message, say.Open):
            self._census.take(member, message)
            self._tell_others(member, list(message.addresses))
        elif isinstance(message, say.Refresh):
            self._refresh(member, message)
        elif isinstance(message, say.Accept):
            now = self._reactor.seconds()
            seen = self._call_ids.seen(message.sdk_id, message.call_id, message.until, now)
            member.link.send(say.Seen(message.ask, seen))
        elif isinstance(message, say.Evaluations):
            ask = message.ask
            self._keep(message.parcel).addCallback(lambda _: member.link.send(say.Kept(ask)))
        elif isinstance(message, say.Ready):
            if self._roll.ready(member):
                self._report()
        elif isinstance(message, say.Unable):
            self._unable(member, message.reason)

    def gone(self, member: Member) -> None:
        """Take a worker off the books."""
        member.ledger.close()
        self._tell_others(member, self._census.forget(member))

    def _report(self) -> None:
        scheme = "HTTPS" if self._started.tls.enabled else "HTTP"
        text = "{scheme} server listening on port: {port}, with {count} workers"
        _log.info(text, scheme=scheme, port=self._started.http.port, count=self._count, report=True)

    def _unable(self, member: Member, reason: str) -> None:
        """A worker cannot serve: at the first start that ends the gateway, later the others go on."""
        if self._roll.complete:
            _log.error("worker {number} cannot serve: {reason}", number=member.number, reason=reason)
        elif not self._failed:
            self._failed = True
            self._roll.dismiss()
            _log.critical("not started: {reason}", reason=reason)
            atexit.register(os._exit, 1)  # twistd would end with 0 after an orderly stop
            self._reactor.stop()

    def _refresh(self, member: Member, message: say.Refresh) -> None:
        sdk = self._registry.by_id(message.sdk_id)
        if sdk is None:
            member.link.send(say.Refreshed(message.ask, "the SDK was stopped", False))
            return

        def answer(outcome: upstream.Refreshed) -> None:
            member.link.send(say.Refreshed(message.ask, outcome.error, outcome.changed))

        sdk.refresh(limited=message.limited, credit=message.credit).addCallback(answer)

    def _loaded(self, sdk: upstream.Sdk) -> None:
        if self._sdks.get(sdk.id) is sdk:
            self._roll.tell(say.Loaded(sdk.id))
            self._taking += 1
            self._roll.settled().addCallback(self._taken)

    def _taken(self, _: None) -> None:
        self._taking -= 1

    def _tell_others(self, member: Member, addresses: list[str]) -> None:
        """Tell all workers but one what changed in the numbers of streams."""
        for other in self._roll.members.values():
            if other is not member:
                other.link.send(self._others(other, addresses))

    def _others(self, member: Member, addresses: list[str] | None = None) -> say.Others:
        """Return what to tell a worker of the others' streams: by caller only where callers are capped."""
        capped = self._settings.http.sse.max_connections_per_address
        return self._census.others(member, addresses if capped else [])

    def _tick(self) -> None:
        self._roll.tick()
        if self._settings.http.status.enabled:
            self._roll.tell(self._page())

    def _page(self) -> say.Page:
        return say.Page(msgspec.json.encode(self._status_document()))

    async def _await_end(self, seconds: float, cut_short: Callable[[], bool]) -> None:
        until = self._reactor.seconds() + seconds
        while self._roll.members and self._reactor.seconds() < until and not cut_short():
            await deferLater(self._reactor, LOOK_SECONDS, lambda: None)


def _began(sdk: upstream.Sdk) -> say.Began:
    return say.Began(sdk.id, sdk.key, dict(sdk.defaults))


def _told_of(sdk: upstream.Sdk) -> list[say.Down]:
    """Return everything there is to say of an SDK."""
    said: list[say.Down] = [_began(sdk)]
    if sdk.snapshot is not None:
        said.append(say.Config(sdk.id, sdk.snapshot.etag, sdk.snapshot.body))
    if not sdk.loading:
        said.append(say.Loaded(sdk.id))
    return said
