"""A TCP server in threads, for tests whose far end speaks no HTTP, or speaks it as no HTTP server would."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread


@contextmanager
def server(act: Callable[[socket.socket], None], bound: socket.socket | None = None) -> Iterator[int]:
    """A TCP server that lets ``act`` have each connection; yields its port."""
    with bound or socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                Thread(target=one, args=(connection,), daemon=True).start()

        def one(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                act(connection)

        Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
