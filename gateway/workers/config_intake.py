"""Takes the configs that the leader sends into use: small ones at once, large ones in slices, per SDK in their order.

PublishConfig ──► compile ──► prepare ──► use          one config of an SDK at a time, the newest of those that wait
what follows for the SDK ──► waits until its config is in use
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define
from twisted.internet.defer import Deferred

from gateway.deferreds import settle_all
from gateway.flags import ConfigError, load, load_in_steps, replaced_flags_in_steps
from gateway.logger import component_logger
from gateway.slices import LARGE_BYTES, compile_in_slices, free_in_slices

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from gateway.flags import Snapshot
    from gateway.workers.protocol import PublishConfig
    from gateway.workers.replica import RegistryReplica, SdkReplica

_log = component_logger("gateway")


@define(eq=False)
class _Intake:
    """The configs of one SDK that are not yet in use: one is compiled, and the newest other one waits."""

    sdk: SdkReplica
    ended: Deferred[None]
    next: PublishConfig | None = None


class ConfigIntake:
    """Compiles configs and hands them to ``use``; ``prepare`` does before it what takes long, and never fails.

    A config of an SDK that was removed meanwhile is dropped.  An invalid one, although the leader has compiled the same
    bytes, is logged, and the previous one stays.
    """

    def __init__(
        self,
        clock: IReactorTime,
        registry: RegistryReplica,
        prepare: Callable[[str, Snapshot], Deferred[None]],
        use: Callable[[str, Snapshot], None],
    ) -> None:
        self._clock = clock
        self._registry = registry
        self._prepare = prepare
        self._use = use
        self._running: dict[str, _Intake] = {}

    def publish(self, message: PublishConfig) -> None:
        """Use a config: a small one on return, unless an earlier one of the same SDK is being compiled."""
        sdk = self._registry.by_id(message.sdk_id)
        if sdk is None:
            return
        running = self._running.get(sdk.id)
        if running is not None and running.sdk is sdk:
            running.next = message
            return
        before = 0 if sdk.snapshot is None else len(sdk.snapshot.body)
        if max(before, len(message.body)) <= LARGE_BYTES:
            try:
                self._take(sdk, load(message.body, message.etag, sdk.snapshot))
            except ConfigError as error:
                _log_invalid(sdk, error)
            return
        intake = self._running[sdk.id] = _Intake(sdk, Deferred())
        work = Deferred.fromCoroutine(self._compile(intake, message))
        work.addCallback(lambda _: self._ended(intake))

    def settled(self, sdk_id: str | None = None) -> Deferred[None]:
        """Return a Deferred that fires when the configs of an SDK, or of all, that came so far are in use."""
        running = [each for each in self._running.values() if sdk_id in {None, each.sdk.id}]
        return settle_all([each.ended for each in running])

    async def _compile(self, intake: _Intake, message: PublishConfig | None) -> None:
        sdk = intake.sdk
        while message is not None and self._registry.current(sdk):
            try:
                steps = load_in_steps(message.body, message.etag, sdk.snapshot)
                snapshot = await compile_in_slices(self._clock, steps)
                await self._prepare(sdk.id, snapshot)
                if self._registry.current(sdk):
                    self._take(sdk, snapshot)
            except ConfigError as error:
                _log_invalid(sdk, error)
            except Exception:  # noqa: BLE001 - an error in the compiler must not hold up later configs
                _log.failure("SDK {sdk_id}: a config from the leader could not be compiled", sdk_id=sdk.id)
            message, intake.next = intake.next, None

    def _take(self, sdk: SdkReplica, snapshot: Snapshot) -> None:
        before, sdk.snapshot = sdk.snapshot, snapshot
        if before is not None and before.large:
            free_in_slices(self._clock, replaced_flags_in_steps(before, snapshot))
        self._use(sdk.id, snapshot)

    def _ended(self, intake: _Intake) -> None:
        if self._running.get(intake.sdk.id) is intake:
            del self._running[intake.sdk.id]
        intake.ended.callback(None)


def _log_invalid(sdk: SdkReplica, error: ConfigError) -> None:
    text = "SDK {sdk_id}: the config from the leader is invalid, the previous one stays: {reason}"
    _log.error(text, sdk_id=sdk.id, reason=str(error))
