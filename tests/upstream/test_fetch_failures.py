"""Failing fetches: what is logged and when, and the sentence for the status page; all on a Clock."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from gateway.upstream.fetch_failures import REPEAT_SECONDS, FetchFailures
from gateway.upstream.outcome import Failed, Kind

REFUSED = Failed(Kind.CONNECT, "unexpected error: connection refused", cause="connection refused")
LATE = Failed(Kind.TIMEOUT, "too late")
PLACE = "cdn.example:443"


class Scene:
    """One SDK's failures, and what they log."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.serving = True
        self.failures = FetchFailures("shop", self.clock, lambda: self.serving)
        self.events: list = []

    def lines(self) -> list[tuple[str, str]]:
        """Return the level and text of each new line."""
        events, self.events[:] = list(self.events), []
        return [(event["log_level"].name, event["log_format"].format(**event)) for event in events]


@pytest.fixture
def scene():
    scene = Scene()
    globalLogPublisher.addObserver(scene.events.append)
    yield scene
    globalLogPublisher.removeObserver(scene.events.append)


def test_a_failure_is_logged_when_it_begins_and_every_ten_minutes(scene):
    """One line each, however often fetches fail between; nothing once a fetch has succeeded."""
    stays = "connection refused; the last good config stays in place"
    for _ in range(5):
        scene.failures.failed(PLACE, REFUSED)
        scene.clock.advance(100)
    assert [("warn", f"SDK shop: no config from {PLACE}: {stays}")] == scene.lines()
    scene.clock.advance(100)
    assert [("warn", f"SDK shop: for 10 minutes no config from {PLACE}: {stays}")] == scene.lines()
    scene.clock.pump([REPEAT_SECONDS] * 3)
    assert [f"for {n} minutes" in text for n, (_, text) in zip((20, 30, 40), scene.lines(), strict=True)] == [True] * 3
    scene.failures.succeeded(PLACE)
    scene.clock.pump([REPEAT_SECONDS] * 3)
    assert [("info", f"SDK shop: the config from {PLACE} loads again")] == scene.lines()
    assert [] == scene.clock.getDelayedCalls()


def test_a_failure_without_any_config_is_an_error_after_ten_minutes(scene, logged_errors):
    """Clients have got errors for so long; at a start the upstream may just be late, which is a warning."""
    scene.serving = False
    scene.failures.failed(PLACE, REFUSED)
    scene.clock.advance(REPEAT_SECONDS)
    again = f"SDK shop: for 10 minutes no config from {PLACE}: connection refused; nothing to serve yet"
    assert [("error", again)] == scene.lines()[1:]
    assert 1 == len(logged_errors.flush())


def test_each_kind_of_failure_is_logged_once_until_a_fetch_succeeds(scene):
    """An upstream that fails in turns in two ways does not fill the log; the repeated line has the latest reason."""
    for _ in range(10):
        scene.failures.failed(PLACE, REFUSED)
        scene.failures.failed("other.example:80", LATE)
    assert ["connection refused", "too late"] == [event["reason"] for event in scene.events]
    scene.events.clear()
    scene.clock.advance(REPEAT_SECONDS)
    assert "no config from other.example:80: too late" in scene.lines()[0][1]
    scene.failures.succeeded(PLACE)
    scene.failures.failed(PLACE, REFUSED)
    assert ["info", "warn"] == [level for level, _ in scene.lines()]


def test_a_single_failure_is_a_problem_only_without_a_config(scene):
    """As for the health of the SDK: one error after a success does not count."""
    scene.clock.advance(1000)
    scene.failures.failed(PLACE, REFUSED)
    assert ("", f"no config from {PLACE}: connection refused") == (scene.failures.problem(), scene.failures.trouble)
    scene.serving = False
    begin = f"SDK shop: no config from {PLACE}: connection refused, since 1970-01-01T00:16:40.000Z"
    assert f"{begin}; nothing to serve yet" == scene.failures.problem()
    scene.serving = True
    scene.clock.advance(50)
    scene.failures.failed(PLACE, REFUSED)
    assert f"{begin}; the last good config stays in place" == scene.failures.problem()
    scene.failures.succeeded(PLACE)
    assert ("", "") == (scene.failures.problem(), scene.failures.trouble)


def test_a_refused_key_is_a_failure_that_lasts(scene, logged_errors):
    """It is masked in the line, and absent from all others."""
    scene.serving = False
    scene.failures.key_refused("wrong-secret-key")
    scene.clock.advance(REPEAT_SECONDS)
    assert [
        ("error", "SDK shop: the SDK key ***********t-key is invalid"),
        ("error", "SDK shop: for 10 minutes the SDK key is invalid; nothing to serve yet"),
    ] == scene.lines()
    problem = "SDK shop: the SDK key is invalid, since 1970-01-01T00:00:00.000Z; nothing to serve yet"
    assert problem == scene.failures.problem()
    assert 2 == len(logged_errors.flush())


def test_what_is_forgotten_is_not_logged(scene):
    """Another source begins, or the SDK has ended: no timer is left."""
    scene.failures.failed(PLACE, REFUSED)
    scene.failures.forget()
    assert ([], "") == (scene.clock.getDelayedCalls(), scene.failures.problem())
    scene.events.clear()
    scene.failures.succeeded(PLACE)
    assert [] == scene.lines()
