"""Whether traffic may come: ready when every first fetch has ended and at least one SDK serves.

upstream's registry ──(Serving)──► Readiness.check() ──► /readyz
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.telemetry.status import Status


class SdkState(NamedTuple):
    """One configured SDK at this moment."""

    sdk_id: str
    loading: bool  # its very first fetch has not ended
    serving: bool  # it has a config to answer from


class Serving(Protocol):
    """Every configured SDK, asked anew at each check."""

    def __iter__(self) -> Iterator[tuple[str, bool, bool]]:
        """Yield SDK id, loading and serving, as in ``SdkState``."""


@frozen
class Verdict:
    """An answer for a probe: 200 or 503, and what an operator should read with it."""

    ready: bool
    body: dict[str, Any]

    @property
    def code(self) -> int:
        """The HTTP status."""
        return 200 if self.ready else 503


class Readiness:
    """Answers whether the gateway is ready; once ``stop`` was called it never is again.

    ``answering`` tells whether the main port is open: with worker processes, that takes a moment.
    """

    def __init__(self, serving: Serving, status: Status, answering: Callable[[], bool] = lambda: True) -> None:
        self._serving = serving
        self._answering = answering
        self._status = status
        self._stopping = False

    def stop(self) -> None:
        """Say from now on that the gateway is shutting down, so that balancers send nobody new."""
        self._stopping = True

    def check(self) -> Verdict:
        """Return the answer of this moment; an SDK that fails makes the gateway unready only if none serves."""
        sdks = [SdkState(*state) for state in self._serving]
        reason = self._reason(sdks)
        told = {sdk.sdk_id: {"serving": sdk.serving, "why": self._why(sdk)} for sdk in sdks}
        return Verdict(reason is None, {"ready": reason is None, "reason": reason or "ready", "sdks": told})

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
        if not self._answering():
            return "the worker processes are not ready yet"
        return None

    def _why(self, sdk: SdkState) -> str:
        """Say how an SDK is doing, and what to do about it."""
        error = self._status.last_error(sdk.sdk_id)
        if sdk.serving:
            return "serving" if error is None else f"serving the last good config; the latest fetch failed: {error}"
        if sdk.loading:
            return "the first fetch has not ended yet; it ends at the latest after upstream.timeout"
        cause = error or "no config has come"
        return f"no config yet: {cause}; the log has the details; check SDK key, network, or the file it comes from"
