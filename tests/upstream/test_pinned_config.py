"""A config that an operator pins: what is served, what waits, what a release and a restart do."""

from __future__ import annotations

import msgspec
import pytest
from twisted.internet.defer import Deferred, succeed

from gateway.flags import load
from gateway.settings import Settings
from gateway.upstream import KeptPin
from gateway.upstream.config_cache import READ_SECONDS, Entry, cache_key
from gateway.upstream.outcome import Failed, Fetched, Kind, NotModified

KEY = "a" * 22 + "/" + "b" * 22


def config(value: str, flags: int = 1) -> bytes:
    """A config whose flag has this value, with so many flags."""
    found = {f"flag{n:02}": {"t": 1, "v": {"s": "on"}} for n in range(flags - 1)}
    return msgspec.json.encode({"f": found | {"flag": {"t": 1, "v": {"s": value}}}})


class Cache:
    """A cache with one entry."""

    def __init__(self, body: bytes) -> None:
        self.entries = {cache_key(KEY): Entry(1000, '"cached"', body)}

    def read(self, key, max_bytes):
        return succeed(self.entries.get(key))

    def write(self, key, entry):
        self.entries[key] = entry
        return succeed(True)

    def problems(self):
        return []


class Shop:
    """An SDK whose source the test controls; ``kept`` is what an earlier run has pinned."""

    def __init__(self, stage, kept: Deferred | None = None, cache: Cache | None = None) -> None:
        self.stage = stage
        self.recorded: list[bytes] = []
        self.pins: list[str | None] = []
        self.applied: list[str] = []
        settings = msgspec.convert({"sdks": {"shop": {"key": KEY}}}, Settings)
        more = {} if kept is None else {"read_pin": lambda _sdk: kept}
        self.registry = stage.open(settings, admit=self._admit, on_pinned=self._pinned, cache=cache, **more)
        self.sdk = self.registry.by_id("shop")
        self.registry.start()

    def _admit(self, _sdk, new):
        self.recorded.append(new.body)
        return succeed(None)

    def _pinned(self, sdk) -> None:
        pinned = sdk.guard.pinned
        self.pins.append(None if pinned is None else pinned.config.snapshot.tag)

    def deliver(self, outcome) -> None:
        source = self.stage.source("shop")
        if not source.fetches:
            source.wake()
        source.deliver(Fetched(outcome, '"etag"') if isinstance(outcome, bytes) else outcome)

    def serve(self, body: bytes) -> object:
        return result(Deferred.fromCoroutine(self.registry.serve_config("shop", body, '"old"', 1_000_000.0)))

    def release(self) -> object:
        return result(Deferred.fromCoroutine(self.registry.release_config("shop")))

    @property
    def value(self) -> object:
        return self.sdk.snapshot.evaluate("flag", None).value


def result(deferred: Deferred) -> object:
    found: list[object] = []
    deferred.addCallback(found.append)
    return found[0]


def test_a_pinned_config_is_published_like_any_other(stage) -> None:
    """It is recorded and published once; newer ones of the source are not, until the release."""
    shop = Shop(stage)
    shop.deliver(config("one"))
    shop.deliver(config("two"))
    assert None is shop.serve(config("one"))
    assert ("one", "served", [config("one"), config("two"), config("one")]) == (
        shop.value, shop.sdk.applied_by, shop.recorded,
    )  # fmt: skip
    tag = shop.sdk.snapshot.tag
    text = f"SDK shop: the config {tag} is pinned since 1970-01-12T13:46:40.000Z;"
    assert [f"{text} release it with: flaggateway configs release --sdk shop"] == shop.registry.problems()
    for outcome in (config("three"), NotModified(), Failed(Kind.STATUS, "500"), config("three"), config("four")):
        shop.deliver(outcome)
    assert ("one", 3, [tag]) == (shop.value, len(shop.recorded), shop.pins)
    assert {"sdk_id": "shop", "config": tag, "etag": '"old"', "since": 1_000_000.0} == shop.release()
    assert ("four", "released", [tag, None], []) == (
        shop.value, shop.sdk.applied_by, shop.pins, shop.registry.problems(),
    )  # fmt: skip
    assert [("shop", None, "one"), ("shop", "one", "two"), ("shop", "two", "one"), ("shop", "one", "four")] == (
        stage.changes
    )
    shop.deliver(config("five"))
    assert "five" == shop.value


def test_a_release_without_news_returns_to_what_was_in_use(stage) -> None:
    """Also while the upstream is down, and after another config was pinned in between."""
    shop = Shop(stage)
    shop.deliver(config("broken"))
    shop.serve(config("old"))
    shop.serve(config("older"))
    assert "older" == shop.value
    shop.release()
    assert ("broken", None) == (shop.value, shop.release())


def test_the_config_in_use_can_be_pinned(stage) -> None:
    """Nothing is published; the source goes on after the release."""
    shop = Shop(stage)
    shop.deliver(config("one"))
    shop.serve(config("one"))
    shop.deliver(config("two"))
    assert ("one", 1) == (shop.value, len(stage.changes))
    shop.deliver(config("one"))  # the upstream has taken the change back
    shop.release()
    assert ("one", 1) == (shop.value, len(stage.changes))
    shop.deliver(config("two"))
    assert "two" == shop.value


def test_a_broken_config_that_came_meanwhile_is_held_at_the_release(stage) -> None:
    """The guard judges it against what is served."""
    shop = Shop(stage)
    shop.deliver(config("good", 30))
    shop.serve(config("old", 30))
    shop.deliver(b'{"f":{}}')
    assert (None, "old") == (shop.sdk.guard.held, shop.value)
    shop.release()
    assert "30 of 30 flags would vanish" in shop.registry.problems()[0]
    assert "old" == shop.value
    shop.registry.accept_config("shop")
    assert () == shop.sdk.snapshot.keys


@pytest.mark.parametrize("act", ["accept", "reject", "none"])
def test_a_held_config_while_another_is_pinned(stage, act: str) -> None:
    """An accepted one waits for the release; the others leave the way to the one before."""
    shop = Shop(stage)
    shop.deliver(config("good", 30))
    shop.deliver(b'{"f":{}}')
    shop.serve(config("old", 30))
    if act != "none":
        getattr(shop.registry, f"{act}_config")("shop")
    assert "old" == shop.value
    shop.deliver(NotModified())
    shop.release()
    assert (() if act == "accept" else ("good",)) == (shop.sdk.snapshot.keys if act == "accept" else (shop.value,))
    assert (act == "none") == bool(shop.registry.held_configs())
    if act == "reject":
        shop.deliver(b'{"f":{}}')
        assert "good" == shop.value


def test_a_config_that_cannot_be_read_is_not_pinned(stage) -> None:
    """The reason is returned, and nothing changes."""
    shop = Shop(stage)
    shop.deliver(config("one"))
    assert "invalid config JSON content" in shop.serve(b"[]")
    assert ("one", [], []) == (shop.value, shop.pins, shop.registry.problems())


def test_a_restart_serves_the_pinned_config(stage) -> None:
    """It is not recorded again; the first fetch brings what waits."""
    shop = Shop(stage, succeed(KeptPin(load(config("old"), '"old"'), 5.0)))
    assert ("old", False, [], 5.0) == (shop.value, shop.sdk.loading, shop.recorded, shop.sdk.guard.pinned.since)
    shop.deliver(config("new"))
    assert "old" == shop.value
    shop.release()
    assert "new" == shop.value


def test_a_restart_while_the_upstream_is_down_keeps_what_to_release_to(stage) -> None:
    """The cached config waits in place of being served."""
    shop = Shop(stage, succeed(KeptPin(load(config("old"), '"old"'), 5.0)), Cache(config("cached")))
    assert ("old", None) == (shop.value, shop.sdk.stale_since)
    shop.deliver(Failed(Kind.CONNECT, "down"))
    shop.release()
    assert "cached" == shop.value


def test_a_slow_disk_delays_the_start_for_a_bounded_time(stage) -> None:
    """Then the cached config is served and fetched; the pin comes into force when it is read."""
    slow: Deferred = Deferred()
    shop = Shop(stage, slow, Cache(config("cached")))
    assert None is shop.sdk.snapshot
    stage.clock.advance(READ_SECONDS)
    assert "cached" == shop.value
    shop.deliver(config("new"))
    slow.callback(KeptPin(load(config("old"), '"old"'), 5.0))
    assert "old" == shop.value
    shop.release()
    assert "new" == shop.value


def test_without_a_pin_the_start_is_as_ever(stage) -> None:
    """One fetch begins at once."""
    shop = Shop(stage, succeed(None))
    assert 1 == len(stage.source("shop").fetches)
    shop.deliver(config("one"))
    assert "one" == shop.value
