"""One configured SDK: its current Snapshot and the fetches that keep it current.

source.wake, refresh ──► FetchQueue ──► source.fetch ──► compile ──► guard ──► record ──► snapshot, on_change, callers
config cache, at start ──► compile ──► snapshot, on_change          until the first good fetch ──► config cache
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

from twisted.internet.defer import Deferred, succeed

from gateway.clocks import wall_clock
from gateway.deferreds import settle_all, supervise
from gateway.flags import Attribute, Snapshot, finish, replaced_flags_in_steps
from gateway.logger import component_logger
from gateway.slices import free_in_slices
from gateway.text import iso
from gateway.upstream.checking import Checker
from gateway.upstream.config_cache import KeptConfig, read_in_turn
from gateway.upstream.config_guard import ConfigGuard, HeldConfig, KeptPin
from gateway.upstream.fetch_failures import FetchFailures
from gateway.upstream.fetch_queue import GIVEN_UP, FetchQueue
from gateway.upstream.guard import Audience, Limits
from gateway.upstream.outcome import KEY_INVALID, Failed, Fetched, Kind, Outcome, Refreshed
from gateway.upstream.reporter import report_fetch
from gateway.upstream.sharing import agree
from gateway.upstream.source import SharingSource

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from gateway.upstream.config_cache import ConfigCache, Entry
    from gateway.upstream.config_guard import CheckedConfig
    from gateway.upstream.plan import Plan
    from gateway.upstream.reporter import Reporter
    from gateway.upstream.source import Source

_log = component_logger("sdks")

Load = Callable[[bytes, str, Snapshot | None], Snapshot]
OnChange = Callable[["Sdk", Snapshot | None, Snapshot], None]
OnCredit = Callable[[str, bytes], Callable[[], None]]
OnHeld = Callable[["Sdk"], None]
Admit = Callable[["Sdk", Snapshot], Deferred[None]]
NO_LIMITS = Limits(100, 100)  # for a config that another node has accepted
AppliedBy = Literal["remote", "file", "cache", "accepted", "served", "released"]
ReadPin = Callable[["Sdk"], Deferred[KeptPin | None]]
Foresee = Callable[["Sdk", Snapshot], Deferred[Audience | None]]


class Sdk:
    """One SDK of the settings.  It is the same object through reloads, unless its key changes.

    ``snapshot`` is None until the first good config; from then on it is always the last good one that was admitted.
    ``loading`` is true until the first fetch has ended, with or without a config, or a cached config is in use.
    ``stale_since`` is when that one was fetched, in Unix seconds; None as soon as a fetch has succeeded.
    ``applied_by`` is how the snapshot came into use.
    All methods belong to the reactor thread; for the callbacks see ``Registry``.
    """

    def __init__(  # noqa: PLR0913 - each one a seam
        self, plan: Plan, clock: IReactorTime, load: Load, reporter: Reporter, admit: Admit, on_change: OnChange,
        on_credit: OnCredit, *, on_held: OnHeld, on_pinned: OnHeld, on_problem: Callable[[], None],
        cache: ConfigCache | None = None, read_pin: ReadPin | None = None, foresee: Foresee | None = None,
    ) -> None:  # fmt: skip
        self.plan = plan
        self.snapshot: Snapshot | None = None
        self.loading = True
        self.stale_since: float | None = None
        self.applied_by: AppliedBy = "remote"
        self._clock = clock
        self._reporter = reporter
        self._admit = admit
        self._on_change = on_change
        self._on_credit = on_credit
        self._on_pinned = on_pinned
        self._on_problem = on_problem
        self._read_pin = read_pin
        self._newest: Snapshot | None = None  # the snapshot, or the one that replaces it once it is admitted
        self._published: list[Deferred[None]] = []  # fetches that wait until the newest config is the snapshot
        self._cached: Deferred[None] = succeed(None)  # fires once a cached config that was read is compiled
        self._publishing: Deferred[None] = succeed(None)  # fires when all admitted configs are published
        self._loaded: list[Deferred[None]] = []
        self._source: Source | None = None
        self.failures = FetchFailures(plan.id, clock, lambda: self.snapshot is not None)
        self.guard = ConfigGuard(plan.id, clock, lambda: on_held(self))
        seen = None if foresee is None else lambda candidate: foresee(self, candidate)
        self._checker = Checker(plan.id, clock, load, self.guard, lambda: self._newest, seen)
        self._kept = KeptConfig(cache, clock, plan.key) if cache is not None else None
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

    @property
    def cut_off(self) -> bool:
        """Whether changes that other nodes have stored cannot reach this one."""
        return isinstance(self._source, SharingSource) and self._source.cut_off()

    def when_loaded(self) -> Deferred[None]:
        """Fire when ``loading`` ends; never fails, and cancelling affects no other caller."""
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
        if isinstance(self._source, SharingSource):
            self._source.demand(credited=bool(credit))
        if not credit:
            return self._fetches.request(limited=limited)
        end = self._on_credit(self.id, credit)

        def ended(result: Refreshed) -> Refreshed:
            end()
            return result

        return self._fetches.request(limited=limited).addBoth(ended)

    def accept(self) -> HeldConfig | None:
        """Publish the held config in the usual way and return it; None if none is held.

        While another one is pinned it waits for the release.
        """
        held = self.guard.accept()
        if held is not None and self.guard.pinned is None:
            self._newest = held.config.snapshot
            self._admit_newest("accepted").addCallback(lambda _: self._accepted(held.config))
            self._fetches.wake()
        return held

    async def serve(self, body: bytes, etag: str, since: float) -> str | None:
        """Publish an earlier config in the usual way and pin it: what the source brings waits for ``release``.

        Return why the config cannot be used; None once it is in use.  ``since`` is in Unix seconds.
        """
        checked = await self._checker.checked(body, etag, self.plan.limits)
        if checked is None or isinstance(checked, Failed):
            return "it cannot be used" if checked is None else checked.reason
        self.guard.pin(checked, since)
        self._on_pinned(self)
        if self._newest is None or self._newest.body != body:
            self._newest = checked.snapshot
            await self._admit_newest("served")
        self._end_loading()
        return None

    async def release(self) -> bool:
        """Let the source decide again; return whether a config was pinned.

        The config that waits is published in the usual way, or held.  The pinned one stays while there is no other.
        """
        while True:
            pinned, waiting = self.guard.pinned, self.guard.waiting
            if pinned is None:
                return False
            snapshot = None if waiting is None else waiting.config.snapshot
            checked = None
            if snapshot is not None and self._newest is not None and snapshot.body != self._newest.body:
                checked = await self._checker.checked(snapshot.body, snapshot.etag, self.plan.limits)
            if pinned is self.guard.pinned and waiting is self.guard.waiting:
                break
        fresh = None if isinstance(checked, Failed) else checked
        published = self.guard.release(fresh, self.plan.limits)
        self._on_pinned(self)
        if published and fresh is not None:
            self._newest = fresh.snapshot
            await self._admit_newest("released")
        self._fetches.wake()
        return True

    def fetch_problem(self) -> str:
        """Return why the config in use may be old, or there is none, as a sentence; empty while all is well."""
        if self.stale_since is None:
            return self.failures.problem()
        if not self.failures.trouble and not self.guard.confirmed:
            return ""  # the upstream works, and its config is held, which is another problem, or was rejected
        why = self.failures.trouble or "no fetch has succeeded since the start"
        return f"SDK {self.id} serves the cached config of {iso(self.stale_since)}: {why}"

    def start(self, source: Source | None, max_bytes: int) -> None:
        """Serve the cached config, if there is one, and begin to fetch from ``source``; None for a refused key.

        ``max_bytes`` is the limit of a cached config JSON.
        """
        self._attach(source)
        if source is None:
            return
        # One after the other, so that a pinned config is served in place of the cached one; each within a time.
        reads: list[Callable[[], Deferred[None]]] = []
        if self._read_pin is not None:
            read_pin = self._read_pin
            reads.append(lambda: read_pin(self).addCallback(self._restore_pin))

        def serve_cached(entry: Entry | None) -> Deferred[None]:
            return Deferred.fromCoroutine(self._serve_cached(entry))

        if isinstance(source, SharingSource):  # before the own disk, which may be behind
            reads.append(lambda: source.cached().addCallback(serve_cached))
        if (kept := self._kept) is not None and source.remote:
            reads.append(lambda: kept.read(max_bytes).addCallback(serve_cached))
        # The fetch comes last, so that one that fails at once does not end the loading without a config.
        read_in_turn(self._clock, self.id, reads, self._fetches.wake)

    def replace(self, source: Source | None) -> Deferred[None]:
        """Change the source; the last good config stays until the new one delivers.

        Callers of a running fetch are answered by the new source.  Fires when the old one is closed.
        """
        old = self._source
        self.failures.forget()
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
        self.failures.forget()
        self._end_loading()
        if self._kept is not None:
            kept = self._kept
            ended.addCallback(lambda _: kept.stop())
        return ended.addCallback(lambda _: source.stop() if source is not None else None)

    def _attach(self, source: Source | None) -> None:
        self._source = source
        if source is None:
            self.failures.key_refused(self.key)
            self._reporter.record(self.id, False, KEY_INVALID)
            self._reporter.fetched(self.id, Kind.KEY.value, 0.0)
            self._end_loading()
            return
        source.start(self._fetches.wake, lambda: self._reporter.confirmed(self.id))

    def _forget(self, waiting: Deferred[None]) -> None:
        if waiting in self._loaded:
            self._loaded.remove(waiting)

    async def _fetch(self) -> Refreshed:
        source = self._source
        if source is None:
            return Refreshed("the SDK was stopped")
        problem, began, began_at = self.fetch_problem(), self._clock.seconds(), wall_clock(self._clock)()
        outcome = await source.fetch()
        if source is not self._source:
            return GIVEN_UP
        outcome, changed = await self._compile(outcome)
        if source is not self._source:
            return GIVEN_UP
        if isinstance(source, SharingSource):

            def newest() -> Snapshot | None:
                return self._newest if self.guard.confirmed and source is self._source else None

            outcome, changed = await agree(source, outcome, began_at, newest, self._compile, changed=changed)
        source.settled(outcome)  # first, so that the next poll is due whatever happens below
        self._report(source, outcome, self._clock.seconds() - began, changed=changed)
        if changed:
            self._admit_newest("remote" if source.remote else "file")
        await self._newest_published()
        if not isinstance(outcome, Failed):
            self._confirmed(source, began_at, changed=changed)
        if self.fetch_problem() != problem:
            self._on_problem()
        self._end_loading()
        if isinstance(outcome, Failed):
            return Refreshed(f"config fetch failed: {outcome.reason}", cut_off=self.cut_off)
        return Refreshed(changed=changed)

    async def _compile(self, outcome: Outcome) -> tuple[Outcome, bool]:
        """Make a fetched body the newest config, unless it is held; return also whether it is."""
        await settle_all([self._cached])  # usually the same config, which is then not compiled again
        if not isinstance(outcome, Fetched) or self.guard.ignores(outcome.body):
            return outcome, False
        if self._newest is not None and self._newest.body == outcome.body:
            self.guard.clear()
            return outcome, False
        source, limits = self._source, NO_LIMITS if outcome.accepted else self.plan.limits
        checked = await self._checker.weighed(outcome.body, outcome.etag, limits, lambda: source is self._source)
        if checked is None or isinstance(checked, Failed):
            return checked or outcome, False
        admitted = self.guard.admit_checked(checked, limits)
        if admitted:
            self._newest = checked.snapshot
        return outcome, admitted

    def _restore_pin(self, kept: KeptPin | None) -> None:
        """Serve the config that an earlier run has pinned; it is not recorded, since that run did that."""
        if kept is None or self._source is None or self.guard.pinned is not None:
            return
        if self._newest is not None:  # the file was slow, and a fetch was faster
            served = Deferred.fromCoroutine(self.serve(kept.snapshot.body, kept.snapshot.etag, kept.since))
            supervise(served, _log, "SDK {sdk_id}: the pinned config could not be used", sdk_id=self.id)
            return
        self.guard.pin(finish(self.guard.check_in_steps(kept.snapshot, self.plan.limits)), kept.since)
        self._newest = kept.snapshot
        self._on_pinned(self)
        self._publish(kept.snapshot, "served")
        self._end_loading()

    async def _serve_cached(self, entry: Entry | None) -> None:
        """Publish a cached config, unless a fetch was faster; it is not recorded, since an earlier run did that."""
        done = self._cached = Deferred()
        try:
            if entry is not None:
                await self._compile_cached(entry)
        finally:
            done.callback(None)

    async def _compile_cached(self, entry: Entry) -> None:
        source, guard = self._source, self.guard
        if source is None or not source.remote or guard.waiting is not None:
            return
        if self._newest is not None and (guard.pinned is None or self._newest.body == entry.body):
            return
        limits = self.plan.limits
        checked = await self._checker.checked(entry.body, entry.etag, limits, lambda: source is self._source)
        if checked is None or source is not self._source:
            return
        if isinstance(checked, Failed):
            _log.warn("SDK {sdk_id}: the cached config is ignored: {reason}", sdk_id=self.id, reason=checked.reason)
            return
        if not guard.admit_checked(checked, limits):  # as only while another one is pinned: then it waits
            return
        cached = self._newest = checked.snapshot
        self.stale_since = entry.fetched_at / 1000
        self._reporter.stale(self.id, self.stale_since)
        at = iso(self.stale_since)
        _log.info("SDK {sdk_id}: the cached config of {at} is served until a fetch succeeds", sdk_id=self.id, at=at)
        self._publish(cached, "cache")
        self._end_loading()

    def _confirmed(self, source: Source, began: float, *, changed: bool) -> None:
        """Note that a fetch has brought or confirmed the config in use, and keep that for the next start."""
        current = self.snapshot
        if current is None:
            return
        if not self.guard.confirmed:  # the source has a config that is held or rejected
            if self.stale_since is not None:
                self._reporter.stale(self.id, self.stale_since)  # the reporter takes each good fetch for its end
            return
        if self.stale_since is not None:
            self.stale_since = None
            self._reporter.stale(self.id, None)
            if not changed:
                # What the outbox compares the next change with: it may be new, or have missed the end of the last run.
                recorded = self._admit(self, current)
                supervise(recorded, _log, "SDK {sdk_id}: the config could not be recorded", sdk_id=self.id)
        if self._kept is not None and source.remote:
            self._kept.confirm(current.body, current.etag, began)

    def _accepted(self, config: CheckedConfig) -> None:
        """Treat an accepted config, which is published, as fetched when it was held: the upstream may be down by now.

        It is kept at once, so that a restart does not hold it again.
        """
        new = config.snapshot
        if self.snapshot is not new:
            return
        if self.stale_since is not None:
            self.stale_since = None
            self._reporter.stale(self.id, config.at)  # the age counts from there
            self._reporter.stale(self.id, None)
        if self._kept is not None and self._source is not None and self._source.remote:
            self._kept.confirm(new.body, new.etag, config.at)

    def _admit_newest(self, how: AppliedBy) -> Deferred[None]:
        """Publish the newest config once it is admitted, even if its source is replaced meanwhile.

        Configs are published in the order of the calls: one that is admitted sooner waits for the one before it.
        """
        new, earlier = self._newest, self._publishing
        assert new is not None
        admitted = self._admit(self, new)
        supervise(admitted, _log, "SDK {sdk_id}: a change could not be recorded; it is published", sdk_id=self.id)
        self._publishing = settle_all([admitted, earlier]).addCallback(lambda _: self._publish(new, how))
        published: Deferred[None] = Deferred()
        self._publishing.chainDeferred(published)
        return published

    async def _newest_published(self) -> None:
        """Return once the newest config is the snapshot."""
        while self._newest is not self.snapshot:
            waiting: Deferred[None] = Deferred()
            self._published.append(waiting)
            await waiting

    def _publish(self, new: Snapshot, how: AppliedBy) -> None:
        before, self.snapshot = self.snapshot, new
        self.applied_by = how
        if before is not None and before.large:
            free_in_slices(self._clock, replaced_flags_in_steps(before, new))
        _log.info("SDK {sdk_id}: a new config of {count} flags is in use", sdk_id=self.id, count=len(new.keys))
        self.guard.log_faults()
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
        report_fetch(self._reporter, self.id, source, outcome, seconds, changed=changed)
        if isinstance(outcome, Failed):
            self.failures.failed(source.place, outcome)
        else:
            self.failures.succeeded(source.place)


def _fire(waiting: list[Deferred[None]]) -> None:
    for deferred in waiting:
        if not deferred.called:
            deferred.callback(None)
