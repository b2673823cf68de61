"""What the rooms share for Deferreds and delayed calls: failures that are logged, bounded waits, one timer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.logger import Logger
    from twisted.python.failure import Failure

T = TypeVar("T")


def supervise(deferred: Deferred[T], log: Logger, what: str, **fields: Any) -> Deferred[T | None]:
    """Log a failure of ``deferred`` with its traceback; return ``deferred``, whose result is then None.

    ``what`` is the format of the log line, ``fields`` fill it in.  A failure that is expected, and deserves another
    line or none, is handled by an errback before this call.
    """

    def failed(failure: Failure) -> None:
        log.failure(what, failure=failure, **fields)

    return deferred.addErrback(failed)


def fire_within(clock: IReactorTime, work: Deferred[Any], seconds: float) -> Deferred[None]:
    """Return a Deferred that fires when ``work`` ends, or after ``seconds``; ``work`` goes on either way.

    It never fails.  It consumes the result of ``work``, a failure too: ``supervise`` one that has to be logged.
    """
    done: Deferred[None] = Deferred()
    late = clock.callLater(seconds, done.callback, None)

    def ended(_: object) -> None:
        if late.active():
            late.cancel()
            done.callback(None)

    work.addBoth(ended)
    return done


def settle_all(works: Collection[Deferred[Any]]) -> Deferred[None]:
    """Return a Deferred that fires when all ``works`` have ended, at once if there are none.

    It never fails, and cancelling it leaves ``works`` alone.  Each of them keeps its result.
    """
    done: Deferred[None] = Deferred()
    left = len(works)

    def ended(result: T) -> T:
        nonlocal left
        left -= 1
        if not left:
            done.callback(None)
        return result

    for work in works:
        work.addBoth(ended)
    if not works:
        done.callback(None)
    return done


class Timer:
    """At most one delayed call on a clock.  ``IDelayedCall`` raises when it is cancelled late or twice; this does not.

    For what exists once per SDK, endpoint or process; a connection has the plain delayed call, which is smaller.
    """

    __slots__ = ("_call", "_clock")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._call: IDelayedCall | None = None

    @property
    def active(self) -> bool:
        """Whether a call is pending; not while it is being made."""
        return self._call is not None and bool(self._call.active())

    @property
    def due(self) -> float | None:
        """The clock's time of the pending call in seconds; None without one."""
        return self._call.getTime() if self._call is not None and self._call.active() else None

    def start(self, seconds: float, call: Callable[..., object], *args: object) -> None:
        """Call ``call(*args)`` in ``seconds``, instead of what is pending."""
        self.cancel()
        self._call = self._clock.callLater(seconds, call, *args)

    def cancel(self) -> None:
        """Cancel what is pending, if anything is."""
        pending, self._call = self._call, None
        if pending is not None and pending.active():
            pending.cancel()
