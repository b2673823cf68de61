"""Lines at level debug: present only if the settings ask for them; a reload switches them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from gateway.settings import load
from gateway.telemetry import LogLevels, log_observer
from gateway.web.server.request_log import LoggedMetrics
from web_memory import MemorySite

CONFIG = {"f": {"on": {"t": 0, "v": {"b": True}, "i": "v1"}}}


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """Every line that is logged during the test, whatever its level."""
    lines: list[str] = []

    def keep(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(keep)
    yield lines
    globalLogPublisher.removeObserver(keep)


def settings(level: str) -> Any:
    loaded = load(f"sdks: {{sdk1: {{key: k}}}}\nlog: {{level: {level}}}", {}).settings
    assert loaded is not None
    return loaded


def test_requests_are_logged_at_level_debug_only(lines: list[str]) -> None:
    """At other levels no line is made; a reload changes the level."""
    memory = MemorySite(CONFIG)
    for level, count in (("info", 0), ("debug", 1), ("warn", 0)):
        memory.site.use(memory.site.prepare(settings(level)))
        lines.clear()
        line = memory.connect()
        line.send(b"GET /api/sdk1/keys?secret HTTP/1.1\r\nHost: g\r\n\r\n")
        assert b"200 OK" in line.received()
        assert count == len(lines), level
        assert ["GET /api/{sdkId}/keys answered 200 in 0.0 ms"] * count == lines


def test_the_duration_is_a_number_in_json() -> None:
    """For a query by duration; the text has one decimal place as before."""
    stream = io.StringIO()
    observer = log_observer("json", LogLevels("debug"), stream.write)
    metrics: Any = SimpleNamespace(answered=lambda *_: None, stream_refused=None)
    globalLogPublisher.addObserver(observer)
    try:
        LoggedMetrics(metrics).answered("/api/{sdkId}/eval", "POST", 200, 0.0123456)
    finally:
        globalLogPublisher.removeObserver(observer)
    line = json.loads(stream.getvalue())
    assert (12.3, 200) == (line["milliseconds"], line["status"])
    assert "POST /api/{sdkId}/eval answered 200 in 12.3 ms" == line["message"]


def test_streams_are_logged_by_their_own_level(lines: list[str]) -> None:
    """Opening and closing are lines with the number of open streams, without any address or user."""
    memory = MemorySite(CONFIG)
    memory.site.use(memory.site.prepare(settings("debug")))
    streams = memory.site.routes.dispatcher.context.state.streams
    lines.clear()
    streams.opened("192.0.2.1")
    streams.closed("192.0.2.1")
    memory.site.use(memory.site.prepare(settings("info")))
    streams.opened("192.0.2.1")
    assert ["stream opened, 1 open", "stream closed, 0 open"] == lines
