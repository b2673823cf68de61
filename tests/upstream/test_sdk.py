"""An SDK with a config cache: served before the first fetch, replaced by it, recorded and kept as it should be."""

from __future__ import annotations

import msgspec
import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.logger import LogLevel, globalLogPublisher

from gateway.settings.schema.root import Settings
from gateway.upstream.config_cache import READ_SECONDS, Entry, cache_key
from gateway.upstream.outcome import Failed, Fetched, Kind, NotModified, etag_of

KEY = "a" * 22 + "/" + "b" * 22
OTHER_KEY = "c" * 22 + "/" + "d" * 22
NOW = 1_000.0
DOWN = Failed(Kind.CONNECT, "the connection failed")


def config(value):
    return msgspec.json.encode({"f": {"flag": {"t": 1, "v": {"s": value}}}})


def value_of(snapshot):
    known = snapshot is not None and "flag" in snapshot.keys
    return snapshot.evaluate("flag", None).value if known else None


def make_settings(sdks, **more):
    whole = {sdk_id: {"key": KEY, **sdk} for sdk_id, sdk in sdks.items()}
    return msgspec.convert({"sdks": whole, **more}, Settings)


OLD = Entry(400_000, '"old"', config("old"))


class Memory:
    """A cache of entries in memory; ``hold`` leaves reads pending."""

    def __init__(self, entries):
        self.entries = {cache_key(key): entry for key, entry in entries.items()}
        self.limits = []
        self.hold = False
        self.reads = []

    def read(self, key, max_bytes):
        self.limits.append(max_bytes)
        if self.hold:
            self.reads.append(Deferred())
            return self.reads[-1]
        return succeed(self.entries.get(key))

    def write(self, key, entry):
        self.entries[key] = entry
        return succeed(True)

    def problems(self):
        return ["the cache has a problem"]

    def entry(self, key=KEY):
        return self.entries.get(cache_key(key))


class Scene:
    """One SDK with a cache, and what was recorded of it."""

    def __init__(self, stage, entry=OLD, **sdk):
        self.stage = stage
        self.stage.clock.advance(NOW)
        self.cache = Memory({KEY: entry} if entry else {})
        self.recorded = []
        self.settings = make_settings({"one": sdk})
        self.registry = stage.open(self.settings, cache=self.cache, admit=self._admit)

    def _admit(self, sdk, snapshot):
        self.recorded.append(value_of(snapshot))
        return succeed(None)

    @property
    def sdk(self):
        return self.registry.by_id("one")

    @property
    def source(self):
        return self.stage.source("one")

    def start(self):
        self.registry.start()
        return self


@pytest.fixture
def warned():
    """The texts of warnings."""
    events = []
    globalLogPublisher.addObserver(events.append)
    yield lambda: [e["log_format"].format(**e) for e in events if e["log_level"] == LogLevel.warn]
    globalLogPublisher.removeObserver(events.append)


def test_the_cached_config_is_served_before_the_first_fetch_ends(stage):
    """It is published and ends the loading, is not recorded, and is shown as stale with the time of its fetch."""
    scene = Scene(stage)
    loaded = scene.sdk.when_loaded()
    scene.start()
    assert ("old", False, True) == (value_of(scene.sdk.snapshot), scene.sdk.loading, loaded.called)
    assert [("one", None, "old")] == stage.changes
    assert ([], [("one", 400.0)], 400.0) == (scene.recorded, stage.reporter.stale_calls, scene.sdk.stale_since)
    assert 1 == len(scene.source.fetches)
    assert [64 * 1024 * 1024] == scene.cache.limits
    assert '"old"' == scene.sdk.snapshot.etag


def test_a_large_cached_config_is_compiled_in_slices(stage):
    """It is served some turns later; the fetch comes after it, and one that brings the same config changes nothing."""
    flags = {f"flag{number:05}": {"t": 1, "v": {"s": "other"}} for number in range(3_000)}
    body = msgspec.json.encode({"f": {**flags, "flag": {"t": 1, "v": {"s": "old"}}}})
    scene = Scene(stage, Entry(400_000, '"old"', body)).start()
    assert (None, True, []) == (scene.sdk.snapshot, scene.sdk.loading, scene.source.fetches)
    stage.clock.advance(0)  # all turns until there is no work
    assert ("old", 400.0) == (value_of(scene.sdk.snapshot), scene.sdk.stale_since)
    scene.source.deliver(Fetched(body, '"old"'))
    stage.clock.advance(0)
    assert [("one", None, "old")] == stage.changes
    assert (None, False) == (scene.sdk.stale_since, scene.sdk.loading)


def test_the_first_fetch_replaces_it_through_the_usual_path(stage):
    """Recorded, published to the streams, kept with the time at which the fetch began, and no longer stale."""
    scene = Scene(stage).start()
    stage.clock.advance(5)
    scene.source.deliver("new")
    assert ("new", ["new"]) == (value_of(scene.sdk.snapshot), scene.recorded)
    assert ("one", "old", "new") == stage.changes[-1]
    assert [("one", 400.0), ("one", None)] == stage.reporter.stale_calls
    assert Entry(1_000_000, etag_of(config("new")), config("new")) == scene.cache.entry()


def test_the_same_config_is_confirmed_recorded_once_and_not_published_again(stage):
    """The outbox may be new, or have missed the end of the last run: it needs the config to compare with."""
    scene = Scene(stage).start()
    scene.source.deliver("old")
    assert (["old"], 1, None) == (scene.recorded, len(stage.changes), scene.sdk.stale_since)
    assert Entry(1_000_000, '"old"', config("old")) == scene.cache.entry()
    scene.source.wake()
    scene.source.deliver(NotModified())
    assert ["old"] == scene.recorded


def test_a_failed_fetch_leaves_the_cached_config(stage, warned):
    """It stays stale through any number of failures, and the first good fetch ends that."""
    scene = Scene(stage).start()
    for bad in (DOWN, Fetched(b"{", "e"), DOWN):
        scene.source.deliver(bad)
        scene.source.wake()
        assert ("old", 400.0) == (value_of(scene.sdk.snapshot), scene.sdk.stale_since)
    assert OLD == scene.cache.entry()
    cached = "SDK one serves the cached config of 1970-01-01T00:06:40.000Z"
    problem = f"{cached}: no config from played.example: the connection failed"
    assert ([problem], ["the cache has a problem"]) == (scene.registry.fetch_problems(), scene.registry.problems())
    assert "the last good config stays in place" in warned()[0]
    scene.source.deliver("new")
    assert ("new", None) == (value_of(scene.sdk.snapshot), scene.sdk.stale_since)
    assert [] == scene.registry.fetch_problems()


@pytest.mark.parametrize(
    "body", [b"{", b"{}", b"[]", b"null", b"\x00" * 50, config("old")[:-5], b'{"f":1}', "ä".encode("latin-1")]
)
def test_a_cached_config_that_cannot_be_compiled_is_ignored(stage, warned, body):
    """The reason is logged, and the SDK waits for its first fetch as without a cache."""
    scene = Scene(stage, Entry(1, "e", body)).start()
    assert (None, True, []) == (scene.sdk.snapshot, scene.sdk.loading, stage.reporter.stale_calls)
    assert warned()[0].startswith("SDK one: the cached config is ignored: invalid config JSON content")
    scene.source.deliver("new")
    assert ("new", ["new"]) == (value_of(scene.sdk.snapshot), scene.recorded)


def test_without_an_entry_everything_is_as_without_a_cache(stage):
    """A failed first fetch ends the loading; the first good config is kept."""
    scene = Scene(stage, None).start()
    assert scene.sdk.loading
    scene.source.deliver(DOWN)
    assert (None, False) == (scene.sdk.snapshot, scene.sdk.loading)
    assert scene.cache.entry() is None
    scene.source.wake()
    scene.source.deliver("new")
    assert config("new") == scene.cache.entry().body


def test_a_cache_that_hangs_delays_the_first_fetch_by_a_second(stage):
    """An entry that comes later is served if there is no config yet, and ignored if there is one."""
    scene = Scene(stage)
    scene.cache.hold = True
    scene.start()
    assert [] == scene.source.fetches
    stage.clock.advance(READ_SECONDS)
    scene.source.deliver(DOWN)
    scene.cache.reads[0].callback(OLD)
    assert "old" == value_of(scene.sdk.snapshot)
    scene.source.wake()
    scene.source.deliver("new")
    assert "new" == value_of(scene.sdk.snapshot)


def test_an_entry_that_is_read_after_the_first_config_is_ignored(stage):
    """A fetch of this run is newer than anything that was kept before."""
    scene = Scene(stage)
    scene.cache.hold = True
    scene.start()
    stage.clock.advance(READ_SECONDS)
    scene.source.deliver("new")
    scene.cache.reads[0].callback(OLD)
    assert ("new", None, []) == (value_of(scene.sdk.snapshot), scene.sdk.stale_since, stage.reporter.stale_calls)


def test_an_entry_that_is_read_after_the_stop_is_ignored(stage):
    """Nothing is published, and nothing is fetched."""
    scene = Scene(stage)
    scene.cache.hold = True
    scene.start()
    scene.registry.stop()
    scene.cache.reads[0].callback(OLD)
    assert ([], []) == (stage.changes, scene.source.fetches)


def test_another_key_has_another_entry(stage):
    """After a reload with another key the SDK starts from that key's entry, never from the other one's."""
    scene = Scene(stage).start()
    scene.source.deliver("new")
    stage.reload(make_settings({"one": {"key": OTHER_KEY}}))
    assert scene.sdk.snapshot is None
    scene.source.deliver("other")
    assert (config("new"), config("other")) == (scene.cache.entry().body, scene.cache.entry(OTHER_KEY).body)
    stage.reload(make_settings({"one": {}}))
    assert ("new", 1_000.0) == (value_of(scene.sdk.snapshot), scene.sdk.stale_since)


def test_an_sdk_that_a_reload_adds_is_served_from_its_entry(stage):
    """As at a start; the limit is the reload's."""
    scene = Scene(stage).start()
    scene.cache.entries[cache_key(OTHER_KEY)] = Entry(500_000, "e", config("other"))
    stage.reload(make_settings({"one": {}, "two": {"key": OTHER_KEY}}, upstream={"max_bytes": 2048}))
    assert "other" == value_of(scene.registry.by_id("two").snapshot)
    assert 2048 == scene.cache.limits[-1]


def test_a_held_admission_keeps_only_what_was_published(stage):
    """The entry is written after the config is in use: a config that is never published is never kept."""
    admitted = Deferred()
    scene = Scene(stage)
    scene.registry._sdks["one"]._admit = lambda sdk, snapshot: admitted
    scene.start()
    scene.source.deliver("new")
    assert ("old", OLD) == (value_of(scene.sdk.snapshot), scene.cache.entry())
    admitted.callback(None)
    assert ("new", config("new")) == (value_of(scene.sdk.snapshot), scene.cache.entry().body)


def test_a_file_sdk_neither_reads_nor_writes_the_cache(stage):
    """Its file is on disk already."""
    local = {"offline": {"enabled": True, "local": {"file_path": "/etc/config.json"}}}
    scene = Scene(stage, **local)
    scene.registry._make_source = lambda plan, context, network: _file_source(stage, plan, context, network)
    scene.start()
    assert ([], None) == (scene.cache.limits, scene.sdk.snapshot)
    scene.source.deliver("new")
    assert OLD == scene.cache.entry()


def _file_source(stage, plan, context, network):
    source = stage._make(plan, context, network)
    source.remote = False
    return source


def test_an_sdk_with_a_refused_key_does_not_read_the_cache(stage, logged_errors):
    """A key of no known form has no config."""
    scene = Scene(stage, key="short").start()
    assert ([], False) == (scene.cache.limits, scene.sdk.loading)
    logged_errors.flush()


def test_a_held_config_is_kept_only_once_it_is_accepted(stage):
    """Until then the entry stays, with its age; afterwards a restart does not hold the config again."""
    full, empty = (msgspec.json.encode({"f": {f"{n}": {"t": 0, "v": {"b": True}} for n in range(c)}}) for c in (9, 0))
    entry = Entry(400_000, "full", full)
    scene = Scene(stage, entry).start()
    for _ in range(2):
        scene.source.deliver(Fetched(empty, "empty"))
        scene.source.wake()
        assert (9, 400.0, entry) == (len(scene.sdk.snapshot.keys), scene.sdk.stale_since, scene.cache.entry())
        assert [] == scene.registry.fetch_problems()
    scene.source.deliver(NotModified())
    assert entry == scene.cache.entry()
    stage.clock.advance(50)
    stage.reporter.stale_calls.clear()
    scene.sdk.accept()
    kept = Entry(1_000_000, "empty", empty)  # at once, with the time of its fetch
    assert (0, None, kept) == (len(scene.sdk.snapshot.keys), scene.sdk.stale_since, scene.cache.entry())
    assert [("one", 1_000.0), ("one", None)] == stage.reporter.stale_calls
    scene.source.deliver(DOWN)
    assert kept == scene.cache.entry()
