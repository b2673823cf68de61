"""What the event streams of the Klein path and of HTTP/2 share: one subscription, and whether it is paused."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.streams import Hub, Subscriber
    from gateway.web.callers import StreamCounter
    from gateway.web.values import StreamReply


class StreamOutlet(ABC):
    """The hub's outlet; see ``gateway.streams.cohort.Outlet``.  ``FastStream`` has its own, smaller state."""

    __slots__ = ("_address", "_paused", "_streams", "_subscriber")

    def __init__(self, streams: StreamCounter, address: str) -> None:
        self._streams = streams
        self._address = address
        self._subscriber: Subscriber | None = None
        self._paused = False

    @property
    @abstractmethod
    def is_gone(self) -> bool:
        """Whether the stream has ended."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Send ``data``, unless the stream has ended."""

    @abstractmethod
    def finish(self) -> None:
        """End the response regularly."""

    @abstractmethod
    def abort(self) -> None:
        """Drop what is unsent."""

    def pause(self) -> None:
        """Pause the subscriber: the client does not read what was sent, so that it gets the newest values later."""
        if not self._paused:
            self._paused = True
            if self._subscriber is not None:
                self._subscriber.pause()

    def resume(self) -> None:
        """Resume the subscriber: everything is sent."""
        if self._paused:
            self._paused = False
            if self._subscriber is not None:
                self._subscriber.resume()

    def _subscribe(self, hub: Hub, reply: StreamReply) -> None:
        """Subscribe; the hub writes the first event before this returns, which may end or pause the stream."""
        subscriber = hub.subscribe(reply.key, reply.user, self, reply.options)
        if self.is_gone:
            subscriber.close()
            return
        self._subscriber = subscriber
        if self._paused:
            subscriber.pause()

    def _unsubscribe(self) -> None:
        """End the subscription, and count the stream no more."""
        self._streams.closed(self._address)
        subscriber, self._subscriber = self._subscriber, None
        if subscriber is not None:
            subscriber.close()
