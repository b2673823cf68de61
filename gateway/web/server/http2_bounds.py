"""Bounds of one HTTP/2 connection; those of heads, bodies and times are in ``http1``."""

from __future__ import annotations

from typing import Final

from h2.settings import SettingCodes

from gateway.web.server.h2_private import SmallSettings
from gateway.web.server.http1 import BODY_LIMIT, HEADER_LIMIT, REQUEST_LINE_LIMIT

HEADER_LIST_LIMIT = 2 * (REQUEST_LINE_LIMIT + HEADER_LIMIT)
"""Bytes of a header list that end the whole connection; below it, only the request that is too large is refused."""
STREAM_LIMIT = 100  # requests and event streams of one connection at a time: what RFC 9113 recommends at least
UNSENT_LIMIT = 256 * 1024  # bytes of answers other than event streams; above it no further request is answered
BODIES_LIMIT = 4 * BODY_LIMIT  # bytes of incomplete requests; above it no more of them is read
FLUSH_BYTES = 64 * 1024  # frames that are collected for one write
RESETS: Final = (1_000, 33.0)  # requests that may be reset or refused at once, and per second (CVE-2023-44487)


LIMITS: Final = {
    SettingCodes.MAX_CONCURRENT_STREAMS: STREAM_LIMIT,
    SettingCodes.MAX_HEADER_LIST_SIZE: HEADER_LIST_LIMIT,
}
SETTINGS: Final = SmallSettings(client=False, initial_values=LIMITS)
"""What every client receives first; shared by all connections."""


class ResetAllowance:
    """The requests of one connection that may still be reset or refused."""

    __slots__ = ("_left", "_since")

    def __init__(self) -> None:
        self._left: float = RESETS[0]
        self._since = 0.0

    def take(self, now: float) -> bool:
        """Use one of them; return False if there was none."""
        self._left = min(RESETS[0], self._left + max(0.0, now - self._since) * RESETS[1]) - 1
        self._since = now
        return self._left >= 0
