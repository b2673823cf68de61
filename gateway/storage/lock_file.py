"""A lock for one gateway per file, which the kernel releases when its process ends, however it ends.

Two gateways that shared an outbox would record each change twice, under different ids, and send each message twice.
Two that wrote evaluations to one file would rotate it away from each other.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class LockTaken(Exception):
    """Another process holds the lock; the text names it by its process id if that is known."""


class LockFile:
    """The lock of the file at ``path``, held on ``<path>.lock`` beside it; a context manager holds it for its block.

    Not on the file itself: SQLite has its own locks there, and logrotate may move a log away.
    With ``hidden`` the lock file's name starts with a dot and it stays empty, so that programs which read all files of
    the folder do not take it for data; the text of ``LockTaken`` then names no process.
    """

    def __init__(self, path: Path, *, hidden: bool = False) -> None:
        self._hidden = hidden
        target = path.resolve()  # one lock for all symbolic links to a file
        self._path = target.with_name(f"{'.' if hidden else ''}{target.name}.lock")
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock if it is not held already; a child process does not inherit it.

        :raises LockTaken: when another process holds it
        :raises OSError: when the lock file cannot be created
        """
        if self._file is not None:
            return
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not self._hidden:
                os.ftruncate(file, 0)
                os.write(file, str(os.getpid()).encode())
        except BlockingIOError:
            holder = os.pread(file, 20, 0).decode("ascii", "replace")
            os.close(file)
            raise LockTaken(f"process {holder}" if holder.isdigit() else "another process") from None
        except OSError:
            os.close(file)
            raise
        self._file = file

    def release(self) -> None:
        """Release the lock if it is held.

        The lock file stays: after its deletion two processes could each lock a file of that name.
        """
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *exception: object) -> None:
        self.release()
