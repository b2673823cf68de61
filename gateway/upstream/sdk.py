"""One configured SDK: its current Snapshot and the fetches that keep it current.

source.wake, refresh ──► Turns ──► source.fetch ──► apply ──► snapshot, on_change, status, callers
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed

from gateway.deferreds import supervise
from gateway.flags import Attribute, ConfigError, Snapshot
from gateway.logger import component_logger
from gateway.settings import mask_sdk_key
from gateway.upstream.fetch_queue import Turns
from gateway.upstream.flag_warnings import Complaints
from gateway.upstream.outcome import Failed, Fetched, Kind, Outcome, Refreshed
from gateway.upstream.reporter import KEY_INVALID, Reporter

if TYPE_CHECKING:
    from gateway.upstream.plan import Plan
    from gateway.upstream.source import Source

_log = component_logger("sdks")

Load = Callable[[bytes, str, Snapshot | None], Snapshot]
OnChange = Callable[["Sdk", Snapshot | None, Snapshot], None]
OnCredit = Callable[[str, bytes], Callable[[], None]]
Admit = Callable[["Sdk", Snapshot], Deferred[None]]


class Sdk:
    """One SDK of the settings.  It keeps its identity through reloads, unless its key changes.

    ``snapshot`` is None until the first good config; from then on it is always the last good one that was admitted.
    ``loading`` holds until the first fetch has ended, well or badly.  All methods belong to the reactor thread.
    """

    def __init__(
        self, plan: Plan, clock: Any, load: Load, reporter: Reporter, admit: Admit, on_change: OnChange,
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
        self._newest: Snapshot | None = None  # what is served, or will be as soon as it is admitted
        self._placing: list[Deferred[None]] = []
        self._source: Source | None = None
        self._trouble: Kind | None = None
        self._complaints = Complaints(plan.id)
        self._loaded: list[Deferred[None]] = []
        self._turns = Turns(clock, lambda: Deferred.fromCoroutine(self._turn()))

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
        """Fires when the first fetch has ended, well or badly; never errs, and cancelling disturbs nobody."""
        if not self.loading:
            return succeed(None)
        waiting: Deferred[None] = Deferred(self._forget)
        self._loaded.append(waiting)
        return waiting

    def refresh(self, *, limited: bool = False, credit: bytes = b"") -> Deferred[Refreshed]:
        """One fetch that begins after this call; never errs unless cancelled, and cancelling disturbs nobody.

        *limited* callers cause at most one fetch a second together; the rest of them share it.
        *credit* may say who changed the config; it counts until the fetch has ended.
        The new config is in place and published when the Deferred fires.
        """
        if self.plan.refused:
            return succeed(Refreshed("config fetch failed: the SDK key is invalid"))
        if not credit:
            return self._turns.ask(limited=limited)
        end = self._on_credit(self.id, credit)

        def ended(result: Any) -> Any:
            end()
            return result

        return self._turns.ask(limited=limited).addBoth(ended)

    def start(self, source: Source | None) -> None:
        """Begin to fetch from *source*; None for an SDK whose key is refused."""
        self._attach(source)
        if source is not None:
            self._turns.nudge()

    def replace(self, source: Source | None) -> Deferred[None]:
        """Go over to another source; the last good config stays until the new one delivers.

        Callers of a fetch under way are answered by the new source; fires when the old one is closed.
        """
        old, self._trouble = self._source, None
        self._attach(source)
        if source is not None:
            self._turns.restart()
        return old.stop() if old is not None else succeed(None)

    def stop(self) -> Deferred[None]:
        """End fetches, timers and watches; everybody who waits is answered now.

        A config that is being admitted is still published afterwards: ``on_change`` may hear of an SDK that has ended.
        """
        source, self._source = self._source, None
        ended = self._turns.stop()
        self._first_ended()
        return ended.addCallback(lambda _: source.stop() if source is not None else None)

    def _attach(self, source: Source | None) -> None:
        self._source = source
        if source is None:
            _log.error("SDK {sdk_id}: the SDK key {key} is invalid", sdk_id=self.id, key=mask_sdk_key(self.key))
            self._reporter.record(self.id, False, KEY_INVALID)
            self._reporter.fetched(self.id, Kind.KEY.value, 0.0)
            self._first_ended()
            return
        source.start(self._turns.nudge)

    def _forget(self, waiting: Deferred[None]) -> None:
        if waiting in self._loaded:
            self._loaded.remove(waiting)

    async def _turn(self) -> Refreshed:
        source = self._source
        if source is None:
            return Refreshed("the SDK was stopped")
        began = self._clock.seconds()
        outcome = await source.fetch()
        if source is not self._source:
            return Refreshed("config fetch failed: the fetch was given up")
        before = self._newest
        outcome = self._compile(outcome)
        changed = self._newest is not before
        source.settled(outcome)  # before anybody is told or waited for, so that the next poll is due in any case
        self._tell(source, outcome, self._clock.seconds() - began, changed=changed)
        if changed:
            self._place()
        await self._placed()
        self._first_ended()
        return (
            Refreshed(f"config fetch failed: {outcome.reason}")
            if isinstance(outcome, Failed)
            else Refreshed(changed=changed)
        )

    def _compile(self, outcome: Outcome) -> Outcome:
        """Make a fetched body the newest config; the only place that compiles, so that it can move."""
        if not isinstance(outcome, Fetched):
            return outcome
        if self._newest is not None and self._newest.body == outcome.body:
            return outcome
        try:
            self._newest = self._load(outcome.body, outcome.etag, self._newest)
        except ConfigError as error:
            return Failed(Kind.CONFIG, f"invalid config JSON content: {error}")
        except Exception:  # noqa: BLE001 - whatever a config makes the compiler do, the last good one must go on
            _log.failure("SDK {sdk_id}: the config cannot be compiled", sdk_id=self.id)
            return Failed(Kind.CONFIG, "invalid config JSON content: it cannot be compiled")
        return outcome

    def _complain(self, before: Snapshot | None, new: Snapshot) -> None:
        try:
            self._complaints.look(new, before)
        except Exception:  # noqa: BLE001 - a config that can be served must not be held up by what is said about it
            _log.failure("SDK {sdk_id}: the flags could not be looked through", sdk_id=self.id)

    def _place(self) -> None:
        """Serve the newest config as soon as it is admitted, whatever becomes of the fetch that brought it."""
        new = self._newest
        assert new is not None
        admitted = self._admit(self, new)
        supervise(admitted, _log, "SDK {sdk_id}: a change could not be recorded", sdk_id=self.id)
        admitted.addCallback(lambda _: self._publish(new))

    async def _placed(self) -> None:
        """Return when the newest config is the one that is served; cancelling changes nothing."""
        while self._newest is not self.snapshot:
            waiting: Deferred[None] = Deferred()
            self._placing.append(waiting)
            await waiting

    def _publish(self, new: Snapshot) -> None:
        before, self.snapshot = self.snapshot, new
        _log.info("SDK {sdk_id}: a new config of {count} flags is in use", sdk_id=self.id, count=len(new.keys))
        self._complain(before, new)
        try:
            self._on_change(self, before, new)
        except Exception:  # noqa: BLE001 - a subscriber's fault must not end the fetching
            _log.failure("SDK {sdk_id}: a change could not be published", sdk_id=self.id)
        placing, self._placing = self._placing, []
        for waiting in placing:
            if not waiting.called:
                waiting.callback(None)

    def _first_ended(self) -> None:
        self.loading = False
        loaded, self._loaded = self._loaded, []
        for waiting in loaded:
            if not waiting.called:
                waiting.callback(None)

    def _tell(self, source: Source, outcome: Outcome, seconds: float, *, changed: bool) -> None:
        if isinstance(outcome, Failed):
            usual = source.unparsable if outcome.kind is Kind.CONFIG else source.unreadable
            ok, message, kind = False, outcome.record or usual, outcome.kind.value
        else:
            ok, message = True, self._message(source, outcome, changed=changed)
            kind = "changed" if changed and isinstance(outcome, Fetched) else "not_modified"
        self._reporter.record(self.id, ok, message)
        self._reporter.fetched(self.id, kind, seconds)
        shown = f"{seconds * 1000:.0f}"
        _log.debug("SDK {sdk_id}: {ended}, in {milliseconds} ms", sdk_id=self.id, ended=message, milliseconds=shown)
        self._log_change(source, outcome)

    def _message(self, source: Source, outcome: Outcome, *, changed: bool) -> str:
        """An upstream that sent a body "fetched" it, changed or not; a file with equal bytes was not modified."""
        return source.fetched if changed or (isinstance(outcome, Fetched) and source.remote) else source.not_modified

    def _log_change(self, source: Source, outcome: Outcome) -> None:
        """One line per change of state, however often a fetch fails."""
        trouble = outcome.kind if isinstance(outcome, Failed) else None
        was, self._trouble = self._trouble, trouble
        if trouble is was:
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
