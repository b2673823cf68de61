"""What every ring of tests shares: no silent errors, Hypothesis profiles, tools that may be missing, real processes.

Nothing here imports the reactor, so a test may still choose its own.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from twisted.logger import LogEvent, LogLevel, globalLogPublisher

from gateway_process import GatewayProcess
from outside_tools import find_tool, missing

settings.register_profile(
    "default",
    deadline=None,  # shared machines stall; the suite's own timeout is the deadline
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "ci",
    parent=settings.get_profile("default"),
    derandomize=True,  # a red build must be red again when it is run again
    print_blob=True,
)
settings.register_profile(
    "nightly",
    parent=settings.get_profile("default"),
    max_examples=1000,
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default"))


# Logged right before the failure it announces; the failure itself is what counts.
HEADING = "Unhandled error in Deferred:"


class LoggedErrors:
    """Errors that were logged, or lost with a Deferred, during one test."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        """Take note of an event if it is an error; what ``globalLogPublisher`` calls."""
        bad = event.get("isError") or event.get("log_level") in (LogLevel.error, LogLevel.critical)
        if bad and event.get("log_format") != HEADING:
            self._events.append(event)

    def flush(self, *kinds: type[BaseException]) -> list[LogEvent]:
        """Return and forget the errors seen so far: those whose failure is one of ``kinds``, all if none is given."""
        gc.collect()
        taken = [event for event in self._events if not kinds or _is_failure_of(event, kinds)]
        self._events = [event for event in self._events if event not in taken]
        return taken


def _is_failure_of(event: LogEvent, kinds: tuple[type[BaseException], ...]) -> bool:
    failure = event.get("log_failure")
    return failure is not None and failure.check(*kinds) is not None


def _describe(event: LogEvent) -> str:
    failure = event.get("log_failure")
    text = event.get("log_format") or event.get("format") or ""
    return f"{text}\n{failure.getTraceback() if failure is not None else ''}"


REACTOR_THREAD = "PoolThread-twisted.internet.reactor"  # ends with the reactor, after the session
THREAD_SECONDS = 10.0  # for threads that are about to end


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run for threads that are left, and name them: Python would wait for them at the exit, for ever."""
    left = [
        thread
        for thread in threading.enumerate()
        if not (thread.daemon or thread is threading.main_thread() or thread.name.startswith(REACTOR_THREAD))
    ]
    for thread in left:
        thread.join(THREAD_SECONDS)
    names = [thread.name for thread in left if thread.is_alive()]
    if names:
        print(f"\nthreads that a test has started still run: {', '.join(names)}", file=sys.stderr)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_collection_finish(session: pytest.Session) -> None:
    """Set what the imports left apart from later collections, which each test asks for twice."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def logged_errors() -> Iterator[LoggedErrors]:
    """Fail the test if an error is logged or a Deferred fails unhandled, unless the test takes it by ``flush()``."""
    gc.collect()  # what an earlier test left behind is not this one's fault
    gc.freeze()  # so that the next collections visit only what this test makes, and not what all tests left
    errors = LoggedErrors()
    globalLogPublisher.addObserver(errors)
    try:
        yield errors
        gc.collect()  # an unhandled Deferred speaks up when it is collected
    finally:
        globalLogPublisher.removeObserver(errors)
    left = errors.flush()
    if left:
        pytest.fail("errors were logged:\n" + "\n".join(_describe(event) for event in left), pytrace=False)


@pytest.fixture(scope="session")
def require_tool() -> Callable[[str], str]:
    """Return :func:`find_tool`: name in, path out, or the test is skipped loudly (failed where ``CI`` is set)."""
    return find_tool


@pytest.fixture
def gateway_process(tmp_path: Path) -> Iterator[Callable[..., GatewayProcess]]:
    """Return a function that starts a real gateway: settings (a dict) in, a running ``GatewayProcess`` out.

    Each has its own working directory, away from the checkout, and is ended with the test.
    """
    running: list[GatewayProcess] = []

    def start(settings: dict[str, Any], *, ready: bool = True, **options: Any) -> GatewayProcess:
        home = tmp_path / f"gateway{len(running)}"
        home.mkdir()
        process = GatewayProcess(settings, home, **options)
        running.append(process)
        process.start(ready=ready)
        return process

    try:
        yield start
    finally:
        for process in running:
            process.kill()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Any]:
    """A ``PostgresServer`` for all tests of this process; each uses a schema of its own."""
    try:
        from postgres_server import PostgresServer
    except ImportError as error:
        missing(f"{error}: the extra `test` installs it")
    with PostgresServer() as server:
        yield server
