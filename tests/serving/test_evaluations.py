"""Which answers and which events of streams are told to the exporter, through a whole server over memory."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from gateway.export import Parcel, counted, merged
from gateway.export.forwarder import TICK_SECONDS
from gateway.flags import load
from gateway.telemetry import NoMetrics
from streams import stream_path
from web_memory import NOW, SDK_KEY, Answer, Connection, FakeRegistry, FakeSdk, parse_answer, request_bytes, settings_of

HOOK = {"endpoint_url": "http://receiver.test"}
BULK = HOOK | {"bulk": True}
BY_ID = {"X-ConfigCat-SdkId": "sdk1"}
ANNA = {"Identifier": "anna"}
OFREP = "/ofrep/v1/evaluate/flags"


def config(value: bool = True, **flags: Any) -> dict[str, Any]:
    """A flag that is ``value``, one that is on, and one that fails."""
    return {
        "f": {
            "changing": {"t": 0, "v": {"b": value}, "i": f"v-{value}"},
            "on": {"t": 0, "v": {"b": True}, "i": "v-on"},
            "failing": {"t": 0, "v": {"s": "x"}, "i": "v"},
            **flags,
        }
    }


class Scene:
    """A server that serves one SDK and gives away what was evaluated."""

    def __init__(self, exporter: dict[str, Any], document: dict[str, Any] | None = None, **sdk: Any) -> None:
        from gateway.serving import LocalServer

        self.clock = Clock()
        self.clock.advance(NOW)
        snapshot = load(json.dumps(document or config()).encode(), '"1"')
        self.sdk = FakeSdk("sdk1", SDK_KEY, **{"snapshot": snapshot, **sdk})
        self._parcels: list[Parcel] = []
        self.server = LocalServer(
            self.clock, FakeRegistry(self.sdk), settings_of({"exporter": exporter}), metrics=NoMetrics(),
            status_document=dict, rng=random.Random(1), keep=self._keep,
        )  # fmt: skip
        self.server.add_sdk(self.sdk)
        self.server.start()

    def _keep(self, parcel: Parcel) -> Deferred[None]:
        self._parcels.append(parcel)
        return succeed(None)

    def ask(self, path: str, body: Any, **headers: str) -> Answer:
        """POST a body and return the answer."""
        line = Connection(self.server.site)
        line.send(request_bytes("POST", path, headers, json.dumps(body)))
        answer = parse_answer(line.received())
        line.hang_up()
        return answer

    def open(self, key: str | None, query: str = "", user: Any = ANNA, headers: str = "") -> Connection:
        """Open a stream."""
        line = Connection(self.server.site)
        line.send(f"GET {stream_path('sdk1', user, key)}{query} HTTP/1.1\r\nHost: g\r\n{headers}\r\n".encode())
        assert b"200" in line.received()[:20]
        return line

    def publish(self, document: dict[str, Any]) -> None:
        """Have a new config pushed."""
        self.sdk.snapshot = load(json.dumps(document).encode(), "", self.sdk.snapshot)
        self.server.publish("sdk1", self.sdk.snapshot)
        self.clock.advance(0.001)

    def told(self) -> list[dict[str, Any]]:
        """The events since last asked."""
        self.clock.advance(TICK_SECONDS)
        parcels, self._parcels = self._parcels, []
        lines = [line for parcel in parcels if parcel.count for line in parcel.lines.split(b"\n")]
        lines += [counted(minute, tail, count) for (minute, tail), count in merged(parcels).items()]
        return [json.loads(line) for line in lines]

    def keys(self) -> list[str]:
        """The flags of the events since last asked, in their order within the config."""
        return sorted(event["key"] for event in self.told())


def test_eval_is_told_with_user_flag_variation_value_and_second() -> None:
    """As the answer has it."""
    scene = Scene(HOOK)
    assert {"value": True, "variationId": "v-on"} == scene.ask("/api/sdk1/eval", {"key": "on", "user": ANNA}).json
    assert [
        {
            "kind": "feature", "contextKind": "user", "userKey": "anna", "creationDate": int(NOW), "key": "on",
            "variation": "v-on", "value": True, "default": False, "source": "SERVER",
        }
    ] == scene.told()  # fmt: skip


def test_a_flag_that_fails_is_told_as_default_without_a_value() -> None:
    """Though the answer is an error."""
    scene = Scene(HOOK)
    assert 500 == scene.ask("/api/sdk1/eval", {"key": "failing", "user": ANNA}).status
    assert 500 == scene.ask(f"{OFREP}/failing", {"context": ANNA}, **BY_ID).status
    assert [(None, True)] * 2 == [(event["value"], event["default"]) for event in scene.told()]


def test_ofrep_names_its_user_by_the_targeting_key() -> None:
    """As evaluation does."""
    scene = Scene(HOOK)
    assert 200 == scene.ask(f"{OFREP}/on", {"context": {"targetingKey": "zoe"}}, **BY_ID).status
    assert [("on", "zoe")] == [(event["key"], event["userKey"]) for event in scene.told()]


def test_users_without_an_identifier_are_anonymous_and_told_apart() -> None:
    """Nobody at all, too; default attributes count as the user's."""
    scene = Scene(HOOK)
    for body in ({"key": "on"}, {"key": "on", "user": {"Country": "DE"}}, {"key": "on", "user": {"Country": "FR"}}):
        scene.ask("/api/sdk1/eval", body)
    told = scene.told()
    assert ["anonymousUser"] * 3 == [event["contextKind"] for event in told]
    assert 3 == len({event["userKey"] for event in told})
    named = Scene(HOOK, defaults={"Identifier": "kiosk"})
    named.ask("/api/sdk1/eval", {"key": "on"})
    assert ["kiosk"] == [event["userKey"] for event in named.told()]


def test_what_is_refused_is_not_told() -> None:
    """No flag was evaluated."""
    scene = Scene(BULK)
    assert 400 == scene.ask("/api/sdk1/eval", {"key": "nowhere"}).status
    assert 404 == scene.ask(f"{OFREP}/nowhere", {}, **BY_ID).status
    assert 404 == scene.ask("/api/sdk2/eval", {"key": "on"}).status
    assert 400 == scene.ask("/api/sdk1/eval-all", {"user": 1}).status
    assert [] == scene.told()


@pytest.mark.parametrize(("exporter", "expected"), [(HOOK, []), (BULK, ["changing", "failing", "on"])])
def test_all_flags_at_once_are_told_if_asked_for(exporter: dict[str, Any], expected: list[str]) -> None:
    """And the answers are the same either way."""
    scene, plain = Scene(exporter), Scene({})
    for path, body in (("/api/sdk1/eval-all", {"user": ANNA}), (OFREP, {"context": ANNA})):
        assert plain.ask(path, body, **BY_ID).body == scene.ask(path, body, **BY_ID).body
        assert expected == scene.keys()
        assert [] == plain.told()


def test_a_bulk_answer_that_has_not_changed_is_not_evaluated_and_not_told() -> None:
    """304 shows no values."""
    scene = Scene(BULK)
    etag = scene.ask(OFREP, {"context": ANNA}, **BY_ID)["Etag"]
    scene.told()
    assert 304 == scene.ask(OFREP, {"context": ANNA}, **BY_ID, **{"If-None-Match": etag}).status
    assert [] == scene.told()


@pytest.mark.parametrize("query", ["", "?mode=delta"])
def test_each_event_of_a_stream_of_one_flag_is_told(query: str) -> None:
    """The first one, and each one that a change brings; for each reader."""
    scene = Scene(HOOK)
    for _ in range(2):
        scene.open("changing", query)
    scene.open("on", query)
    assert ["changing", "changing", "on"] == scene.keys()
    scene.publish(config(False))
    assert [("changing", False, "anna")] * 2 == [
        (event["key"], event["value"], event["userKey"]) for event in scene.told()
    ]
    scene.publish({"f": {"on": config()["f"]["on"]}})
    assert [] == scene.told()  # the flag is gone: nothing was evaluated


def test_a_stream_whose_flag_fails_is_told_so() -> None:
    """A null that failed is not one that was deleted."""
    scene = Scene(HOOK)
    scene.open("changing")
    scene.told()
    scene.publish(config(changing={"t": 0, "v": {"s": "x"}, "i": "v"}))
    assert [(None, True)] == [(event["value"], event["default"]) for event in scene.told()]


def test_a_reader_that_is_told_nothing_new_is_not_told_of() -> None:
    """``recovered`` and the id alone are no evaluations; the same data again is one."""
    scene = Scene(HOOK)
    seen = {}
    for query in ("?mode=delta", "?resume=quiet"):
        line = Connection(scene.server.site)
        line.send(f"GET {stream_path('sdk1', ANNA, 'on')}{query} HTTP/1.1\r\nHost: g\r\n\r\n".encode())
        seen[query] = parse_answer(line.received()).text.split("id: ")[1].split("\n")[0]
    assert 2 == len(scene.told())
    for query, last in seen.items():
        scene.open("on", query, headers=f"Last-Event-ID: {last}\r\n")
    assert [] == scene.told()
    scene.open("on", headers=f"Last-Event-ID: {seen['?resume=quiet']}\r\n")
    assert ["on"] == scene.keys()


@pytest.mark.parametrize("exporter", [HOOK, BULK])
def test_streams_of_all_flags_are_told_if_asked_for(exporter: dict[str, Any]) -> None:
    """Plain ones tell all flags with each event, patches what they hold."""
    scene = Scene(exporter)
    wanted = exporter is BULK
    scene.open(None)
    assert (["changing", "failing", "on"] if wanted else []) == scene.keys()
    scene.open(None, "?mode=delta")
    assert (["changing", "failing", "on"] if wanted else []) == scene.keys()
    scene.publish(config(False))
    assert (["changing"] * 2 + ["failing", "on"] if wanted else []) == scene.keys()


def test_streams_that_only_call_to_ask_again_are_not_told() -> None:
    """OFREP's events show no values."""
    scene = Scene(BULK)
    answer = scene.ask(OFREP, {"context": ANNA}, **BY_ID).json
    scene.told()
    line = Connection(scene.server.site)
    path = answer["eventStreams"][0]["endpoint"]["requestUri"]
    line.send(f"GET {path} HTTP/1.1\r\nHost: g\r\n\r\n".encode())
    scene.publish(config(False))
    scene.clock.advance(60)
    assert b"refetchEvaluation" in line.received()
    assert [] == scene.told()


def test_a_stream_that_waited_for_its_first_config_is_told_when_it_comes() -> None:
    """Not before."""
    scene = Scene(HOOK, snapshot=None)
    scene.open("on", headers="Accept: text/event-stream\r\n")
    assert [] == scene.told()
    scene.publish(config())
    assert ["on"] == scene.keys()


def test_sampling_and_aggregate_hold_for_every_route() -> None:
    """Counts have no user."""
    scene = Scene(BULK | {"aggregate": True})
    scene.ask("/api/sdk1/eval", {"key": "on", "user": ANNA})
    scene.ask("/api/sdk1/eval-all", {"user": {"Identifier": "zoe"}})
    scene.open("on")
    told = {event["key"]: (event["count"], event["userKey"]) for event in scene.told()}
    assert {"on": (3, ""), "changing": (1, ""), "failing": (1, "")} == told
    nothing = Scene(BULK | {"sampling": 0})
    nothing.ask("/api/sdk1/eval", {"key": "on", "user": ANNA})
    nothing.open(None)
    assert [] == nothing.told()


def test_a_reload_begins_and_ends_the_telling() -> None:
    """For answers and for streams that are open already."""
    scene = Scene({})
    scene.open("changing")
    scene.ask("/api/sdk1/eval", {"key": "on"})
    assert [] == scene.told()
    scene.server.apply(settings_of({"exporter": HOOK}))
    scene.publish(config(False))
    scene.ask("/api/sdk1/eval", {"key": "on"})
    assert ["changing", "on"] == scene.keys()
    scene.server.apply(settings_of({}))
    scene.publish(config(True))
    scene.ask("/api/sdk1/eval", {"key": "on"})
    assert [] == scene.told()
