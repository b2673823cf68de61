"""The leader's side: starts the workers, tells them what changes, answers what they ask, replaces those that die."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from gateway.web.context import Context, Replays
from gateway.web.tls import build_context
from gateway.web.web import build
from gateway.workers.census import Census
from gateway.workers.framing import framed
from gateway.workers.ledger import Ledger
from gateway.workers.member import Member, delay_of
from gateway.workers.messages import (
    Accept,
    Apply,
    Began,
    Begin,
    Config,
    Drain,
    Echo,
    Ended,
    Loaded,
    Open,
    Page,
    Ready,
    Refresh,
    Refreshed,
    Seen,
    Serve,
    Tally,
    Unable,
    encode,
)
from gateway.workers.sharing import hold

if TYPE_CHECKING:
    import random
    import socket
    from collections.abc import Callable, Mapping

    from twisted.internet.interfaces import IDelayedCall

    from gateway import upstream
    from gateway.flags import Snapshot
    from gateway.settings import Settings
    from gateway.telemetry import Metrics
    from gateway.workers.messages import Down, Up

_log = Logger()

TICK_SECONDS = 1.0  # between two looks at the workers
YOUNG_SECONDS = 10.0  # a worker that dies younger than this is replaced after a growing pause
SETTLE_SECONDS = 5.0  # how long a reload waits for the workers before it is reported
STOP_SECONDS = 10.0  # beyond the drain window: 5 s for requests in flight, and as much for a busy machine
LOOK_SECONDS = 0.05  # between two looks at whether all workers have ended


class Crew:
    """``gateway.front.Front`` over worker processes."""

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
        rng: random.Random,  # noqa: ARG002 - a Front's; the workers have their own
    ) -> None:
        self._reactor = reactor
        self._registry = registry
        self._started = settings
        self._settings = settings
        self._count = count
        self._environ = environ
        self._metrics = metrics
        self._status_document = status_document
        self._members: dict[int, Member] = {}
        self._failures: dict[int, int] = {}
        self._returns: dict[int, IDelayedCall] = {}
        self._sdks: dict[str, upstream.Sdk] = {}
        self._census = Census()
        self._replays = Replays()
        self._held: socket.socket | None = None
        self._ticks = LoopingCall(self._tick)
        self._ticks.clock = reactor
        self._complete = False
        self._ending = False
        self._echoes: dict[int, tuple[Deferred[None], set[Member]]] = {}
        self._echo = 0

    @property
    def stream_count(self) -> int:
        """How many streams the workers have."""
        return self._census.total

    @property
    def serving(self) -> bool:
        """Whether all workers have been ready once, and one is now."""
        return self._complete and any(member.ready for member in self._members.values())

    def open(self) -> None:
        """Make sure of port and certificates; the workers open the port."""
        self.check(self._started)
        self._held = hold(self._started.http.port, self._started.http.bind)

    def start(self) -> None:
        """Start the workers."""
        for number in range(1, self._count + 1):
            self._launch(number)
        self._ticks.start(TICK_SECONDS, now=False)

    def began(self, sdk: upstream.Sdk) -> None:
        """Have an SDK served."""
        if self._sdks.get(sdk.id) is sdk:
            return
        self._sdks[sdk.id] = sdk
        for message in _told_of(sdk):
            self._tell(message)
        if sdk.loading:
            sdk.when_loaded().addCallback(lambda _: self._loaded(sdk))

    def ended(self, sdk_id: str) -> None:
        """Have an SDK served no longer."""
        del self._sdks[sdk_id]
        self._tell(Ended(sdk_id))

    def reopen(self, sdk: upstream.Sdk) -> None:
        """Have the SDK's streams ended."""
        self._tell(_began(sdk))

    def publish(self, sdk_id: str, snapshot: Snapshot) -> None:
        """Hand on a config."""
        self._tell(Config(sdk_id, snapshot.etag, snapshot.body))

    def check(self, settings: Settings) -> None:
        """Read the certificates and build the routes, for nothing but the errors."""
        if self._started.tls.enabled:
            build_context(settings.tls)
        build(Context(self._registry, {}, self._reactor, dict), settings)

    def apply(self, settings: Settings) -> None:
        """Have the workers answer under other settings."""
        self.check(settings)
        self._settings = settings
        self._tell(Apply(settings))

    def settled(self) -> Deferred[None]:
        """Fires when every worker has done what it was told, or is gone, or after 5 s."""
        self._echo += 1
        number = self._echo
        done: Deferred[None] = Deferred()
        waited = set(self._members.values())
        late = self._reactor.callLater(SETTLE_SECONDS, self._echoed, number, None)
        done.addCallback(lambda _: late.cancel() if late.active() else None)
        self._echoes[number] = (done, waited)
        self._tell(Echo(number))
        if not waited:
            self._echoed(number, None)
        return done

    async def drain(self, hurry: Callable[[], bool]) -> None:
        """Have every worker drain, wait until they have ended, and kill those that take too long."""
        self._ending = True
        for call in self._returns.values():
            call.cancel()
        self._returns.clear()
        self._tell(Drain())
        until = self._reactor.seconds() + self._started.http.sse.drain_window + STOP_SECONDS
        while self._members and self._reactor.seconds() < until and not hurry():
            await deferLater(self._reactor, LOOK_SECONDS, lambda: None)
        for member in self._members.values():
            member.kill()
        until = self._reactor.seconds() + STOP_SECONDS
        while self._members and self._reactor.seconds() < until:
            await deferLater(self._reactor, LOOK_SECONDS, lambda: None)

    def stop(self) -> None:
        """Stop looking after workers, and let the port go."""
        if self._ticks.running:
            self._ticks.stop()
        if self._held is not None:
            self._held.close()

    def said(self, member: Member, message: Up) -> None:
        """Do what a worker asks."""
        if isinstance(message, Tally):
            member.ledger.enter(message)
        elif isinstance(message, Open):
            self._census.take(member, message)
            self._tell_others(member, list(message.addresses))
        elif isinstance(message, Refresh):
            self._refresh(member, message)
        elif isinstance(message, Accept):
            now = self._reactor.seconds()
            seen = self._replays.seen(message.sdk_id, message.call_id, message.until, now)
            member.link.send(Seen(message.ask, seen))
        elif isinstance(message, Echo):
            self._echoed(message.number, member)
        elif isinstance(message, Ready):
            self._ready(member)
        elif isinstance(message, Unable):
            self._unable(member, message.reason)

    def gone(self, member: Member) -> None:
        """Take a dead worker off the books, and replace it."""
        del self._members[member.number]
        member.ledger.close()
        self._tell_others(member, self._census.forget(member))
        for number in list(self._echoes):
            self._echoed(number, member)
        if self._ending:
            return
        young = self._reactor.seconds() - member.began < YOUNG_SECONDS
        failures = self._failures[member.number] = self._failures.get(member.number, 0) + 1 if young else 0
        delay = delay_of(failures)
        _log.error("worker {number} has ended; another one starts in {delay} s", number=member.number, delay=delay)
        self._returns[member.number] = self._reactor.callLater(delay, self._launch, member.number)

    def _launch(self, number: int) -> None:
        self._returns.pop(number, None)
        member = Member(number, self._reactor.seconds(), self, Ledger(self._metrics, self._registry.by_id))
        try:
            member.launch(self._reactor, self._environ)
        except OSError as error:
            _log.error("worker {number} cannot be started: {reason}", number=number, reason=str(error))
            self._returns[number] = self._reactor.callLater(YOUNG_SECONDS, self._launch, number)
            return
        self._members[number] = member
        send = member.link.send
        send(Begin(number, self._started))
        send(Apply(self._settings))
        for sdk in self._sdks.values():
            for message in _told_of(sdk):
                send(message)
        send(self._census.others(member))
        if self._settings.http.status.enabled:
            send(self._page())
        send(Serve())

    def _ready(self, member: Member) -> None:
        member.ready = True
        if not self._complete and sum(each.ready for each in self._members.values()) == self._count:
            self._complete = True
            text = "{scheme} server listening on port: {port}, with {count} workers"
            scheme = "HTTPS" if self._started.tls.enabled else "HTTP"
            _log.info(text, scheme=scheme, port=self._started.http.port, count=self._count, report=True)

    def _unable(self, member: Member, reason: str) -> None:
        """A worker cannot serve: at the first start nobody can, later the old settings of the others still do."""
        if self._complete:
            _log.error("worker {number} cannot serve: {reason}", number=member.number, reason=reason)
        elif not self._ending:
            self._ending = True
            _log.critical("not started: {reason}", reason=reason)
            self._reactor.addSystemEventTrigger("after", "shutdown", _exit_with_failure)
            self._reactor.stop()

    def _refresh(self, member: Member, message: Refresh) -> None:
        sdk = self._registry.by_id(message.sdk_id)
        if sdk is None:
            member.link.send(Refreshed(message.ask, "the SDK was stopped", False))
            return

        def answer(outcome: upstream.Refreshed) -> None:
            member.link.send(Refreshed(message.ask, outcome.error, outcome.changed))

        sdk.refresh(limited=message.limited).addCallback(answer)

    def _loaded(self, sdk: upstream.Sdk) -> None:
        if self._sdks.get(sdk.id) is sdk:
            self._tell(Loaded(sdk.id))

    def _echoed(self, number: int, member: Member | None) -> None:
        """``member`` has done what came before the echo; None stands for all of them."""
        done, waited = self._echoes.get(number, (None, set()))
        if done is None:
            return
        if member is not None:
            waited.discard(member)
        if member is None or not waited:
            del self._echoes[number]
            done.callback(None)

    def _tell(self, message: Down) -> None:
        """Say the same to every worker, encoded once."""
        if self._members:
            data = framed(encode(message))
            for member in self._members.values():
                member.link.send_framed(data)

    def _tell_others(self, member: Member, addresses: list[str]) -> None:
        """Tell all workers but one what changed in the numbers of streams."""
        counted = addresses if self._settings.http.sse.max_connections_per_address else []
        for other in self._members.values():
            if other is not member:
                other.link.send(self._census.others(other, counted))

    def _tick(self) -> None:
        for member in list(self._members.values()):
            member.tick()
        if self._settings.http.status.enabled:
            self._tell(self._page())

    def _page(self) -> Page:
        return Page(msgspec.json.encode(self._status_document()))


def _began(sdk: upstream.Sdk) -> Began:
    return Began(sdk.id, sdk.key, dict(sdk.defaults))


def _told_of(sdk: upstream.Sdk) -> list[Down]:
    """Return everything there is to say of an SDK."""
    said: list[Down] = [_began(sdk)]
    if sdk.snapshot is not None:
        said.append(Config(sdk.id, sdk.snapshot.etag, sdk.snapshot.body))
    if not sdk.loading:
        said.append(Loaded(sdk.id))
    return said


def _exit_with_failure() -> None:
    raise SystemExit(1)
