"""Configs that lose flags or have failing ones: what is logged, held, accepted and rejected; all on a Clock."""

from __future__ import annotations

import msgspec
import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.logger import LogLevel, globalLogPublisher

from gateway.settings import Settings
from gateway.upstream import Audience
from gateway.upstream.outcome import Failed, Fetched, Kind, NotModified

SETTINGS = msgspec.convert({"sdks": {"shop": {"key": "a" * 22 + "/" + "b" * 22}}}, Settings)


@pytest.fixture
def logged():
    """Every log event of the test."""
    events = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


def test_flags_that_fail_are_named_once(stage, logged):
    """The log names the flags of a served config that fail, and why; it also has a line when none fails any more."""
    flags = {f"bad{number}": {"t": 0} for number in range(7)} | {"line\nfeed": 7, "flag": {"t": 0, "v": {"b": True}}}
    broken = msgspec.json.encode({"f": flags})
    stage.open(SETTINGS).start()
    (source,) = stage.sources["shop"]
    source.deliver(Fetched(broken, "1"))
    (event,) = [event for event in logged if event["log_level"] >= LogLevel.warn]
    assert (8, 9) == (event["count"], event["all"])
    assert "'bad0': setting value is nil" in event["shown"]
    assert "bad5" not in event["shown"]
    logged.clear()
    del flags["bad1"]
    source.wake()
    source.deliver(Fetched(msgspec.json.encode({"f": flags}), "2"))
    assert [] == [event for event in logged if event["log_level"] >= LogLevel.warn]
    source.wake()
    source.deliver("sound")
    assert "SDK {sdk_id}: no flag fails any more" == logged[-1]["log_format"]


def body(count, failing=0, value=True):
    """A config JSON of so many flags, of which some fail."""
    good, bad = {"t": 0, "v": {"b": value}}, {"t": 0}
    return msgspec.json.encode({"f": {f"flag{n:02}": bad if n < failing else good for n in range(count)}})


EMPTY, THIRTY = body(0), body(30)


class Shop:
    """An SDK with 30 flags, whose next configs the test delivers."""

    def __init__(self, stage, foresee=None, **more):
        self.stage = stage
        self.held = []
        self.recorded = []
        self.registry = stage.open(
            msgspec.convert({"sdks": {"shop": {"key": "a" * 22 + "/" + "b" * 22}}, **more}, Settings),
            on_held=lambda sdk: self.held.append(sdk.guard.held is not None),
            admit=self._admit,
            foresee=foresee,
        )
        self.sdk = self.registry.by_id("shop")
        self.registry.start()
        self.deliver(THIRTY, wake=False)

    def _admit(self, _sdk, new):
        self.recorded.append(new.body)
        return succeed(None)

    def deliver(self, outcome, *, wake=True):
        source = self.stage.source("shop")
        if wake:
            source.wake()
        source.deliver(outcome if not isinstance(outcome, bytes) else Fetched(outcome, f'"{len(outcome)}"'))

    @property
    def count(self):
        return len(self.sdk.snapshot.keys)


def warned(events):
    return [event["log_format"] for event in events if event["log_level"] >= LogLevel.warn]


def test_an_emptied_config_is_held(stage, logged):
    """The last good config stays in use, nothing is recorded or published, and log and problems have the reason."""
    shop = Shop(stage)
    shop.deliver(EMPTY)
    assert (30, [True]) == (shop.count, shop.held)
    assert [THIRTY] == shop.recorded
    assert 1 == len(stage.changes)
    held = "SDK shop: a config is held: 30 of 30 flags would vanish; accept it with: flaggateway configs accept shop"
    assert [held] == shop.registry.problems()
    (described,) = shop.registry.held_configs()
    assert ("shop", 0, 0, 30, 0, 0.0) == tuple(
        described[name] for name in ("sdk_id", "flags", "added", "removed", "changed", "since")
    )
    assert 1 == len(warned(logged))
    assert [] == stage.source("shop").fetches


class Foresight:
    """Notes the configs whose effect is wanted, and answers when the test does."""

    def __init__(self):
        self.asked = []

    def __call__(self, _sdk, candidate):
        self.asked.append((candidate.body, Deferred()))
        return self.asked[-1][1]

    def answer(self, audience):
        self.asked.pop(0)[1].callback(audience)


LIMITED = {"upstream": {"guard": {"max_impact_percent": 10}}}


def test_a_config_that_concerns_too_many_users_is_held(stage):
    """It waits for the number; the log and the problem have it; an operator may accept it."""
    foresight = Foresight()
    shop = Shop(stage, foresight, **LIMITED)
    assert [] == foresight.asked  # a first config has nothing to compare with
    other, third = body(30, value=False), body(31)
    shop.deliver(other)
    assert (THIRTY, [other]) == (shop.sdk.snapshot.body, [each for each, _ in foresight.asked])
    foresight.answer(Audience(40, 5))
    held = "SDK shop: a config is held: 5 of 40 connected users would see other values"
    assert [held] == [each.partition(";")[0] for each in shop.registry.problems()]
    shop.registry.accept_config("shop")
    assert other == shop.sdk.snapshot.body
    shop.deliver(other)
    shop.deliver(third)
    foresight.answer(Audience(40, 4))
    assert (third, []) == (shop.sdk.snapshot.body, foresight.asked)
    shop.deliver(other)
    foresight.answer(None)
    assert other == shop.sdk.snapshot.body


def test_the_users_are_not_examined_without_need(stage):
    """Neither without a limit, nor for a config that is held because of its flags."""
    foresight = Foresight()
    shop = Shop(stage, foresight)
    shop.deliver(body(29))
    assert 29 == shop.count
    shop = Shop(stage, foresight, **LIMITED)
    shop.deliver(EMPTY)
    assert ([], True) == (foresight.asked, shop.sdk.guard.held is not None)


def test_users_are_examined_again_if_another_config_comes_into_use(stage):
    """The first number is that of a comparison with a config that is no longer in use."""
    foresight = Foresight()
    shop = Shop(stage, foresight, **LIMITED)
    other = body(30, value=False)
    shop.deliver(other)
    Deferred.fromCoroutine(shop.registry.serve_config("shop", body(31), "", 0.0))
    Deferred.fromCoroutine(shop.registry.release_config("shop"))
    foresight.answer(Audience(40, 40))
    assert [other] == [each for each, _ in foresight.asked]
    foresight.answer(Audience(40, 0))
    assert other == shop.sdk.snapshot.body


def test_a_held_config_survives_polling(stage, logged):
    """Equal bytes and 304 change nothing, and neither does a failure; nothing is logged again."""
    shop = Shop(stage)
    shop.deliver(EMPTY)
    logged.clear()
    shop.deliver(EMPTY)
    shop.deliver(NotModified())
    assert [] == warned(logged)
    shop.deliver(Failed(Kind.STATUS, "500"))
    shop.deliver(b'{"p":null,"f":null}')
    assert (30, [True], 1) == (shop.count, shop.held, len(shop.registry.held_configs()))


@pytest.mark.parametrize("good", [THIRTY, body(29), body(30, value=False)])
def test_a_good_config_ends_it(stage, good):
    """The config in use, or another one within the limits, clears what is held."""
    shop = Shop(stage)
    shop.deliver(EMPTY)
    shop.deliver(good)
    assert (good, [True, False]) == (shop.sdk.snapshot.body, shop.held)
    assert [] == shop.registry.held_configs() == shop.registry.problems()


def test_another_bad_config_replaces_it(stage):
    """The newest one is held, and only that one can be accepted."""
    shop = Shop(stage)
    shop.deliver(EMPTY)
    shop.deliver(body(30, 30))
    assert [True, True] == shop.held
    assert "30 of 30 flags would fail" in shop.registry.problems()[0]
    assert 30 == shop.registry.accept_config("shop")["failing"]
    assert body(30, 30) == shop.sdk.snapshot.body


def test_accept_publishes_in_the_usual_way(stage, logged):
    """An accepted config is recorded, then published; the problem ends, and the next config is compared with it."""
    shop = Shop(stage)
    shop.deliver(EMPTY)
    assert 0 == shop.registry.accept_config("shop")["flags"]
    assert [THIRTY, EMPTY] == shop.recorded
    assert (0, [True, False], 2) == (shop.count, shop.held, len(stage.changes))
    assert [] == shop.registry.problems()
    assert None is shop.registry.accept_config("shop")
    shop.deliver(EMPTY)
    shop.deliver(NotModified())
    assert 2 == len(stage.changes)
    shop.deliver(THIRTY)
    assert 30 == shop.count
    with pytest.raises(KeyError):
        shop.registry.accept_config("other")


def test_reject_forgets_it_until_other_bytes_come(stage, logged):
    """The rejected bytes are ignored without a log line; other bytes are checked, and later the rejected ones too."""
    shop = Shop(stage)
    shop.deliver(EMPTY)
    assert 30 == shop.registry.reject_config("shop")["removed"]
    logged.clear()
    shop.deliver(EMPTY)
    shop.deliver(NotModified())
    assert ([True, False], [], []) == (shop.held, shop.registry.problems(), warned(logged))
    assert not shop.sdk.guard.confirmed
    shop.deliver(body(30, value=False))
    assert shop.sdk.guard.confirmed
    shop.deliver(EMPTY)
    assert (30, [True, False, True]) == (shop.count, shop.held)


def test_a_first_config_is_applied(stage):
    """Without a last good config there is nothing to compare with."""
    shop = Shop(stage)
    shop.deliver(THIRTY)
    stage.reload(msgspec.convert({"sdks": {"new": {"key": "c" * 22 + "/" + "d" * 22}}}, Settings))
    stage.source("new").deliver(Fetched(EMPTY, "e"))
    assert () == shop.registry.by_id("new").snapshot.keys


def test_limits_of_an_sdk_precede_the_general_ones(stage):
    """Each limit is the SDK's own, else the general one; a reload applies to the next config."""
    key = "a" * 22 + "/" + "b" * 22
    general = {"guard": {"max_removed_percent": 10, "max_failing_percent": 10}}
    shop = Shop(stage, upstream=general)
    own = {"shop": {"key": key, "guard": {"max_removed_percent": 50}}}
    shop.deliver(body(20))
    assert 30 == shop.count
    stage.reload(msgspec.convert({"sdks": own, "upstream": general}, Settings))
    shop.deliver(body(21))
    assert 21 == shop.count
    shop.deliver(body(21, 3))
    assert "3 of 21 flags would fail" in shop.registry.problems()[0]


def test_failing_flags_are_a_problem_while_they_fail(stage):
    """Flags that fail in a config in use are counted in a problem."""
    shop = Shop(stage)
    shop.deliver(body(30, 3))
    (problem,) = shop.registry.problems()
    assert problem.startswith("SDK shop: 3 of 30 flags fail, for some users or all of them: 'flag00': setting value")
    assert shop.sdk.guard.current.degraded
    shop.deliver(body(30))
    assert ([], False) == (shop.registry.problems(), shop.sdk.guard.current.degraded)


def test_a_config_that_loses_half_of_the_flags_is_a_problem_for_an_hour(stage, logged):
    """What is not held by the limits is logged and shown."""
    shop = Shop(stage)
    shop.deliver(body(15))
    assert ["SDK {sdk_id}: {count} of {all} flags vanished with the new config"] == warned(logged)
    (problem,) = shop.registry.problems()
    assert problem.startswith("SDK shop: 15 of 30 flags vanished with the config of ")
    stage.clock.advance(3600)
    assert [] == shop.registry.problems()
