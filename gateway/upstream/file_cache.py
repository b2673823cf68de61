"""The config cache in a directory: one file per SDK, named by its cache key, replaced atomically.

All work on the directory is done in a thread: a disk that hangs delays neither requests nor fetches.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shlex
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from gateway.logger import component_logger
from gateway.text import ProblemText
from gateway.upstream.config_cache import HEADER_LIMIT, DamagedEntry, Entry, pack, unpack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

_log = component_logger("sdks")

LEFT_BEHIND_SECONDS: Final = 3600.0  # age of a temporary file that no gateway writes any more
_TEMPORARY: Final = re.compile(r"[0-9a-f]{40}\.[0-9a-f]{16}\.tmp")
_CHUNK: Final = 1024 * 1024
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # NONBLOCK: a named pipe must not hang
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

T = TypeVar("T")


class InCacheThread(Protocol):
    """Runs blocking work in a thread, one piece after the other, and returns its result in the reactor thread."""

    def __call__(self, work: Callable[[], T]) -> Deferred[T]:
        """Run ``work``."""


class FileCache:
    """A ``ConfigCache`` in ``directory``, which is created when the first SDK needs it; ``wall`` is Unix seconds."""

    def __init__(self, directory: Path, in_thread: InCacheThread, wall: Callable[[], float]) -> None:
        self._directory = directory
        self._in_thread = in_thread
        self._wall = wall
        self._prepared = False  # of the thread
        self._refusal = ""  # why the last write failed

    def read(self, key: str, max_bytes: int) -> Deferred[Entry | None]:
        """See ``ConfigCache``; the first call also finds out whether the directory can be written."""

        def was_read(found: tuple[Entry | str | None, str]) -> Entry | None:
            entry, refusal = found
            self._refusal = refusal or self._refusal
            if isinstance(entry, str):
                path = self._directory / key
                _log.warn("the cached config {path} is ignored: {reason}", path=str(path), reason=entry)
                return None
            return entry

        def failed(failure: Failure) -> None:
            _log.failure("reading the config cache failed", failure=failure)

        return self._in_thread(lambda: self._read(key, max_bytes)).addCallbacks(was_read, failed)

    def write(self, key: str, entry: Entry) -> Deferred[bool]:
        """See ``ConfigCache``: of two gateways with one directory, the one whose fetch began later wins."""

        def written(refusal: str) -> bool:
            self._refusal = refusal
            return not refusal

        def failed(failure: Failure) -> bool:
            _log.failure("writing the config cache failed", failure=failure)
            return False

        return self._in_thread(lambda: self._write(key, entry)).addCallbacks(written, failed)

    def problems(self) -> list[str]:
        """See ``ConfigCache``."""
        if not self._refusal:
            return []
        risk = "a restart while the upstream is down would serve an old config or none"
        text = f"the config cache {self._directory} cannot be written: {self._refusal}; {risk}"
        return [ProblemText(text, f"ls -ld {shlex.quote(str(self._directory))}")]

    def _read(self, key: str, max_bytes: int) -> tuple[Entry | str | None, str]:
        """Return the entry or why it is ignored, and why the directory cannot be written."""
        refusal = ""
        if not self._prepared:
            self._prepared = True
            refusal = self._prepare()
        try:
            return self._read_entry(key, max_bytes), refusal
        except (FileNotFoundError, NotADirectoryError):  # the latter is why nothing can be written, too
            return None, refusal
        except OSError as error:
            what = "it is a symbolic link" if error.errno == errno.ELOOP else f"it cannot be read: {error.strerror}"
            return what, refusal

    def _read_entry(self, key: str, max_bytes: int) -> Entry | str:
        folder = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            descriptor = os.open(key, _READ, dir_fd=folder)
        finally:
            os.close(folder)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return "it is not a regular file"
            data = _read_up_to(descriptor, max_bytes + HEADER_LIMIT + 1)
        finally:
            os.close(descriptor)
        try:
            entry = unpack(data)
        except DamagedEntry as error:
            return str(error)
        return entry if len(entry.body) <= max_bytes else "the config JSON is larger than upstream.max_bytes"

    def _write(self, key: str, entry: Entry) -> str:
        """Write an entry; return why that failed."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                if not self._newer_is_stored(folder, key, entry):
                    _replace(folder, key, pack(entry))
            finally:
                os.close(folder)
        except OSError as error:
            return error.strerror or type(error).__name__
        return ""

    def _newer_is_stored(self, folder: int, key: str, entry: Entry) -> bool:
        """Return whether the stored entry is newer; one of the future was written under a wrong clock, and is not."""
        try:
            descriptor = os.open(key, _READ, dir_fd=folder)
        except OSError:
            return False
        try:
            stored = unpack(os.read(descriptor, HEADER_LIMIT + 1))  # the beginning, which is an entry too
        except (OSError, DamagedEntry):
            return False
        finally:
            os.close(descriptor)
        return entry.fetched_at < stored.fetched_at <= self._wall() * 1000

    def _prepare(self) -> str:
        """Create the directory, try to write to it, remove what a crash left behind; return why that failed."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                trial = _temporary(secrets.token_hex(20))
                os.close(os.open(trial, _CREATE, 0o600, dir_fd=folder))
                os.unlink(trial, dir_fd=folder)
                _remove_left_behind(folder, self._wall() - LEFT_BEHIND_SECONDS)
            finally:
                os.close(folder)
        except OSError as error:
            return error.strerror or type(error).__name__
        return ""


def _replace(folder: int, name: str, data: bytes) -> None:
    """Replace a file in a way that leaves the old or the new one after a crash; a symbolic link is replaced itself."""
    fresh = _temporary(name)
    descriptor = os.open(fresh, _CREATE, 0o600, dir_fd=folder)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with suppress(OSError):
            os.unlink(fresh, dir_fd=folder)
        raise
    os.fsync(folder)


def _temporary(name: str) -> str:
    return f"{name}.{secrets.token_hex(8)}.tmp"


def _remove_left_behind(folder: int, before: float) -> None:
    """Remove temporary files of gateways that were killed while they wrote."""
    for name in os.listdir(folder):
        if _TEMPORARY.fullmatch(name):
            with suppress(OSError):
                if os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime < before:
                    os.unlink(name, dir_fd=folder)


def _read_up_to(descriptor: int, limit: int) -> bytes:
    chunks, left = [], limit
    while left and (chunk := os.read(descriptor, min(left, _CHUNK))):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)
