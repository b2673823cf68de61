"""One SDK's config JSON from a local file: bounded reads, changes found by inotify or by polling."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, succeed

from gateway.deferreds import Timer
from gateway.flags import ConfigError, find_failing_flags, load
from gateway.logger import component_logger
from gateway.upstream.inotify import InotifyWatch, OnEvent, open_watch
from gateway.upstream.outcome import (
    FILE_NOT_MODIFIED,
    FILE_RELOADED,
    FILE_UNPARSABLE,
    FILE_UNREADABLE,
    Failed,
    Fetched,
    Kind,
    Outcome,
    etag_of,
)
from gateway.upstream.symlinks import PathState, path_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.upstream.plan import Plan
    from gateway.upstream.source import Confirm, SourceContext, Wake

_log = component_logger("offline")

SAFETY_INTERVAL: Final = 15.0  # seconds between polls beside inotify: for network mounts and lost events
QUIET: Final = 0.1  # seconds without an event before a file is read: editors and copies write in several steps
LONGEST: Final = 1.0  # seconds after the first event when it is read anyway, should events never end
_CHUNK: Final = 1024 * 1024


class FileSource:
    """Reads one file and wakes its SDK when it may have changed; see ``Source``.

    A replaced file and a switched symbolic link anywhere on the path count as changes.
    """

    remote = False
    fetched = FILE_RELOADED
    not_modified = FILE_NOT_MODIFIED
    unreadable = FILE_UNREADABLE
    unparsable = FILE_UNPARSABLE

    def __init__(
        self, context: SourceContext, plan: Plan, max_bytes: int, *,
        watching: Callable[[Any, OnEvent], InotifyWatch | None] = open_watch,
    ) -> None:  # fmt: skip
        local = plan.settings.offline.local
        self._context = context
        self._path = plan.path
        self._max_bytes = max_bytes
        self._polling = local.polling
        self._every = local.poll_interval
        self._watching = watching
        self._watch: InotifyWatch | None = None
        self._wake: Wake | None = None
        self._confirm: Confirm = _nothing
        self._readable = False  # the last read gave a config
        self._seen: PathState | None = None
        self._read_again = self._fresh = False
        self._first_event: float | None = None
        self._poll = Timer(context.reactor)
        self._pending = Timer(context.reactor)
        self.place = Path(plan.path).name or plan.path

    def start(self, wake: Wake, confirm: Confirm) -> None:
        """See ``Source``; the config is confirmed by each poll that finds the file as it was read."""
        self._wake = wake
        self._confirm = confirm
        if not self._polling:
            self._watch = self._watching(self._context.reactor, self._event)
            if self._watch is None:
                message = "inotify is not available; {place} is polled every {every} s"
                _log.warn(message, place=self.place, every=self._every)
        self._start_timer()

    def stop(self) -> Deferred[None]:
        """See ``Source``."""
        self._wake = None
        self._confirm = _nothing
        self._poll.cancel()
        self._pending.cancel()
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        return succeed(None)

    async def fetch(self) -> Outcome:
        """See ``Source``."""
        before, self._seen = self._seen, path_state(self._path)  # before the read, so that a change during it is seen
        if self._watch is not None:
            self._watch.set_directories(self._seen.directories)
            self._seen = path_state(self._path)  # for what was switched before the watches were set
            self._watch.set_directories(self._seen.directories)
        self._fresh = self._seen != before
        return await self._context.in_thread(lambda: read(self._path, self._max_bytes))

    def settled(self, outcome: Outcome) -> None:
        """See ``Source``: decide whether the next poll reads the file even if its state is the same.

        A file that could not be read is read at each poll.
        One that just changed is read once more: two writes can fall into one tick of the file system's clock.
        """
        self._readable = not isinstance(outcome, Failed)
        unread = isinstance(outcome, Failed) and outcome.kind is not Kind.CONFIG
        self._read_again = self._fresh or unread

    def _start_timer(self) -> None:
        every = self._every if self._watch is None else max(self._every, SAFETY_INTERVAL)
        self._poll.start(every, self._poll_once)

    def _poll_once(self) -> None:
        self._start_timer()
        if self._read_again or path_state(self._path) != self._seen:
            self._changed()
        elif self._readable:
            self._confirm()

    def _event(self, path: str | None) -> None:
        if path is not None and self._seen is not None and path not in self._seen.names:
            return  # another file of the directory
        now = self._context.reactor.seconds()
        if self._first_event is None:
            self._first_event = now
        wait = max(0.0, min(QUIET, self._first_event + LONGEST - now))
        self._pending.start(wait, self._changed)

    def _changed(self) -> None:
        self._first_event = None
        if self._wake is not None:
            self._wake()


def read(path: str, limit: int) -> Fetched | Failed:
    """Read the whole file, at most ``limit`` bytes; blocks, but never waits for the writer of a pipe."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return _unreadable(error)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return Failed(Kind.FILE, "the path is not that of a regular file")
        body = _read_all(descriptor, limit)
    except OSError as error:
        return _unreadable(error)
    finally:
        os.close(descriptor)
    if body is None:
        return Failed(Kind.TOO_LARGE, "the file is larger than upstream.max_bytes")
    return Fetched(body, etag_of(body))


def _nothing() -> None:
    """Stand in for ``confirm`` while the source is not started or stopped."""


def _unreadable(error: OSError) -> Failed:
    why = error.strerror or type(error).__name__
    return Failed(Kind.FILE, f"the file cannot be read: {why}", cause=why)


def file_faults(path: str, limit: int) -> list[str]:
    """Return why the file cannot be served, or one text for each of its flags that fails; reads the file, blocks."""
    outcome = read(path, limit)
    if isinstance(outcome, Failed):
        return [f"nothing would be served: {outcome.reason}"]
    try:
        snapshot = load(outcome.body, outcome.etag)
    except ConfigError as error:
        return [f"nothing would be served: {error}"]
    return [f"the flag '{key}' fails: {fault}" for key, fault in find_failing_flags(snapshot, None, {}).items()]


def _read_all(descriptor: int, limit: int) -> bytes | None:
    chunks, size = [], 0
    while chunk := os.read(descriptor, _CHUNK):
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
    return b"".join(chunks)
