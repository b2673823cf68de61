"""Six libraries for server-sent events read the streams of one gateway: no event is empty, no heartbeat is an event."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cdn_stand_in import SDK_KEY, CdnStandIn
from child_lines import ChildLines
from eventually import eventually
from gateway_process import GatewayProcess
from shop import GERMAN, shop
from streams import Streams, stream_path

HERE = Path(__file__).resolve().parent
LIBRARIES = {
    "sse_clients.py": ["aiohttp-sse-client", "httpx-sse", "sseclient-py"],
    "sse_clients.mjs": ["eventsource", "eventsource-client", "fetch-event-source"],
}
Event = tuple[int, str, Any]  # the number of the stream, the name and the data


class Clients:
    """The six clients, each with the same streams."""

    def __init__(self, stack: ExitStack, node: str, *urls: str) -> None:
        programs = {"sse_clients.py": sys.executable, "sse_clients.mjs": node}
        self._children = [
            (stack.enter_context(ChildLines([programs[name], f"clients/{name}", *urls], cwd=HERE)), libraries)
            for name, libraries in LIBRARIES.items()
        ]
        self._ids: set[str] = set()

    def expect(self, *events: Event) -> None:
        """Read these events from each client, and nothing in between; each has a new id, the same in all clients."""
        ids = set()
        for child, libraries in self._children:
            lines = [child.next() for _ in libraries for _ in events]
            for library in libraries:
                found = [(number, name, json.loads(data)) for who, number, name, data, _ in lines if who == library]
                assert list(events) == sorted(found, key=lambda event: event[0]), library
            ids |= {event_id for *_, event_id in lines}
        assert len(events) == len(ids - self._ids) == len(ids)
        self._ids |= ids


def test_six_clients_see_values_and_nothing_else(
    gateway_process: Callable[..., GatewayProcess], upstream: CdnStandIn, node: str
) -> None:
    """Each waits for the first config, then sees the first values and a change, in plain and in delta mode.

    Heartbeats and other comments before, between and after them are no events.
    """
    upstream.set({"f": "no config"})
    gateway = gateway_process(
        {
            "sdks": {"shop": {"key": SDK_KEY, "base_url": upstream.url, "poll_interval": 1}},
            "http": {"sse": {"heart_beat_interval": 0.2, "drain_window": 0}},
        },
        ready=False,
    )
    delta = gateway.url + stream_path("shop", GERMAN) + "?mode=delta"
    plain = gateway.url + stream_path("shop", GERMAN, "banner")
    with ExitStack() as stack:
        clients = Clients(stack, node, delta, plain)
        eventually(lambda: open_streams(gateway) == 6)
        wait_for_heartbeats(gateway)
        upstream.set(shop("before"))
        others = {"checkout": shown(True, "v-on"), "limit": shown(3, "v-three")}
        clients.expect((0, "put", others | {"banner": shown("before")}), (1, "message", shown("before")))
        for banner in ("after", "later"):
            wait_for_heartbeats(gateway)
            upstream.set(shop(banner))
            clients.expect(
                (0, "patch", {"changed": {"banner": shown(banner)}, "removed": []}), (1, "message", shown(banner))
            )


def shown(value: object, variation: str = "") -> dict[str, object]:
    """Return a value with its variation id."""
    return {"value": value, "variationId": variation or f"v-{value}"}


def wait_for_heartbeats(gateway: GatewayProcess) -> None:
    """Return when each open stream has been sent a heartbeat: a stream that opened after them has several."""
    streams = Streams()
    try:
        stream = streams.open(gateway.port, stream_path("shop"), headers="Accept: text/event-stream\r\n")
        streams.read_until(lambda: stream.comments > 3)
    finally:
        streams.close()


def open_streams(gateway: GatewayProcess) -> int:
    """Return the number of open streams, by the gateway's metrics."""
    _, metrics = gateway.get("/metrics", diag=True)
    lines = [line for line in metrics.decode().splitlines() if line.startswith("configcat_stream_connections{")]
    return sum(int(float(line.rpartition(" ")[2])) for line in lines)
