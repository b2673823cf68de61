"""Many webhook receivers in a process of their own, fast enough not to affect what is measured.

python receivers_apart.py SECRET: prints its port; ``/MOOD/NAME`` is a receiver, ``/summary`` returns what each one got.
Every signature is checked with code that is not the gateway's.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.request import urlopen

import httptools
from standardwebhooks import Webhook, WebhookVerificationError

from child_lines import ChildLines

SLOW_SECONDS = 1.0  # until a slow receiver answers
_ANSWERS = {"well": 204, "slow": 204, "broken": 503}  # any other mood never answers
_REASONS = {200: b"OK", 204: b"No Content", 503: b"Service Unavailable"}


class Got:
    """What one receiver got."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.calls = 0
        self.unsigned = 0
        self.sequences: dict[str, int] = {}  # by message id

    def summary(self) -> dict[str, Any]:
        """Return it in figures."""
        numbers = sorted(self.sequences.values())
        return {
            "calls": self.calls,
            "messages": len(numbers),
            "unsigned": self.unsigned,
            "gapless": numbers == list(range(1, len(numbers) + 1)),
        }


class Receivers:
    """All of them."""

    def __init__(self, secret: str) -> None:
        """Expect messages signed with ``secret``."""
        self._secret = secret
        self._verifier = Webhook(secret)
        self._got: dict[str, Got] = {}
        self._last = time.monotonic()

    def take(self, name: str, headers: dict[str, str], body: bytes) -> None:
        """Note a message, and whether its signatures are good."""
        got = self._got.setdefault(name, Got())
        got.calls += 1
        got.sequences[headers["x-flaggateway-delivery"]] = int(headers["x-flaggateway-sequence"])
        got.unsigned += not self._signed(headers, body)
        self._last = time.monotonic()

    def _signed(self, headers: dict[str, str], body: bytes) -> bool:
        expected = hmac.new(self._secret.encode(), body, "sha256").hexdigest()
        if headers.get("x-hub-signature-256") != f"sha256={expected}":
            return False
        if "webhook-id" in headers:
            try:
                self._verifier.verify(body, headers)
            except WebhookVerificationError:
                return False
        return True

    def summary(self) -> dict[str, Any]:
        """Return what each got, and when (on the system-wide monotonic clock) the last call came."""
        return {"last": self._last, "got": {name: got.summary() for name, got in self._got.items()}}


class Connection(asyncio.Protocol):
    """One connection of a sender."""

    def __init__(self, receivers: Receivers) -> None:
        """Serve ``receivers``."""
        self._receivers = receivers
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._path, self._headers, self._body = b"", {}, b""

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        _, mood, *name = self._path.decode().split("/")
        if mood == "summary":
            self._answer(200, json.dumps(self._receivers.summary()).encode())
            return
        self._receivers.take("/".join(name), self._headers, self._body)
        if mood == "slow":
            asyncio.get_running_loop().call_later(SLOW_SECONDS, self._answer, 204)
        elif mood in _ANSWERS:
            self._answer(_ANSWERS[mood])

    def _answer(self, status: int, body: bytes = b"") -> None:
        length = b"" if status == 204 else b"Content-Length: %d\r\n" % len(body)
        self._transport.write(b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (status, _REASONS[status], length, body))


class ReceiversApart:
    """The process; use it as a context manager."""

    def __init__(self, secret: str) -> None:
        """Expect messages signed with ``secret``."""
        self._child = ChildLines([sys.executable, __file__, secret], cwd=Path(__file__).parent)

    def __enter__(self) -> Self:
        """Start it."""
        self._child.__enter__()
        self.url = f"http://127.0.0.1:{self._child.next()}"
        return self

    def __exit__(self, *why: object) -> None:
        """End it."""
        self._child.__exit__(*why)

    def summary(self) -> dict[str, Any]:
        """Ask what each receiver got."""
        with urlopen(f"{self.url}/summary", timeout=10) as answer:
            return json.load(answer)


async def serve(secret: str) -> None:
    """Serve until killed."""
    receivers = Receivers(secret)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(receivers), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(sys.argv[1]))
