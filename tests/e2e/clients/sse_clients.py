"""Three libraries for server-sent events read two URLs each, the second one after the first event of the first one.

Prints every event as [library, number of the URL, name, data, id].

python sse_clients.py URL URL
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from threading import Thread

import httpx
import requests
import sseclient
from aiohttp_sse_client.client import EventSource
from httpx_sse import connect_sse

SECONDS = 60.0  # without any byte; the test ends earlier


def show(library: str, number: int, name: str, data: str, event_id: str) -> None:
    """Print one event, in one write."""
    sys.stdout.write(json.dumps([library, number, name or "message", data, event_id]) + "\n")
    sys.stdout.flush()


def httpx_sse(url: str) -> Iterator[tuple[str, str, str]]:
    """Yield the events of a URL."""
    with httpx.Client(timeout=SECONDS) as client, connect_sse(client, "GET", url) as source:
        for event in source.iter_sse():
            yield event.event, event.data, event.id


def sseclient_py(url: str) -> Iterator[tuple[str, str, str]]:
    """Yield the events of a URL."""
    with requests.get(url, stream=True, timeout=SECONDS, headers={"Accept": "text/event-stream"}) as response:
        for event in sseclient.SSEClient(response).events():
            yield event.event, event.data, event.id


def read(library: str, events: Callable[[str], Iterator[tuple[str, str, str]]], number: int = 0) -> None:
    """Show the events of a URL, and from the first one on those of the next URL, too."""
    following = number + 1 < len(urls)
    for event in events(urls[number]):
        show(library, number, *event)
        if following:
            Thread(target=read, args=(library, events, number + 1), daemon=True).start()
            following = False


async def read_with_aiohttp(number: int = 0) -> None:
    """Do the same with aiohttp-sse-client."""
    following = None
    async with EventSource(urls[number]) as source:
        async for event in source:
            show("aiohttp-sse-client", number, event.type, event.data, event.last_event_id)
            if following is None and number + 1 < len(urls):
                following = asyncio.create_task(read_with_aiohttp(number + 1))


if __name__ == "__main__":
    urls = sys.argv[1:]
    Thread(target=read, args=("httpx-sse", httpx_sse), daemon=True).start()
    Thread(target=read, args=("sseclient-py", sseclient_py), daemon=True).start()
    asyncio.run(read_with_aiohttp())
