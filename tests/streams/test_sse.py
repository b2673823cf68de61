"""The wire format, checked with an independent parser of the event-stream format."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from gateway.streams.sse import HEARTBEAT, WAITING, event, first_frame


def parse(stream: bytes) -> list[dict[str, str]]:
    """Return the blocks of a stream, those without data included, as several libraries pass them on."""
    events: list[dict[str, str]] = []
    current: dict[str, str] = {}
    for line in stream.decode().split("\n")[:-1]:
        if line == "":
            events.append(current)
            current = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            current[name] = value.removeprefix(" ")
    return events


@given(st.dictionaries(st.text(), st.text() | st.booleans() | st.integers()))
def test_parsing_an_event_returns_id_and_payload(values: dict[str, object]) -> None:
    """Any JSON payload is transmitted unchanged."""
    payload = json.dumps(values).encode()
    frame = first_frame(2500, event("abc", "0123", payload))
    assert [{"retry": "2500", "id": "abc.0123", "data": payload.decode()}] == parse(frame)


def test_comments_and_retry_end_no_block() -> None:
    """Heartbeats, and the beginning of a stream without a config, are lines that belong to the next block with data."""
    begin = first_frame(3000, WAITING) + HEARTBEAT
    assert [] == parse(begin)
    assert [{"retry": "3000", "id": "abc.0123", "data": "{}"}] == parse(begin + HEARTBEAT + event("abc", "0123", b"{}"))
    assert b":\n" == HEARTBEAT
