"""Tools of the upstream tests: settings in one line, a recording reporter, a source that the test controls."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from gateway.flags import Snapshot
from gateway.settings import Settings
from gateway.upstream import Registry
from gateway.upstream.outcome import Fetched, etag_of

KEY = "a" * 22 + "/" + "b" * 22
OTHER_KEY = "c" * 22 + "/" + "d" * 22


def config(value: str) -> bytes:
    """A config JSON with one text flag."""
    return msgspec.json.encode({"f": {"flag": {"t": 1, "v": {"s": value}}}})


def value_of(snapshot: Snapshot | None) -> object:
    """The value of that flag, or None without a config or the flag."""
    return None if snapshot is None or "flag" not in snapshot.flags else snapshot.evaluate("flag", None).value


def make_settings(sdks: dict[str, dict], **more: object) -> Settings:
    """Settings with these SDKs; a missing key becomes a valid one."""
    whole = {sdk_id: {"key": KEY, **sdk} for sdk_id, sdk in sdks.items()}
    return msgspec.convert({"sdks": whole, **more}, Settings)


class Remembering:
    """A reporter that collects its calls."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bool, str]] = []
        self.measured: list[tuple[str, str, float]] = []
        self.stale_calls: list[tuple[str, float | None]] = []
        self.confirmations: list[str] = []

    def record(self, sdk_id: str, ok: bool, message: str) -> None:
        self.records.append((sdk_id, ok, message))

    def fetched(self, sdk_id: str, outcome: str, seconds: float) -> None:
        self.measured.append((sdk_id, outcome, seconds))

    def requested(self, sdk_id: str, status: int | None, seconds: float) -> None: ...

    def confirmed(self, sdk_id: str) -> None:
        self.confirmations.append(sdk_id)

    def stale(self, sdk_id: str, fetched_at: float | None) -> None:
        self.stale_calls.append((sdk_id, fetched_at))

    @property
    def messages(self) -> list[str]:
        return [message for _, _, message in self.records]


class ControlledSource:
    """A source whose fetches the test ends."""

    remote = True
    fetched, not_modified, unreadable, unparsable = "fetched", "not modified", "unreadable", "unparsable"
    place = "played.example"

    def __init__(self, plan) -> None:
        self.plan = plan
        self.fetches: list[Deferred] = []
        self.settlements: list[object] = []
        self.wake = None
        self.stopped = False

    def start(self, wake, confirm) -> None:
        self.wake = wake
        self.confirm = confirm

    def stop(self) -> Deferred[None]:
        self.stopped = True
        return succeed(None)

    async def fetch(self):
        waiting: Deferred = Deferred()
        self.fetches.append(waiting)
        return await waiting

    def settled(self, outcome) -> None:
        self.settlements.append(outcome)

    def deliver(self, outcome) -> None:
        """End the oldest fetch under way; text becomes a config."""
        if isinstance(outcome, str):
            outcome = Fetched(config(outcome), etag_of(config(outcome)))
        self.fetches.pop(0).callback(outcome)


class Stage:
    """A registry on a Clock, whose sources the test controls."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.reporter = Remembering()
        self.sources: dict[str, list[ControlledSource]] = {}
        self.changes: list[tuple[str, object, object]] = []
        self.removed: list[object] = []
        self.attributes: list[object] = []
        self.registry: Registry

    def open(self, settings: Settings, **more: object) -> Registry:
        self.registry = Registry(
            self.clock,
            settings,
            rng=Random(1),
            reporter=self.reporter,
            on_change=lambda sdk, old, new: self.changes.append((sdk.id, value_of(old), value_of(new))),
            on_removed=self.removed.append,
            on_attributes=self.attributes.append,
            source=self._make,
            **more,
        )
        return self.registry

    def reload(self, settings: Settings) -> None:
        """Check and apply other settings, as the gateway's reload does."""
        self.registry.reconfigure(settings, self.registry.check(settings))

    def _make(self, plan, context, network) -> ControlledSource:
        source = ControlledSource(plan)
        self.sources.setdefault(plan.id, []).append(source)
        return source

    def source(self, sdk_id: str) -> ControlledSource:
        """The newest source of that SDK."""
        return self.sources[sdk_id][-1]


@pytest.fixture
def stage() -> Stage:
    """A registry on a Clock with sources that the test controls."""
    return Stage()


@pytest.fixture
def reactor():
    """The real reactor, which pytest-twisted runs."""
    from twisted.internet import reactor  # noqa: TID251 - sockets and inotify need the real one

    return reactor
