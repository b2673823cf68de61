"""The exporter of kind ``file``: JSON lines, synced to disk, in files that are rotated.

    evaluations.jsonl ──► evaluations.jsonl.1 ──► … ──► evaluations.jsonl.<keep> ──► gone

The file contains only whole lines: what a full disk or a crash cut short is removed before the next write.
Each write opens the file, so that it is created again after logrotate has moved it.
A lock file beside it keeps other gateways out.
"""

from __future__ import annotations

import os
from contextlib import suppress
from errno import EWOULDBLOCK
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from gateway.deferreds import Repeating
from gateway.export.event import encode_count
from gateway.export.parcel import merge_counts
from gateway.logger import component_logger
from gateway.storage import LockFile, LockTaken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.python.failure import Failure

    from gateway.export.metrics import ExportMetrics
    from gateway.export.parcel import Parcel
    from gateway.settings import Exporter

_log = component_logger("gateway")

MODE: Final = 0o640  # events contain users; a program that ships them can be in the group
MINUTE: Final = 60
CHECK_SECONDS: Final = 5.0  # between two checks for minutes that are over


def check_file(path: str, *, ours: bool) -> None:
    """Create the file if it is missing, and check its lock unless this gateway holds it (``ours``).

    :raises OSError: when the file cannot be written
    :raises LockTaken: when another gateway writes to it
    """
    os.close(_open(Path(path)))
    if not ours:
        with LockFile(Path(path), hidden=True):
            pass


@define
class FileSink:
    """A ``Sink`` without a spool; ``wall`` returns Unix seconds."""

    reactor: Any  # IReactorTime and IReactorFromThreads
    wall: Callable[[], float]
    settings: Exporter
    metrics: ExportMetrics
    trouble: None = None  # the pipeline handles failed writes
    refused: None = None
    _minutes: dict[tuple[int, bytes], int] = field(factory=dict)
    _checks: Repeating | None = None
    _turn: DeferredLock = field(factory=DeferredLock)
    _threads: ThreadPool = field(factory=lambda: ThreadPool(1, 1, name="evaluations"))
    _lock: LockFile = field(init=False)

    @_lock.default
    def _make_lock(self) -> LockFile:
        return LockFile(Path(self.settings.path), hidden=True)

    def start(self) -> None:
        """See ``Sink``."""
        with suppress(LockTaken, OSError):  # the first write reports it
            self._lock.acquire()
        self._threads.start()
        self._checks = Repeating(self.reactor, self._check_minutes, _log, "the check for a complete minute failed")
        self._checks.start(CHECK_SECONDS)

    def write(self, parcels: Sequence[Parcel]) -> Deferred[int]:
        """See ``Sink``; counts stay in memory until their minute is over, and a crash loses them."""
        return self._write_in_turn(parcels, int(self.wall()) // MINUTE * MINUTE)

    def stop(self, *, last: bool) -> Deferred[None]:
        """See ``Sink``; writes the counts of the current minute, too."""
        del last
        if self._checks is not None:
            self._checks.stop()
        ended = self._write_in_turn((), None)
        return ended.addErrback(_log_lost_counts).addCallback(lambda _: self._close())

    def _close(self) -> None:
        self._threads.stop()
        self._lock.release()

    def _write_in_turn(self, parcels: Sequence[Parcel], minute: int | None) -> Deferred[int]:
        return self._turn.run(lambda: Deferred.fromCoroutine(self._write(parcels, minute)))

    async def _write(self, parcels: Sequence[Parcel], minute: int | None) -> int:
        counts = dict(self._minutes)
        for key, count in merge_counts(parcels).items():
            counts[key] = counts.get(key, 0) + count
        over = {key: count for key, count in counts.items() if minute is None or _is_over(key[0], minute)}
        lines = [parcel.lines for parcel in parcels if parcel.count]
        lines += [encode_count(*key, count) for key, count in sorted(over.items())]
        if lines:
            await deferToThreadPool(self.reactor, self._threads, self._append, b"\n".join(lines) + b"\n")
            self.metrics.exported(sum(parcel.count for parcel in parcels) + len(over))
        self._minutes = {key: count for key, count in counts.items() if key not in over}
        return 0

    def _append(self, data: bytes) -> None:
        settings = self.settings
        try:
            self._lock.acquire()
        except LockTaken as error:
            raise BlockingIOError(EWOULDBLOCK, f"{settings.path} is in use by another gateway") from error
        append(Path(settings.path), data, settings.max_bytes, settings.keep)

    async def _check_minutes(self) -> None:
        now = int(self.wall()) // MINUTE * MINUTE
        if any(_is_over(minute, now) for minute, _ in self._minutes):
            with suppress(OSError):  # the next write reports it
                await self.write(())


def append(path: Path, data: bytes, max_bytes: int, keep: int) -> None:
    """Append whole lines to the file and sync it; rotate it before if it would grow beyond ``max_bytes``.

    ``keep`` rotated files remain.

    :raises OSError: with nothing appended
    """
    file = _open(path)
    try:
        size = _truncate_to_whole_lines(file)
        if size and size + len(data) > max_bytes:
            fresh = _rotate(path, keep)
            os.close(file)
            file, size = fresh, 0
        try:
            _write_all(file, data)
            os.fsync(file)
            if not size:
                _sync_folder(path.parent)  # the file may be new
        except OSError:
            os.ftruncate(file, size)
            raise
    finally:
        os.close(file)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)


def _truncate_to_whole_lines(file: int) -> int:
    """Remove what follows the last line feed, and return the size."""
    size = os.fstat(file).st_size
    end = size
    while end:
        start = max(0, end - 65536)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end < size:
        os.ftruncate(file, end)
    return end


def _rotate(path: Path, keep: int) -> int:
    """Rename the file and return a new one."""
    for number in range(keep - 1, 0, -1):
        with suppress(FileNotFoundError):
            _numbered(path, number).replace(_numbered(path, number + 1))
    if keep:
        path.replace(_numbered(path, 1))
    else:
        path.unlink()
    return _open(path)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _write_all(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


def _log_lost_counts(failure: Failure) -> None:
    _log.warn(
        "exporter: the counts of the last minute could not be written and are lost: {reason}",
        reason=failure.getErrorMessage(),
    )


def _is_over(minute: int, now: int) -> bool:
    """Return whether a minute has ended in the minute ``now``, or lies so far ahead that the clock was set back."""
    return minute < now or minute > now + MINUTE
