"""Patches, resuming, the order of a push and OFREP events."""

from __future__ import annotations

import json
import random
from typing import Any

from gateway.flags import Snapshot, User, load
from gateway.streams import HeartbeatWheel, Hub, StreamOptions, Subscriber, parse_event_id
from gateway.streams.cohort import UNKNOWN_FLAG
from gateway.streams.hub import KEPT_SNAPSHOTS

DELTA = StreamOptions("delta")
OFREP = StreamOptions("ofrep")
OFREP_RECOVERED = ("recovered", {"type": "recovered"})
NOW = 1_700_000_000.0


class Client:
    """An outlet that parses events as an EventSource does, and applies patches."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self.id = ""
        self.state: dict[str, Any] = {}

    def write(self, data: bytes) -> None:
        """Parse whole events; each has data, and comments stand in none."""
        for block in data.decode().split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in block.split("\n") if line[0] != ":")
            self.id = fields.get("id", self.id)
            self.take(fields.get("event", "message"), json.loads(fields["data"]))

    def take(self, name: str, data: Any) -> None:
        """Keep and apply one event."""
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


class CountedMetrics:
    """Keeps the flag labels."""

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


class Scene:
    """A hub with a clock that the test changes."""

    def __init__(self, flags: dict[str, Any] | None, sdk: str = "shop") -> None:
        self.now = NOW
        self.metrics = CountedMetrics()
        self.hub = Hub(
            sdk,
            None if flags is None else config(flags),
            wheel=HeartbeatWheel(20, 60, lambda _: None),
            now=lambda: self.now,
            rng=random.Random(1),
            metrics=self.metrics,
        )

    def publish(self, flags: dict[str, Any]) -> None:
        """Publish a config without pushing."""
        self.hub.publish(config(flags, self.hub.snapshot))

    def change(self, flags: dict[str, Any]) -> None:
        """Publish a config and push to all cohorts that are due."""
        self.publish(flags)
        assert self.hub.work(lambda: False)

    def watch(self, options: StreamOptions, key: str | None = None, **attributes: Any) -> tuple[Client, Subscriber]:
        """Open a stream."""
        client = Client()
        return client, self.hub.subscribe(key, User(attributes) if attributes else None, client, options)


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
    """Return the values of a flag."""
    return {"value": value, "variationId": variation}


def test_delta_begins_with_everything_and_goes_on_with_what_changed() -> None:
    """First a ``put`` of all flags, then a ``patch`` with changed, added and removed keys, each list sorted."""
    scene = Scene({"a": on(True), "b": on(True), "c": on(True)})
    client, _ = scene.watch(DELTA)
    scene.change({"b": on(False), "c": on(True), "z": on(True), "d": BROKEN})
    changed = {"b": shown(False), "d": shown(None, ""), "z": shown(True)}
    assert [
        ("put", {"a": shown(True), "b": shown(True), "c": shown(True)}),
        ("patch", {"changed": changed, "removed": ["a"]}),
    ] == client.events
    assert list(changed) == list(client.events[1][1]["changed"])


def test_delta_of_one_flag_is_the_same_with_one_key() -> None:
    """A single flag's deltas: changed, failing as null, removed, and back."""
    scene = Scene({"a": on(True), "b": on(True)})
    client, _ = scene.watch(DELTA, "a")
    for flags in ({"a": on(False)}, {"a": BROKEN}, {"b": on(False)}, {"a": on(True)}):
        scene.change({"b": on(True)} | flags)
        if "a" not in flags:
            scene.change({"b": on(False)})
            scene.change({"b": on(True)})
    assert [
        ("put", {"a": shown(True)}),
        ("patch", {"changed": {"a": shown(False)}, "removed": []}),
        ("patch", {"changed": {"a": shown(None, "")}, "removed": []}),
        ("patch", {"changed": {}, "removed": ["a"]}),
        ("patch", {"changed": {"a": shown(True)}, "removed": []}),
    ] == client.events


def test_the_digest_does_not_depend_on_earlier_configs() -> None:
    """After patches a client has the id that a new client gets for the same values, also from another node."""
    scene = Scene({"a": for_country("DE"), "b": on(True)})
    old, _ = scene.watch(DELTA, Country="DE")
    scene.change({"a": for_country("FR"), "c": on(True)})
    scene.change({"a": for_country("FR"), "b": on(False), "c": on(True)})
    new, _ = Scene({"c": on(True), "b": on(False), "a": for_country("FR")}).watch(DELTA, Country="DE")
    assert parse_event_id(old.id)[1] == parse_event_id(new.id)[1]
    assert old.state == new.state


def test_digests_differ_between_sdks_routes_and_modes() -> None:
    """An id is valid for one SDK, route and mode only."""
    flags = {"a": on(True)}
    ids = {
        parse_event_id(Scene(flags, sdk).watch(StreamOptions(mode), key)[0].id)[1]
        for sdk in ("shop", "other")
        for mode, key in (("plain", None), ("plain", "a"), ("delta", None), ("delta", "a"), ("ofrep", None))
    }
    assert 10 == len(ids - {""})


def test_a_paused_delta_subscriber_gets_one_patch() -> None:
    """The changes during a pause are one patch from the values last sent to the current ones."""
    scene = Scene({"a": on(True), "b": on(True), "c": on(True)})
    client, subscriber = scene.watch(DELTA)
    subscriber.pause()
    scene.change({"a": on(False), "b": on(True), "c": on(True)})
    scene.change({"a": on(True), "b": on(False), "c": on(True)})
    subscriber.resume()
    assert [("patch", {"changed": {"b": shown(False)}, "removed": []})] == client.events[1:]


def test_a_delta_subscriber_paused_for_too_many_configs_gets_a_put() -> None:
    """Above the limit of kept configs all values are sent again."""
    scene = Scene({"n": {"t": 2, "v": {"i": 0}, "i": "v"}, "a": on(True)})
    clients = []
    for number in range(KEPT_SNAPSHOTS + 1):
        client, subscriber = scene.watch(DELTA, Identifier=str(number))
        subscriber.pause()
        clients.append((client, subscriber))
        scene.change({"n": {"t": 2, "v": {"i": number + 1}, "i": "v"}, "a": on(True)})
    for _, subscriber in clients:
        subscriber.resume()
    expected = {"a": shown(True), "n": shown(KEPT_SNAPSHOTS + 1)}
    assert [expected] * len(clients) == [client.state for client, _ in clients]
    assert ["put"] + ["patch"] * KEPT_SNAPSHOTS == [client.events[-1][0] for client, _ in clients]


def test_a_subscriber_that_resumes_during_a_push_gets_the_current_values() -> None:
    """It missed one change, and its cohort is queued for the next, which does not concern it."""
    scene = Scene({"a": on(True), "b": for_country("DE")})
    for options in (DELTA, StreamOptions()):
        client, subscriber = scene.watch(options, Country="FR")
        subscriber.pause()
        scene.change({"a": on(False), "b": for_country("DE")})
        scene.publish({"a": on(False), "b": for_country("US")})
        subscriber.resume()
        assert scene.hub.work(lambda: False)
        assert shown(False) == (client.state or client.events[-1][1])["a"]
        scene.change({"a": on(True), "b": for_country("DE")})


def test_a_subscriber_that_joins_before_a_change_is_reverted_gets_the_current_values() -> None:
    """It joins at the second config while its cohort is at the first; the third equals the first."""
    scene = Scene({"a": on(True)})
    for options in (DELTA, StreamOptions()):
        scene.watch(options)
        scene.publish({"a": on(False)})
        late, _ = scene.watch(options)
        scene.change({"a": on(True)})
        assert shown(True) == (late.state or late.events[-1][1])["a"]


def test_delta_resumes_with_recovered_when_nothing_changed() -> None:
    """Equal digests suffice, whatever the config."""
    client, _ = Scene({"a": on(True)}).watch(DELTA)
    seen = parse_event_id(client.id)[1]
    again, _ = Scene({"a": on(True)}).watch(StreamOptions("delta", seen))
    other, _ = Scene({"a": on(False)}).watch(StreamOptions("delta", seen))
    assert ([("recovered", {})], client.id) == (again.events, again.id)
    assert [("put", {"a": shown(False)})] == other.events


def test_a_recovered_client_continues_with_patches() -> None:
    """After ``recovered`` the next change is one patch."""
    scene = Scene({"a": on(True), "b": on(True)})
    seen = parse_event_id(scene.watch(DELTA)[0].id)[1]
    again, _ = scene.watch(StreamOptions("delta", seen))
    scene.change({"a": on(False), "b": on(True)})
    assert [("recovered", {}), ("patch", {"changed": {"a": shown(False)}, "removed": []})] == again.events


def test_a_plain_client_gets_the_data_again_unless_it_resumes_quietly() -> None:
    """Existing clients expect the first event; with ``quiet`` it is ``recovered``, then the next change."""
    scene = Scene({"a": on(True)})
    seen = parse_event_id(scene.watch(StreamOptions())[0].id)[1]
    loud, _ = scene.watch(StreamOptions(last_digest=seen))
    quiet, _ = scene.watch(StreamOptions(last_digest=seen, quiet=True))
    assert [("message", {"a": shown(True)})] == loud.events
    assert ([("recovered", {})], loud.id) == (quiet.events, quiet.id)
    scene.change({"a": on(False)})
    assert [("recovered", {}), ("message", {"a": shown(False)})] == quiet.events


def test_only_ids_made_by_the_gateway_are_parsed() -> None:
    """Any other id is treated as none."""
    assert ("ab12", "0123456789abcdef") == parse_event_id("ab12.0123456789abcdef")
    for text in ("", "1", "a.b", "AB12.0123456789ABCDEF", "a" * 65 + ".0123456789abcdef", "ab12.0123456789abcdef\n"):
        assert ("", "") == parse_event_id(text)


def test_users_for_whom_a_flag_turns_off_get_their_event_first() -> None:
    """As with a kill switch: they come before all users for whom the flag turns on."""
    scene = Scene({"a": for_country("DE")})
    order: list[str] = []

    class Ordered(Client):
        def __init__(self, country: str) -> None:
            super().__init__()
            self.country = country

        def write(self, data: bytes) -> None:
            order.append(self.country)

    for number in range(200):
        for options in (StreamOptions(), DELTA):
            country = "DE" if number % 2 else "FR"
            scene.hub.subscribe(
                "a" if number % 3 else None, User({"Country": country, "n": f"{number}"}), Ordered(country), options
            )
    del order[:]
    scene.publish({"a": for_country("FR")})
    while not scene.hub.work(lambda: True):
        pass
    assert ["DE"] * 200 + ["FR"] * 200 == order


def test_a_deleted_flag_counts_as_turned_off() -> None:
    """Users who had the flag on come before those who only get a new flag."""
    scene = Scene({"a": for_country("DE")})
    german, _ = scene.watch(StreamOptions(), Country="DE")
    french, _ = scene.watch(StreamOptions(), Country="FR")
    scene.publish({"b": on(True)})
    assert not scene.hub.work(lambda: bool(german.events[1:]))
    assert (2, 1) == (len(german.events), len(french.events))


def test_a_change_during_the_second_half_of_a_push_is_compared_again() -> None:
    """For cohorts that wait because nothing turned off for them, the next change may turn a flag off."""
    scene = Scene({"a": for_country("DE"), "b": on(True)})
    german, _ = scene.watch(StreamOptions(), Country="DE")
    french, _ = scene.watch(StreamOptions(), Country="FR")
    scene.publish({"a": for_country("FR"), "b": on(True)})
    scene.hub.work(lambda: len(german.events) == 2)
    scene.change({"a": for_country("FR"), "b": on(False)})
    assert [shown(True, "in"), shown(False)] == list(french.events[-1][1].values())
    assert (3, 2) == (len(german.events), len(french.events))


def test_only_affected_flags_are_evaluated_for_deltas() -> None:
    """One flag of 5,000 is affected: the others are not evaluated."""
    flags = {f"f{number:04}": on(True) for number in range(5_000)}
    scene = Scene(flags)
    clients = [scene.watch(DELTA, Country=country)[0] for country in ("DE", "FR")]
    scene.publish(flags | {"f0007": for_country("DE", value=False)})
    assert scene.hub.snapshot is not None
    evaluated: list[str] = []
    evaluate = Snapshot.evaluate

    def spy(snapshot: Snapshot, key: str, user: User | None) -> Any:
        evaluated.append(key)
        return evaluate(snapshot, key, user)

    Snapshot.evaluate, everything = spy, Snapshot.evaluate_all  # type: ignore[method-assign]
    Snapshot.evaluate_all = None  # type: ignore[assignment,method-assign]
    try:
        assert scene.hub.work(lambda: False)
    finally:
        Snapshot.evaluate, Snapshot.evaluate_all = evaluate, everything  # type: ignore[method-assign]
    assert {"f0007"} == set(evaluated)
    assert [{"f0007": shown(False, "in")}, {"f0007": shown(True, "out")}] == [
        client.events[1][1]["changed"] for client in clients
    ]


def test_a_stream_before_the_first_config_names_no_metric() -> None:
    """A flag that was in no config is never a label, neither on opening nor on closing."""
    scene = Scene(None)
    _, junk = scene.watch(StreamOptions(), "junk")
    scene.watch(DELTA)
    scene.change({"a": on(True)})
    _, known = scene.watch(StreamOptions(), "a")
    _, more = scene.watch(StreamOptions(), "junk")
    for subscriber in (junk, more, known):
        subscriber.close()
    assert [UNKNOWN_FLAG, None, "a", UNKNOWN_FLAG] == scene.metrics.opened
    assert [UNKNOWN_FLAG, UNKNOWN_FLAG, "a"] == scene.metrics.closed
    assert {UNKNOWN_FLAG, None, "a"} == set(scene.metrics.sent)


def test_an_ofrep_event_is_sent_when_a_value_or_a_reason_changes() -> None:
    """Only contexts with a changed OFREP result get it, with the ETag of the config and the time of its arrival."""
    scene = Scene({"a": for_country("DE"), "b": on(True, "in")})
    scene.now += 60
    clients = {country: scene.watch(OFREP, Country=country)[0] for country in ("DE", "FR", "US")}
    assert [[OFREP_RECOVERED]] * 3 == [client.events for client in clients.values()]
    assert all(client.id for client in clients.values())
    ruled = on(True, "in") | {"r": for_country("FR")["r"]}
    scene.publish({"a": for_country("DE"), "b": ruled})
    push_late(scene)
    assert scene.hub.snapshot is not None
    payload = {"type": "refetchEvaluation", "etag": scene.hub.snapshot.etag, "lastModified": int(NOW + 60)}
    later = {name: got.events[1:] for name, got in clients.items()}
    assert {"DE": [], "FR": [("message", payload)], "US": []} == later


def test_ofrep_events_are_spread_over_a_limited_time() -> None:
    """1,000 events take half a second: 2,000 a second."""
    scene = Scene({"a": on(True)})
    clients = [scene.watch(OFREP, Identifier=str(number))[0] for number in range(1000)]
    for client in clients:
        del client.events[:]
    scene.change({"a": on(False)})
    assert 100 > sum(bool(client.events) for client in clients)
    scene.now += 0.25
    assert scene.hub.work(lambda: False)
    assert 400 < sum(bool(client.events) for client in clients) < 600
    scene.now += 0.26
    assert scene.hub.work(lambda: False)
    assert 1000 == sum(len(client.events) for client in clients)
    assert scene.hub.next_due() is None


def test_an_ofrep_change_that_is_reverted_in_time_causes_no_event() -> None:
    """The results of the context are back before its paced event is due."""
    scene = Scene({"a": on(True)})
    scene.now += 60
    client, _ = scene.watch(OFREP)
    scene.publish({"a": on(False)})
    scene.hub.work(lambda: False)
    scene.publish({"a": on(True)})
    push_late(scene)
    assert [OFREP_RECOVERED] == client.events


def test_an_ofrep_stream_that_may_have_missed_a_change_begins_with_an_event() -> None:
    """One opened right after a change without an id, or with an id of other results; others get ``recovered``."""
    scene = Scene({"a": on(True)})
    seen = parse_event_id(scene.watch(OFREP)[0].id)[1]
    fresh, _ = scene.watch(OFREP)
    back, _ = scene.watch(StreamOptions("ofrep", seen))
    behind, _ = scene.watch(StreamOptions("ofrep", "0" * 16))
    scene.now += 60
    calm, _ = scene.watch(OFREP)
    names = [[name for name, _ in client.events] for client in (fresh, back, behind, calm)]
    assert [["message"], ["recovered"], ["message"], ["recovered"]] == names
    assert {f"{seen}"} == {parse_event_id(client.id)[1] for client in (fresh, back, behind, calm)}


def push_late(scene: Scene) -> None:
    """Push, and let time pass until all paced cohorts have been pushed to."""
    scene.hub.work(lambda: False)
    due = scene.hub.next_due()
    while due is not None:
        scene.now = max(scene.now, due)
        scene.hub.work(lambda: False)
        due = scene.hub.next_due()
