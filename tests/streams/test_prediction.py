"""A prediction names exactly the users who then get an event."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Generator
from typing import Any, TypeVar

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.flags import Snapshot, User, load
from gateway.streams import HeartbeatWheel, Hub, Prediction, StreamOptions, Subscriber, by_user, merge, predict
from gateway.streams.prediction import DIGEST_BYTES, EXAMPLES, TRANSITIONS, user_digest
from gateway.testing import strategies

T = TypeVar("T")
NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
MODES = ("plain", "delta", "ofrep")


def run(steps: Generator[None, None, T]) -> T:
    """Return the value of a generator."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


class Metrics:
    def stream_opened(self, *_: Any) -> None: ...

    def stream_closed(self, *_: Any) -> None: ...

    def frames_sent(self, *_: Any) -> None: ...


class Outlet:
    """Counts frames."""

    def __init__(self) -> None:
        self.frames = 0

    def write(self, _data: bytes) -> None:
        self.frames += 1


class Scene:
    """A hub whose clock a test moves."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.time = 0.0
        self.hub = Hub(
            "shop",
            snapshot,
            wheel=HeartbeatWheel(0, 0, lambda _: None),
            now=lambda: self.time,
            rng=random.Random(1),
            metrics=Metrics(),
        )
        self.open: list[tuple[Subscriber, Outlet]] = []

    def subscribe(self, user: User | None, key: str | None, mode: str) -> None:
        outlet = Outlet()
        self.open.append((self.hub.subscribe(key, user, outlet, StreamOptions(mode)), outlet))
        outlet.frames = 0

    def predict(self, candidate: Snapshot) -> Prediction:
        assert self.hub.snapshot is not None
        audience = run(by_user(self.hub.cohorts()))
        return run(predict(self.hub.snapshot, candidate, audience, lambda: False))

    def apply(self, candidate: Snapshot) -> list[Subscriber]:
        """Publish, push until the end, and return who got a frame."""
        self.hub.publish(candidate)
        while not self.hub.work(lambda: False) or self.hub.next_due() is not None:
            self.time += 1.0
        return [subscriber for subscriber, outlet in self.open if outlet.frames]


def changed_users(prediction: Prediction) -> set[bytes]:
    """Return the digests of the users that are predicted to see something else."""
    cut = [
        prediction.digests[start : start + DIGEST_BYTES] for start in range(0, len(prediction.digests), DIGEST_BYTES)
    ]
    return {digest for digest, changed in zip(cut, prediction.changed, strict=True) if changed}


@settings(max_examples=1000 if NIGHTLY else 30)
@given(data=st.data())
def test_the_predicted_users_are_those_who_get_an_event(data: st.DataObject) -> None:
    """For any two configs, and streams of any mode and flag, of flags that fail or do not exist as well."""
    case = data.draw(strategies.cases())
    other = data.draw(strategies.configs(case.users))
    merged = {**case.config, "f": {**case.config["f"], **data.draw(st.sampled_from([{}, other["f"]]))}}
    after = data.draw(st.sampled_from([other, merged]))
    old = load(case.body, "")
    candidate = load(json.dumps(after).encode(), "", old)
    scene = Scene(old)
    keys = st.sampled_from([None, None, *old.keys, "unknown", *strategies.KEYS])
    wanted = st.tuples(st.sampled_from([None, *case.users]), keys, st.sampled_from(MODES))
    for user, key, mode in data.draw(st.lists(wanted, max_size=12)):
        scene.subscribe(user, key, mode)
    prediction = scene.predict(candidate)
    reached = scene.apply(candidate)
    assert {user_digest(each.cohort.user) for each in reached} == changed_users(prediction)
    assert len(reached) == prediction.changed_streams
    assert len(scene.open) == prediction.streams
    assert len({each.cohort.user for each, _ in scene.open}) == prediction.users


def text_flag(value: str, german: str | None = None) -> dict[str, Any]:
    rule = {"c": [{"u": {"a": "Country", "c": 0, "l": ["DE"]}}], "s": {"v": {"s": german}, "i": "r"}}
    return {"t": 1, "v": {"s": value}, "i": "d", "r": [] if german is None else [rule]}


def config(previous: Snapshot | None = None, **flags: Any) -> Snapshot:
    return load(json.dumps({"f": flags}).encode(), "", previous)


def test_the_changes_of_values_are_counted_by_user() -> None:
    """A user with two streams counts once; a stream of another flag does not show the change."""
    old = config(banner=text_flag("a", "b"), other=text_flag("x"))
    scene = Scene(old)
    german, french = User({"Identifier": "1", "Country": "DE"}), User({"Identifier": "2", "Country": "FR"})
    for user, key in ((german, None), (german, "banner"), (french, None), (User({"Identifier": "3"}), "other")):
        scene.subscribe(user, key, "plain")
    candidate = config(old, banner=text_flag("new", "c"), other=text_flag("x"))
    found = scene.predict(candidate)
    assert (3, 4, 2, 3) == (found.users, found.streams, found.changed.count(1), found.changed_streams)
    assert {
        ("banner", b'{"value":"b","variationId":"r"}', b'{"value":"c","variationId":"r"}', 1),
        ("banner", b'{"value":"a","variationId":"d"}', b'{"value":"new","variationId":"d"}', 1),
    } == {(each.key, each.before, each.after, each.users) for each in found.transitions}
    assert [{"Identifier": "1", "Country": "DE"}, {"Identifier": "2", "Country": "FR"}] == [
        each.attributes for each in found.examples
    ]


def test_parts_of_several_processes_are_added() -> None:
    """A user who is connected to two of them counts once, and is changed if one of them says so."""
    old = config(banner=text_flag("a"), other=text_flag("x"))
    candidate = config(old, banner=text_flag("b"), other=text_flag("x"))
    users = [User({"Identifier": str(number)}) for number in range(4)]
    scenes = [Scene(old), Scene(old)]
    for scene, key, group in ((scenes[0], None, users[:3]), (scenes[1], "other", users[1:])):
        for user in group:
            scene.subscribe(user, key, "plain")
    parts = [scene.predict(candidate) for scene in scenes]
    assert parts == [msgspec.msgpack.decode(msgspec.msgpack.encode(each), type=Prediction) for each in parts]
    found = run(merge(parts))
    assert (4, 3, 6, 3) == (found.users, found.changed.count(1), found.streams, found.changed_streams)
    assert {user_digest(user) for user in users[:3]} == changed_users(found)
    assert [("banner", 3)] == [(each.key, each.users) for each in found.transitions]
    assert parts[0] == run(merge(parts[:1]))


def test_a_user_of_two_processes_counts_once_per_change() -> None:
    """Also if each process shows other flags of the user; beyond the bound the user counts once per process."""
    old = config(banner=text_flag("a"), other=text_flag("x"))
    candidate = config(old, banner=text_flag("b"), other=text_flag("y"))
    users = [User({"Identifier": str(number)}) for number in range(3)]
    scenes = [Scene(old), Scene(old), Scene(old)]
    for scene, key, group in ((scenes[0], None, users), (scenes[1], "other", users[1:]), (scenes[2], None, users[2:])):
        for user in group:
            scene.subscribe(user, key, "plain")
    parts = [scene.predict(candidate) for scene in scenes]
    found = run(merge(parts))
    assert {("banner", 3), ("other", 3)} == {(each.key, each.users) for each in found.transitions}
    unknown = [msgspec.structs.replace(part, shown=[[] for _ in part.shown]) for part in parts]
    assert {("banner", 4), ("other", 6)} == {(each.key, each.users) for each in run(merge(unknown)).transitions}


def test_bounds() -> None:
    """Examples, transitions and long values are bounded, and an end of the time leaves users unexamined."""
    many = {"p": [{"p": 1, "v": {"s": f"{number} " + "x" * 2000}, "i": str(number)} for number in range(100)]}
    flags = {f"flag{number}": {"t": 1, "v": {"s": "x"}, **many} for number in range(30)}
    old = config(**dict.fromkeys(flags, text_flag("a")))
    candidate = config(old, **flags)
    audience: dict[User | None, list[Any]] = {User({"Identifier": str(number)}): [] for number in range(200)}
    found = run(predict(old, candidate, audience, lambda: False))
    assert (200, 0, EXAMPLES, TRANSITIONS) == (found.users, found.streams, len(found.examples), len(found.transitions))
    assert 200 * 30 == sum(each.users for each in found.transitions) + found.more
    assert all(len(each.after or b"") < 100 for each in found.transitions)
    looks = iter([False] * 50 + [True])
    partly = run(predict(old, candidate, audience, lambda: next(looks)))
    assert (200, 50) == (partly.users, len(partly.changed))
