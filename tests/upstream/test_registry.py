"""SDKs and their registry: lookups, last good config, status records, reload; all on a Clock."""

from __future__ import annotations

import msgspec
import pytest
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, globalLogPublisher

from gateway.http_client import TrustError
from gateway.upstream import Registry
from gateway.upstream.outcome import Failed, Fetched, Kind, NotModified

KEY = "a" * 22 + "/" + "b" * 22
OTHER_KEY = "c" * 22 + "/" + "d" * 22


def settings_of(sdks, **more):
    from gateway.settings import Settings

    whole = {sdk_id: {"key": KEY, **sdk} for sdk_id, sdk in sdks.items()}
    return msgspec.convert({"sdks": whole, **more}, Settings)


def value_of(sdk):
    return None if sdk.snapshot is None else sdk.snapshot.evaluate("flag", None).value


@pytest.fixture
def logged():
    """Every log event of the test."""
    events = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


def warnings(events):
    return [event for event in events if event["log_level"] >= LogLevel.warn]


DOWN = Failed(Kind.STATUS, "500", "unexpected response received", "500 Internal Server Error")


def test_first_fetch_publishes_and_ends_loading(stage):
    """The first fetch begins at start; its config is in place, published and recorded when waiting callers go on."""
    registry = stage.open(settings_of({"one": {}}))
    sdk = registry.by_id("one")
    seen = []
    sdk.when_loaded().addCallback(lambda _: seen.append(value_of(sdk)))
    assert sdk.loading
    registry.start()
    stage.source("one").deliver("red")
    assert (["red"], False) == (seen, sdk.loading)
    assert [("one", None, "red")] == stage.changes
    assert [("one", True, "fetched")] == stage.reporter.records
    assert sdk.when_loaded().called


def test_a_failed_first_fetch_ends_loading_too(stage):
    """Callers do not wait for an upstream that is down."""
    registry = stage.open(settings_of({"one": {}}))
    registry.start()
    waiting = registry.by_id("one").when_loaded()
    stage.source("one").deliver(DOWN)
    assert waiting.called
    assert None is registry.by_id("one").snapshot
    text = "unexpected response received: 500 Internal Server Error (played.example)"
    assert [("one", False, text)] == stage.reporter.records


def test_a_credit_lasts_from_before_the_fetch_until_after_the_change(stage):
    """The body of an authenticated call is attributed to the change of its fetch, and no longer when it is answered."""
    events = []

    def credited(sdk_id, credit):
        events.append((sdk_id, credit))
        return lambda: events.append(f"over, {len(stage.changes)} changes")

    registry = stage.open(settings_of({"one": {}}), on_credit=credited)
    registry.start()
    stage.source("one").deliver("red")
    refreshed = registry.by_id("one").refresh(credit=b"Jane").addCallback(lambda _: events.append("answered"))
    assert [("one", b"Jane")] == events
    stage.source("one").deliver("blue")
    assert [("one", b"Jane"), "over, 2 changes", "answered"] == events
    assert refreshed.called


def test_refresh_rescues_an_sdk_that_never_loaded(stage):
    """A refresh fetches in every state, and returns the error's text when it fails."""
    registry = stage.open(settings_of({"one": {}}))
    registry.start()
    sdk = registry.by_id("one")
    stage.source("one").deliver(DOWN)
    results = []
    sdk.refresh().addCallback(results.append)
    stage.source("one").deliver(DOWN)
    sdk.refresh().addCallback(results.append)
    stage.source("one").deliver("red")
    assert ["config fetch failed: 500", None] == [result.error for result in results]
    assert [False, True] == [result.changed for result in results]
    assert "red" == value_of(sdk)


def test_errors_leave_the_last_good_config(stage):
    """Neither a network error nor a body that is no config replaces the config that is served."""
    registry = stage.open(settings_of({"one": {}}))
    registry.start()
    sdk, source = registry.by_id("one"), stage.source("one")
    source.deliver("red")
    good = sdk.snapshot
    for bad in (DOWN, Fetched(b"{}", "e"), Fetched(b'{"f":', "e"), Fetched(b"[]", "e"), Failed(Kind.TIMEOUT, "late")):
        source.wake()
        source.deliver(bad)
        assert sdk.snapshot is good
    assert [Kind.STATUS, *[Kind.CONFIG] * 3, Kind.TIMEOUT] == [o.kind for o in source.settlements[1:]]
    assert 1 == len(stage.changes)


def test_a_compiler_that_raises_ends_nothing(stage, logged_errors):
    """An exception in the compiler leaves the last good config in place, and the next one is fetched."""

    def load(body, etag, previous):
        raise IndexError

    registry = stage.open(settings_of({"one": {}}), load=load)
    registry.start()
    stage.source("one").deliver("red")
    assert 1 == len(logged_errors.flush(IndexError))
    assert Kind.CONFIG is stage.source("one").settlements[0].kind
    assert not registry.by_id("one").loading


def test_a_subscriber_that_raises_ends_nothing(stage, logged_errors):
    """The fetch counts as good and the SDK goes on."""
    registry = stage.open(settings_of({"one": {}}))
    registry.by_id("one")._on_change = lambda *change: 1 / 0
    registry.start()
    stage.source("one").deliver("red")
    assert 1 == len(logged_errors.flush(ZeroDivisionError))
    assert [("one", True, "fetched")] == stage.reporter.records


def test_equal_bytes_are_no_change(stage):
    """The same Snapshot stays, whatever ETag came with the bytes; the fetch is recorded and measured all the same."""
    registry = stage.open(settings_of({"one": {}}))
    registry.start()
    sdk, source = registry.by_id("one"), stage.source("one")
    source.deliver("red")
    good = sdk.snapshot
    source.wake()
    source.deliver(Fetched(good.body, '"another"'))
    source.wake()
    stage.clock.advance(2)
    source.deliver(NotModified())
    assert sdk.snapshot is good
    assert 1 == len(stage.changes)
    assert ["fetched", "fetched", "not modified"] == stage.reporter.messages
    expected = [("one", "changed", 0.0), ("one", "not_modified", 0.0), ("one", "not_modified", 2.0)]
    assert expected == stage.reporter.measured


def test_each_change_of_state_is_logged_once(stage, logged):
    """One line when fetches begin to fail, one for another kind of failure, one for recovery; none holds the key."""
    registry = stage.open(settings_of({"one": {}}))
    registry.start()
    source = stage.source("one")
    for outcome in ("red", DOWN, DOWN, DOWN, Failed(Kind.TIMEOUT, "late"), "red", "red", DOWN):
        source.deliver(outcome)
        source.wake()
    levels = [event["log_level"].name for event in logged if "place" in event]
    assert ["warn", "warn", "info", "warn"] == levels
    assert KEY not in repr(logged)


def test_each_change_of_the_problems_of_fetches_is_reported(stage):
    """So the status page has it at once; a failure that goes on for the same reason is no change."""
    reports = []
    registry = stage.open(settings_of({"one": {}}), on_problem=lambda: reports.append(registry.fetch_problems()))
    registry.start()
    for outcome in ("red", DOWN, DOWN, DOWN, Failed(Kind.TIMEOUT, "late"), "red", "red"):
        stage.source("one").deliver(outcome)
        stage.source("one").wake()
    begin, end = "SDK one: no config from played.example: ", "; the last good config stays in place"
    since = ", since 1970-01-01T00:00:00.000Z"
    assert [[f"{begin}500 Internal Server Error{since}{end}"], [f"{begin}late{since}{end}"], []] == reports


def test_invalid_key_is_never_fetched(stage, logged, logged_errors):
    """An SDK with a malformed key exists, is not valid, is recorded, and its key is masked in the log."""
    registry = stage.open(settings_of({"one": {"key": "malformed-secret"}}))
    registry.start()
    sdk = registry.by_id("one")
    assert ({}, None, False) == (stage.sources, sdk.snapshot, sdk.loading)
    assert [("one", False, "SDK key is invalid")] == stage.reporter.records
    assert "config fetch failed: the SDK key is invalid" == stage_result(sdk.refresh())
    assert sdk is registry.by_key("malformed-secret")
    assert ["***********ecret"] == [event["key"] for event in logged if "key" in event]
    logged_errors.flush()


def stage_result(deferred):
    seen = []
    deferred.addCallback(seen.append)
    return seen[0].error


def test_file_mode_takes_any_key(stage):
    """With a local file, the key is only a name for lookups."""
    offline = {"enabled": True, "local": {"file_path": "/nowhere/config.json"}}
    registry = stage.open(settings_of({"one": {"key": "any name", "offline": offline}}))
    registry.start()
    stage.source("one").deliver("red")
    assert "red" == value_of(registry.by_key("any name"))


def test_lookups(stage, logged):
    """By id, by key, in the order of the settings; the empty key finds none, a key used twice the first SDK."""
    sdks = {"b": {}, "a": {"key": OTHER_KEY}, "c": {}, "d": {"key": ""}}
    registry = stage.open(settings_of(sdks))
    assert ["b", "a", "c", "d"] == [sdk.id for sdk in registry.sdks]
    assert "b" == registry.by_key(KEY).id
    assert "a" == registry.by_key(OTHER_KEY).id
    assert (None, None, None) == (registry.by_key(""), registry.by_key("x"), registry.by_id("x"))
    assert [("b", "c")] == [(event["first"], event["second"]) for event in warnings(logged)]


def test_defaults_are_merged(stage):
    """The SDK's own default attributes beat the global ones, and lists are tuples."""
    settings = settings_of(
        {"one": {"default_user_attributes": {"Country": "FR", "Groups": ["a"]}}},
        default_user_attributes={"Country": "DE", "Age": 7},
    )
    assert {"Country": "FR", "Groups": ("a",), "Age": 7} == dict(stage.open(settings).by_id("one").defaults)


def test_stop_answers_and_closes(stage):
    """After stop no caller waits, sources are closed, and no call is left on the clock; snapshots stay readable."""
    registry = stage.open(settings_of({"one": {}, "two": {"key": OTHER_KEY}}))
    registry.start()
    stage.source("one").deliver("red")
    loaded, refreshed = registry.by_id("two").when_loaded(), registry.by_id("two").refresh()
    stopped = registry.stop()
    assert (True, True, True) == (stopped.called, loaded.called, refreshed.called)
    assert all(source.stopped for sources in stage.sources.values() for source in sources)
    assert [] == stage.clock.getDelayedCalls()
    assert "red" == value_of(registry.by_id("one"))


def test_an_sdk_that_fails_leaves_no_timer_and_no_problem_when_it_ends(stage):
    """Removed, with another source, or at the stop: the line that is due every 10 minutes is cancelled."""
    registry = stage.open(
        settings_of({"one": {}, "two": {"key": OTHER_KEY}, "three": {"key": "x" * 22 + "/" + "y" * 22}})
    )
    registry.start()
    for sdk_id in ("one", "two", "three"):
        stage.source(sdk_id).deliver(DOWN)
    assert (3, 3) == (len(registry.fetch_problems()), len(stage.clock.getDelayedCalls()))
    stage.reload(settings_of({"one": {}, "two": {"key": OTHER_KEY, "poll_interval": 7}}))
    assert (["SDK one"], 1) == ([text[:7] for text in registry.fetch_problems()], len(stage.clock.getDelayedCalls()))
    stage.source("two").deliver(DOWN)
    assert 2 == len(stage.clock.getDelayedCalls())
    registry.stop()
    assert ([], []) == (registry.fetch_problems(), stage.clock.getDelayedCalls())


def test_reload_without_a_change_touches_nothing(stage):
    """Equal settings keep the objects, their snapshots, their sources and their fetches under way."""
    registry = stage.open(settings_of({"one": {}, "two": {"key": OTHER_KEY}}))
    registry.start()
    stage.source("one").deliver("red")
    before = [(sdk, sdk.snapshot, sdk.loading) for sdk in registry.sdks]
    for _ in range(10):
        stage.reload(settings_of({"one": {}, "two": {"key": OTHER_KEY}}))
    assert before == [(sdk, sdk.snapshot, sdk.loading) for sdk in registry.sdks]
    assert [1, 1] == [len(sources) for sources in stage.sources.values()]
    assert ([], []) == (stage.removed, stage.attributes)


def test_reload_adds_and_removes(stage):
    """New SDKs load, removed ones end and are announced, the order is that of the new settings."""
    registry = stage.open(settings_of({"one": {}, "two": {"key": OTHER_KEY}}))
    registry.start()
    two, gone = registry.by_id("two"), stage.source("one")
    waiting = registry.by_id("one").refresh()
    stage.reload(settings_of({"three": {}, "two": {"key": OTHER_KEY}}))
    assert ["three", "two"] == [sdk.id for sdk in registry.sdks]
    assert two is registry.by_id("two")
    assert (["one"], True, True) == ([sdk.id for sdk in stage.removed], gone.stopped, waiting.called)
    stage.source("three").deliver("blue")
    assert "blue" == value_of(registry.by_key(KEY))


def test_reload_of_attributes_keeps_the_source(stage):
    """New default attributes, log levels and webhook keys need no fetch; new attributes are announced."""
    registry = stage.open(settings_of({"one": {}}))
    registry.start()
    stage.source("one").deliver("red")
    sdk = registry.by_id("one")
    changed = {"webhook_signing_key": "s", "log": {"level": "debug"}}
    stage.reload(settings_of({"one": changed}))
    assert [] == stage.attributes
    stage.reload(settings_of({"one": {**changed, "default_user_attributes": {"Country": "FR"}}}))
    assert (1, [sdk]) == (len(stage.sources["one"]), stage.attributes)
    assert ("red", "FR", "s") == (value_of(sdk), sdk.defaults["Country"], sdk.plan.settings.webhook_signing_key)


@pytest.mark.parametrize(
    "change",
    [
        {"base_url": "http://other.example"},
        {"poll_interval": 5},
        {"data_governance": "eu"},
        {"offline": {"enabled": True, "local": {"file_path": "/nowhere/config.json"}}},
    ],
)
def test_reload_of_the_origin_keeps_the_config(stage, change):
    """Another source of the same SDK is fetched at once, and the old config is served until it delivers."""
    registry = stage.open(settings_of({"one": {}}))
    registry.start()
    old, sdk = stage.source("one"), registry.by_id("one")
    old.deliver("red")
    stage.reload(settings_of({"one": change}))
    assert (sdk, "red", True) == (registry.by_id("one"), value_of(sdk), old.stopped)
    stage.source("one").deliver("blue")
    assert ("blue", []) == (value_of(sdk), stage.removed)


def test_reload_moves_callers_to_the_new_source(stage):
    """Callers of a fetch of the old source are answered by the new one; the old result is not used."""
    registry = stage.open(settings_of({"one": {}}))
    registry.start()
    sdk, old = registry.by_id("one"), stage.source("one")
    refreshed = sdk.refresh()
    stage.reload(settings_of({"one": {"base_url": "http://other.example"}}))
    assert (False, False) == (refreshed.called, sdk.when_loaded().called)
    assert [] == stage.reporter.records
    stage.source("one").deliver("blue")
    assert ("blue", True, False) == (value_of(sdk), refreshed.called, sdk.loading)
    assert [] == old.settlements


def test_reload_with_another_key_starts_empty(stage):
    """Another key may be another product's: the old object ends and is announced, a new one loads."""
    registry = stage.open(settings_of({"one": {}}))
    registry.start()
    old = registry.by_id("one")
    stage.source("one").deliver("red")
    stage.reload(settings_of({"one": {"key": OTHER_KEY}}))
    new = registry.by_id("one")
    assert new is not old
    assert ([old], None, None) == (stage.removed, registry.by_key(KEY), new.snapshot)
    assert new is registry.by_key(OTHER_KEY)
    stage.source("one").deliver("blue")
    assert "blue" == value_of(new)


def test_reload_of_upstream_limits_renews_every_source(stage):
    """Timeouts, bounds and proxies belong to all SDKs; their configs stay in place."""
    registry = stage.open(settings_of({"one": {}}))
    registry.start()
    stage.source("one").deliver("red")
    stage.reload(settings_of({"one": {}}, upstream={"timeout": 5}))
    assert (2, "red") == (len(stage.sources["one"]), value_of(registry.by_id("one")))


def test_reload_into_and_out_of_a_bad_key_form(stage, logged_errors):
    """A chained gateway's key is refused without its base URL, and accepted with it."""
    chained = {"key": "configcat-proxy/main"}
    registry = stage.open(settings_of({"one": {**chained, "base_url": "http://up.example"}}))
    registry.start()
    stage.source("one").deliver("red")
    stage.reload(settings_of({"one": chained}))
    assert ("red", True) == (value_of(registry.by_id("one")), stage.source("one").stopped)
    assert 1 == len(stage.sources["one"])
    stage.reload(settings_of({"one": {**chained, "base_url": "http://up.example"}}))
    stage.source("one").deliver("blue")
    assert "blue" == value_of(registry.by_id("one"))
    logged_errors.flush()


@pytest.mark.parametrize(
    "content", [None, b"no certificate", b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----"]
)
def test_an_unusable_ca_file_changes_nothing(stage, tmp_path, content):
    """Start and reload refuse a CA file that cannot be used, by the option's name and before anything changed."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    bad = settings_of({"two": {}}, upstream={"ca_file": str(path)})
    registry = stage.open(settings_of({"one": {}}))
    registry.start()
    with pytest.raises(TrustError, match=r"upstream\.ca_file"):
        stage.reload(bad)
    assert ["one"] == [sdk.id for sdk in registry.sdks]
    with pytest.raises(TrustError, match=r"upstream\.ca_file"):
        Registry(stage.clock, bad, rng=None, reporter=stage.reporter, on_change=print).start()


class Gate:
    """Admits a config when the test opens it."""

    def __init__(self) -> None:
        self.pending: list[tuple[str, object]] = []
        self._waiting: list[Deferred] = []

    def __call__(self, sdk, snapshot) -> Deferred:
        self.pending.append((sdk.id, snapshot.evaluate("flag", None).value))
        self._waiting.append(Deferred())
        return self._waiting[-1]

    def open(self) -> None:
        """Admit the oldest that waits."""
        self._waiting.pop(0).callback(None)


def test_a_config_is_not_served_before_it_is_admitted(stage):
    """Clients get the one before; a refresh is answered, and the first fetch ends, when the new one is served."""
    gate = Gate()
    registry = stage.open(settings_of({"one": {}}), admit=gate)
    registry.start()
    sdk, source = registry.by_id("one"), stage.source("one")
    source.deliver("red")
    assert [("one", "red")] == gate.pending
    assert (None, True, []) == (sdk.snapshot, sdk.loading, stage.changes)
    gate.open()
    assert ("red", False, [("one", None, "red")]) == (value_of(sdk), sdk.loading, stage.changes)
    refreshed = sdk.refresh()
    source.deliver("blue")
    assert ("red", False) == (value_of(sdk), refreshed.called)
    gate.open()
    assert ("blue", True) == (value_of(sdk), refreshed.called)
    assert [("one", None, "red"), ("one", "red", "blue")] == stage.changes


def test_a_config_that_is_being_admitted_is_served_after_its_source_was_replaced(stage):
    """Recorded and served configs stay the same when a reload replaces the source in between."""
    gate = Gate()
    registry = stage.open(settings_of({"one": {}}), admit=gate)
    registry.start()
    stage.source("one").deliver("red")
    gate.open()
    registry.by_id("one").refresh()
    stage.source("one").deliver("blue")
    stage.reload(settings_of({"one": {"base_url": "https://elsewhere.example"}}))
    stage.source("one").deliver("green")
    assert [("one", "red"), ("one", "blue"), ("one", "green")] == gate.pending
    gate.open()
    assert "blue" == value_of(registry.by_id("one"))
    gate.open()
    assert [("one", None, "red"), ("one", "red", "blue"), ("one", "blue", "green")] == stage.changes


def test_a_stop_does_not_wait_for_a_config_to_be_admitted(stage):
    """A disk that hangs does not block the shutdown."""
    gate = Gate()
    registry = stage.open(settings_of({"one": {}}), admit=gate)
    registry.start()
    stage.source("one").deliver("red")
    stopped = registry.stop()
    assert stopped.called
    gate.open()
