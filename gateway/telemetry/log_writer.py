"""Writes log lines in a thread of its own: a pipe that is not read, or a disk that hangs, stops no caller.

    LineObserver ──► put ──► bounded queue ──► thread ──► descriptor

Blocking writes in a thread, not ``O_NONBLOCK``: that flag belongs to the open file, so it would also change the
terminal or pipe of every other process that has inherited it.
"""

from __future__ import annotations

import atexit
import os
import select
from threading import Condition, Event, RLock, Thread
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUEUE_BYTES: Final = 256 * 1024  # some 2,000 lines; the batch that is being written takes as much again
CHUNK_BYTES: Final = select.PIPE_BUF  # of one write; the kernel does not mix it with those of other processes
RETRY_SECONDS: Final = 1.0  # after an error such as ENOSPC
FLUSH_SECONDS: Final = 2.0  # that the end of the process waits for the last lines


class LogWriter:
    """Writes lines to ``descriptor``, which other processes may share; all methods may be called in any thread.

    A write that fails is repeated each second.  While the queue is full, new lines are dropped and counted; ``notice``
    returns, without a line feed, the line that states how many, which is written in their place.
    """

    def __init__(self, notice: Callable[[int], str], descriptor: int = 1, limit: int = QUEUE_BYTES) -> None:
        self._notice = notice
        self._descriptor = descriptor
        self._limit = limit
        # Reentrant: a line may be logged while this thread holds the lock, by a destructor that the garbage collector
        # runs.
        self._changed = Condition(RLock())
        self._lines: list[bytes] = []
        self._size = 0  # bytes in ``_lines``
        self._dropped = 0  # lines since ``_lines`` were last taken
        self._untaken = 0  # dropped lines that ``take_dropped`` has not returned
        self._calls: list[Callable[[], object]] = []
        self._called = Event()  # set while there are ``_calls``
        self._idle = True  # everything is written
        self._failing = False  # the last write failed
        self._started = self._given_up = False

    def start(self) -> None:
        """Start the thread; until then lines wait in the queue, because a thread does not survive a fork.

        At the exit of the process ``flush`` is called.
        """
        with self._changed:
            if not self._started:
                self._started = True
                Thread(target=self._run, name="log", daemon=True).start()
                atexit.register(self.flush)

    def put(self, line: str) -> None:
        """Queue a line, which is given without its line feed, or drop it; never blocks and never raises."""
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        with self._changed:
            # Lines that follow dropped ones are dropped too until the queue is taken, so that the gap is in one place.
            if self._dropped or (self._lines and self._size + len(data) > self._limit):
                self._dropped += 1
                self._untaken += 1
                return
            self._lines.append(data)
            self._size += len(data)
            self._idle = False
            self._changed.notify_all()

    def call(self, work: Callable[[], object]) -> None:
        """Call ``work``, which does not raise, in the thread, also between two attempts to write while they fail."""
        with self._changed:
            self._calls.append(work)
            self._called.set()
            self._idle = False
            self._changed.notify_all()

    def take_dropped(self) -> int:
        """Return the number of lines that were dropped since the last call."""
        with self._changed:
            dropped, self._untaken = self._untaken, 0
            return dropped

    def flush(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Wait until all lines are written; return whether they are.

        Gives up after ``seconds``, at once if writes fail, and in every call after one that gave up.
        """
        with self._changed:
            if self._started and not self._given_up:
                self._changed.wait_for(lambda: self._idle or self._failing, seconds)
                self._given_up = not self._idle
            return self._idle

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._lines or self._dropped or self._calls):
                    self._idle = True
                    self._changed.notify_all()
                    self._changed.wait()
                lines, self._lines, self._size = self._lines, [], 0
                dropped, self._dropped = self._dropped, 0
            self._run_calls()
            for chunk in _chunks(lines):
                self._write(chunk)
            if dropped:
                self._write(self._notice(dropped).encode("utf-8", "backslashreplace") + b"\n")

    def _run_calls(self) -> None:
        with self._changed:
            calls, self._calls = self._calls, []
            self._called.clear()
        for work in calls:
            work()

    def _write(self, data: bytes) -> None:
        """Write everything, however long that takes."""
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # another process has set O_NONBLOCK on the open file
                poll = select.poll()
                poll.register(self._descriptor, select.POLLOUT)
                poll.poll()
            except OSError:
                self._set_failing(failing=True)
                self._called.wait(RETRY_SECONDS)
                self._run_calls()
            else:
                self._set_failing(failing=False)

    def _set_failing(self, *, failing: bool) -> None:
        if self._failing is not failing:
            with self._changed:
                self._failing = failing
                self._changed.notify_all()


def _chunks(lines: list[bytes]) -> Iterator[bytes]:
    """Join whole lines to writes of at most ``CHUNK_BYTES``; a longer line is a write of its own."""
    chunk: list[bytes] = []
    size = 0
    for line in lines:
        if chunk and size + len(line) > CHUNK_BYTES:
            yield b"".join(chunk)
            chunk, size = [], 0
        chunk.append(line)
        size += len(line)
    if chunk:
        yield b"".join(chunk)
