"""What an operator should look at: told once when it begins, once when it is over."""

import json

import pytest
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from gateway.telemetry import Concerns, PrometheusMetrics, Status, Vitals
from gateway.telemetry.health_warnings import CONCERN_SECONDS


@pytest.fixture
def lines():
    """The texts that are logged."""
    found = []

    def observe(event):
        if event.get("log_namespace") == "diag":
            found.append((event["log_level"].name, event["log_format"].format(**event)))

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)


def test_each_change_of_state_is_one_line_and_one_call(lines):
    """However often it is looked at."""
    clock, problems, told = Clock(), [], []
    concerns = Concerns(clock, lambda: problems, told.append)
    concerns.start()
    clock.pump([CONCERN_SECONDS] * 3)
    problems.append("the disk is full")
    clock.pump([CONCERN_SECONDS] * 3)
    problems[:] = ["endpoint ops is dead"]
    clock.pump([CONCERN_SECONDS] * 3)
    problems.clear()
    clock.pump([CONCERN_SECONDS] * 3)
    concerns.stop()
    problems.append("nobody asks any more")
    clock.pump([CONCERN_SECONDS] * 3)
    assert [("the disk is full",), ("endpoint ops is dead",), ()] == told
    assert [
        ("warn", "degraded: the disk is full"),
        ("warn", "degraded: endpoint ops is dead"),
        ("info", "over: the disk is full"),
        ("info", "over: endpoint ops is dead"),
    ] == lines


def test_a_concern_degrades_what_is_healthy():
    """It is shown under ``gateway``, and hides nothing worse."""
    status = Status(lambda: 0.0, Vitals("1", 0.0, lambda: 0))
    status.add("a", "k", "online", "remote")
    status.record("a", True, "fetched")
    status.concern(["endpoint ops is dead"])
    document = status.document()
    assert ("degraded", ["endpoint ops is dead"]) == (document["status"], document["gateway"]["problems"])
    status.concern([])
    assert "healthy" == status.root
    other = Status(lambda: 0.0)
    other.add("a", "k", "online", "remote")
    other.record("a", False, "down")
    other.concern(["endpoint ops is dead"])
    assert "down" == other.root


def test_concerns_are_bounded_and_printable():
    """An endless list, a long text, a control character and a key are cut, escaped and hidden."""
    status = Status(lambda: 0.0, Vitals("1", 0.0, lambda: 0))
    status.concern([f"endpoint a\x1b[31m {'x' * 1000} {number}" for number in range(100)])
    problems = status.document()["gateway"]["problems"]
    assert 20 == len(problems)
    assert all(len(each) <= 300 and "\x1b" not in each for each in problems)
    assert json.dumps(problems)


class Page:
    """The metrics page as a dictionary."""

    def __init__(self):
        self.seconds = 0.0
        self.metrics = PrometheusMetrics(lambda: self.seconds, "1")
        self.told = self.metrics.deliveries

    def __getitem__(self, series):
        lines = dict(line.rsplit(" ", 1) for line in self.metrics.render().decode().splitlines() if line[0] != "#")
        return float(lines[series]) if series in lines else None


@pytest.fixture
def page():
    """A page of a gateway with two endpoints."""
    page = Page()
    page.told.endpoints(["ops", "chat"])
    return page


def test_attempts_and_failures_are_counted_from_zero(page):
    """An outcome that nobody foresaw, and an endpoint that nobody told of, do not make series."""
    page.told.attempted("ops", "refused", 0.2)
    page.told.attempted("gone", "odd", 0.2)
    page.told.given_up("ops")
    assert 1 == page['flaggateway_delivery_attempts_total{endpoint="ops",outcome="refused"}']
    assert 0 == page['flaggateway_delivery_attempts_total{endpoint="chat",outcome="delivered"}']
    assert 1 == page['flaggateway_delivery_attempts_total{endpoint="[OTHER]",outcome="[OTHER]"}']
    assert 1 == page['flaggateway_deliveries_failed_total{endpoint="ops"}']
    assert 0 == page['flaggateway_deliveries_failed_total{endpoint="chat"}']


def test_the_age_of_the_oldest_goes_on_between_two_looks(page):
    """It is not that of the last look; an empty queue has none."""
    page.told.waiting("ops", 3, 100.0)
    page.seconds = 7.0
    assert 3 == page['flaggateway_deliveries_pending{endpoint="ops"}']
    assert 107 == page['flaggateway_deliveries_oldest_seconds{endpoint="ops"}']
    page.told.waiting("ops", 0, 0.0)
    page.seconds = 9.0
    assert 0 == page['flaggateway_deliveries_oldest_seconds{endpoint="ops"}']


def test_drops_are_totals_that_only_grow(page):
    """A total that is told again counts nothing, nor does one of a new file that begins at zero."""
    series = 'flaggateway_deliveries_dropped_total{endpoint="ops",reason="refused"}'
    for total in (5, 5, 7, 0):
        page.told.dropped("ops", "refused", total)
    assert 7 == page[series]
    page.told.dropped("ops", "refused", 2)
    assert 9 == page[series]


def test_the_series_of_an_endpoint_that_goes_end(page):
    """And those of one that comes begin at zero."""
    page.told.waiting("ops", 3, 100.0)
    page.told.endpoints(["new"])
    text = page.metrics.render().decode()
    assert 'endpoint="ops"' not in text
    assert 0 == page['flaggateway_deliveries_failed_total{endpoint="new"}']


def test_recording_is_one_or_zero(page):
    """A gauge that an alert can read."""
    page.told.recording(True)
    assert 1 == page["flaggateway_outbox_recording"]
    page.told.recording(False)
    assert 0 == page["flaggateway_outbox_recording"]


def test_odd_names_are_escaped(page):
    """A quote and a line break in a name forge no series."""
    page.told.endpoints(['a"} 1\nforged 1'])
    assert None is page["forged"]
