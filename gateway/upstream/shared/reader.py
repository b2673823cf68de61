"""Reads one entry of the shared cache: one read runs, and one that was asked for meanwhile follows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from gateway.logger import component_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.upstream.shared.interface import Reading, Unavailable

_log = component_logger("sdks")


class Reader:
    """``look`` reads once, with whether tags are wanted; ``consider`` gets each result before the callers do."""

    def __init__(
        self,
        look: Callable[[bool], Deferred[Reading | Unavailable]],
        consider: Callable[[Reading | Unavailable], None],
    ) -> None:
        self.read_once = False  # whether a read has ended
        self._look = look
        self._consider = consider
        self._running: list[Deferred[Reading | Unavailable]] | None = None  # callers of the running read
        self._next: list[Deferred[Reading | Unavailable]] = []  # of the one that follows
        self._again = False
        self._tags = False

    def read(self, *, tags: bool = False) -> Deferred[Reading | Unavailable]:
        """Return the result of a read that begins after this call; the Deferred never fails."""
        caller: Deferred[Reading | Unavailable] = Deferred()
        self._next.append(caller)
        self._again, self._tags = True, self._tags or tags
        self._begin()
        return caller

    def _begin(self) -> None:
        if self._running is not None or not self._again:
            return
        self._running, self._next = self._next, []
        tags, self._again, self._tags = self._tags, False, False
        self._look(tags).addCallback(self._ended)

    def _ended(self, result: Reading | Unavailable) -> None:
        callers, self._running = self._running or [], None
        self.read_once = True
        try:
            self._consider(result)
        except Exception:  # noqa: BLE001 - an error must not end the following of the cache
            _log.failure("a config of the shared cache was not considered")
        self._begin()
        for caller in callers:
            caller.callback(result)
