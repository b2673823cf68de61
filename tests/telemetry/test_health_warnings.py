"""Problems are reported once when they begin and once when they end; and the metrics of webhooks."""

import json

import pytest
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from gateway.telemetry import HealthWarnings, Metrics, ProcessStatus, Status
from gateway.telemetry.health_warnings import CHECK_SECONDS


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
    """However often the problems are checked."""
    clock, problems, reports = Clock(), [], []
    warnings = HealthWarnings(clock, lambda: problems, reports.append)
    warnings.start()
    clock.pump([CHECK_SECONDS] * 3)
    problems.append("the disk is full")
    clock.pump([CHECK_SECONDS] * 3)
    problems[:] = ["endpoint ops is dead"]
    clock.pump([CHECK_SECONDS] * 3)
    problems.clear()
    clock.pump([CHECK_SECONDS] * 3)
    warnings.stop()
    problems.append("after the stop")
    clock.pump([CHECK_SECONDS] * 3)
    assert [("the disk is full",), ("endpoint ops is dead",), ()] == reports
    assert [
        ("warn", "degraded: the disk is full"),
        ("warn", "degraded: endpoint ops is dead"),
        ("info", "resolved: the disk is full"),
        ("info", "resolved: endpoint ops is dead"),
    ] == lines


def test_problems_that_are_logged_elsewhere_are_reported_and_not_logged(lines):
    """They stand first, and a new text of one of them is a report."""
    problems, logged, reports = ["the disk is full"], ["SDK a: refused"], []
    warnings = HealthWarnings(Clock(), lambda: problems, reports.append, lambda: logged)
    warnings.check()
    logged[:] = ["SDK a: too late"]
    warnings.check()
    logged.clear()
    warnings.check()
    warnings.check()
    disk = "the disk is full"
    assert [("SDK a: refused", disk), ("SDK a: too late", disk), (disk,)] == reports
    assert [("warn", f"degraded: {disk}")] == lines


def test_a_problem_degrades_what_is_healthy():
    """It is shown under ``gateway``, and hides nothing worse."""
    status = Status(lambda: 0.0, ProcessStatus("1", 0.0, lambda: 0))
    status.add("a", "k", "online", "remote")
    status.record("a", True, "fetched")
    status.set_problems(["endpoint ops is dead"])
    document = status.document()
    assert ("degraded", ["endpoint ops is dead"]) == (document["status"], document["gateway"]["problems"])
    status.set_problems([])
    assert "healthy" == status.root
    other = Status(lambda: 0.0)
    other.add("a", "k", "online", "remote")
    other.record("a", False, "down")
    other.set_problems(["endpoint ops is dead"])
    assert "down" == other.root


def test_problems_are_bounded_and_printable():
    """Long lists and texts are cut, control characters escaped, keys hidden."""
    status = Status(lambda: 0.0, ProcessStatus("1", 0.0, lambda: 0))
    status.set_problems([f"endpoint a\x1b[31m {'x' * 1000} {number}" for number in range(100)])
    problems = status.document()["gateway"]["problems"]
    assert (20, "81 more problems are in the log") == (len(problems), problems[-1])
    assert all(len(each) <= 300 and "\x1b" not in each for each in problems)
    assert json.dumps(problems)


class Page:
    """The metrics page as a dictionary."""

    def __init__(self):
        self.seconds = 0.0
        self.metrics = Metrics(lambda: self.seconds, "1")
        self.deliveries = self.metrics.deliveries

    def __getitem__(self, series):
        lines = dict(line.rsplit(" ", 1) for line in self.metrics.render().decode().splitlines() if line[0] != "#")
        return float(lines[series]) if series in lines else None


@pytest.fixture
def page():
    """A page of a gateway with two endpoints."""
    page = Page()
    page.deliveries.endpoints(["ops", "chat"])
    return page


def test_attempts_and_failures_are_counted_from_zero(page):
    """Unknown outcomes and endpoints do not create series."""
    page.deliveries.attempted("ops", "refused", 0.2)
    page.deliveries.attempted("gone", "odd", 0.2)
    page.deliveries.given_up("ops")
    assert 1 == page['flaggateway_delivery_attempts_total{endpoint="ops",outcome="refused"}']
    assert 0 == page['flaggateway_delivery_attempts_total{endpoint="chat",outcome="delivered"}']
    assert 1 == page['flaggateway_delivery_attempts_total{endpoint="[OTHER]",outcome="[OTHER]"}']
    assert 1 == page['flaggateway_deliveries_failed_total{endpoint="ops"}']
    assert 0 == page['flaggateway_deliveries_failed_total{endpoint="chat"}']


def test_the_age_of_the_oldest_grows_between_two_measurements(page):
    """An empty queue has none."""
    page.deliveries.waiting("ops", 3, 100.0)
    page.seconds = 7.0
    assert 3 == page['flaggateway_deliveries_pending{endpoint="ops"}']
    assert 107 == page['flaggateway_deliveries_oldest_seconds{endpoint="ops"}']
    page.deliveries.waiting("ops", 0, 0.0)
    page.seconds = 9.0
    assert 0 == page['flaggateway_deliveries_oldest_seconds{endpoint="ops"}']


def test_drops_are_totals_that_only_grow(page):
    """A repeated total counts nothing, nor does a smaller one of a new file."""
    series = 'flaggateway_deliveries_dropped_total{endpoint="ops",reason="refused"}'
    for total in (5, 5, 7, 0):
        page.deliveries.dropped("ops", "refused", total)
    assert 7 == page[series]
    page.deliveries.dropped("ops", "refused", 2)
    assert 9 == page[series]


def test_the_series_of_a_removed_endpoint_are_removed(page):
    """And those of a new one begin at zero."""
    page.deliveries.waiting("ops", 3, 100.0)
    page.deliveries.endpoints(["new"])
    text = page.metrics.render().decode()
    assert 'endpoint="ops"' not in text
    assert 0 == page['flaggateway_deliveries_failed_total{endpoint="new"}']


def test_recording_is_one_or_zero(page):
    """A gauge that an alert can read."""
    page.deliveries.recording(True)
    assert 1 == page["flaggateway_outbox_recording"]
    page.deliveries.recording(False)
    assert 0 == page["flaggateway_outbox_recording"]


def test_odd_names_are_escaped(page):
    """A quote and a line break in a name do not create a series."""
    page.deliveries.endpoints(['a"} 1\nforged 1'])
    assert None is page["forged"]
