"""One gateway per outbox: a lock that ends with the process that holds it, however that ends.

Two that shared a file would record each change twice, under different ids, and send each message twice.
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
    """A claim on the file at ``path``; the lock is a file beside it, since SQLite's own locks are those of SQLite."""

    def __init__(self, path: Path) -> None:
        # The file itself, not one of its names.
        whole = path.resolve()
        self._path = whole.with_name(f"{whole.name}.lock")
        self._file: int | None = None

    def take(self) -> None:
        """Hold it from now on; raises ``Taken`` or OSError; a child process does not inherit it."""
        if self._file is not None:
            return
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
def claimed(path: Path) -> Iterator[None]:
    """Hold a claim for a moment; raises what ``take`` does."""
    claim = Claim(path)
    claim.take()
    try:
        yield
    finally:
        claim.release()
