"""The API with what it keeps in memory: the ring of the last hour, and the feed of events.

app ──► config_applied, held, problems ──► Feed, Ring ──► ConsoleApi
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from gateway.console.route_table import make_api
from gateway.deferreds import Repeating
from gateway.logger import component_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.defer import Deferred

    from gateway.console.facade import Facade
    from gateway.console.reaches import Applied
    from gateway.flags import Snapshot
    from gateway.streams import Reach

_log = component_logger("diag")

COUNT_SECONDS: Final = 1.0  # between two looks at the number of streams


class Console:
    """Built before the gateway starts; ``api`` answers from then on. All methods belong to the reactor thread."""

    def __init__(self, facade: Facade) -> None:
        self.api = make_api(facade)
        self._facade = facade
        self._feed = facade.feed
        self._ring = facade.ring
        self._counted: tuple[int, dict[str, int]] | None = None
        self._loop = Repeating(facade.clock, self._count_streams, _log, "counting streams for /api/v1/events failed")

    def start(self) -> None:
        """Begin to measure."""
        metrics = self._facade.metrics
        metrics.deliveries.on_attempt = self._attempted
        self._ring.on_point = lambda point: self._feed.publish("point", "", **msgspec.structs.asdict(point))
        self._facade.server.report_reach(self._reached)
        self._facade.history.on_stored = self._change_stored
        self._ring.start()
        self._loop.start(COUNT_SECONDS)

    def stop(self) -> Deferred[None]:
        """End the streams of events, which is written when the Deferred fires, and measure no more."""
        self._loop.stop()
        self._ring.stop()
        self._facade.user_streams.close()
        return self._feed.close()

    def config_applied(self, sdk_id: str, old: Snapshot | None, snapshot: Snapshot) -> None:
        """Show that a config is in use; its push begins, unless it is the first one."""
        self._facade.user_streams.config_applied(sdk_id, snapshot)
        self._ring.mark(sdk_id, snapshot.tag)
        flags = len(snapshot.keys)
        self._feed.publish("config", sdk_id, sdk=sdk_id, config=snapshot.tag, etag=snapshot.etag, flags=flags)
        if old is None:
            return
        facade = self._facade
        processes = max(1, sum(worker.listening for worker in facade.server.workers()))
        streams = facade.metrics.open_streams(sdk_id)
        self._show_push(facade.reaches.applied(sdk_id, snapshot.tag, open_streams=streams, processes=processes))

    def config_held(self, sdk_id: str, reason: str | None) -> None:
        """Show that a config is held, or no longer is."""
        self._feed.publish("held", sdk_id, sdk=sdk_id, reason=reason)

    def problems_changed(self, problems: Sequence[str]) -> None:
        """Show the current problems."""
        self._feed.publish("problems", "", problems=[str(problem) for problem in problems])

    def _reached(self, reach: Reach) -> None:
        entry = self._facade.reaches.reached(reach)
        if entry is not None:
            self._show_push(entry)

    def _show_push(self, entry: Applied) -> None:
        """Show how far the push of a config is."""
        self._feed.publish(
            "push",
            entry.sdk_id,
            sdk=entry.sdk_id,
            config=entry.tag,
            state="ended" if entry.ended else "begun",
            reach=entry.shown(),
        )

    def _change_stored(self, sdk_id: str, tag: str, number: int) -> None:
        self._facade.reaches.stored(sdk_id, tag, number)
        self._feed.publish("change", sdk_id, sdk=sdk_id, config=tag, id=number)

    def _attempted(self, endpoint: str, outcome: str, seconds: float) -> None:
        self._feed.publish("delivery", endpoint, endpoint=endpoint, outcome=outcome, seconds=round(seconds, 6))

    def _count_streams(self) -> None:
        facade = self._facade
        by_sdk = {sdk.id: facade.metrics.open_streams(sdk.id) for sdk in facade.registry.sdks}
        counted = facade.server.stream_count, by_sdk
        if counted != self._counted:
            self._counted = counted
            self._feed.publish("streams", "", total=counted[0], sdks=by_sdk)
