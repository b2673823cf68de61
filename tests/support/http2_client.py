"""An HTTP/2 client over a socket under TLS."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Mapping
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings


class Http2Client:
    """One connection, which reads only when it is asked to."""

    def __init__(self, port: int, context: ssl.SSLContext, window: int | None = None) -> None:
        context.set_alpn_protocols(["h2"])
        self.socket = context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="latin-1"))
        if window is not None:
            self.h2.local_settings = h2.settings.Settings(
                client=True, initial_values={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window}
            )
        self.h2.initiate_connection()
        self.events: list[Any] = []
        self.flush()

    def request(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> int:
        """Send a request; return the number of its stream."""
        number = int(self.h2.get_next_available_stream_id())
        head = [(":method", method), (":authority", "g"), (":scheme", "https"), (":path", path)]
        head += (headers or {}).items()
        self.h2.send_headers(number, head, end_stream=not body)
        if body:
            self.h2.send_data(number, body, end_stream=True)
        self.flush()
        return number

    def flush(self) -> None:
        """Send what h2 has ready."""
        self.socket.sendall(self.h2.data_to_send())

    def read(self) -> bool:
        """Read what has come; return whether the server has closed."""
        while self.socket.pending() or select.select([self.socket], [], [], 0)[0]:
            data = self.socket.recv(65_536)
            if not data:
                return True
            self.events += self.h2.receive_data(data)
        return False

    def of(self, kind: type) -> list[Any]:
        """Return the events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def close(self) -> None:
        """Close without a word."""
        self.socket.close()
