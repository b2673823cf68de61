"""The last good config of each SDK, kept outside of this process: format, interface, and when entries are written.

    a published config ──► KeptConfig ──► ConfigCache ──► a file, later also Redis
    a start without upstream ◄── read ────────┘

Entries have the format of the ConfigCat SDKs' external cache, so other programs can read them.
"""

from __future__ import annotations

import re
from hashlib import sha1
from typing import TYPE_CHECKING, Final, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred, succeed

from gateway.deferreds import fire_within, supervise
from gateway.logger import component_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IReactorTime

_log = component_logger("sdks")

HEADER_LIMIT: Final = 16 * 1024  # bytes of fetch time and ETag with their line feeds; an upstream's head has 16 KiB
REFRESH_SECONDS: Final = 300.0
"""Between two writes of an unchanged config.

Each write is the whole entry and an fsync, and an SDK may poll every second; without any write the age that is shown
after a restart would count from the last change.
"""
RETRY_SECONDS: Final = 60.0  # after a write that failed; a poll every second must not try a full disk every second
READ_SECONDS: Final = 1.0  # for which a start waits for the cache before it fetches; a disk that hangs is no outage
STOP_SECONDS: Final = 2.0  # for which a stop waits for a write
_TIME: Final = re.compile(rb"[+-]?[0-9]{1,19}")
_LATEST: Final = 253_402_300_799_999  # milliseconds; the end of the year 9999
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")


class DamagedEntry(ValueError):
    """Bytes that are no cache entry; the text is the reason."""


@frozen
class Entry:
    """A config that was fetched and accepted.

    ``fetched_at`` is when that fetch began, in milliseconds since 1970: what a slow upstream sends may be as old.
    """

    fetched_at: int
    etag: str
    body: bytes


def read_in_turn(
    clock: IReactorTime, sdk_id: str, reads: Sequence[Callable[[], Deferred[None]]], then: Callable[[], None]
) -> None:
    """Run the ``reads`` of kept configs one after the other, each within ``READ_SECONDS``; call ``then`` at the end."""
    if not reads:
        then()
        return
    read = supervise(reads[0](), _log, "SDK {sdk_id}: the kept config could not be used", sdk_id=sdk_id)
    fire_within(clock, read, READ_SECONDS).addCallback(lambda _: read_in_turn(clock, sdk_id, reads[1:], then))


def cache_key(sdk_key: str) -> str:
    """Return the official key of an SDK's entry, 40 lower-case hex digits."""
    return sha1(f"{sdk_key}_config_v6.json_v2".encode(), usedforsecurity=False).hexdigest()


def pack(entry: Entry) -> bytes:
    """Return the official format: fetch time, line feed, ETag, line feed, config JSON."""
    return b"%d\n%b\n%b" % (entry.fetched_at, entry.etag.encode("latin-1"), entry.body)


def unpack(data: bytes) -> Entry:
    """Return the entry that ``pack`` made; ``number of values``, ``empty eTag`` and so on are the SDKs' own texts.

    The ETag becomes a response header, so control characters are refused.

    :raises DamagedEntry: with the reason
    """
    parts = data.split(b"\n", 2)
    if len(parts) < 3:
        raise DamagedEntry("number of values is fewer than expected")
    at, etag, body = parts
    if not _TIME.fullmatch(at):
        raise DamagedEntry("invalid fetch time")
    if not 0 <= int(at) <= _LATEST:
        raise DamagedEntry("the fetch time is not between the years 1970 and 9999")
    if not etag:
        raise DamagedEntry("empty eTag value")
    if _CONTROL.search(etag):
        raise DamagedEntry("the eTag value contains control characters")
    if len(at) + len(etag) + 2 > HEADER_LIMIT:
        raise DamagedEntry(f"fetch time and eTag are longer than {HEADER_LIMIT} bytes")
    if not body:
        raise DamagedEntry("empty config JSON")
    return Entry(int(at), etag.decode("latin-1"), body)


class ConfigCache(Protocol):
    """Entries by ``cache_key``; called in the reactor thread, which no method blocks.  The Deferreds never fail."""

    def read(self, key: str, max_bytes: int) -> Deferred[Entry | None]:
        """Return the entry of an SDK; None if there is none, or none that can be used, whose reason is logged.

        ``max_bytes`` is the limit of its config JSON.
        """

    def write(self, key: str, entry: Entry) -> Deferred[bool]:
        """Store an entry unless a newer one is stored; return whether one of both is stored now."""

    def problems(self) -> list[str]:
        """Return a sentence for each problem that an operator should know; its text is stable while it lasts."""


class KeptConfig:
    """The entry of one SDK; at most one write runs, and one waits."""

    def __init__(self, cache: ConfigCache, clock: IReactorTime, sdk_key: str) -> None:
        self._cache = cache
        self._clock = clock
        self._key = cache_key(sdk_key)
        self._latest: Entry | None = None  # the last one that was read or given to the cache
        self._tried_at = self._pause = 0.0  # the same config is not written again before their sum
        self._next: Entry | None = None
        self._busy = False
        self._idle: Deferred[None] | None = None

    def read(self, max_bytes: int) -> Deferred[Entry | None]:
        """Return the stored entry, or None."""
        return self._cache.read(self._key, max_bytes).addCallback(self._was_read)

    def confirm(self, body: bytes, etag: str, fetched_at: float) -> None:
        """Store the config in use, which a fetch that began at ``fetched_at`` (seconds) has brought or confirmed.

        The same config is written again every ``REFRESH_SECONDS``.
        """
        latest = self._latest
        same = latest is not None and latest.body == body and latest.etag == etag
        if same and 0 <= fetched_at - self._tried_at < self._pause:  # a clock that was set back must not stop it
            return
        self._latest = self._next = Entry(max(0, int(fetched_at * 1000)), etag, body)
        self._tried_at, self._pause = fetched_at, REFRESH_SECONDS
        if not self._busy:
            supervise(Deferred.fromCoroutine(self._write()), _log, "writing the config cache failed")

    def stop(self) -> Deferred[None]:
        """Return a Deferred that fires when all is written, or after ``STOP_SECONDS``; it never fails."""
        if not self._busy:
            return succeed(None)
        self._idle = Deferred()
        return fire_within(self._clock, self._idle, STOP_SECONDS)

    def _was_read(self, entry: Entry | None) -> Entry | None:
        if entry is not None and self._latest is None:
            self._latest, self._tried_at, self._pause = entry, entry.fetched_at / 1000, REFRESH_SECONDS
        return entry

    async def _write(self) -> None:
        self._busy = True
        while self._next is not None:
            entry, self._next = self._next, None
            if not await self._cache.write(self._key, entry):
                self._pause = RETRY_SECONDS
        self._busy = False
        if self._idle is not None:
            self._idle.callback(None)
