"""The hub: which streams get an event when the config changes."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from gateway.flags import Snapshot, User, load
from gateway.streams import HeartbeatWheel, Hub, Mode, StreamOptions, Subscriber


class Client:
    """An outlet that parses what is written to it; the test pauses it."""

    def __init__(self) -> None:
        self.raw = b""
        self.ended = False

    def write(self, data: bytes) -> None:
        """Keep the bytes."""
        self.raw += data

    def finish(self) -> None:
        """Record the end."""
        self.ended = True

    abort = finish

    @property
    def payloads(self) -> list[Any]:
        """All payloads so far, decoded."""
        lines = self.raw.decode().split("\n")
        return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


class CountedMetrics:
    """Counts the open streams and the events."""

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


class Scene:
    """A hub with a clock and a config that the test changes."""

    def __init__(self, flags: dict[str, Any] | None) -> None:
        self.now = 0.0
        self.metrics = CountedMetrics()
        self.version = 0
        wheel = HeartbeatWheel(20, 60, lambda subscriber: subscriber.outlet.abort())
        start = None if flags is None else self.snapshot(flags)
        self.hub = Hub("shop", start, wheel=wheel, now=lambda: self.now, rng=random.Random(1), metrics=self.metrics)

    def snapshot(self, flags: dict[str, Any], **more: Any) -> Snapshot:
        """Return a Snapshot of these flags that continues the current one."""
        self.version += 1
        body = json.dumps({"p": {"s": "salt"}, "f": flags, **more}).encode()
        return load(body, f'"{self.version}"', getattr(self, "hub", None) and self.hub.snapshot)

    def change(self, flags: dict[str, Any], **more: Any) -> None:
        """Publish a config and complete its push."""
        self.hub.publish(self.snapshot(flags, **more))
        assert self.hub.work(lambda: False)

    def watch(self, key: str | None = None, **attributes: Any) -> tuple[Client, Subscriber]:
        """Open a stream for a user with these attributes."""
        client = Client()
        user = User(attributes) if attributes else None
        return client, self.hub.subscribe(key, user, client)


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
    """Return the payload of a stream of one flag."""
    return {"value": value, "variationId": variation}


def test_the_first_frame_has_retry_id_and_the_current_value() -> None:
    """A new stream begins with a retry time and an event with the value."""
    client, _ = Scene({"a": on(True)}).watch("a", Identifier="1")
    retry, rest = client.raw.split(b"\n", 1)
    milliseconds = int(retry.removeprefix(b"retry: "))
    assert 2_000 <= milliseconds <= 10_000
    assert rest.startswith(b"id: ")
    assert client.payloads == [shown(True)]


def test_only_users_whose_value_changed_get_an_event() -> None:
    """A rule on Country that moves from one country to another changes the values in these two only."""
    scene = Scene({"a": for_country("DE")})
    clients = {country: scene.watch(None, Country=country)[0] for country in ("DE", "FR", "US")}
    scene.change({"a": for_country("FR")})
    assert {country: len(client.payloads) for country, client in clients.items()} == {"DE": 2, "FR": 2, "US": 1}
    assert clients["FR"].payloads[-1] == {"a": shown(True, "in")}


def test_a_change_of_another_flag_is_no_event_for_a_single_flag_stream() -> None:
    """A stream of one flag has only events of that flag."""
    scene = Scene({"a": on(True), "b": on(True)})
    client, _ = scene.watch("a")
    scene.change({"a": on(True), "b": on(False)})
    assert client.payloads == [shown(True)]


def test_a_changed_variation_id_counts_as_a_change() -> None:
    """Results with equal values and different variation ids differ."""
    scene = Scene({"a": on(True, "one")})
    client, _ = scene.watch("a")
    scene.change({"a": on(True, "two")})
    assert client.payloads == [shown(True, "one"), shown(True, "two")]


def test_a_config_with_equal_values_causes_no_event() -> None:
    """A new ETag alone changes nothing for a client."""
    scene = Scene({"a": on(True)})
    client, _ = scene.watch()
    scene.change({"a": on(True)}, unknown=1)
    assert len(client.payloads) == 1


def test_a_deleted_flag_shows_null_once_and_comes_back() -> None:
    """Deleting is one event, a later change of another flag is none, and the return of the flag is one."""
    scene = Scene({"a": on(True), "b": on(True)})
    client, _ = scene.watch("a")
    scene.change({"b": on(True)})
    scene.change({"b": on(False)})
    scene.change({"a": on(True), "b": on(False)})
    assert client.payloads == [shown(True), shown(None, ""), shown(True)]


def test_all_flags_gone_is_an_empty_map() -> None:
    """A stream of all flags gets an event when the last flag is deleted."""
    scene = Scene({"a": on(True)})
    client, _ = scene.watch()
    scene.change({})
    assert client.payloads == [{"a": shown(True)}, {}]


def test_a_prerequisite_change_reaches_the_flags_that_depend_on_it() -> None:
    """A stream of a dependent flag gets an event when its prerequisite changes."""
    dependent = {
        "t": 1,
        "v": {"s": "no"},
        "i": "n",
        "r": [{"c": [{"p": {"f": "base", "c": 0, "v": {"b": True}}}], "s": {"v": {"s": "yes"}, "i": "y"}}],
    }
    scene = Scene({"base": on(False), "dependent": dependent})
    client, _ = scene.watch("dependent", Identifier="1")
    scene.change({"base": on(True), "dependent": dependent})
    assert client.payloads == [shown("no", "n"), shown("yes", "y")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"Roles": ("Admin",)}, {"Roles": ("Guest",)}),
        ({"Roles": ("Admin", "x")}, {"Roles": ("x",)}),
        ({"Roles": '["Admin"]'}, {"Roles": "Admin"}),
    ],
)
def test_users_who_differ_in_a_list_item_never_share_a_value(one: dict[str, Any], other: dict[str, Any]) -> None:
    """List items are part of a user's identity (ConfigCat Proxy ignores them)."""
    scene = Scene({"a": for_role("Admin")})
    first, _ = scene.watch("a", **one)
    second, _ = scene.watch("a", **other)
    assert [first.payloads, second.payloads] == [[shown(True, "in")], [shown(False, "out")]]


def test_seven_and_the_text_seven_never_share_a_cohort() -> None:
    """Users differ if one has a number where the other has its text."""
    scene = Scene({"a": on(True)})
    _, number = scene.watch("a", Identifier=7.0)
    _, text = scene.watch("a", Identifier="7")
    _, again = scene.watch("a", Identifier=7.0)
    assert number.cohort is not text.cohort
    assert number.cohort is again.cohort


def test_equal_users_share_one_encoded_frame() -> None:
    """All members of a cohort are written the same bytes object, encoded once."""
    written: list[bytes] = []

    class Keeper(Client):
        def write(self, data: bytes) -> None:
            written.append(data)

    scene = Scene({"a": on(True)})
    for _ in range(3):
        scene.hub.subscribe("a", User({"Identifier": "1"}), Keeper())
    del written[:]
    scene.change({"a": on(False)})
    assert len(written) == 3
    assert len({id(frame) for frame in written}) == 1


def test_a_paused_subscriber_gets_one_frame_with_the_latest_value_on_resuming() -> None:
    """The values in between are never sent."""
    scene = Scene({"a": {"t": 2, "v": {"i": 0}, "i": "v"}})
    client, subscriber = scene.watch("a")
    subscriber.pause()
    for number in range(1, 1000):
        scene.change({"a": {"t": 2, "v": {"i": number}, "i": "v"}})
    assert client.payloads == [shown(0)]
    subscriber.resume()
    assert client.payloads == [shown(0), shown(999)]


@pytest.mark.parametrize("mode", ["plain", "delta"])
def test_a_subscriber_can_be_paused_again_by_the_frame_it_gets_on_resuming(mode: Mode) -> None:
    """A large frame fills the transport at once: later changes wait for the next resume, and are not queued."""

    class Full(Client):
        subscriber: Subscriber | None = None

        def write(self, data: bytes) -> None:
            super().write(data)
            if self.subscriber is not None:
                self.subscriber.pause()

    scene = Scene({"a": {"t": 2, "v": {"i": 0}, "i": "v"}})
    client = Full()
    subscriber = client.subscriber = scene.hub.subscribe(None, None, client, StreamOptions(mode))
    subscriber.pause()
    for number in range(1, 4):
        scene.change({"a": {"t": 2, "v": {"i": number}, "i": "v"}})
        scene.change({"a": {"t": 2, "v": {"i": 10 * number}, "i": "v"}})
        subscriber.resume()
        assert subscriber.paused_since is not None
    values = [payload.get("changed", payload)["a"]["value"] for payload in client.payloads]
    assert values == [0, 10, 20, 30]


def test_a_value_that_changed_back_during_a_pause_causes_no_event() -> None:
    """On, off, on while paused: the client has the current value already."""
    scene = Scene({"a": on(True)})
    client, subscriber = scene.watch("a")
    subscriber.pause()
    scene.change({"a": on(False)})
    scene.change({"a": on(True)})
    subscriber.resume()
    assert client.payloads == [shown(True)]


def test_a_change_during_a_push_replaces_the_target() -> None:
    """A cohort that was not reached yet gets the newest value only."""
    scene = Scene({"a": {"t": 2, "v": {"i": 0}, "i": "v"}})
    clients = [scene.watch("a", Identifier=str(number))[0] for number in range(10)]
    scene.hub.publish(scene.snapshot({"a": {"t": 2, "v": {"i": 1}, "i": "v"}}))
    assert not scene.hub.work(lambda: True), "compared"
    assert not scene.hub.work(lambda: True), "one cohort is pushed to"
    scene.hub.publish(scene.snapshot({"a": {"t": 2, "v": {"i": 2}, "i": "v"}}))
    while not scene.hub.work(lambda: True):
        pass
    assert {json.dumps(client.payloads[-1]["value"]) for client in clients} == {"2"}
    assert sorted(len(client.payloads) for client in clients) == [2] * 9 + [3]


def test_a_subscriber_that_joins_during_a_push_gets_the_new_value_once() -> None:
    """It joins a cohort that the push has not reached yet."""
    scene = Scene({"a": on(True)})
    early, _ = scene.watch("a", Identifier="1")
    scene.hub.publish(scene.snapshot({"a": on(False)}))
    late, _ = scene.watch("a", Identifier="1")
    assert scene.hub.work(lambda: False)
    assert (early.payloads, late.payloads) == ([shown(True), shown(False)], [shown(False)])


def test_a_stream_opened_before_the_first_config_waits_with_a_comment() -> None:
    """The value follows with the first config."""
    scene = Scene(None)
    client, _ = scene.watch("a", Identifier="1")
    assert client.payloads == []
    assert b"\n: " in client.raw
    scene.change({"a": on(True)})
    assert client.payloads == [shown(True)]


def test_a_stream_that_waits_for_an_unknown_flag_shows_null() -> None:
    """If the first config lacks the flag, the stream gets null."""
    scene = Scene(None)
    client, _ = scene.watch("missing")
    scene.change({"a": on(True)})
    assert client.payloads == [shown(None, "")]


def test_closing_forgets_the_stream_and_its_cohort() -> None:
    """Nothing of a closed stream is left, a second close has no effect, and no stream is counted as open."""
    scene = Scene({"a": on(True)})
    _, one = scene.watch("a", Identifier="1")
    _, two = scene.watch(None, Identifier="1")
    for subscriber in (one, two, one):
        subscriber.close()
    scene.change({"a": on(False)})
    assert scene.hub.subscribers() == []
    assert set(scene.metrics.open.values()) == {0}


def test_closing_during_a_push_is_safe() -> None:
    """A stream that is closed between two slices is not written to."""
    scene = Scene({"a": on(True)})
    client, subscriber = scene.watch("a")
    scene.hub.publish(scene.snapshot({"a": on(False)}))
    subscriber.close()
    assert scene.hub.work(lambda: False)
    assert client.payloads == [shown(True)]


def test_ids_depend_on_config_and_values_only() -> None:
    """Two hubs with one config have equal ids; the id for a user with other values differs."""
    ids = []
    for identifier in ("DE", "DE", "FR"):
        client, _ = Scene({"a": for_country("DE")}).watch("a", Country=identifier)
        ids.append(next(line for line in client.raw.split(b"\n") if line.startswith(b"id:")))
    assert ids[0] == ids[1] != ids[2]


def test_many_affected_flags_still_concern_only_those_whose_values_change() -> None:
    """Above the limit for comparing flag by flag, whole payloads are compared, with the same outcome."""
    scene = Scene({f"f{number}": for_country("DE") for number in range(60)})
    german, _ = scene.watch(None, Country="DE")
    american, _ = scene.watch(None, Country="US")
    scene.change({f"f{number}": for_country("FR") for number in range(60)})
    assert (len(german.payloads), len(american.payloads)) == (2, 1)


def test_the_tags_and_etags_of_published_configs_are_known() -> None:
    """A call that waits for a config is made when it is published, and older configs stay known."""
    scene = Scene({"a": on(True)})
    first, second = scene.hub.snapshot, scene.snapshot({"a": on(False)})
    assert first is not None
    called: list[bool] = []
    scene.hub.known_configs.wait_for(second.tag, lambda: called.append(True))
    scene.hub.publish(second)
    assert [True] == called
    assert all(name in scene.hub.known_configs for name in (first.tag, first.etag, second.tag, second.etag))
