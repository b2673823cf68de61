"""A request to the diagnostics port that a stream of events answers, without a connection."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred


class Headers:
    """Header fields of a request or of its answer."""

    def __init__(self, fields: dict[bytes, list[bytes]] | None = None) -> None:
        """Start with these fields."""
        self.fields = fields or {}

    def getRawHeaders(self, name: bytes) -> list[bytes] | None:
        """Return the values of a field."""
        return self.fields.get(name)

    def setRawHeaders(self, name: bytes, values: list[bytes]) -> None:
        """Replace the values of a field."""
        self.fields[name] = values


class StreamRequest:
    """Keeps what is written in ``wire``; ``last`` is the id of the client's last event."""

    def __init__(self, last: str = "") -> None:
        """Start with nothing written."""
        self.requestHeaders = Headers({b"last-event-id": [last.encode()]} if last else {})
        self.responseHeaders = Headers()
        self.wire = b""
        self.ended: Any = Deferred()
        self.producer: Any = None

    def notifyFinish(self) -> Any:
        """Return the Deferred that fires at the end."""
        return self.ended

    def registerProducer(self, producer: Any, _streaming: bool) -> None:
        """Keep the producer, for a test that pauses it."""
        self.producer = producer

    def unregisterProducer(self) -> None:
        """Forget the producer."""
        self.producer = None

    def write(self, data: bytes) -> None:
        """Keep what is written."""
        self.wire += data

    def finish(self) -> None:
        """End the answer."""
        self.ended.callback(None)
