"""Failures of the gateway's own code: each costs one request, and its log line shows nothing that a client sent."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from gateway.logger import component_logger

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from gateway.web.values import AnyReply, PendingReply

_log = component_logger("http")


def shield(work: PendingReply) -> Deferred[AnyReply]:
    """Return a Deferred that fires as ``work`` ends; cancelling it, when the client hangs up, does not cancel ``work``.

    A failure of ``work`` after that is logged.
    """
    done: Deferred[AnyReply] = Deferred()

    def succeeded(reply: AnyReply) -> None:
        if not done.called:
            done.callback(reply)

    def failed(failure: Failure) -> None:
        if done.called:
            log_failure("", failure)
        else:
            done.errback(failure)

    Deferred.fromCoroutine(work).addCallbacks(succeeded, failed)
    return done


def log_failure(route: str, failure: Failure) -> None:
    """Log the type and place of a failure, without its message, which may quote what a client sent."""
    frames = traceback.extract_tb(failure.value.__traceback__ if failure.value else None)
    where = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames[-8:]))
    _log.error(
        "answering {route} failed: {kind} in {where}", route=route, kind=type(failure.value).__name__, where=where
    )
