"""Readiness: no SDK is loading, and at least one has a config, if only the cached one of an earlier run.

upstream's registry ──► Readiness.check() ──► /readyz
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import frozen

from gateway.telemetry.status import stale_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.telemetry.status import Status


class SdkState(NamedTuple):
    """The state of a configured SDK."""

    sdk_id: str
    loading: bool  # the first fetch has not ended, and there is no cached config
    serving: bool  # it has a config


@frozen
class ReadinessResult:
    """The answer to a probe: ready or not, and the explanation for operators."""

    ready: bool
    body: dict[str, Any]

    @property
    def code(self) -> int:
        """The HTTP status."""
        return 200 if self.ready else 503


class Readiness:
    """Computes whether the gateway is ready; after ``stop`` it never is.

    ``is_listening`` returns whether the main port is open, which takes worker processes a moment.
    """

    def __init__(
        self, sdks: Callable[[], Iterable[SdkState]], status: Status, is_listening: Callable[[], bool] = lambda: True
    ) -> None:
        self._sdks = sdks
        self._is_listening = is_listening
        self._status = status
        self._stopping = False

    def stop(self) -> None:
        """Make the gateway unready from now on, so that balancers send no new clients."""
        self._stopping = True

    def check(self) -> ReadinessResult:
        """Return the current result; failing SDKs make the gateway unready only if no SDK has a config."""
        sdks = list(self._sdks())
        reason = self._reason(sdks)
        ready, stale = reason is None, self._status.oldest_stale_age is not None
        states = {sdk.sdk_id: self._state(sdk) for sdk in sdks}
        return ReadinessResult(ready, {"ready": ready, "stale": stale, "reason": reason or "ready", "sdks": states})

    def _state(self, sdk: SdkState) -> dict[str, Any]:
        age = self._status.stale_age(sdk.sdk_id)
        state = {"serving": sdk.serving, "why": self._why(sdk, age)}
        return state if age is None else state | stale_fields(age)

    def _reason(self, sdks: list[SdkState]) -> str | None:
        """Return why the gateway is not ready; None when it is."""
        if self._stopping:
            return "the gateway is shutting down"
        if not sdks:
            return "no SDK is configured"
        loading = [sdk.sdk_id for sdk in sdks if sdk.loading]
        if loading:
            return f"waiting for the first fetch of: {', '.join(loading)}"
        if not any(sdk.serving for sdk in sdks):
            return "no SDK has a config to serve"
        if not self._is_listening():
            return "the worker processes are not ready yet"
        return None

    def _why(self, sdk: SdkState, stale_age: int | None) -> str:
        """Return the state of an SDK in words, and what to do about it."""
        error = self._status.last_error(sdk.sdk_id)
        if stale_age is not None:
            fetch = "the first fetch has not ended yet" if error is None else f"the latest fetch failed: {error}"
            return f"serving the cached config, fetched {stale_age} s ago; {fetch}"
        if sdk.serving:
            return "serving" if error is None else f"serving the last good config; the latest fetch failed: {error}"
        if sdk.loading:
            return "the first fetch has not ended yet; it ends at the latest after upstream.timeout"
        cause = error or "no config has come"
        return f"no config yet: {cause}; check SDK key, network, or the file it comes from"
