"""A server factory driven over a transport in memory; subclasses set ``site``."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport


class MemoryPort:
    """Sends requests to ``site``."""

    site: Any
    clock = Clock()

    def send(
        self,
        path: str,
        method: str = "GET",
        host: str = "127.0.0.1:8051",
        peer: str = "127.0.0.1",
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> tuple[Any, StringTransport]:
        """Send a request, and return the protocol and its transport."""
        family = IPv6Address if ":" in peer else IPv4Address
        protocol = self.site.buildProtocol(family("TCP", peer, 1))
        wire = StringTransport(peerAddress=family("TCP", peer, 1))
        protocol.makeConnection(wire)
        fields = (headers or {}) | ({} if body is None else {"Content-Length": str(len(body))})
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n".encode("latin-1")
        protocol.dataReceived(head + (body or b""))
        return protocol, wire

    def ask(self, path: str, method: str = "GET", **options: Any) -> tuple[int, Any]:
        """Return status and decoded body."""
        _, wire = self.send(path, method, **options)
        head, _, body = wire.value().partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body) if body.startswith((b"{", b"[")) else body
