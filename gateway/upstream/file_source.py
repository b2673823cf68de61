"""One SDK's config JSON from a local file: bounded reads, watched by inotify or by looking."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed

from gateway.deferreds import Timer
from gateway.logger import component_logger
from gateway.upstream import reporter
from gateway.upstream.inotify import Tell, Watch, open_watch
from gateway.upstream.outcome import Failed, Fetched, Kind, Outcome, made_etag
from gateway.upstream.symlinks import Sight, look

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.upstream.source import Tools, Wake

_log = component_logger("offline")

SAFETY_INTERVAL = 15.0  # seconds between looks where inotify is at work: for network mounts and lost events
QUIET = 0.1  # seconds without an event before a file is read: editors and copies write in several steps
LONGEST = 1.0  # seconds after the first event when it is read anyway, should events never end
_CHUNK = 1024 * 1024


class FileSource:
    """Reads one file and wakes its SDK when it may have changed; see ``Source``.

    A replaced file and a switched symbolic link anywhere on the path count as changes.
    """

    remote = False
    fetched = reporter.FILE_RELOADED
    not_modified = reporter.FILE_NOT_MODIFIED
    unreadable = reporter.FILE_UNREADABLE
    unparsable = reporter.FILE_UNPARSABLE

    def __init__(
        self,
        tools: Tools,
        path: str,
        *,
        max_bytes: int,
        polling: bool,
        every: float,
        watching: Callable[[Any, Tell], Watch | None] = open_watch,
    ) -> None:
        self._tools = tools
        self._path = path
        self._max_bytes = max_bytes
        self._polling = polling
        self._every = every
        self._watching = watching
        self._watch: Watch | None = None
        self._wake: Wake | None = None
        self._seen: Sight | None = None
        self._look_again = self._fresh = False
        self._first_event: float | None = None
        self._poll = Timer(tools.clock)
        self._pending = Timer(tools.clock)
        self.place = Path(path).name or path

    def start(self, wake: Wake) -> None:
        """See ``Source``."""
        self._wake = wake
        if not self._polling:
            self._watch = self._watching(self._tools.clock, self._event)
            if self._watch is None:
                _log.warn(
                    "inotify is not available; {place} is looked at every {every} s",
                    place=self.place,
                    every=self._every,
                )
        self._arm()

    def stop(self) -> Deferred[None]:
        """See ``Source``."""
        self._wake = None
        self._poll.cancel()
        self._pending.cancel()
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        return succeed(None)

    async def fetch(self) -> Outcome:
        """See ``Source``."""
        before, self._seen = self._seen, look(self._path)  # not after the read: a change during it must be seen
        if self._watch is not None:
            self._watch.follow(self._seen.directories)
            self._seen = look(self._path)  # what was switched before the watches stood
            self._watch.follow(self._seen.directories)
        self._fresh = self._seen != before
        return await self._tools.in_thread(lambda: read(self._path, self._max_bytes))

    def settled(self, outcome: Outcome) -> None:
        """See ``Source``: decide whether the next look reads the file even if it looks the same.

        One that could not be read is tried at each look.
        One that just changed is read once more: two writes can fall into one tick of the file system's clock.
        """
        unread = isinstance(outcome, Failed) and outcome.kind is not Kind.CONFIG
        self._look_again = self._fresh or unread

    def _arm(self) -> None:
        every = self._every if self._watch is None else max(self._every, SAFETY_INTERVAL)
        self._poll.start(every, self._look)

    def _look(self) -> None:
        self._arm()
        if self._look_again or look(self._path) != self._seen:
            self._change()

    def _event(self, path: str | None) -> None:
        if path is not None and self._seen is not None and path not in self._seen.names:
            return  # a neighbour's change
        now = self._tools.clock.seconds()
        if self._first_event is None:
            self._first_event = now
        wait = max(0.0, min(QUIET, self._first_event + LONGEST - now))
        self._pending.start(wait, self._change)

    def _change(self) -> None:
        self._first_event = None
        if self._wake is not None:
            self._wake()


def read(path: str, limit: int) -> Outcome:
    """The whole file, at most *limit* bytes; blocks, and never waits for a pipe's writer."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return Failed(Kind.FILE, f"the file cannot be read: {error.strerror}")
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return Failed(Kind.FILE, "the path is not that of a regular file")
        body = _read_all(descriptor, limit)
    except OSError as error:
        return Failed(Kind.FILE, f"the file cannot be read: {error.strerror}")
    finally:
        os.close(descriptor)
    if body is None:
        return Failed(Kind.TOO_LARGE, "the file is larger than upstream.max_bytes")
    return Fetched(body, made_etag(body))


def _read_all(descriptor: int, limit: int) -> bytes | None:
    chunks, size = [], 0
    while chunk := os.read(descriptor, _CHUNK):
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
    return b"".join(chunks)
