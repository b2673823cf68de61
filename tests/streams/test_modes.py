"""Patches, resuming, the order of a push and calls to ask again."""

from __future__ import annotations

import json
import random
from typing import Any

from gateway.flags import Snapshot, User, load
from gateway.streams import HeartbeatWheel, Hub, StreamOptions, Subscriber, parse_event_id
from gateway.streams.cohort_index import UNKNOWN_FLAG
from gateway.streams.hub import KEPT_SNAPSHOTS

DELTA = StreamOptions("delta")
OFREP = StreamOptions("ofrep")
NOW = 1_700_000_000.0


class Reader:
    """An outlet that reads events as an EventSource does, and applies patches."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self.id = ""
        self.state: dict[str, Any] = {}

    def write(self, data: bytes) -> None:
        """Read whole events."""
        for block in data.decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and line[0] != ":")
            self.id = fields.get("id", self.id)
            if "data" in fields:
                self.take(fields.get("event", "message"), json.loads(fields["data"]))

    def take(self, name: str, data: Any) -> None:
        """Take one event."""
        self.events.append((name, data))
        if name == "put":
            self.state = dict(data)
        elif name == "patch":
            self.state |= data["changed"]
            for key in data["removed"]:
                del self.state[key]

    def finish(self) -> None:
        """Nothing to end."""

    abort = finish


class Meter:
    """Keeps every flag that streams are counted under."""

    def __init__(self) -> None:
        self.opened: list[str | None] = []
        self.closed: list[str | None] = []
        self.sent: list[str | None] = []

    def stream_opened(self, sdk: str, flag: str | None) -> None:
        """Keep the flag."""
        self.opened.append(flag)

    def stream_closed(self, sdk: str, flag: str | None) -> None:
        """Keep the flag."""
        self.closed.append(flag)

    def frames_sent(self, sdk: str, flag: str | None, count: int) -> None:
        """Keep the flag."""
        self.sent += [flag] * count


class World:
    """A hub with a clock that the test moves; ``order`` keeps which country was written to when."""

    def __init__(self, flags: dict[str, Any] | None, sdk: str = "shop") -> None:
        self.now = NOW
        self.meter = Meter()
        self.hub = Hub(
            sdk,
            None if flags is None else config(flags),
            wheel=HeartbeatWheel(20, 60, lambda _: None),
            now=lambda: self.now,
            rng=random.Random(1),
            metrics=self.meter,
        )

    def publish(self, flags: dict[str, Any]) -> None:
        """Publish a config without pushing."""
        self.hub.publish(config(flags, self.hub.snapshot))

    def change(self, flags: dict[str, Any]) -> None:
        """Publish a config and push all that is due."""
        self.publish(flags)
        assert self.hub.work(lambda: False)

    def watch(self, options: StreamOptions, key: str | None = None, **attributes: Any) -> tuple[Reader, Subscriber]:
        """Open a stream."""
        reader = Reader()
        return reader, self.hub.subscribe(key, User(attributes) if attributes else None, reader, options)


def config(flags: dict[str, Any], previous: Snapshot | None = None) -> Snapshot:
    """Return the Snapshot of these flags."""
    body = json.dumps({"f": flags}).encode()
    return load(body, f'"{len(body)}"', previous)


def on(value: bool, variation: str = "v") -> dict[str, Any]:
    """Return a boolean flag without rules."""
    return {"t": 0, "v": {"b": value}, "i": variation}


def for_country(*countries: str, value: bool = True) -> dict[str, Any]:
    """Return a boolean flag that is ``value`` in some countries."""
    rule = {"c": [{"u": {"a": "Country", "c": 0, "l": list(countries)}}], "s": {"v": {"b": value}, "i": "in"}}
    return {"t": 0, "v": {"b": not value}, "i": "out", "r": [rule]}


BROKEN = on(True) | {"r": [{"c": [{"p": {"f": "nope", "c": 0, "v": {"b": True}}}], "s": {"v": {"b": True}}}]}


def shown(value: object, variation: str = "v") -> dict[str, object]:
    """Return what a reader sees of a flag."""
    return {"value": value, "variationId": variation}


def test_delta_begins_with_everything_and_goes_on_with_what_changed() -> None:
    """First a ``put`` of all flags, then a ``patch`` with changed, added and removed keys, each list sorted."""
    world = World({"a": on(True), "b": on(True), "c": on(True)})
    reader, _ = world.watch(DELTA)
    world.change({"b": on(False), "c": on(True), "z": on(True), "d": BROKEN})
    changed = {"b": shown(False), "d": shown(None, ""), "z": shown(True)}
    assert [
        ("put", {"a": shown(True), "b": shown(True), "c": shown(True)}),
        ("patch", {"changed": changed, "removed": ["a"]}),
    ] == reader.events
    assert list(changed) == list(reader.events[1][1]["changed"])


def test_delta_of_one_flag_is_the_same_with_one_key() -> None:
    """A single flag's deltas: changed, failing as null, removed, and back."""
    world = World({"a": on(True), "b": on(True)})
    reader, _ = world.watch(DELTA, "a")
    for flags in ({"a": on(False)}, {"a": BROKEN}, {"b": on(False)}, {"a": on(True)}):
        world.change({"b": on(True)} | flags)
        if "a" not in flags:
            world.change({"b": on(False)})
            world.change({"b": on(True)})
    assert [
        ("put", {"a": shown(True)}),
        ("patch", {"changed": {"a": shown(False)}, "removed": []}),
        ("patch", {"changed": {"a": shown(None, "")}, "removed": []}),
        ("patch", {"changed": {}, "removed": ["a"]}),
        ("patch", {"changed": {"a": shown(True)}, "removed": []}),
    ] == reader.events


def test_the_digest_does_not_depend_on_the_way() -> None:
    """After patches a reader has the id that a new one gets for the same view, on another node too."""
    world = World({"a": for_country("DE"), "b": on(True)})
    old, _ = world.watch(DELTA, Country="DE")
    world.change({"a": for_country("FR"), "c": on(True)})
    world.change({"a": for_country("FR"), "b": on(False), "c": on(True)})
    new, _ = World({"c": on(True), "b": on(False), "a": for_country("FR")}).watch(DELTA, Country="DE")
    assert parse_event_id(old.id)[1] == parse_event_id(new.id)[1]
    assert old.state == new.state


def test_views_of_other_sdks_routes_and_modes_have_other_digests() -> None:
    """An id is good for one SDK, route and mode only."""
    flags = {"a": on(True)}
    ids = {
        parse_event_id(World(flags, sdk).watch(StreamOptions(mode), key)[0].id)[1]
        for sdk in ("shop", "other")
        for mode, key in (("plain", None), ("plain", "a"), ("delta", None), ("delta", "a"), ("ofrep", None))
    }
    assert 10 == len(ids - {""})


def test_a_paused_reader_of_deltas_gets_one_patch() -> None:
    """What happened during a pause arrives as one patch from what was sent to what is current."""
    world = World({"a": on(True), "b": on(True), "c": on(True)})
    reader, subscriber = world.watch(DELTA)
    subscriber.pause()
    world.change({"a": on(False), "b": on(True), "c": on(True)})
    world.change({"a": on(True), "b": on(False), "c": on(True)})
    subscriber.resume()
    assert [("patch", {"changed": {"b": shown(False)}, "removed": []})] == reader.events[1:]


def test_a_reader_paused_for_too_long_gets_a_put() -> None:
    """Old configs are not kept without end: beyond the bound everything is sent again, and the state is exact."""
    world = World({"n": {"t": 2, "v": {"i": 0}, "i": "v"}, "a": on(True)})
    readers = []
    for number in range(KEPT_SNAPSHOTS + 1):
        reader, subscriber = world.watch(DELTA, Identifier=str(number))
        subscriber.pause()
        readers.append((reader, subscriber))
        world.change({"n": {"t": 2, "v": {"i": number + 1}, "i": "v"}, "a": on(True)})
    for _, subscriber in readers:
        subscriber.resume()
    expected = {"a": shown(True), "n": shown(KEPT_SNAPSHOTS + 1)}
    assert [expected] * len(readers) == [reader.state for reader, _ in readers]
    assert ["put"] + ["patch"] * KEPT_SNAPSHOTS == [reader.events[-1][0] for reader, _ in readers]


def test_a_reader_that_resumes_during_a_push_is_not_left_behind() -> None:
    """Behind its cohort by one change, and the cohort about to be told of the next, which does not concern it."""
    world = World({"a": on(True), "b": for_country("DE")})
    for options in (DELTA, StreamOptions()):
        reader, subscriber = world.watch(options, Country="FR")
        subscriber.pause()
        world.change({"a": on(False), "b": for_country("DE")})
        world.publish({"a": on(False), "b": for_country("US")})
        subscriber.resume()
        assert world.hub.work(lambda: False)
        assert shown(False) == (reader.state or reader.events[-1][1])["a"]
        world.change({"a": on(True), "b": for_country("DE")})


def test_who_joins_during_a_push_that_is_taken_back_is_not_left_behind() -> None:
    """Joined at the second config while the cohort is at the first; the third is like the first."""
    world = World({"a": on(True)})
    for options in (DELTA, StreamOptions()):
        world.watch(options)
        world.publish({"a": on(False)})
        late, _ = world.watch(options)
        world.change({"a": on(True)})
        assert shown(True) == (late.state or late.events[-1][1])["a"]


def test_delta_resumes_with_recovered_when_nothing_changed() -> None:
    """The digest of what it sees is enough, whatever config it had it from; data is there for EventSource's sake."""
    reader, _ = World({"a": on(True)}).watch(DELTA)
    seen = parse_event_id(reader.id)[1]
    again, _ = World({"a": on(True)}).watch(StreamOptions("delta", seen))
    other, _ = World({"a": on(False)}).watch(StreamOptions("delta", seen))
    assert ([("recovered", {})], reader.id) == (again.events, again.id)
    assert [("put", {"a": shown(False)})] == other.events


def test_a_recovered_reader_goes_on_with_patches() -> None:
    """After ``recovered`` it is in step: the next change is one patch."""
    world = World({"a": on(True), "b": on(True)})
    seen = parse_event_id(world.watch(DELTA)[0].id)[1]
    again, _ = world.watch(StreamOptions("delta", seen))
    world.change({"a": on(False), "b": on(True)})
    assert [("recovered", {}), ("patch", {"changed": {"a": shown(False)}, "removed": []})] == again.events


def test_plain_gets_its_data_again_unless_it_asks_for_quiet() -> None:
    """Existing clients expect the first event; ``quiet`` gets the id alone, and the next change as ever."""
    world = World({"a": on(True)})
    seen = parse_event_id(world.watch(StreamOptions())[0].id)[1]
    loud, _ = world.watch(StreamOptions(last_digest=seen))
    quiet, _ = world.watch(StreamOptions(last_digest=seen, quiet=True))
    assert [("message", {"a": shown(True)})] == loud.events
    assert ([], loud.id) == (quiet.events, quiet.id)
    world.change({"a": on(False)})
    assert [("message", {"a": shown(False)})] == quiet.events


def test_only_ids_of_ours_are_read() -> None:
    """An id from elsewhere resumes nothing."""
    assert ("ab12", "0123456789abcdef") == parse_event_id("ab12.0123456789abcdef")
    for text in ("", "1", "a.b", "AB12.0123456789ABCDEF", "a" * 65 + ".0123456789abcdef", "ab12.0123456789abcdef\n"):
        assert ("", "") == parse_event_id(text)


def test_users_who_lose_a_flag_are_told_first() -> None:
    """Kill switch: all for whom the flag turns off are written to before anybody for whom something turns on."""
    world = World({"a": for_country("DE")})
    order: list[str] = []

    class Ordered(Reader):
        def __init__(self, country: str) -> None:
            super().__init__()
            self.country = country

        def write(self, data: bytes) -> None:
            order.append(self.country)

    for number in range(200):
        for options in (StreamOptions(), DELTA):
            country = "DE" if number % 2 else "FR"
            world.hub.subscribe(
                "a" if number % 3 else None, User({"Country": country, "n": f"{number}"}), Ordered(country), options
            )
    del order[:]
    world.publish({"a": for_country("FR")})
    while not world.hub.work(lambda: True):
        pass
    assert ["DE"] * 200 + ["FR"] * 200 == order


def test_a_deleted_flag_counts_as_turned_off() -> None:
    """Who had it on is told before who only sees a new flag come."""
    world = World({"a": for_country("DE")})
    german, _ = world.watch(StreamOptions(), Country="DE")
    french, _ = world.watch(StreamOptions(), Country="FR")
    world.publish({"b": on(True)})
    assert not world.hub.work(lambda: bool(german.events[1:]))
    assert (2, 1) == (len(german.events), len(french.events))


def test_a_change_during_the_second_half_of_a_push_is_judged_again() -> None:
    """Those put off because nothing turned off for them may lose a flag by the next change."""
    world = World({"a": for_country("DE"), "b": on(True)})
    german, _ = world.watch(StreamOptions(), Country="DE")
    french, _ = world.watch(StreamOptions(), Country="FR")
    world.publish({"a": for_country("FR"), "b": on(True)})
    world.hub.work(lambda: len(german.events) == 2)
    world.change({"a": for_country("FR"), "b": on(False)})
    assert [shown(True, "in"), shown(False)] == list(french.events[-1][1].values())
    assert (3, 2) == (len(german.events), len(french.events))


def test_only_affected_flags_are_evaluated_for_deltas() -> None:
    """One affected flag in 5,000: the others are not asked again."""
    flags = {f"f{number:04}": on(True) for number in range(5_000)}
    world = World(flags)
    readers = [world.watch(DELTA, Country=country)[0] for country in ("DE", "FR")]
    world.publish(flags | {"f0007": for_country("DE", value=False)})
    assert world.hub.snapshot is not None
    asked: list[str] = []
    evaluate = Snapshot.evaluate

    def spy(snapshot: Snapshot, key: str, user: User | None) -> Any:
        asked.append(key)
        return evaluate(snapshot, key, user)

    Snapshot.evaluate, everything = spy, Snapshot.show_all  # type: ignore[method-assign]
    Snapshot.show_all = None  # type: ignore[assignment,method-assign]
    try:
        assert world.hub.work(lambda: False)
    finally:
        Snapshot.evaluate, Snapshot.show_all = evaluate, everything  # type: ignore[method-assign]
    assert {"f0007"} == set(asked)
    assert [{"f0007": shown(False, "in")}, {"f0007": shown(True, "out")}] == [
        reader.events[1][1]["changed"] for reader in readers
    ]


def test_a_stream_before_the_first_config_names_no_metric() -> None:
    """A flag that no config has shown is no label, not when it is counted in and not when it is counted out."""
    world = World(None)
    _, junk = world.watch(StreamOptions(), "junk")
    world.watch(DELTA)
    world.change({"a": on(True)})
    _, known = world.watch(StreamOptions(), "a")
    _, more = world.watch(StreamOptions(), "junk")
    for subscriber in (junk, more, known):
        subscriber.close()
    assert [UNKNOWN_FLAG, None, "a", UNKNOWN_FLAG] == world.meter.opened
    assert [UNKNOWN_FLAG, UNKNOWN_FLAG, "a"] == world.meter.closed
    assert {UNKNOWN_FLAG, None, "a"} == set(world.meter.sent)


def test_ofrep_is_called_when_a_value_or_a_reason_changes() -> None:
    """Only contexts whose OFREP result differs are told, with the config's ETag and the time it came."""
    world = World({"a": for_country("DE"), "b": on(True, "in")})
    world.now += 60
    readers = {country: world.watch(OFREP, Country=country)[0] for country in ("DE", "FR", "US")}
    assert [[], [], []] == [reader.events for reader in readers.values()]
    assert all(reader.id for reader in readers.values())
    ruled = on(True, "in") | {"r": for_country("FR")["r"]}
    world.publish({"a": for_country("DE"), "b": ruled})
    push_late(world)
    assert world.hub.snapshot is not None
    call = {"type": "refetchEvaluation", "etag": world.hub.snapshot.etag, "lastModified": int(NOW + 60)}
    assert {"DE": [], "FR": [("message", call)], "US": []} == {name: got.events for name, got in readers.items()}


def test_ofrep_calls_are_spread_and_bounded() -> None:
    """Calls leave at the pace that the bulk route answers; none is put off beyond the bound; order of time is kept."""
    world = World({"a": on(True)})
    readers = [world.watch(OFREP, Identifier=str(number))[0] for number in range(1000)]
    for reader in readers:
        del reader.events[:]
    world.change({"a": on(False)})
    assert 100 > sum(bool(reader.events) for reader in readers)
    world.now += 0.25
    assert world.hub.work(lambda: False)
    assert 400 < sum(bool(reader.events) for reader in readers) < 600
    world.now += 0.26
    assert world.hub.work(lambda: False)
    assert 1000 == sum(len(reader.events) for reader in readers)
    assert world.hub.next_due() is None


def test_an_ofrep_change_that_is_taken_back_in_time_calls_nobody() -> None:
    """Before its turn has come the context's results are what they were."""
    world = World({"a": on(True)})
    world.now += 60
    reader, _ = world.watch(OFREP)
    world.publish({"a": on(False)})
    world.hub.work(lambda: False)
    world.publish({"a": on(True)})
    push_late(world)
    assert [] == reader.events


def test_an_ofrep_stream_that_may_have_missed_a_change_is_called_at_once() -> None:
    """Opened right after a change without an id, or with the id of other results: ask again. Else: only the id."""
    world = World({"a": on(True)})
    seen = parse_event_id(world.watch(OFREP)[0].id)[1]
    fresh, _ = world.watch(OFREP)
    back, _ = world.watch(StreamOptions("ofrep", seen))
    behind, _ = world.watch(StreamOptions("ofrep", "0" * 16))
    world.now += 60
    calm, _ = world.watch(OFREP)
    assert [1, 0, 1, 0] == [len(reader.events) for reader in (fresh, back, behind, calm)]
    assert {f"{seen}"} == {parse_event_id(reader.id)[1] for reader in (fresh, back, behind, calm)}


def push_late(world: World) -> None:
    """Push, and let the time of everything that is postponed come."""
    world.hub.work(lambda: False)
    due = world.hub.next_due()
    while due is not None:
        world.now = max(world.now, due)
        world.hub.work(lambda: False)
        due = world.hub.next_due()


def test_names_of_configs_are_remembered_and_waited_for() -> None:
    """Tags and ETags of every config so far are known; who waits for the next is called once, unless it gave up."""
    world = World({"a": on(True)})
    first = world.hub.snapshot
    assert first is not None
    second = config({"a": on(False)}, first)
    called: list[str] = []
    world.hub.known_configs.wait_for(second.tag, lambda: called.append("tag"))
    world.hub.known_configs.wait_for(second.etag, lambda: called.append("etag"))
    world.hub.known_configs.wait_for(second.tag, lambda: called.append("gave up"))()
    world.hub.publish(second)
    world.hub.publish(first)
    assert ["tag", "etag"] == called
    assert all(name in world.hub.known_configs for name in (first.tag, first.etag, second.tag, second.etag))
    assert "other" not in world.hub.known_configs


def test_the_memory_of_names_is_bounded() -> None:
    """Thousands of configs later the oldest are forgotten and the newest known; an endless ETag is never kept."""
    names = World(None).hub.known_configs
    for number in range(3_000):
        names.add(f"tag{number}", "x" * 1_000)
    assert ("tag0" in names, "tag2999" in names, "x" * 1_000 in names) == (False, True, False)
    assert 1_000 == len(names._names)
