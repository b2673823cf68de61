"""A webhook receiver that prints each message and whether its signature is valid.

Stand-alone: ``python -m gateway.testing.receiver --port 0 --secret whsec_…`` prints its port, then each message.
In a test: ``with Receiver(secret) as receiver: … receiver.url, receiver.calls``.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import os
import sys
from base64 import b64decode, b64encode
from threading import Event
from typing import TYPE_CHECKING

from attrs import frozen

from gateway.testing.threaded import QuietHandler, ThreadedServer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from http.server import BaseHTTPRequestHandler

BODY_LIMIT = 16 * 1024 * 1024  # bytes of one message; a larger one is answered with 413
CALLS_KEPT = 1000  # the oldest are dropped first
PARENT_SECONDS = 0.3  # between two checks that the parent process lives


@frozen
class Call:
    """One request as it arrived; header names in lower case."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The message id, equal for every attempt."""
        return self.headers.get("x-flaggateway-delivery", "")

    def signed_with(self, secret: str) -> bool | None:
        """Return whether every signature of the request is valid; None if it has none."""
        found = []
        hub = self.headers.get("x-hub-signature-256")
        if hub is not None:
            digest = hmac.new(secret.encode(), self.body, hashlib.sha256).hexdigest()
            found.append(hmac.compare_digest(hub.encode(), f"sha256={digest}".encode()))
        standard = self.headers.get("webhook-signature")
        if standard is not None:
            key = b64decode(secret.removeprefix("whsec_")) if secret.startswith("whsec_") else secret.encode()
            head = f"{self.headers.get('webhook-id', '')}.{self.headers.get('webhook-timestamp', '')}."
            wanted = b"v1," + b64encode(hmac.new(key, head.encode() + self.body, hashlib.sha256).digest())
            found.append(any(hmac.compare_digest(each.encode(), wanted) for each in standard.split(" ")))
        return all(found) if found else None


class Receiver(ThreadedServer):
    """Answers every POST with ``status`` and passes it to ``on_call``; ``calls`` holds the latest, oldest first."""

    def __init__(
        self,
        port: int = 0,
        status: int = 204,
        on_call: Callable[[Call], None] = lambda _: None,
        host: str = "127.0.0.1",
    ) -> None:
        self.calls: list[Call] = []
        self.status = status
        self._on_call = on_call
        super().__init__(self._handler(), port, host)
        self.url = f"http://127.0.0.1:{self.port}/"

    def _accept(self, call: Call) -> None:
        self.calls = [*self.calls[-CALLS_KEPT + 1 :], call]
        self._on_call(call)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(QuietHandler):
            timeout = 30

            def do_POST(self) -> None:
                length = self.headers.get("Content-Length", "0")
                size = int(length) if length.isascii() and length.isdigit() else BODY_LIMIT + 1
                if size > BODY_LIMIT:
                    self.close_connection = True
                    self._answer(413)
                    return
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver._accept(Call(headers, self.rfile.read(size)))
                self._answer(receiver.status)

            def _answer(self, status: int) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

        return Handler


def _show(call: Call, secret: str) -> None:
    verdict = {True: "signature valid", False: "SIGNATURE INVALID", None: "not signed"}[call.signed_with(secret)]
    print(f"\n{call.id}: {verdict}\n{call.body.decode('utf-8', 'replace')}", flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Serve until interrupted, or until the parent process ends."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--secret", default="", help="secret to check signatures with")
    parser.add_argument("--status", type=int, default=204, help="status of each answer")
    parser.add_argument("--parent", type=int, help="exit as soon as this process is not the parent")
    chosen = parser.parse_args(arguments)
    forever = Event()
    with Receiver(chosen.port, chosen.status, lambda call: _show(call, chosen.secret), chosen.host) as receiver:
        print(f"receiving on port {receiver.port}", flush=True)
        while not forever.wait(PARENT_SECONDS):
            if chosen.parent is not None and os.getppid() != chosen.parent:
                return


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(0)
