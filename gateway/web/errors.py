"""Faults of ours while a call is answered: they cost one request, and are told without anything a client sent."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from gateway.logger import component_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from twisted.python.failure import Failure

    from gateway.web.values import Answered

_log = component_logger("http")


def shield(work: Awaitable[Answered]) -> Deferred[Answered]:
    """Return a Deferred for the end of ``work`` whose cancelling, when the client hangs up, leaves ``work`` alone.

    It errs with what ``work`` raised; what it raises after that is logged.
    """
    done: Deferred[Answered] = Deferred()

    def succeeded(answered: Answered) -> None:
        if not done.called:
            done.callback(answered)

    def failed(failure: Failure) -> None:
        if done.called:
            log_failure("", failure)
        else:
            done.errback(failure)

    Deferred.fromCoroutine(_awaited(work)).addCallbacks(succeeded, failed)
    return done


async def _awaited(work: Awaitable[Answered]) -> Answered:
    return await work


def log_failure(route: str, failure: Failure) -> None:
    """Log a fault of ours: where and of what type, without the message, which may quote what a client sent."""
    frames = traceback.extract_tb(failure.value.__traceback__ if failure.value else None)
    where = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames[-8:]))
    _log.error(
        "answering {route} failed: {kind} in {where}", route=route, kind=type(failure.value).__name__, where=where
    )
