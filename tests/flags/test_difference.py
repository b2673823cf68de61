"""What a ConfigDiff says, and that it says enough."""

import copy
import json
from hashlib import sha256

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluate_each import evaluate_each
from gateway.flags import ConfigError, User, difference, load
from gateway.testing import strategies
from gateway.testing.damage import damaged

ON = {"v": {"b": True}, "i": "on"}
OFF = {"t": 0, "v": {"b": False}, "i": "off"}


def rule(*conditions):
    return {"c": list(conditions), "s": ON}


CONFIG = {
    "p": {"u": "https://x", "r": 0, "s": "salt"},
    "s": [
        {"n": "beta", "r": [{"a": "Email", "c": 2, "l": ["@"]}]},
        {"n": "gold", "r": [{"a": "Plan", "c": 16, "l": [sha256(b"prosaltgold").hexdigest()]}]},
    ],
    "f": {
        "plain": OFF,
        "hashed": {**OFF, "r": [rule({"u": {"a": "Plan", "c": 20, "s": "0" * 64}})]},
        "beta": {**OFF, "r": [rule({"s": {"s": 0, "c": 0}})]},
        "gold": {**OFF, "r": [rule({"s": {"s": 1, "c": 0}})]},
        "asks-plain": {**OFF, "r": [rule({"p": {"f": "plain", "c": 0, "v": {"b": True}}})]},
        "asks-beta": {**OFF, "r": [rule({"p": {"f": "beta", "c": 0, "v": {"b": True}}})]},
        "asks-asks-beta": {**OFF, "r": [rule({"p": {"f": "asks-beta", "c": 0, "v": {"b": True}}})]},
        "asks-nobody": {**OFF, "r": [rule({"p": {"f": "nobody", "c": 0, "v": {"b": True}}})]},
    },
}


def encoded(config, indent=None):
    return json.dumps(config, indent=indent).encode()


def changed(edit, *, chained=True):
    config = copy.deepcopy(CONFIG)
    edit(config)
    old = load(encoded(CONFIG), "1")
    return difference(old, load(encoded(config), "2", old if chained else None))


@pytest.fixture(params=[True, False], ids=["chained", "apart"])
def change(request):
    """The ConfigDiff of an edit, with the new Snapshot made from the old one or from nothing."""
    return lambda edit: changed(edit, chained=request.param)


def test_nothing_changed(change):
    """Equal configs make an empty, false ConfigDiff."""
    found = change(lambda config: None)

    assert not found
    assert ((), (), (), (), (), False, False) == (
        found.added,
        found.removed,
        found.updated,
        found.affected,
        found.segments,
        found.salt_changed,
        found.preferences_changed,
    )


def test_formatting_is_no_change():
    """White space and the order of members change bytes and tag, but no flag, segment or preference."""
    old = load(encoded(CONFIG), "1")
    upside_down = dict(reversed(CONFIG.items()))
    upside_down["f"] = {key: dict(reversed(flag.items())) for key, flag in reversed(CONFIG["f"].items())}
    for previous in (old, None):
        new = load(encoded(upside_down, indent=1), "2", previous)
        assert old.tag != new.tag
        assert not difference(old, new)


def test_an_added_flag(change):
    """A new flag is added, and whoever asked it in vain is affected."""
    found = change(lambda config: config["f"].update({"nobody": OFF, "a-new": OFF}))

    assert ("a-new", "nobody") == found.added
    assert ("a-new", "asks-nobody", "nobody") == found.affected
    assert ((), ()) == (found.removed, found.updated)
    assert found


def test_a_removed_flag(change):
    """A flag that is gone is removed, and whoever asked it is affected."""
    found = change(lambda config: config["f"].pop("plain"))

    assert ("plain",) == found.removed
    assert ("asks-plain", "plain") == found.affected
    assert () == found.updated


def test_an_edited_flag(change):
    """A flag with another definition is updated; those that ask it are affected, not updated."""
    found = change(lambda config: config["f"]["plain"].update(v={"b": True}))

    assert ("plain",) == found.updated
    assert ("asks-plain", "plain") == found.affected


def test_a_type_is_part_of_a_definition(change):
    """What Python calls equal may still be a change."""
    found = change(lambda config: config["f"]["plain"].update(v={"b": 0}))

    assert ("plain",) == found.updated


def test_an_edited_segment(change):
    """Flags that use a changed segment are updated, and what asks them is affected, at any distance."""
    found = change(lambda config: config["s"][0]["r"].append({"a": "Age", "c": 14, "d": 3}))

    assert ("beta",) == found.segments
    assert ("beta",) == found.updated
    assert ("asks-asks-beta", "asks-beta", "beta") == found.affected


def test_an_unused_segment(change):
    """A segment that nobody uses is told as changed, and concerns no flag."""
    found = change(lambda config: config["s"].append({"n": "new", "r": []}))

    assert ("new",) == found.segments
    assert () == found.affected
    assert found


def test_moved_segments(change):
    """Segments that change places concern the flags that go by the place, but are themselves unchanged."""
    found = change(lambda config: config["s"].reverse())

    assert () == found.segments
    assert ("beta", "gold") == found.updated


def test_a_removed_segment(change):
    """A segment that is gone is told by its name, a malformed one by no name."""
    found = change(lambda config: config["s"].__setitem__(1, 5))

    assert ("", "gold") == found.segments
    assert ("gold",) == found.updated


def test_a_new_salt(change):
    """Another salt concerns what compares hashes, itself or through a segment, and nothing else."""
    found = change(lambda config: config["p"].update(s="pepper"))

    assert found.salt_changed
    assert found.preferences_changed
    assert () == found.segments
    assert ("gold", "hashed") == found.updated
    assert ("gold", "hashed") == found.affected


def test_other_preferences(change):
    """A new base URL is a change that concerns no flag."""
    found = change(lambda config: config["p"].update(u="https://y"))

    assert found
    assert found.preferences_changed
    assert not found.salt_changed
    assert () == found.affected


@settings(suppress_health_check=list(HealthCheck), deadline=None)
@given(st.data())
def test_what_is_not_affected_does_not_change(data):
    """For every user, a flag outside ``affected`` has the same outcome in both Snapshots, which are equal objects."""
    case = data.draw(strategies.cases())
    edited = data.draw(damaged(case.config))
    try:
        old = load(case.body, "1")
        apart = load(json.dumps(edited).encode(), "2")
    except ConfigError:
        return
    new = load(json.dumps(edited).encode(), "2", old)
    found = difference(old, new)

    assert found == difference(old, apart)
    assert {*found.added, *found.removed, *found.updated} <= set(found.affected)
    assert sorted(found.affected, key=str.encode) == list(found.affected)
    assert set(found.added) == set(new.keys) - set(old.keys)
    assert set(found.removed) == set(old.keys) - set(new.keys)
    quiet = (set(old.keys) | set(new.keys)) - set(found.affected)
    for user in (*case.users, None):
        for key in quiet:
            assert old.evaluate(key, user) is new.evaluate(key, user)
            assert old.evaluate(key, user).ofrep == apart.evaluate(key, user).ofrep


@settings(suppress_health_check=list(HealthCheck), deadline=None)
@given(strategies.cases())
def test_attributes_are_all_that_matters(case):
    """A user's other attributes never change the outcome of a flag."""
    snapshot = load(case.body, "1")
    for user in case.users:
        for key, flag in snapshot.flags.items():
            own = {name: value for name, value in user.attributes.items() if name in flag.attributes}
            assert snapshot.evaluate(key, user) is snapshot.evaluate(key, User(own))


@settings(suppress_health_check=list(HealthCheck), deadline=None)
@given(strategies.cases())
def test_every_outcome_is_known_beforehand(case):
    """Evaluating without a failure never makes an outcome that ``results`` did not list."""
    snapshot = load(case.body, "1")
    before = {key: set(map(id, flag.results)) for key, flag in snapshot.flags.items()}
    for user in (*case.users, None):
        for result in evaluate_each(snapshot, user):
            assert result.error is not None or id(result) in before[result.key]
