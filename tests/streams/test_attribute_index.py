"""A change for few users reaches the same streams with an index of attributes as without, and does not compare all."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.flags import Snapshot, User, load
from gateway.streams import HeartbeatWheel, Hub, StreamOptions, Subscriber, attribute_index
from gateway.streams.attribute_index import MAX_INDEXES, AttributeIndexes
from gateway.streams.cohort import Cohort

ATTRIBUTES = ("Identifier", "Country", "Plan", "Email", "Version", "Age")
KEYS = ("f0", "f1", "f2")


class Metrics:
    """Metrics that count nothing."""

    def stream_opened(self, sdk: str, flag: str | None) -> None:
        """Ignore."""

    stream_closed = stream_opened

    def frames_sent(self, sdk: str, flag: str | None, count: int) -> None:
        """Ignore."""


class Client:
    """An outlet that keeps what it is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def finish(self) -> None:
        """Nothing to end."""

    abort = finish


class Streams:
    """A hub, and its clients by number."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.now = 0.0
        self.hub = Hub(
            "sdk",
            snapshot,
            wheel=HeartbeatWheel(20, 60, lambda _: None),
            now=lambda: self.now,
            rng=random.Random(1),
            metrics=Metrics(),
        )
        self.clients: dict[int, tuple[Client, Subscriber]] = {}

    def open(self, number: int, key: str | None, user: User | None, mode: Any) -> None:
        client = Client()
        self.clients[number] = client, self.hub.subscribe(key, user, client, StreamOptions(mode))

    def close(self, number: int) -> None:
        self.clients.pop(number)[1].close()

    def publish(self, snapshot: Snapshot) -> dict[int, list[bytes]]:
        """Return what each client is sent, by its number."""
        for client, _ in self.clients.values():
            client.sent.clear()
        self.hub.publish(snapshot)
        assert self.hub.work(lambda: False)
        self.now += 10.0  # paced streams
        assert self.hub.work(lambda: False)
        return {number: list(client.sent) for number, (client, _) in self.clients.items() if client.sent}


texts = st.sampled_from(["a", "b", "c", "1"])
users = st.one_of(
    st.none(),
    st.dictionaries(
        st.sampled_from(ATTRIBUTES), st.one_of(texts, st.just(1.0), st.just(("a",))), min_size=1, max_size=4
    ).map(User),
)
streams = st.tuples(
    st.sampled_from([None, None, *KEYS, "unknown"]), users, st.sampled_from(["plain", "delta", "ofrep"])
).map(lambda stream: (None if stream[2] == "ofrep" else stream[0], *stream[1:]))
conditions = st.one_of(
    st.builds(
        lambda name, comparator, operand: {"u": {"a": name, "c": comparator, "l": operand}},
        st.sampled_from(ATTRIBUTES),
        st.sampled_from([0, 0, 0, 1, 2, 16]),
        st.lists(texts, min_size=1, max_size=2),
    ),
    st.just({"s": {"s": 0, "c": 0}}),
    st.just({"p": {"f": "f0", "c": 0, "v": {"b": True}}}),
)
rules = st.builds(
    lambda condition, value: {"c": [condition], "s": {"v": {"b": value}, "i": str(value)}}, conditions, st.booleans()
)
flags = st.builds(
    lambda found, share: {
        "t": 0,
        "v": {"b": False},
        "r": found,
        "p": [{"p": 50, "v": {"b": True}}, {"p": 50, "v": {"b": False}}] if share else [],
    },
    st.lists(rules, max_size=2),
    st.booleans(),
)
configs = st.builds(
    lambda found, segment: {
        "p": {"s": "salt"},
        "s": [{"n": "few", "r": [{"a": "Plan", "c": 0, "l": segment}]}],
        "f": dict(zip(KEYS, found, strict=True)),
    },
    st.tuples(flags, flags, flags),
    st.lists(texts, min_size=1, max_size=2),
)


@st.composite
def edits(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A config, and versions of it that each differ in one flag or the segment."""
    found = [draw(configs)]
    for _ in range(draw(st.integers(1, 4))):
        other, last = draw(configs), found[-1]
        key = draw(st.sampled_from([*KEYS, "segment"]))
        if key == "segment":
            found.append(last | {"s": other["s"]})
        else:
            edited = last["f"][key] | {"r": other["f"][key]["r"]}
            found.append(last | {"f": last["f"] | {key: edited}})
    return found


def test_the_same_streams_get_the_same_events_with_and_without_an_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly those with a changed result, while streams open and close between the changes."""
    monkeypatch.setattr(attribute_index, "LEAST_RATIO", 0)
    used = 0

    @settings(max_examples=max(40, settings().max_examples // 3))
    @given(versions=edits(), wanted=st.lists(streams, min_size=1, max_size=12), data=st.data())
    def compare(versions: list[dict[str, Any]], wanted: list[tuple[Any, ...]], data: st.DataObject) -> None:
        nonlocal used
        snapshot = load(json.dumps(versions[0]).encode(), "0")
        plain, indexed = Streams(snapshot), Streams(snapshot)
        for number, stream in enumerate(wanted):
            plain.open(number, *stream)
            indexed.open(number, *stream)
        for version, config in enumerate(versions[1:], 1):
            before, snapshot = snapshot, load(json.dumps(config).encode(), str(version), snapshot)
            monkeypatch.setattr(attribute_index, "LEAST_COHORTS", 10**9)
            expected = plain.publish(snapshot)
            monkeypatch.setattr(attribute_index, "LEAST_COHORTS", 0)
            assert indexed.publish(snapshot) == expected
            assert expected.keys() == {n for n in plain.clients if changed(before, snapshot, *wanted[n])}
            used += version > 1 and bool(indexed.hub._index._indexes.all)
            closing = data.draw(st.sampled_from([None, *plain.clients]))
            if closing is not None:
                for each in (plain, indexed):
                    each.close(closing)
                wanted.append(data.draw(streams))
                for each in (plain, indexed):
                    each.open(len(wanted) - 1, *wanted[-1])

    for _ in range(10):  # the examples are random: few of a run may need the index
        compare()
        if used >= 5:
            break
    assert used >= 5


def changed(before: Snapshot, after: Snapshot, key: str | None, user: User | None, mode: str) -> bool:
    """Whether a stream shows different results before and after."""
    keys = [one for one in after.flags if key in {None, one}]
    if mode == "ofrep":
        return any(before.evaluate(one, user).ofrep != after.evaluate(one, user).ofrep for one in keys)
    return any(before.evaluate(one, user).json != after.evaluate(one, user).json for one in keys)


def rare(version: int, name: str = "Identifier") -> Snapshot:
    """A config whose flag has another value in each version, for three users."""
    served = {"v": {"s": f"v{version}"}, "i": str(version)}
    rule = {"c": [{"u": {"a": name, "c": 0, "l": ["u1", "u2", "u3"]}}], "s": served}
    return load(json.dumps({"f": {"flag": {"t": 1, "v": {"s": ""}, "r": [rule]}}}).encode(), str(version))


@pytest.mark.parametrize("count", [1_000, 4_000])
def test_a_change_for_three_users_is_compared_with_three_cohorts(count: int) -> None:
    """However many streams there are, once there is an index; ``work`` looks at the clock after each group."""
    streams = Streams(rare(0))
    for number in range(count):
        streams.open(number, None, User({"Identifier": f"u{number}"}), "plain")
    looks = 0

    def out_of_time() -> bool:
        nonlocal looks
        looks += 1
        return False

    for version in (1, 2, 3):
        looks = 0
        streams.hub.publish(rare(version))
        assert streams.hub.work(out_of_time)
        assert (looks == 1 + 3) is (version > 1)  # one group of three cohorts, and three events
        marked = f'"v{version}"'.encode()
        assert {n for n, (client, _) in streams.clients.items() if marked in client.sent[-1]} == {1, 2, 3}


def test_an_index_is_built_in_slices_while_streams_open_and_close() -> None:
    """The push comes first; ``work`` is complete once the index is, which has the streams of that moment."""
    streams = Streams(rare(0))
    for number in range(1_000):
        streams.open(number, None, User({"Identifier": f"u{number}"}), "plain")
    streams.hub.publish(rare(1))
    slices = 0
    while not streams.hub.work(lambda: True):
        slices += 1
        if slices == 12:  # all cohorts are compared and sent, a part is indexed
            assert b"v1" in streams.clients[3][0].sent[-1]
            streams.close(1)
            streams.close(2)
            streams.open(1_000, None, User({"Identifier": "u2"}), "plain")
            streams.open(1_001, "flag", User({"Identifier": "u3"}), "plain")
    assert slices > 12
    assert streams.publish(rare(2)).keys() == {3, 1_000, 1_001}
    assert streams.publish(rare(3)).keys() == {3, 1_000, 1_001}


def built(indexes: AttributeIndexes[Cohort], texts: dict[str, set[str]], cohorts: list[Cohort]) -> list[Cohort]:
    """Look up texts, after building the indexes if there are none."""
    found = indexes.find(texts, lambda: iter(cohorts))
    if found is None:
        while indexes.build(2):
            pass
        found = indexes.find(texts, lambda: iter(cohorts))
    assert found is not None
    return list(found)


def opened(key: str | None, **attributes: str) -> Cohort:
    """A cohort with a member."""
    cohort = Cohort(key, User(attributes))
    cohort.members.append(Subscriber(None, cohort, Client()))
    return cohort


def test_indexes_are_bounded_and_the_one_used_last_is_kept() -> None:
    """More attributes than ``MAX_INDEXES`` replace each other; a new index has all cohorts."""
    cohorts = [opened(None, **(dict.fromkeys(ATTRIBUTES, "x") | {"Identifier": str(n)})) for n in range(3)]
    indexes: AttributeIndexes[Cohort] = AttributeIndexes()
    for name in ("Identifier", *ATTRIBUTES[1:MAX_INDEXES], "Identifier", *ATTRIBUTES[MAX_INDEXES:]):
        text = "1" if name == "Identifier" else "x"
        found = built(indexes, {name: {text}}, cohorts)
        assert sorted(found, key=cohorts.index) == ([cohorts[1]] if text == "1" else cohorts)
    kept = [*ATTRIBUTES[3:MAX_INDEXES], "Identifier", *ATTRIBUTES[MAX_INDEXES:]]
    assert [index._name for index in indexes.all] == kept
    assert len(built(indexes, {"Identifier": {"0"}, "Country": {"x"}}, cohorts)) == 3


def test_a_change_of_two_attributes_reaches_the_users_of_both() -> None:
    """Each index is built of all cohorts."""
    streams = Streams(rare(0))
    for number in range(1_000):
        streams.open(number, None, User({"Identifier": f"u{number}", "Country": f"c{number}"}), "plain")
    old = json.loads(rare(0).body)["f"]["flag"]
    for version in (1, 2):
        rules = [
            {"c": [{"u": {"a": name, "c": 0, "l": [text]}}], "s": {"v": {"s": f"new {version}"}}}
            for name, text in (("Identifier", "u7"), ("Country", "c9"))
        ]
        config = {"f": {"flag": old | {"r": [*rules, *old["r"]]}}}
        assert streams.publish(load(json.dumps(config).encode(), str(version))).keys() == {7, 9}


def test_an_index_forgets_texts_without_cohorts() -> None:
    """Removed cohorts leave nothing behind, also those that shared a text."""
    cohorts = [opened(key, Country="DE") for key in (None, "a", "b")]
    indexes: AttributeIndexes[Cohort] = AttributeIndexes()
    assert len(built(indexes, {"Country": {"DE"}}, cohorts)) == 3
    (index,) = indexes.all
    index.remove(cohorts[0])
    index.add(cohorts[0])
    assert sorted(index.find(["DE", "FR"]), key=cohorts.index) == cohorts
    for cohort in (*cohorts, opened(None, Country="DE"), opened(None, Plan="DE")):
        index.remove(cohort)
    assert not index._by_text


def test_a_change_that_names_very_many_texts_is_compared_with_all() -> None:
    """Looking up a text for each few cohorts would not be faster."""
    texts = {"Identifier": frozenset(map(str, range(100)))}
    assert attribute_index.worth_it(texts, 400)
    assert not attribute_index.worth_it(texts, 399)
    assert not attribute_index.worth_it(None, 100_000)
    assert not attribute_index.worth_it(dict.fromkeys(map(str, range(MAX_INDEXES + 1)), frozenset("a")), 100_000)
