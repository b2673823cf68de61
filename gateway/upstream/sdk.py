"""One configured SDK: its current Snapshot and the fetches that keep it current.

source.wake, refresh ──► FetchQueue ──► source.fetch ──► compile ──► record ──► snapshot, on_change, status, callers
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import Deferred, succeed

from gateway.deferreds import supervise
from gateway.flags import Attribute, ConfigError, Snapshot
from gateway.logger import component_logger
from gateway.settings import mask_sdk_key
from gateway.upstream.fetch_queue import GIVEN_UP, FetchQueue
from gateway.upstream.flag_warnings import FlagWarnings
from gateway.upstream.outcome import KEY_INVALID, Failed, Fetched, Kind, Outcome, Refreshed

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from gateway.upstream.plan import Plan
    from gateway.upstream.source import Source

_log = component_logger("sdks")

Load = Callable[[bytes, str, Snapshot | None], Snapshot]
OnChange = Callable[["Sdk", Snapshot | None, Snapshot], None]
OnCredit = Callable[[str, bytes], Callable[[], None]]
Admit = Callable[["Sdk", Snapshot], Deferred[None]]


class Reporter(Protocol):
    """Reports fetches on the status page and in the metrics; its methods must not raise.

    They are called in the reactor thread, before a new config is published.
    """

    def record(self, sdk_id: str, ok: bool, message: str) -> None:  # noqa: FBT001 - one of three columns
        """Add one status record; ``message`` is a text of ``outcome`` and holds no secret."""

    def fetched(self, sdk_id: str, outcome: str, seconds: float) -> None:
        """Count one fetch; ``outcome`` is ``changed``, ``not_modified`` or the value of a ``Kind``."""


class Sdk:
    """One SDK of the settings.  It is the same object through reloads, unless its key changes.

    ``snapshot`` is None until the first good config; from then on it is always the last good one that was admitted.
    ``loading`` is true until the first fetch has ended, with or without a config.  All methods belong to the reactor
    thread; for the callbacks see ``Registry``.
    """

    def __init__(
        self, plan: Plan, clock: IReactorTime, load: Load, reporter: Reporter, admit: Admit, on_change: OnChange,
        on_credit: OnCredit,
    ) -> None:  # fmt: skip
        self.plan = plan
        self.snapshot: Snapshot | None = None
        self.loading = True
        self._clock = clock
        self._load = load
        self._reporter = reporter
        self._admit = admit
        self._on_change = on_change
        self._on_credit = on_credit
        self._newest: Snapshot | None = None  # the snapshot, or the one that replaces it once it is admitted
        self._published: list[Deferred[None]] = []  # fetches that wait until the newest config is the snapshot
        self._loaded: list[Deferred[None]] = []
        self._source: Source | None = None
        self._failing: Kind | None = None  # of the last fetch
        self._flag_warnings = FlagWarnings(plan.id)
        self._fetches = FetchQueue(clock, lambda: Deferred.fromCoroutine(self._fetch()))

    @property
    def id(self) -> str:
        """The operator's name for this SDK."""
        return self.plan.id

    @property
    def key(self) -> str:
        """The SDK key; a secret."""
        return self.plan.key

    @property
    def defaults(self) -> Mapping[str, Attribute]:
        """Global and SDK default user attributes, merged."""
        return self.plan.defaults

    def when_loaded(self) -> Deferred[None]:
        """Fire when the first fetch has ended; never fails, and cancelling affects no other caller."""
        if not self.loading:
            return succeed(None)
        waiting: Deferred[None] = Deferred(self._forget)
        self._loaded.append(waiting)
        return waiting

    def refresh(self, *, limited: bool = False, credit: bytes = b"") -> Deferred[Refreshed]:
        """Return the result of a fetch that begins after this call; its config, if new, is published by then.

        It fails only when cancelled, which affects no other caller.
        ``limited`` callers share one fetch a second.
        ``credit`` is the body of an authenticated call, which may name the author of the change that the fetch finds.
        """
        if self.plan.refused:
            return succeed(Refreshed("config fetch failed: the SDK key is invalid"))
        if not credit:
            return self._fetches.request(limited=limited)
        end = self._on_credit(self.id, credit)

        def ended(result: Refreshed) -> Refreshed:
            end()
            return result

        return self._fetches.request(limited=limited).addBoth(ended)

    def start(self, source: Source | None) -> None:
        """Begin to fetch from ``source``; None for an SDK whose key is refused."""
        self._attach(source)
        if source is not None:
            self._fetches.wake()

    def replace(self, source: Source | None) -> Deferred[None]:
        """Change the source; the last good config stays until the new one delivers.

        Callers of a running fetch are answered by the new source.  Fires when the old one is closed.
        """
        old, self._failing = self._source, None
        self._attach(source)
        if source is not None:
            self._fetches.restart()
        return old.stop() if old is not None else succeed(None)

    def stop(self) -> Deferred[None]:
        """End fetches, timers and watches; every caller that waits is answered now.

        A config that is being admitted is still published afterwards: ``on_change`` may be called for an SDK that has
        ended.
        """
        source, self._source = self._source, None
        ended = self._fetches.stop()
        self._end_loading()
        return ended.addCallback(lambda _: source.stop() if source is not None else None)

    def _attach(self, source: Source | None) -> None:
        self._source = source
        if source is None:
            _log.error("SDK {sdk_id}: the SDK key {key} is invalid", sdk_id=self.id, key=mask_sdk_key(self.key))
            self._reporter.record(self.id, False, KEY_INVALID)
            self._reporter.fetched(self.id, Kind.KEY.value, 0.0)
            self._end_loading()
            return
        source.start(self._fetches.wake)

    def _forget(self, waiting: Deferred[None]) -> None:
        if waiting in self._loaded:
            self._loaded.remove(waiting)

    async def _fetch(self) -> Refreshed:
        source = self._source
        if source is None:
            return Refreshed("the SDK was stopped")
        began = self._clock.seconds()
        outcome = await source.fetch()
        if source is not self._source:
            return GIVEN_UP
        before = self._newest
        outcome = self._compile(outcome)
        changed = self._newest is not before
        source.settled(outcome)  # first, so that the next poll is due whatever happens below
        self._report(source, outcome, self._clock.seconds() - began, changed=changed)
        if changed:
            self._admit_newest()
        await self._newest_published()
        self._end_loading()
        if isinstance(outcome, Failed):
            return Refreshed(f"config fetch failed: {outcome.reason}")
        return Refreshed(changed=changed)

    def _compile(self, outcome: Outcome) -> Outcome:
        """Make a fetched body the newest config."""
        if not isinstance(outcome, Fetched) or (self._newest is not None and self._newest.body == outcome.body):
            return outcome
        try:
            self._newest = self._load(outcome.body, outcome.etag, self._newest)
        except ConfigError as error:
            return Failed(Kind.CONFIG, f"invalid config JSON content: {error}")
        except Exception:  # noqa: BLE001 - an error in the compiler must not end the fetching
            _log.failure("SDK {sdk_id}: the config cannot be compiled", sdk_id=self.id)
            return Failed(Kind.CONFIG, "invalid config JSON content: it cannot be compiled")
        return outcome

    def _admit_newest(self) -> None:
        """Publish the newest config once it is admitted, even if its source is replaced meanwhile."""
        new = self._newest
        assert new is not None
        admitted = self._admit(self, new)
        supervise(admitted, _log, "SDK {sdk_id}: a change could not be recorded; it is published", sdk_id=self.id)
        admitted.addCallback(lambda _: self._publish(new))

    async def _newest_published(self) -> None:
        """Return once the newest config is the snapshot."""
        while self._newest is not self.snapshot:
            waiting: Deferred[None] = Deferred()
            self._published.append(waiting)
            await waiting

    def _publish(self, new: Snapshot) -> None:
        before, self.snapshot = self.snapshot, new
        _log.info("SDK {sdk_id}: a new config of {count} flags is in use", sdk_id=self.id, count=len(new.keys))
        try:
            self._flag_warnings.update(new, before)
        except Exception:  # noqa: BLE001 - an error in the checks must not hold up a config that can be served
            _log.failure("SDK {sdk_id}: the flags of the new config could not be checked", sdk_id=self.id)
        try:
            self._on_change(self, before, new)
        except Exception:  # noqa: BLE001 - an error of a subscriber must not end the fetching
            _log.failure("SDK {sdk_id}: a change could not be published", sdk_id=self.id)
        published, self._published = self._published, []
        _fire(published)

    def _end_loading(self) -> None:
        self.loading = False
        loaded, self._loaded = self._loaded, []
        _fire(loaded)

    def _report(self, source: Source, outcome: Outcome, seconds: float, *, changed: bool) -> None:
        if isinstance(outcome, Failed):
            usual = source.unparsable if outcome.kind is Kind.CONFIG else source.unreadable
            ok, message, kind = False, outcome.record or usual, outcome.kind.value
        else:
            # An upstream that sent a body "fetched" it, changed or not; a file with equal bytes was not modified.
            fetched = changed or (isinstance(outcome, Fetched) and source.remote)
            ok, message = True, source.fetched if fetched else source.not_modified
            kind = "changed" if changed and isinstance(outcome, Fetched) else "not_modified"
        self._reporter.record(self.id, ok, message)
        self._reporter.fetched(self.id, kind, seconds)
        shown = f"{seconds * 1000:.0f}"
        _log.debug("SDK {sdk_id}: {ended}, in {milliseconds} ms", sdk_id=self.id, ended=message, milliseconds=shown)
        self._log_change(source, outcome)

    def _log_change(self, source: Source, outcome: Outcome) -> None:
        """Log when fetches begin to fail, fail in another way, or succeed again."""
        failing = outcome.kind if isinstance(outcome, Failed) else None
        before, self._failing = self._failing, failing
        if failing is before:
            return
        if isinstance(outcome, Failed):
            _log.warn(
                "SDK {sdk_id}: no config from {place}: {reason}; {state}",
                sdk_id=self.id,
                place=source.place,
                reason=outcome.reason,
                state="nothing to serve yet" if self.snapshot is None else "the last good config stays in place",
            )
        else:
            _log.info("SDK {sdk_id}: the config from {place} loads again", sdk_id=self.id, place=source.place)


def _fire(waiting: list[Deferred[None]]) -> None:
    for deferred in waiting:
        if not deferred.called:
            deferred.callback(None)
