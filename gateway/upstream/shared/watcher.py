"""A thread that listens to Redis and calls back when an entry may have changed.

    PUBLISH of a gateway ──► channel ────────────────┐
    SET of any program ──► invalidation (tracking) ──┴──► changed(key)      connected again ──► changed(None): any key

``redis`` has a thread of its own for this, which may end or go deaf without a word; this one reports its life.
"""

from __future__ import annotations

from random import Random
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from attrs import Factory, define

from gateway.logger import component_logger
from gateway.upstream.shared.redis_client import COMMAND_SECONDS, RedisFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.upstream.shared.redis_client import RedisClient

_log = component_logger("sdks")

INVALIDATIONS: Final = "__redis__:invalidate"
QUIET_SECONDS: Final = 10.0  # without a message, after which both connections are tested
SLICE_SECONDS: Final = 0.5  # for which one wait for a message lasts, so that a stop is noticed
FIRST_PAUSE: Final = 0.05  # seconds before the second attempt to connect; doubles up to ``LONGEST_PAUSE``
LONGEST_PAUSE: Final = 2.0


@define
class WatcherState:
    """What the thread reports; read by the reactor thread."""

    connected: bool = False
    tracking: bool = False  # whether writes of other programs are noticed at once
    alive_at: float = Factory(monotonic)
    since: float = Factory(monotonic)  # when ``connected`` changed
    reason: str = ""  # why the connection failed


class Watcher:
    """Listens from ``start`` to ``stop``; ``changed`` gets a key, or None if any may have changed, in this thread.

    ``channels`` has the call for each message of the gateways, which is a key.
    """

    def __init__(
        self,
        client: RedisClient,
        channels: Mapping[str, Callable[[str | None], None]],
        keys: Callable[[], list[str]],
        changed: Callable[[str | None], None],
    ) -> None:
        self.state = WatcherState()
        self._client = client
        self._channels = channels
        self._keys = keys
        self._changed = changed
        self._stopped = Event()
        self._again = Event()
        self._rng = Random()  # noqa: S311 - for jitter
        self._thread = Thread(target=self._run, name="config-cache-watcher", daemon=True)
        self._untracked: str = ""  # why tracking was refused, once it is logged

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread within a second; does not wait for it."""
        self._stopped.set()

    def keys_changed(self) -> None:
        """Connect again, for other keys."""
        self._again.set()

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopped.is_set():
            self.state.alive_at = monotonic()
            try:
                self._listen()
                pause = FIRST_PAUSE
            except Exception as error:  # noqa: BLE001 - this thread must not end: without it changes arrive late
                if self.state.connected:
                    pause = FIRST_PAUSE
                self._lost(error)
                self._stopped.wait(pause * self._rng.uniform(0.5, 1.0))
                pause = min(LONGEST_PAUSE, pause * 2)
        self._set_connected(now=False)

    def _lost(self, error: Exception) -> None:
        self._set_connected(now=False)
        self.state.reason = str(error) if isinstance(error, RedisFailed) else self._client.reason(error)
        self._client.drop()

    def _set_connected(self, *, now: bool) -> None:
        if self.state.connected != now:
            self.state.connected, self.state.since = now, monotonic()

    def _listen(self) -> None:
        self._again.clear()
        listening = self._client.connection()
        tracking = None
        try:
            listening.send_command("CLIENT", "ID")
            number = listening.read_response()
            channels = (*self._channels, INVALIDATIONS)
            listening.send_command("SUBSCRIBE", *channels)
            for _ in channels:
                listening.read_response()
            tracking = self._track(number)
            self.state.tracking = tracking is not None
            self._set_connected(now=True)
            self._changed(None)  # what was missed
            self._receive(listening, tracking)
        finally:
            for connection in (listening, tracking):
                if connection is not None:
                    connection.disconnect()

    def _track(self, number: int) -> Any:
        """Return a connection for which the server reports every write of our keys; None if that is refused."""
        keys = self._keys()
        if self._client.is_cluster:  # each node reports only its own keys
            self._not_tracked("a cluster")
            return None
        if not keys:
            return None
        connection = self._client.connection()
        prefixes = [word for key in keys for word in ("PREFIX", key)]
        try:
            connection.send_command("CLIENT", "TRACKING", "ON", "REDIRECT", number, "BCAST", *prefixes)
            connection.read_response(disconnect_on_error=False)
        except Exception as error:
            connection.disconnect()
            if not self._client.is_refusal(error):
                raise
            self._not_tracked("this server or this user")
            return None
        return connection

    def _not_tracked(self, where: str) -> None:
        if self._untracked != where:
            self._untracked = where
            _log.info(
                "Redis does not report the writes of other programs with {where}: they are noticed within seconds, "
                "those of gateways at once",
                where=where,
            )

    def _receive(self, listening: Any, tracking: Any) -> None:
        heard = monotonic()
        asked = False
        while not (self._stopped.is_set() or self._again.is_set()):
            now = self.state.alive_at = monotonic()
            if listening.can_read(SLICE_SECONDS):
                heard, asked = monotonic(), False
                self._take(listening.read_response())
            elif asked and now - heard > QUIET_SECONDS + COMMAND_SECONDS:
                raise RedisFailed(f"no answer within {COMMAND_SECONDS:g} s")
            elif not asked and now - heard > QUIET_SECONDS:
                asked = True
                listening.send_command("PING")
                if tracking is not None:
                    tracking.send_command("PING")
                    tracking.read_response()

    def _take(self, message: Any) -> None:
        if not isinstance(message, list) or len(message) != 3 or message[0] != b"message":
            return
        channel, content = message[1].decode("utf-8", "replace"), message[2]
        invalidated = content if isinstance(content, list) else [None]  # None: FLUSHALL
        call = self._channels.get(channel, self._changed)
        for key in invalidated if channel == INVALIDATIONS else [content]:
            call(None if key is None else bytes(key).decode("ascii", "replace"))
