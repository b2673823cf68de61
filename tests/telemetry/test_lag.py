"""The reactor's lag and the limit of open files."""

import contextlib
import os
import resource
from pathlib import Path

import pytest
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from gateway.open_files import files_left
from gateway.telemetry import LagMonitor, raise_file_limit
from gateway.telemetry.rlimits import FileLimit


@pytest.fixture
def events():
    seen = []
    globalLogPublisher.addObserver(seen.append)
    yield seen
    globalLogPublisher.removeObserver(seen.append)


def warnings(events):
    return [event for event in events if event["log_level"].name == "warn"]


def test_punctual_timers_are_no_lag():
    """A reactor whose timers are on time reports zeros, one per second."""
    clock, lags = Clock(), []
    LagMonitor(clock, lags.append).start()
    clock.pump([1.0] * 3)
    assert [0.0, 0.0, 0.0] == lags


def test_a_late_timer_is_reported_by_how_late_it_is(events):
    """A reactor that was blocked for three seconds reports what exceeds the interval, and one warning a minute."""
    clock, lags = Clock(), []
    LagMonitor(clock, lags.append).start()
    clock.advance(4.0)
    clock.advance(3.5)
    clock.advance(60.0)
    assert [3.0, 2.5, 59.0] == lags
    assert [3.0, 59.0] == [event["lag"] for event in warnings(events)]


def test_stopping_leaves_no_timer():
    """After stop, which may come twice, nothing is scheduled."""
    clock = Clock()
    monitor = LagMonitor(clock, lambda lag: None)
    monitor.start()
    monitor.stop()
    monitor.stop()
    assert [] == clock.getDelayedCalls()


def test_soft_limit_is_raised_to_the_hard_one(events):
    """1,024 becomes what the hard limit allows."""
    put = []
    assert FileLimit(1024, 65536, 65536, True) == raise_file_limit(10_000, lambda: (1024, 65536), put.append)
    assert [(65536, 65536)] == put
    assert [] == warnings(events)


@pytest.mark.parametrize("hard", [resource.RLIM_INFINITY, 1 << 30])
def test_an_endless_hard_limit_is_used_up_to_a_cap(hard):
    """The soft limit is not set to more files than a process can serve."""
    put = []
    raise_file_limit(0, lambda: (1024, hard), put.append)
    assert [(1_048_576, hard)] == put


@pytest.mark.parametrize("soft", [65536, resource.RLIM_INFINITY])
def test_a_limit_that_is_high_enough_is_not_changed(soft):
    """The soft limit equals the hard one already."""
    put = []
    assert raise_file_limit(60_000, lambda: (soft, 65536), put.append).enough
    assert [] == put


def test_too_few_files_for_the_connections_is_a_warning_with_a_remedy(events):
    """The warning names the figure that LimitNOFILE needs."""
    assert not raise_file_limit(5000, lambda: (4096, 4096), lambda limits: None).enough
    (warning,) = warnings(events)
    assert 5064 == warning["needed"]
    assert "LimitNOFILE" in warning["log_format"]


def test_a_limit_that_cannot_be_raised_is_a_warning(events):
    """The old limit is returned."""

    def refuse(limits):
        raise PermissionError

    assert FileLimit(1024, 1024, 4096, True) == raise_file_limit(100, lambda: (1024, 4096), refuse)
    assert 1 == len(warnings(events))


def test_the_real_limit_is_raised():
    """With the real system calls the returned limit is the one in force."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        outcome = raise_file_limit(0)
        assert outcome.now == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert outcome.now >= before[0]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before[0], resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def test_a_reached_file_limit_is_logged_once_a_minute(events):
    """The operator can read why connections are closed, without a line for each."""
    clock, left = Clock(), [True]
    monitor = LagMonitor(clock, lambda lag: None, lambda: left[0])
    monitor.start()
    for answer, seconds, count in ((True, 5, 0), (False, 59, 1), (False, 10, 2), (True, 100, 2)):
        left[0] = answer
        for _ in range(seconds):
            clock.advance(1)
        assert count == len(warnings(events))
    monitor.stop()


def test_the_real_limit_is_noticed():
    """With every file in use none is left, and one is after one was closed."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = []
    try:
        few = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir()) + 32
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, before[1]))
        assert files_left() > 0
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        found = files_left() > 0
        os.close(taken.pop())
        assert (False, True) == (found, files_left() > 0)
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
