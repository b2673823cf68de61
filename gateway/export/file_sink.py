"""The exporter of kind ``file``: JSON lines, synced to disk, in files that are rotated.

    evaluations.jsonl ──► evaluations.jsonl.1 ──► … ──► evaluations.jsonl.<keep> ──► gone

A line is whole or not there: what a full disk or a crash cut short is taken back before anything else is written.
The file is opened anew for each write, so that whoever moves it away, as logrotate does, gets a new one made.
A lock beside it keeps other gateways away.
"""

from __future__ import annotations

import os
from contextlib import suppress
from errno import EWOULDBLOCK
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from gateway.export import counted, merged
from gateway.logger import component_logger
from gateway.storage import LockFile, LockTaken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.export import Parcel
    from gateway.export.metrics import ExportMetrics
    from gateway.export.sink import Trouble
    from gateway.settings import Exporter

_log = component_logger("gateway")

MODE: Final = 0o640  # events name users; whoever ships them may be in the group
MINUTE: Final = 60
LOOK_SECONDS: Final = 5.0  # between two looks whether a minute of counts is over


def check(path: str, *, ours: bool) -> None:
    """Create the file if it is missing, and check its lock unless this gateway holds it (``ours``).

    :raises OSError: when the file cannot be written
    :raises LockTaken: when another gateway writes to it
    """
    os.close(_open(Path(path)))
    if not ours:
        with LockFile(Path(path), hidden=True):
            pass


@define
class EventFile:
    """A ``Sink`` without a spool: what is written is where it belongs.  ``wall`` gives seconds since 1970."""

    reactor: Any
    wall: Callable[[], float]
    settings: Exporter
    metrics: ExportMetrics
    trouble: Trouble | None = None  # never its own: whoever writes notes that a write failed
    _minutes: dict[tuple[int, bytes], int] = field(factory=dict)
    _looks: LoopingCall | None = None
    _one_by_one: DeferredLock = field(factory=DeferredLock)
    _threads: ThreadPool = field(factory=lambda: ThreadPool(1, 1, name="evaluations"))
    _lock: LockFile = field(init=False)

    @_lock.default
    def _make_lock(self) -> LockFile:
        return LockFile(Path(self.settings.path), hidden=True)

    def start(self) -> None:
        """Begin."""
        with suppress(LockTaken, OSError):  # the first write says so
            self._lock.acquire()
        self._threads.start()
        self._looks = LoopingCall(self._look)
        self._looks.clock = self.reactor
        self._looks.start(LOOK_SECONDS, now=False)

    def write(self, parcels: Sequence[Parcel]) -> Deferred[int]:
        """See ``Sink``; counts are held until their minute is over, and a crash loses them."""
        return self._in_turn(parcels, int(self.wall()) // MINUTE * MINUTE)

    def stop(self, *, last: bool) -> Deferred[None]:
        """See ``Sink``; either way the minute ends."""
        del last
        if self._looks is not None and self._looks.running:
            self._looks.stop()
        ended = self._in_turn((), None)
        return ended.addErrback(_not_written).addCallback(lambda _: self._end())

    def _end(self) -> None:
        self._threads.stop()
        self._lock.release()

    def _in_turn(self, parcels: Sequence[Parcel], minute: int | None) -> Deferred[int]:
        return self._one_by_one.run(lambda: Deferred.fromCoroutine(self._write(parcels, minute)))

    async def _write(self, parcels: Sequence[Parcel], minute: int | None) -> int:
        counts = dict(self._minutes)
        for which, count in merged(parcels).items():
            counts[which] = counts.get(which, 0) + count
        over = {which: count for which, count in counts.items() if minute is None or which[0] < minute}
        lines = [parcel.lines for parcel in parcels if parcel.count]
        lines += [counted(which[0], which[1], count) for which, count in sorted(over.items())]
        if lines:
            await deferToThreadPool(self.reactor, self._threads, self._append, b"\n".join(lines) + b"\n")
            self.metrics.exported(sum(parcel.count for parcel in parcels) + len(over))
        self._minutes = {which: count for which, count in counts.items() if which not in over}
        return 0

    def _append(self, data: bytes) -> None:
        settings = self.settings
        try:
            self._lock.acquire()
        except LockTaken as error:
            raise BlockingIOError(EWOULDBLOCK, f"{settings.path} is in use by another gateway") from error
        append(Path(settings.path), data, settings.max_bytes, settings.keep)

    async def _look(self) -> None:
        if any(minute + MINUTE <= self.wall() for minute, _ in self._minutes):
            with suppress(OSError):  # the next write says so
                await self.write(())


def append(path: Path, data: bytes, max_bytes: int, keep: int) -> None:
    """Write whole lines to the end of the file and sync it; raises ``OSError`` with nothing added.

    A file that would grow beyond ``max_bytes`` is put aside first; ``keep`` of those stay.
    """
    file = _open(path)
    try:
        size = _whole(file)
        if size and size + len(data) > max_bytes:
            fresh = _rotated(path, keep)
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


def _whole(file: int) -> int:
    """Cut off what stands behind the last line feed, and return the size."""
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


def _rotated(path: Path, keep: int) -> int:
    """Put the file aside and return a new one."""
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


def _not_written(failure: Any) -> None:
    _log.warn("the last counts could not be written: {reason}", reason=failure.getErrorMessage())
