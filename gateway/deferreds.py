"""What the rooms share for Deferreds and delayed calls: failures that are logged, bounded waits, one timer."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

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


class Repeating:
    """Calls a function again and again until ``stop``; a failure is logged, and the next call is made all the same.

    Twisted's ``LoopingCall`` ends with the first failure, so that one bad moment would stop a task for good.
    """

    def __init__(self, clock: IReactorTime, call: Callable[[], object], log: Logger, what: str) -> None:
        """Keep the ``call``, which may return a Deferred, and ``what`` it is for the log: "the flush failed"."""
        self._clock = clock
        self._call = call
        self._log = log
        self._what = what
        self._seconds = 0.0
        self._timer = Timer(clock)
        self.running = False

    def start(self, seconds: float) -> None:
        """Call every ``seconds``, the first time after them; a call whose Deferred takes longer delays the next one."""
        self._seconds = seconds
        self.running = True
        self._timer.start(seconds, self._run)

    def stop(self) -> None:
        """Make no further call; one that is in progress goes on."""
        self.running = False
        self._timer.cancel()

    def _run(self) -> None:
        began = self._clock.seconds()

        def ended(_: object) -> None:
            if self.running:
                self._timer.start(max(0.0, began + self._seconds - self._clock.seconds()), self._run)

        supervise(maybeDeferred(self._call), self._log, self._what).addCallback(ended)


def call_each(calls: Iterable[Callable[[], object]], log: Logger, what: str) -> None:
    """Make every call; a failure is logged with its type and place, and the other calls are made all the same.

    The exception's text is left out: it may quote what a client sent.
    """
    for call in calls:
        try:
            call()
        except Exception as error:  # noqa: BLE001  (whatever it is, it must not concern the others)
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{frame.name}:{frame.lineno}"
            text = "{what} failed, the others go on: {kind} in {place}"
            log.error(text, what=what, kind=type(error).__name__, place=place)  # noqa: TRY400  (see above)
