"""Gateways whose outbox cannot be written for a while: the disk is full, or another program has locked the file.

Each is a ``GatewayProcess`` with ``database``, the path for ``outbox.path``, and the context manager ``trouble``.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from gateway_process import GatewayProcess
from paged_twistd import FULL, ROOM

DISK_BYTES = 8 * 1024 * 1024  # room for SQLite's write-ahead log, which is put back at 4 MB
_UNSHARE = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--mount", "--map-root-user")


class Locked(GatewayProcess):
    """Another program has begun a write transaction and does not end it."""

    @property
    def database(self) -> Path:
        """Where the outbox is."""
        return self.home / "outbox.sqlite3"

    @contextmanager
    def trouble(self) -> Iterator[None]:
        """Hold the lock."""
        with closing(sqlite3.connect(self.database, isolation_level=None, timeout=10)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")


class OutOfPages(GatewayProcess):
    """SQLite may not enlarge the file, as on a full disk."""

    def __init__(self, settings: dict[str, Any], home: Path) -> None:
        """Begin with room."""
        super().__init__(settings, home)
        self._limit = home / "pages"
        self._limit.write_text(ROOM)

    @property
    def database(self) -> Path:
        """Where the outbox is."""
        return self.home / "outbox.sqlite3"

    @contextmanager
    def trouble(self) -> Iterator[None]:
        """Let it grow no more."""
        self._limit.write_text(FULL)
        yield
        self._limit.write_text(ROOM)

    def _twistd(self) -> tuple[list[str], tuple[int, ...]]:
        return [sys.executable, "-P", str(Path(__file__).with_name("paged_twistd.py")), str(self._limit)], ()


class SmallDisk(GatewayProcess):
    """A small file system of the gateway's own, filled to the last byte."""

    @staticmethod
    def possible() -> bool:
        """Whether this machine lets us mount one."""
        if shutil.which("unshare") is None:
            return False
        tried = [*_UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        return subprocess.run(tried, capture_output=True, check=False).returncode == 0

    @property
    def database(self) -> Path:
        """Where the outbox is, as the gateway sees it."""
        return self.home / "disk" / "outbox.sqlite3"

    @contextmanager
    def trouble(self) -> Iterator[None]:
        """Fill it."""
        filler = Path(f"/proc/{self.pid}/root{self.home}/disk/filler")
        with filler.open("wb", buffering=0) as file:
            block = 4096
            while block:
                try:
                    file.write(b"x" * block)
                except OSError:
                    block //= 2
        yield
        filler.unlink()

    def _twistd(self) -> tuple[list[str], tuple[int, ...]]:
        disk = self.home / "disk"
        disk.mkdir(exist_ok=True)
        mount = f'mount -t tmpfs -o size={DISK_BYTES} tmpfs "$0" && exec "$@"'
        return [*_UNSHARE, "sh", "-c", mount, str(disk), *super()._twistd()[0]], ()
