"""``twistd`` with failpoints in the outbox, for tests that kill a gateway at the worst moments: python -P THIS FD …

Nothing of this is in the product: this program replaces ``gateway.storage.database.transact`` and starts twistd.
The test writes the name of a failpoint on the descriptor FD; the database's thread stops at the next one of that name,
writes the name back, and waits for ever, so that the process is killed at that point and at no other.
"""

from __future__ import annotations

import os
import select
import sqlite3
import sys
from collections.abc import Callable
from typing import Any, Final

IN_TRANSACTION: Final = "in a transaction"  # something is written, nothing is committed
COMMITTED: Final = "committed, not acknowledged"  # on disk, and the process has not seen the result yet
RECORD_SECONDS: Final = 30.0  # so that no change is published unrecorded while the disk stalls

Work = Callable[[sqlite3.Connection], Any]


class Failpoints:
    """The gateway's end of the pair of sockets."""

    def __init__(self, descriptor: int) -> None:
        """Listen on an inherited descriptor."""
        self._descriptor = descriptor
        self._armed = ""

    def reach(self, name: str) -> None:
        """Stop here for ever if the test has requested it."""
        if select.select([self._descriptor], [], [], 0)[0]:
            self._armed = os.read(self._descriptor, 1024).decode()
        if self._armed == name:
            os.write(self._descriptor, name.encode())
            select.select([], [], [])

    def wrap(self, transact: Callable[[sqlite3.Connection, list[Work]], list[Any]]) -> Callable[..., list[Any]]:
        """Return ``transact`` with a failpoint after each piece of work that wrote something, and one at its end."""

        def watched(connection: sqlite3.Connection, works: list[Work]) -> list[Any]:
            before = connection.total_changes

            def watch(work: Work) -> Work:
                def done(inner: sqlite3.Connection) -> Any:
                    result = work(inner)
                    if inner.total_changes > before:
                        self.reach(IN_TRANSACTION)
                    return result

                return done

            results = transact(connection, [watch(work) for work in works])
            if connection.total_changes > before:
                self.reach(COMMITTED)
            return results

        return watched


def main() -> None:
    """Start twistd with what is left of the command line."""
    from twisted.scripts.twistd import run

    from gateway.storage import database
    from gateway.webhooks import recorder

    database.transact = Failpoints(int(sys.argv.pop(1))).wrap(database.transact)
    recorder.RECORD_SECONDS = RECORD_SECONDS
    sys.exit(run())


if __name__ == "__main__":
    main()
