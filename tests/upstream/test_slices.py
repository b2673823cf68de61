"""A large config is compiled and checked in slices, between which other SDKs get theirs."""

import gc
import json

import msgspec
import pytest

import gateway.flags.lint as lint_module
import gateway.flags.snapshot as snapshot_module
from gateway.flags import User, find_failing_flags, find_failing_flags_in_steps, load, load_in_steps
from gateway.settings import Settings
from gateway.slices import LARGE_BYTES, YOUNG_ONLY
from gateway.upstream.outcome import Fetched

KEY = "a" * 22 + "/" + "b" * 22
OTHER_KEY = "c" * 22 + "/" + "d" * 22
FLAGS = 2_000


def settings_of(sdks):
    return msgspec.convert({"sdks": sdks}, Settings)


def large(value):
    served = {"t": 1, "v": {"s": value}, "i": "variation"}
    rule = {"c": [{"u": {"a": "Country", "c": 0, "l": ["HU", "DE"]}}], "s": {"v": {"s": "rule"}}}
    flags = {f"flag{number:05}": {**served, "r": [rule]} for number in range(FLAGS)}
    return json.dumps({"f": {**flags, "flag": served, "broken": {"t": 9}}}).encode()


@pytest.fixture
def work(monkeypatch):
    """The keys that were compiled or checked since the list was emptied."""
    seen = []
    for module, name, key_of in (
        (snapshot_module, "compile_flag", lambda key, *_: key),
        (snapshot_module, "parse_flag", lambda definition: definition.get("i")),
        (lint_module, "_faults_of", lambda flag, _: flag.key),
    ):
        real = getattr(module, name)

        def counted(*parts, real=real, key_of=key_of, **more):
            seen.append(key_of(*parts))
            return real(*parts, **more)

        monkeypatch.setattr(module, name, counted)
    return seen


def run(steps, work):
    """The value of a generator, and the most flags that one step has worked on."""
    most = 0
    while True:
        work.clear()
        try:
            next(steps)
        except StopIteration as end:
            return end.value, max(most, len(work))
        most = max(most, len(work))


def test_no_step_works_on_many_flags_and_the_result_is_the_same(work):
    """Steps are bounded in flags, whatever the number of flags; the result is that of the functions without steps."""
    body = large("one")
    assert len(body) > LARGE_BYTES

    stepped, most_compiled = run(load_in_steps(body, ""), work)
    faults, most_checked = run(find_failing_flags_in_steps(stepped, None, {}), work)

    assert 1 <= most_compiled <= 32
    assert 1 <= most_checked <= 64
    whole = load(body, "")
    assert whole.keys == stepped.keys
    assert whole.evaluate_all(None).json() == stepped.evaluate_all(None).json()
    assert {"broken"} == faults.keys()
    assert find_failing_flags(whole, None, {}) == faults


@pytest.fixture
def started(stage):
    """The stage with two SDKs whose first fetches are under way."""
    stage.open(settings_of({"one": {"key": KEY}, "two": {"key": OTHER_KEY}})).start()
    return stage


def test_another_sdk_gets_its_config_while_a_large_one_is_compiled(started, work):
    """The large config is published after some turns, the small one of another SDK at once."""
    started.source("one").deliver(Fetched(large("large"), '"1"'))
    assert len(work) <= 32

    started.source("two").deliver("small")
    assert [("two", None, "small")] == started.changes

    started.clock.advance(0)  # all turns until there is no work
    assert [("two", None, "small"), ("one", None, "large")] == started.changes
    assert [("one", "changed")] == [each[:2] for each in started.reporter.measured if each[0] == "one"]


def test_a_source_that_is_replaced_meanwhile_ends_the_work(started):
    """After a reload that changes the source, the config of the old one is not published."""
    started.source("one").deliver(Fetched(large("old place"), '"1"'))
    started.reload(settings_of({"one": {"key": KEY, "base_url": "http://elsewhere"}, "two": {"key": OTHER_KEY}}))

    started.clock.advance(0)  # all turns until there is no work
    assert [] == started.changes
    started.source("one").deliver("new place")
    assert [("one", None, "new place")] == started.changes


def test_a_large_config_that_is_invalid_fails_as_a_small_one(started):
    """The last good config stays, with the usual status record."""
    started.source("one").deliver("good")
    started.source("one").wake()
    started.source("one").deliver(Fetched(large("bad")[:-1], '"2"'))
    started.clock.advance(0)  # all turns until there is no work

    assert [("one", None, "good")] == started.changes
    assert "it ends too early" in started.reporter.messages[-1]


def test_the_oldest_objects_are_not_collected_during_the_work(started):
    """The collector's thresholds are changed while a large config is compiled, and restored when no work is left."""
    before = gc.get_threshold()
    try:
        started.source("one").deliver(Fetched(large("large"), '"1"'))
        started.source("two").deliver(Fetched(large("other"), '"1"'))
        assert YOUNG_ONLY == gc.get_threshold()

        started.clock.advance(0)
        assert {("one", None, "large"), ("two", None, "other")} == set(started.changes)
        assert before == gc.get_threshold()
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def test_a_compiled_config_is_freed_without_the_collector():
    """It has no cycles: objects that left the collection for good would otherwise never be freed."""
    gc.collect()
    gc.disable()
    try:
        first = load(large("one"), "")
        first.evaluate_all(User({"Country": "HU"}), remember=True).json()
        second = load(large("two"), "", first)
        del first, second
        assert gc.collect() < FLAGS / 10
    finally:
        gc.enable()
