"""A network between browser and gateway that a test cuts or freezes."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from typing import Self


class Relay:
    """A TCP relay on a port of its own; use it as a context manager.

    ``cut``: connections end, and new ones are refused.  ``freeze``: nothing passes, as without a network.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener: socket.socket | None = None
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._dead: list[socket.socket] = []
        self._frozen = False
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self.port = 0
        self.mend()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(20)
        self.cut()

    @property
    def url(self) -> str:
        """The base URL behind which the gateway is."""
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """End every connection and accept none."""
        with self._lock:
            if self._listener is not None:
                self._listener.close()
                self._listener = None
            for each in (*self._pairs, *self._dead):
                each.close()
            self._pairs.clear()
            self._dead.clear()

    def freeze(self) -> None:
        """Let nothing pass."""
        self._frozen = True

    def mend(self) -> None:
        """Accept connections, and let everything pass; what a frozen connection was sent is lost with it."""
        if self._frozen:
            self.cut()
        with self._lock:
            self._frozen = False
            if self._listener is None:
                self._listener = socket.create_server(("127.0.0.1", self.port))
                self.port = self._listener.getsockname()[1]

    def forget(self) -> None:
        """Let new connections pass; those that are open stay open, and nothing passes on them any more."""
        with self._lock:
            self._dead += self._pairs
            self._pairs.clear()
            self._frozen = False

    def _run(self) -> None:
        while not self._ended.is_set():
            with self._lock:
                listeners = [] if self._listener is None else [self._listener]
                sockets = [] if self._frozen else [*self._pairs, *listeners]
                ready = select.select(sockets, [], [], 0)[0] if sockets else []
                for each in ready:
                    if each is self._listener:
                        self._accept(each)
                    elif each in self._pairs:
                        self._pass_on(each)
            if not ready:
                self._ended.wait(0.01)

    def _accept(self, listener: socket.socket) -> None:
        client, _ = listener.accept()
        try:
            server = socket.create_connection(("127.0.0.1", self._target), 5)
        except OSError:
            client.close()
            return
        self._pairs |= {client: server, server: client}

    def _pass_on(self, source: socket.socket) -> None:
        target = self._pairs[source]
        data = b""
        with contextlib.suppress(OSError):
            data = source.recv(65536)
            target.sendall(data)
        if not data:
            for each in (source, target):
                self._pairs.pop(each, None)
                each.close()
