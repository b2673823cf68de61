"""Connects the history of configs to the rooms: what it keeps, and the thread that it works in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from gateway.clocks import wall_clock
from gateway.history import Applied, History, digest_of
from gateway.logger import component_logger
from gateway.storage import history_path
from gateway.upstream import KeptPin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.internet.defer import Deferred

    from gateway.flags import Snapshot
    from gateway.history import HistoryMetrics, Pin
    from gateway.http_client import Reactor
    from gateway.settings import Settings
    from gateway.upstream import Sdk

_log = component_logger("gateway")


class ConfigHistory:
    """The history, with a thread of its own: a disk that hangs holds up nothing else."""

    def __init__(
        self, reactor: Reactor, settings: Settings, environ: Mapping[str, str], metrics: HistoryMetrics
    ) -> None:
        self._threads = ThreadPool(0, 1, name="history")
        path = history_path(settings.history.path, environ, Path.home())
        self._homeless = path is None
        self.history = History(
            reactor,
            wall_clock(reactor),
            settings,
            path,
            lambda work: deferToThreadPool(reactor, self._threads, work),
            metrics,
        )

    def start(self, settings: Settings) -> None:
        """Start the thread and the maintenance."""
        if self._homeless and settings.history.keep:
            _log.info("no history of configs is kept, since this user has no home directory: set history.path")
        self._threads.start()
        self.history.start()

    def keep(self, sdk: Sdk, snapshot: Snapshot, credit: tuple[str, str]) -> None:
        """Keep a config that was published, with author and notes."""
        self.history.record(sdk.id, snapshot, Applied(sdk.applied_by, *credit))

    def read_pin(self, sdk: Sdk) -> Deferred[KeptPin | None]:
        """Return the config that an earlier run has pinned for an SDK; never fails."""

        def kept(found: tuple[Pin, Snapshot] | None) -> KeptPin | None:
            return None if found is None else KeptPin(found[1], found[0].at)

        return self.history.pinned(sdk.id, digest_of(sdk.key)).addCallback(kept)

    def stop(self) -> Deferred[None]:
        """Write what waits; fires within some seconds."""
        return self.history.stop()

    def end_thread(self) -> None:
        """End the thread, after ``stop``."""
        self._threads.stop()
