"""The failing fetches of one SDK: logged when they begin, every 10 minutes while they last, and when they end.

result of each fetch ──► FetchFailures ──► log, cause and begin for the status page
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.logger import LogLevel

from gateway.clocks import wall_clock
from gateway.deferreds import Timer
from gateway.logger import component_logger
from gateway.settings import mask_sdk_key
from gateway.text import iso

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from gateway.upstream.outcome import Failed, Kind

_log = component_logger("sdks")

REPEAT_SECONDS: Final = 600.0  # between two log lines about a failure that lasts
LASTING: Final = 2  # failures in a row that are a problem; one alone does not change the health of an SDK either


class FetchFailures:
    """The failures since the last fetch that succeeded; ``is_serving`` returns whether the SDK has a config.

    All methods belong to the reactor thread.
    """

    def __init__(self, sdk_id: str, clock: IReactorTime, is_serving: Callable[[], bool]) -> None:
        self._sdk_id = sdk_id
        self._clock = clock
        self._wall = wall_clock(clock)
        self._is_serving = is_serving
        self._count = 0
        self._began = self._since = 0.0  # the same moment, on the monotonic and on the wall clock
        self._trouble = ""
        self._logged: set[Kind] = set()
        self._repeat = Timer(clock)

    @property
    def trouble(self) -> str:
        """What fails and why, as the beginning of a sentence; empty if the last fetch succeeded."""
        return self._trouble

    def problem(self) -> str:
        """Return the failure as a sentence about the SDK; empty without one, and for one alone if flags are served."""
        if not self._count or (self._count < LASTING and self._is_serving()):
            return ""
        return f"SDK {self._sdk_id}: {self._trouble}, since {iso(self._since)}; {self._effect}"

    def failed(self, place: str, failure: Failed) -> None:
        """Take note of a failed fetch; the first one is logged, and then each kind of failure once."""
        self._note(f"no config from {place}: {failure.cause}")
        if failure.kind not in self._logged:
            self._logged.add(failure.kind)
            _log.warn(
                "SDK {sdk_id}: no config from {place}: {reason}; {state}",
                sdk_id=self._sdk_id,
                place=place,
                reason=failure.cause,
                state=self._effect,
            )

    def key_refused(self, key: str) -> None:
        """Take note that nothing can be fetched with ``key``, and log it."""
        self._note("the SDK key is invalid")
        _log.error("SDK {sdk_id}: the SDK key {key} is invalid", sdk_id=self._sdk_id, key=mask_sdk_key(key))

    def succeeded(self, place: str) -> None:
        """Take note of a fetch that succeeded; logged after a failure."""
        if self._count:
            _log.info("SDK {sdk_id}: the config from {place} loads again", sdk_id=self._sdk_id, place=place)
        self.forget()

    def forget(self) -> None:
        """Forget the failures without a log line: another source begins, or the SDK ends."""
        self._count, self._trouble = 0, ""
        self._logged.clear()
        self._repeat.cancel()

    @property
    def _effect(self) -> str:
        return "the last good config stays in place" if self._is_serving() else "nothing to serve yet"

    def _note(self, trouble: str) -> None:
        self._trouble = trouble
        self._count += 1
        if self._count == 1:
            self._began, self._since = self._clock.seconds(), self._wall()
            self._repeat.start(REPEAT_SECONDS, self._log_again)

    def _log_again(self) -> None:
        self._repeat.start(REPEAT_SECONDS, self._log_again)
        _log.emit(
            LogLevel.warn if self._is_serving() else LogLevel.error,  # without a config clients have got errors
            "SDK {sdk_id}: for {minutes} minutes {trouble}; {state}",
            sdk_id=self._sdk_id,
            minutes=round((self._clock.seconds() - self._began) / 60),
            trouble=self._trouble,
            state=self._effect,
        )
