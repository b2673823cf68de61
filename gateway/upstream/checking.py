"""Compiles the configs of one SDK and checks them, a large one in slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve
from twisted.internet.defer import CancelledError

from gateway.flags import ConfigError, Snapshot, finish, load, load_in_steps
from gateway.logger import component_logger
from gateway.slices import LARGE_BYTES, compile_in_slices
from gateway.upstream.guard import Hold
from gateway.upstream.outcome import Failed, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime

    from gateway.upstream.config_guard import CheckedConfig, ConfigGuard
    from gateway.upstream.guard import Audience, Limits

_log = component_logger("sdks")


class Checker:
    """Does it for one SDK; ``newest`` returns the Snapshot from which unchanged flags are reused.

    ``foresee`` returns the effect of a config on the connected users, None if that is not known; it never fails.
    """

    def __init__(
        self,
        sdk_id: str,
        clock: IReactorTime,
        compile_config: Callable[[bytes, str, Snapshot | None], Snapshot],
        guard: ConfigGuard,
        newest: Callable[[], Snapshot | None],
        foresee: Callable[[Snapshot], Deferred[Audience | None]] | None = None,
    ) -> None:
        self._sdk_id = sdk_id
        self._clock = clock
        self._compile = compile_config
        self._guard = guard
        self._newest = newest
        self._foresee = foresee

    def compiled(self, body: bytes, etag: str) -> Snapshot | Failed:
        """Compile a config without using it."""
        try:
            return self._compile(body, etag, self._newest())
        except Exception as error:  # noqa: BLE001 - an error in the compiler must not end the fetching
            return self._failed(error)

    async def checked(
        self, body: bytes, etag: str, limits: Limits, wanted: Callable[[], bool] = lambda: True
    ) -> CheckedConfig | Failed | None:
        """Compile and check a config for ``ConfigGuard.admit_checked``; None once it is not ``wanted`` any more.

        A large one takes several turns of the reactor, and starts again if another config comes into use meanwhile.
        """
        newest = self._newest()
        largest = max(len(body), 0 if newest is None else len(newest.body))
        if largest <= LARGE_BYTES or self._compile is not load:
            snapshot = self.compiled(body, etag)
            return snapshot if isinstance(snapshot, Failed) else finish(self._guard.check_in_steps(snapshot, limits))
        while True:
            before, current = self._newest(), self._guard.current
            try:
                candidate = await compile_in_slices(self._clock, load_in_steps(body, etag, before))
                checked = await compile_in_slices(self._clock, self._guard.check_in_steps(candidate, limits))
            except CancelledError:  # a restarted or stopped fetch
                raise
            except Exception as error:  # noqa: BLE001 - as above
                return self._failed(error)
            if not wanted():
                return None
            if before is self._newest() and current is self._guard.current:
                return checked

    async def weighed(
        self, body: bytes, etag: str, limits: Limits, wanted: Callable[[], bool]
    ) -> CheckedConfig | Failed | None:
        """As ``checked``, with the effect on the connected users if that has a limit and nothing else holds the config.

        While a config is pinned none is held, so the effect is not needed.
        """
        while True:
            checked, guard = await self.checked(body, etag, limits, wanted), self._guard
            current = guard.current
            if checked is None or isinstance(checked, Failed) or self._foresee is None or current is None:
                return checked
            if limits.max_impact_percent is None or guard.pinned is not None:
                return checked
            if isinstance(checked.judge(limits), Hold):
                return checked
            audience = await self._foresee(checked.snapshot)
            if not wanted():
                return None
            if current is guard.current:
                return evolve(checked, audience=audience)

    def _failed(self, error: Exception) -> Failed:
        if isinstance(error, ConfigError):
            return Failed(Kind.CONFIG, f"invalid config JSON content: {error}")
        _log.failure("SDK {sdk_id}: the config cannot be compiled", sdk_id=self._sdk_id)
        return Failed(Kind.CONFIG, "invalid config JSON content: it cannot be compiled")
