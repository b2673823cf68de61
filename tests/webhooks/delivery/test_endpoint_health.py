"""What is logged and counted when an endpoint, or the database, begins to fail and works again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher

from courier_scene import BROKEN, FINE, Scene, endpoint
from gateway.http_client import Attempt
from gateway.telemetry import LogLevels, log_observer


@pytest.fixture
def lines() -> Iterator[list[tuple[str, str]]]:
    """Level and text of the log lines."""
    found: list[tuple[str, str]] = []

    def observe(event: Any) -> None:
        if event.get("log_namespace") == "gateway":
            found.append((event["log_level"].name, event["log_format"].format(**event)))

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)


def test_the_first_failure_and_each_message_given_up_are_warnings(lines: list[tuple[str, str]]) -> None:
    """Other failures are debug lines, since thousands may follow during an outage."""
    scene = Scene(endpoint("ops", retry_for=60))
    scene.deliver(BROKEN, 1, 2)
    for _ in range(200):
        scene.clock.advance(1)
    scene.deliver(FINE, 3)
    scene.deliver(FINE, 4)
    given_up = [(level, text.split(" after ")[0]) for level, text in lines if "given up" in text]
    assert [("warn", f"endpoint ops: message ops-{number} given up") for number in (1, 2)] == sorted(given_up)
    waits = [(level, text) for level, text in lines if "waits" in text]
    assert waits[0][0] == "warn"
    assert "endpoint ops: message ops-1 waits for " in waits[0][1]
    assert waits[0][1].endswith(" s after attempt 1: answered 503")
    assert {level for level, _ in waits[1:]} == {"debug"}
    assert [("info", "endpoint ops accepts messages again")] == [line for line in lines if "again" in line[1]]
    assert ("debug", "endpoint ops: message ops-4 delivered") in lines


def test_the_lines_of_a_message_carry_its_id() -> None:
    """As a field of JSON lines, with numbers as numbers."""
    written: list[str] = []
    observer = log_observer("json", LogLevels("debug"), written.append)
    globalLogPublisher.addObserver(observer)
    try:
        scene = Scene(endpoint("ops", retry_for=60))
        scene.deliver(BROKEN, 1)
        for _ in range(200):
            scene.clock.advance(1)
        scene.deliver(FINE, 2)
    finally:
        globalLogPublisher.removeObserver(observer)
    lines = [json.loads(line) for line in written if "message ops-" in line]
    assert {"ops-1", "ops-2"} == {line["message_id"] for line in lines}
    assert all(line["message_id"] in line["message"] for line in lines)
    assert {(int, float)} == {(type(line["number"]), type(line["pause"])) for line in lines if "number" in line}


def test_attempts_are_counted_by_outcome_and_messages_that_fail() -> None:
    """Delivered, refused, timed out, broken."""
    scene = Scene(endpoint("ops", retry_for=0))
    for number, answer in enumerate((FINE, BROKEN, Attempt(None, "timed out", 1.0), Attempt(200, "cut", 1.0))):
        scene.deliver(answer, number)
    outcomes = ("delivered", "refused", "timeout", "broken")
    assert {("ops", each): 1 for each in outcomes} == dict(scene.metrics.attempts)
    assert {"ops": 3} == dict(scene.metrics.failed)


def test_a_database_that_refuses_is_logged_once_and_again_when_it_works(lines: list[tuple[str, str]]) -> None:
    """However long it takes; the result of the attempt is then recorded once."""
    scene = Scene(endpoint("ops"))
    working = scene.store.run

    def locked(_: Any) -> Deferred[Any]:
        def fail(_: sqlite3.Connection) -> None:
            raise sqlite3.OperationalError("database is locked")

        return working(fail)

    sender = scene.senders["http://ops/"]
    sender.answer = lambda *_: None
    scene.add("ops", "1")
    scene.store.run = locked
    sender.flying[0].callback(FINE)
    for _ in range(10):
        scene.clock.advance(1)
    assert "database is locked" == scene.courier.database_error
    scene.store.run = working
    scene.clock.advance(1)
    assert "" == scene.courier.database_error
    assert [
        "endpoint ops: the outbox cannot be read or written: database is locked",
        "endpoint ops: the outbox can be read and written again",
    ] == [text for level, text in lines if level == "warn"]
    assert {"delivered": 1} == scene.store.states()
