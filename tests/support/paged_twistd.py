"""``twistd`` whose outbox may grow to so many pages as a file says: python -P THIS FILE …

A disk that is full and has room again, without the rights that a small file system takes; SQLite's error is the same.
Nothing of this is in the product: this program replaces ``gateway.storage.database.transact`` and starts twistd.
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path
from typing import Any, Final

FULL: Final = "1"  # SQLite makes it the present size
ROOM: Final = "1000000"


def main() -> None:
    """Start twistd with what is left of the command line."""
    from twisted.scripts.twistd import run

    from gateway.storage import database

    limit, transact = Path(sys.argv.pop(1)), database.transact

    def limited(connection: sqlite3.Connection, works: list[Any]) -> list[Any]:
        connection.execute(f"PRAGMA max_page_count = {limit.read_text()}")
        return transact(connection, works)

    database.transact = limited
    sys.exit(run())


if __name__ == "__main__":
    main()
