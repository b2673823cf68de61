"""A worker process: ``python -m gateway.workers.worker``, started by the leader and by nobody else.

    link ──► Mirror ──► LocalServer ──► clients
      ▲                     │
      └── tallies, asks ────┘

It ends when its link ends, and pays no attention to signals: what is sent to the whole group is the leader's to obey.
"""

from __future__ import annotations

import random
import signal
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.internet.task import LoopingCall
from twisted.logger import ILogObserver, globalLogBeginner
from zope.interface import provider

from gateway.flags import ConfigError
from gateway.logger import component_logger
from gateway.serving import LocalServer, listen_error_text
from gateway.telemetry import LagMonitor, LogLevels, log_observer, open_again
from gateway.upstream import Refreshed
from gateway.web.server import TlsError
from gateway.workers import protocol as say
from gateway.workers.framing import DOWN_LIMIT
from gateway.workers.link import Link, connect
from gateway.workers.process import HELD_BACK, LINK_FD
from gateway.workers.relay import Relay
from gateway.workers.replica import Mirror
from gateway.workers.reuseport import listen_shared
from gateway.workers.stream_counts import REPORT_SECONDS, SharedStreams

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.logger import LogEvent

    from gateway.settings import Settings

_log = component_logger("gateway")

TALLY_SECONDS = 1.0  # between two tallies: how old the leader's metrics may be


class Worker:
    """Does what the leader says, over ``link``."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._mirror = Mirror(self._refresh)
        self._relay = Relay()
        self._streams = SharedStreams(self._report_soon)
        self._levels = LogLevels()
        self._lag = LagMonitor(reactor, self._relay.loop_lag)
        self._page: Mapping[str, object] = {}
        self._asks: dict[int, Deferred[Any]] = {}
        self._ask = 0
        self._server: LocalServer
        self._started: Settings
        self.link: Link[say.Down] = Link(say.decode_down, DOWN_LIMIT, self.said, self.end)

    def said(self, message: say.Down) -> None:
        """Obey; but for ``Drain`` everything holds on return, which is what the leader's ``Echo`` relies on."""
        if isinstance(message, say.Config):
            self._config(message)
        elif isinstance(message, say.Refreshed):
            self._answered(message.ask, Refreshed(message.error, message.changed))
        elif isinstance(message, say.Seen):
            self._answered(message.ask, message.seen)
        elif isinstance(message, say.Kept):
            self._answered(message.ask, None)
        elif isinstance(message, say.Others):
            self._streams.told(message)
        elif isinstance(message, say.Page):
            self._page = msgspec.json.decode(message.document)
        elif isinstance(message, say.LogTo):
            open_again(message.path)
        elif isinstance(message, say.Echo):
            self.link.send(message)
        elif isinstance(message, say.Drain):
            Deferred.fromCoroutine(self._drain())
        else:
            self._arrange(message)

    def end(self) -> None:
        """Leave at once: the leader is gone, or knows."""
        with suppress(ReactorNotRunning):
            self._reactor.stop()

    def _arrange(self, message: say.Begin | say.Began | say.Loaded | say.Ended | say.Serve | say.Apply) -> None:
        """Do what changes which SDKs are served, and how."""
        if isinstance(message, say.Begin):
            self._begin(message)
        elif isinstance(message, say.Began):
            known = self._mirror.by_id(message.sdk_id) is not None
            sdk = self._mirror.began(message)
            (self._server.restart_streams if known else self._server.add_sdk)(sdk)
        elif isinstance(message, say.Loaded):
            loaded = self._mirror.by_id(message.sdk_id)
            if loaded is not None:
                loaded.loaded()
        elif isinstance(message, say.Ended):
            self._mirror.ended(message.sdk_id)
            self._server.remove_sdk(message.sdk_id)
        elif isinstance(message, say.Apply):
            self._apply(message.settings)
        else:
            self._serve()

    def _begin(self, message: say.Begin) -> None:
        settings = self._started = message.settings
        self._start_log(message.number, settings)
        self._mirror.arrange(settings.sdks)
        self._server = LocalServer(
            self._reactor,
            self._mirror,
            settings,
            metrics=self._relay,
            status_document=lambda: self._page,
            rng=random.Random(),  # noqa: S311 - for jitter; no secret is made of it
            keep=lambda parcel: self.ask(lambda number: say.Evaluations(number, parcel)),
        )
        state = self._server.site.page.dispatcher.context.state
        state.streams = self._streams
        state.call_ids = LeadersReplays(self)

    def _start_log(self, number: int, settings: Settings) -> None:
        self._levels.replace(LogLevels.from_settings(settings))
        write = log_observer(settings.log.format, self._levels, sys.stdout)

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            event.setdefault("worker", number)
            write(event)

        globalLogBeginner.beginLoggingTo([cast(ILogObserver, observe)], redirectStandardIO=False)

    def _serve(self) -> None:
        http = self._started.http
        try:
            factory = self._server.factory()
            self._server.adopt_port(listen_shared(self._reactor, http.port, factory, http.bind))
        except (CannotListenError, TlsError) as error:
            reason = listen_error_text(error) if isinstance(error, CannotListenError) else str(error)
            self.link.send(say.Unable(reason))
            self.link.close()
            return
        self._server.start()
        self._lag.start()
        tallies = LoopingCall(self._tally)
        tallies.clock = self._reactor
        tallies.start(TALLY_SECONDS, now=False)
        self.link.send(say.Ready())

    def _apply(self, settings: Settings) -> None:
        self._mirror.arrange(settings.sdks)
        self._levels.replace(LogLevels.from_settings(settings))
        try:
            self._server.apply(settings)
        except (TlsError, ValueError) as error:  # the leader found nothing wrong a moment ago
            _log.error("not all of the new settings hold: {reason}", reason=str(error))

    def _config(self, message: say.Config) -> None:
        try:
            snapshot = self._mirror.config(message)
        except ConfigError as error:  # the leader has compiled the same bytes
            _log.error("SDK {sdk_id}: the leader's config is refused: {reason}", sdk_id=message.sdk_id, reason=error)
            return
        if snapshot is not None:
            self._server.publish(message.sdk_id, snapshot)

    async def _drain(self) -> None:
        await self._server.drain(lambda: False)
        self._tally()
        self.link.close()

    def _tally(self) -> None:
        self.link.send(self._relay.take())

    def _report_soon(self) -> None:
        self._reactor.callLater(REPORT_SECONDS, lambda: self.link.send(self._streams.report()))

    def _refresh(self, sdk_id: str, limited: bool, credit: bytes) -> Deferred[Refreshed]:  # noqa: FBT001 - the mirror's
        return self.ask(lambda number: say.Refresh(number, sdk_id, limited, credit))

    def ask(self, question: Any) -> Deferred[Any]:
        """Ask the leader what ``question`` makes of a number; cancelling the answer disturbs nobody.

        Fires with the answer, or never: a leader that is gone takes this process along.
        """
        self._ask += 1
        number = self._ask
        answer: Deferred[Any] = Deferred(lambda _: self._forget(number))
        self._asks[number] = answer
        self.link.send(question(number))
        return answer

    def _forget(self, number: int) -> None:
        self._asks.pop(number, None)

    def _answered(self, number: int, answer: object) -> None:
        asked = self._asks.pop(number, None)
        if asked is not None:
            asked.callback(answer)


class LeadersReplays:
    """The webhook ids that were accepted by any worker: the leader remembers them."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def seen(self, sdk_id: str, call_id: bytes, until: float, now: float) -> Deferred[bool]:  # noqa: ARG002
        """Ask the leader, which goes by its own clock."""
        return self._worker.ask(lambda number: say.Accept(number, sdk_id, call_id, until))


def main() -> None:
    """Serve until the link ends."""
    # Ignored before they are let through, so that what came during the start is dropped.
    for number in HELD_BACK:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
    from twisted.internet import reactor as default  # noqa: TID251 - this process has no tap

    reactor: Any = default
    worker = Worker(reactor)
    connect(reactor, socket.socket(fileno=LINK_FD), worker.link)
    reactor.run(installSignalHandlers=False)  # Twisted's would end the worker at what is meant for the leader


if __name__ == "__main__":
    main()
