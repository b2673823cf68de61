"""The wire format, checked with an independent parser of the event-stream format."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from gateway.streams.sse import HEARTBEAT, WAITING, event, first_frame


def parse(stream: bytes) -> list[dict[str, str]]:
    """Parse a stream by the WHATWG text; shares no code with the product."""
    events: list[dict[str, str]] = []
    current: dict[str, str] = {}
    for line in stream.decode().split("\n"):
        if line == "":
            if "data" in current:
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
    assert [{"id": "abc.0123", "data": payload.decode()}] == parse(frame)


def test_comments_and_retry_are_no_events() -> None:
    """A comment or a retry field alone causes no event."""
    assert parse(first_frame(3000, WAITING) + HEARTBEAT) == []


def test_retry_carries_milliseconds() -> None:
    """The retry field is a bare number of milliseconds."""
    assert first_frame(2000, b"") == b"retry: 2000\n\n"
