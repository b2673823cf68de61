"""The hub: who is told what, when a config changes."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from gateway.flags import Snapshot, User, load
from gateway.streams import HeartbeatWheel, Hub, Mode, StreamOptions, Subscriber


class Reader:
    """An outlet that parses what it is given; pausing it is up to the test."""

    def __init__(self) -> None:
        self.raw = b""
        self.ended = False

    def write(self, data: bytes) -> None:
        """Take what the hub writes."""
        self.raw += data

    def finish(self) -> None:
        """End in an orderly way."""
        self.ended = True

    abort = finish

    @property
    def payloads(self) -> list[Any]:
        """Every payload so far, decoded."""
        lines = self.raw.decode().split("\n")
        return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


class Meter:
    """Counts what the hub reports."""

    def __init__(self) -> None:
        self.open: dict[tuple[str, str | None], int] = {}
        self.sent = 0

    def stream_opened(self, sdk: str, flag: str | None) -> None:
        """Count one more."""
        self.open[sdk, flag] = self.open.get((sdk, flag), 0) + 1

    def stream_closed(self, sdk: str, flag: str | None) -> None:
        """Count one less."""
        self.open[sdk, flag] -= 1

    def frames_sent(self, sdk: str, flag: str | None, count: int) -> None:
        """Add ``count`` events."""
        self.sent += count


class World:
    """A hub with a clock that the test moves and a config that the test edits."""

    def __init__(self, flags: dict[str, Any] | None) -> None:
        self.now = 0.0
        self.meter = Meter()
        self.version = 0
        wheel = HeartbeatWheel(20, 60, lambda subscriber: subscriber.outlet.abort())
        start = None if flags is None else self.snapshot(flags)
        self.hub = Hub("shop", start, wheel=wheel, now=lambda: self.now, rng=random.Random(1), metrics=self.meter)

    def snapshot(self, flags: dict[str, Any], **more: Any) -> Snapshot:
        """Return a Snapshot of these flags that continues the current one."""
        self.version += 1
        body = json.dumps({"p": {"s": "salt"}, "f": flags, **more}).encode()
        return load(body, f'"{self.version}"', getattr(self, "hub", None) and self.hub.snapshot)

    def change(self, flags: dict[str, Any], **more: Any) -> None:
        """Publish a config and push it to the end."""
        self.hub.publish(self.snapshot(flags, **more))
        assert self.hub.work(lambda: False)

    def watch(self, key: str | None = None, **attributes: Any) -> tuple[Reader, Subscriber]:
        """Open a stream for a user with these attributes."""
        reader = Reader()
        user = User(attributes) if attributes else None
        return reader, self.hub.subscribe(key, user, reader)


def on(value: bool, variation: str = "v") -> dict[str, Any]:
    """Return a boolean flag without rules."""
    return {"t": 0, "v": {"b": value}, "i": variation}


def for_country(country: str) -> dict[str, Any]:
    """Return a boolean flag that is on in one country."""
    rule = {"c": [{"u": {"a": "Country", "c": 28, "s": country}}], "s": {"v": {"b": True}, "i": "in"}}
    return {"t": 0, "v": {"b": False}, "i": "out", "r": [rule]}


def for_role(role: str) -> dict[str, Any]:
    """Return a boolean flag that is on for users with a role."""
    rule = {"c": [{"u": {"a": "Roles", "c": 34, "l": [role]}}], "s": {"v": {"b": True}, "i": "in"}}
    return {"t": 0, "v": {"b": False}, "i": "out", "r": [rule]}


def shown(value: object, variation: str = "v") -> dict[str, object]:
    """Return what a single-flag stream shows."""
    return {"value": value, "variationId": variation}


def test_the_first_frame_has_retry_id_and_the_current_value() -> None:
    """A new stream starts with everything a client needs."""
    reader, _ = World({"a": on(True)}).watch("a", Identifier="1")
    head, body = reader.raw.split(b"\n\n", 1)
    milliseconds = int(head.removeprefix(b"retry: "))
    assert 2_000 <= milliseconds <= 10_000
    assert body.startswith(b"id: ")
    assert reader.payloads == [shown(True)]


def test_only_users_whose_value_changed_get_an_event() -> None:
    """A rule on Country that moves from one country to another concerns these two and nobody else."""
    world = World({"a": for_country("DE")})
    readers = {country: world.watch(None, Country=country)[0] for country in ("DE", "FR", "US")}
    world.change({"a": for_country("FR")})
    assert {country: len(reader.payloads) for country, reader in readers.items()} == {"DE": 2, "FR": 2, "US": 1}
    assert readers["FR"].payloads[-1] == {"a": shown(True, "in")}


def test_a_change_of_another_flag_is_no_event_for_a_single_flag_stream() -> None:
    """A stream of one flag hears of that flag alone."""
    world = World({"a": on(True), "b": on(True)})
    reader, _ = world.watch("a")
    world.change({"a": on(True), "b": on(False)})
    assert reader.payloads == [shown(True)]


def test_a_changed_variation_id_counts_as_a_change() -> None:
    """The value alone does not make two outcomes equal."""
    world = World({"a": on(True, "one")})
    reader, _ = world.watch("a")
    world.change({"a": on(True, "two")})
    assert reader.payloads == [shown(True, "one"), shown(True, "two")]


def test_bytes_that_change_nothing_send_nothing() -> None:
    """A new ETag with equal values is no event."""
    world = World({"a": on(True)})
    reader, _ = world.watch()
    world.change({"a": on(True)}, unknown=1)
    assert len(reader.payloads) == 1


def test_a_deleted_flag_shows_null_once_and_comes_back() -> None:
    """Deleting is an event, staying deleted is none, and a flag that returns is an event again."""
    world = World({"a": on(True), "b": on(True)})
    reader, _ = world.watch("a")
    world.change({"b": on(True)})
    world.change({"b": on(False)})
    world.change({"a": on(True), "b": on(False)})
    assert reader.payloads == [shown(True), shown(None, ""), shown(True)]


def test_all_flags_gone_is_an_empty_map() -> None:
    """An all-flags stream is told when nothing is left."""
    world = World({"a": on(True)})
    reader, _ = world.watch()
    world.change({})
    assert reader.payloads == [{"a": shown(True)}, {}]


def test_a_prerequisite_change_reaches_the_flags_that_depend_on_it() -> None:
    """The closure over prerequisites is followed."""
    dependent = {
        "t": 1,
        "v": {"s": "no"},
        "i": "n",
        "r": [{"c": [{"p": {"f": "base", "c": 0, "v": {"b": True}}}], "s": {"v": {"s": "yes"}, "i": "y"}}],
    }
    world = World({"base": on(False), "dependent": dependent})
    reader, _ = world.watch("dependent", Identifier="1")
    world.change({"base": on(True), "dependent": dependent})
    assert reader.payloads == [shown("no", "n"), shown("yes", "y")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"Roles": ("Admin",)}, {"Roles": ("Guest",)}),
        ({"Roles": ("Admin", "x")}, {"Roles": ("x",)}),
        ({"Roles": '["Admin"]'}, {"Roles": "Admin"}),
    ],
)
def test_users_who_differ_in_a_list_item_never_share_a_value(one: dict[str, Any], other: dict[str, Any]) -> None:
    """The fault of the system we replace: list contents are part of who a user is."""
    world = World({"a": for_role("Admin")})
    first, _ = world.watch("a", **one)
    second, _ = world.watch("a", **other)
    assert [first.payloads, second.payloads] == [[shown(True, "in")], [shown(False, "out")]]


def test_seven_and_the_text_seven_never_share_a_cohort() -> None:
    """A number and its text are different users; equal numbers are one."""
    world = World({"a": on(True)})
    _, number = world.watch("a", Identifier=7.0)
    _, text = world.watch("a", Identifier="7")
    _, again = world.watch("a", Identifier=7.0)
    assert number.cohort is not text.cohort
    assert number.cohort is again.cohort


def test_equal_users_share_one_encoded_frame() -> None:
    """What is written to the members of a cohort is one object, encoded once."""
    written: list[bytes] = []

    class Keeper(Reader):
        def write(self, data: bytes) -> None:
            written.append(data)

    world = World({"a": on(True)})
    for _ in range(3):
        world.hub.subscribe("a", User({"Identifier": "1"}), Keeper())
    del written[:]
    world.change({"a": on(False)})
    assert len(written) == 3
    assert len({id(frame) for frame in written}) == 1


def test_a_paused_reader_gets_one_frame_with_the_latest_when_it_resumes() -> None:
    """The mailbox holds one: what lies between is never sent."""
    world = World({"a": {"t": 2, "v": {"i": 0}, "i": "v"}})
    reader, subscriber = world.watch("a")
    subscriber.pause()
    for number in range(1, 1000):
        world.change({"a": {"t": 2, "v": {"i": number}, "i": "v"}})
    assert reader.payloads == [shown(0)]
    subscriber.resume()
    assert reader.payloads == [shown(0), shown(999)]


@pytest.mark.parametrize("mode", ["plain", "delta"])
def test_a_reader_that_the_frame_of_its_return_fills_again_is_paused_again(mode: Mode) -> None:
    """A large frame fills the transport at once: what comes then waits for the next return, and is not queued."""

    class Full(Reader):
        subscriber: Subscriber | None = None

        def write(self, data: bytes) -> None:
            super().write(data)
            if self.subscriber is not None:
                self.subscriber.pause()

    world = World({"a": {"t": 2, "v": {"i": 0}, "i": "v"}})
    reader = Full()
    subscriber = reader.subscriber = world.hub.subscribe(None, None, reader, StreamOptions(mode))
    subscriber.pause()
    for number in range(1, 4):
        world.change({"a": {"t": 2, "v": {"i": number}, "i": "v"}})
        world.change({"a": {"t": 2, "v": {"i": 10 * number}, "i": "v"}})
        subscriber.resume()
        assert subscriber.paused_since is not None
    values = [payload.get("changed", payload)["a"]["value"] for payload in reader.payloads]
    assert values == [0, 10, 20, 30]


def test_a_value_that_came_back_during_a_pause_is_no_event() -> None:
    """On, off, on while paused: the reader has what is current already."""
    world = World({"a": on(True)})
    reader, subscriber = world.watch("a")
    subscriber.pause()
    world.change({"a": on(False)})
    world.change({"a": on(True)})
    subscriber.resume()
    assert reader.payloads == [shown(True)]


def test_a_change_during_a_push_replaces_the_target() -> None:
    """A cohort that was not reached yet goes straight to the newest value."""
    world = World({"a": {"t": 2, "v": {"i": 0}, "i": "v"}})
    readers = [world.watch("a", Identifier=str(number))[0] for number in range(10)]
    world.hub.publish(world.snapshot({"a": {"t": 2, "v": {"i": 1}, "i": "v"}}))
    assert not world.hub.work(lambda: True), "judged"
    assert not world.hub.work(lambda: True), "one of them is brought up"
    world.hub.publish(world.snapshot({"a": {"t": 2, "v": {"i": 2}, "i": "v"}}))
    while not world.hub.work(lambda: True):
        pass
    assert {json.dumps(reader.payloads[-1]["value"]) for reader in readers} == {"2"}
    assert sorted(len(reader.payloads) for reader in readers) == [2] * 9 + [3]


def test_who_joins_during_a_push_sees_the_new_value_once() -> None:
    """A late joiner of a cohort that waits for its push is not told twice."""
    world = World({"a": on(True)})
    early, _ = world.watch("a", Identifier="1")
    world.hub.publish(world.snapshot({"a": on(False)}))
    late, _ = world.watch("a", Identifier="1")
    assert world.hub.work(lambda: False)
    assert (early.payloads, late.payloads) == ([shown(True), shown(False)], [shown(False)])


def test_a_stream_opened_before_the_first_config_waits_with_a_comment() -> None:
    """Nobody is refused for coming early; the value follows when it is known."""
    world = World(None)
    reader, _ = world.watch("a", Identifier="1")
    assert reader.payloads == []
    assert b"\n: " in reader.raw
    world.change({"a": on(True)})
    assert reader.payloads == [shown(True)]


def test_a_stream_that_waits_for_a_flag_that_never_was_shows_null() -> None:
    """The first config may lack the flag: the stream says so instead of hanging."""
    world = World(None)
    reader, _ = world.watch("missing")
    world.change({"a": on(True)})
    assert reader.payloads == [shown(None, "")]


def test_closing_forgets_the_stream_and_its_cohort() -> None:
    """Nothing of a closed stream is left, closing twice is harmless, and the meter comes back to zero."""
    world = World({"a": on(True)})
    _, one = world.watch("a", Identifier="1")
    _, two = world.watch(None, Identifier="1")
    for subscriber in (one, two, one):
        subscriber.close()
    world.change({"a": on(False)})
    assert world.hub.subscribers() == []
    assert set(world.meter.open.values()) == {0}


def test_closing_during_a_push_is_safe() -> None:
    """A reader that leaves between two slices is not written to."""
    world = World({"a": on(True)})
    reader, subscriber = world.watch("a")
    world.hub.publish(world.snapshot({"a": on(False)}))
    subscriber.close()
    assert world.hub.work(lambda: False)
    assert reader.payloads == [shown(True)]


def test_ids_are_equal_on_every_node_and_name_what_is_seen() -> None:
    """Two hubs with one config give one id; another user's view has another."""
    ids = []
    for identifier in ("DE", "DE", "FR"):
        reader, _ = World({"a": for_country("DE")}).watch("a", Country=identifier)
        ids.append(next(line for line in reader.raw.split(b"\n") if line.startswith(b"id:")))
    assert ids[0] == ids[1] != ids[2]


def test_many_affected_flags_still_concern_only_those_whose_values_change() -> None:
    """Beyond the bound for flag-by-flag tests the whole payload is compared, with the same outcome."""
    world = World({f"f{number}": for_country("DE") for number in range(60)})
    german, _ = world.watch(None, Country="DE")
    american, _ = world.watch(None, Country="US")
    world.change({f"f{number}": for_country("FR") for number in range(60)})
    assert (len(german.payloads), len(american.payloads)) == (2, 1)
