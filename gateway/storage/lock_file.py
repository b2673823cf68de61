"""One gateway per file: a lock that ends with the process that holds it, however that ends.

Two that shared an outbox would record each change twice, under different ids, and send each message twice.  Two that
wrote evaluations to one file would rotate it away from each other.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Taken(Exception):
    """Another process holds it; the text says which, as far as that is known."""


class Claim:
    """A claim on the file at ``path``; the lock is a file beside it: the file itself is SQLite's, or may be moved away.

    A ``hidden`` one has a dot before its name and nothing in it, so that nobody who reads all that is in the folder
    takes it for data; who holds it cannot be told then.
    """

    def __init__(self, path: Path, *, hidden: bool = False) -> None:
        self._hidden = hidden
        # The file itself, not one of its names.
        whole = path.resolve()
        self._path = whole.with_name(f"{'.' if hidden else ''}{whole.name}.lock")
        self._file: int | None = None

    def take(self) -> None:
        """Hold it from now on, or still; raises ``Taken`` or OSError; a child process does not inherit it.

        The lock file stays behind: if it were deleted, two processes could each lock a file of that name.
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
            raise Taken(f"process {holder}" if holder.isdigit() else "another process") from None
        except OSError:
            os.close(file)
            raise
        self._file = file

    def release(self) -> None:
        """Hold it no longer."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


@contextmanager
def claimed(path: Path, *, hidden: bool = False) -> Iterator[None]:
    """Hold a claim for a moment; raises what ``take`` does."""
    claim = Claim(path, hidden=hidden)
    claim.take()
    try:
        yield
    finally:
        claim.release()
