"""Which answers and which stream events are exported, through a whole server in memory."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from gateway.export import Parcel
from gateway.export.event import encode_count
from gateway.export.forwarder import TICK_SECONDS
from gateway.export.parcel import merge_counts
from gateway.flags import load
from gateway.telemetry import Metrics
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
    """A server with one SDK, whose exported evaluations the test reads."""

    def __init__(self, exporter: dict[str, Any], document: dict[str, Any] | None = None, **sdk: Any) -> None:
        from gateway.serving import LocalServer

        self.clock = Clock()
        self.clock.advance(NOW)
        snapshot = load(json.dumps(document or config()).encode(), '"1"')
        self.sdk = FakeSdk("sdk1", SDK_KEY, **{"snapshot": snapshot, **sdk})
        self._parcels: list[Parcel] = []
        self.server = LocalServer(
            self.clock, FakeRegistry(self.sdk), settings_of({"exporter": exporter}),
            metrics=Metrics(lambda: 0.0, "test"), status_document=dict, rng=random.Random(1), keep=self._keep,
        )  # fmt: skip
        self.server.add_sdk(self.sdk)
        self.server.start()

    def _keep(self, parcel: Parcel) -> Deferred[None]:
        self._parcels.append(parcel)
        return succeed(None)

    def post(self, path: str, body: Any, **headers: str) -> Answer:
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
        """Push a new config."""
        self.sdk.snapshot = load(json.dumps(document).encode(), "", self.sdk.snapshot)
        self.server.publish("sdk1", self.sdk.snapshot)
        self.clock.advance(0.001)

    def events(self) -> list[dict[str, Any]]:
        """Return the exported events since the last call."""
        self.clock.advance(TICK_SECONDS)
        parcels, self._parcels = self._parcels, []
        lines = [line for parcel in parcels if parcel.count for line in parcel.lines.split(b"\n")]
        lines += [encode_count(*key, count) for key, count in merge_counts(parcels).items()]
        return [json.loads(line) for line in lines]

    def keys(self) -> list[str]:
        """Return the flags of the exported events since the last call, sorted."""
        return sorted(event["key"] for event in self.events())


def test_an_eval_is_exported_with_user_flag_variation_value_and_second() -> None:
    """The event has the values of the answer."""
    scene = Scene(HOOK)
    assert {"value": True, "variationId": "v-on"} == scene.post("/api/sdk1/eval", {"key": "on", "user": ANNA}).json
    assert [
        {
            "kind": "feature", "contextKind": "user", "userKey": "anna", "creationDate": int(NOW), "key": "on",
            "variation": "v-on", "value": True, "default": False, "source": "SERVER",
        }
    ] == scene.events()  # fmt: skip


def test_a_failing_flag_is_exported_as_default_without_a_value() -> None:
    """It is exported although the answer is an error."""
    scene = Scene(HOOK)
    assert 500 == scene.post("/api/sdk1/eval", {"key": "failing", "user": ANNA}).status
    assert 500 == scene.post(f"{OFREP}/failing", {"context": ANNA}, **BY_ID).status
    assert [(None, True)] * 2 == [(event["value"], event["default"]) for event in scene.events()]


def test_the_user_of_an_ofrep_evaluation_is_its_targeting_key() -> None:
    """The event has the same identifier as the evaluation."""
    scene = Scene(HOOK)
    assert 200 == scene.post(f"{OFREP}/on", {"context": {"targetingKey": "zoe"}}, **BY_ID).status
    assert [("on", "zoe")] == [(event["key"], event["userKey"]) for event in scene.events()]


def test_users_without_an_identifier_are_anonymous_and_distinct() -> None:
    """So is no user at all; default attributes count as the user's."""
    scene = Scene(HOOK)
    for body in ({"key": "on"}, {"key": "on", "user": {"Country": "DE"}}, {"key": "on", "user": {"Country": "FR"}}):
        scene.post("/api/sdk1/eval", body)
    events = scene.events()
    assert ["anonymousUser"] * 3 == [event["contextKind"] for event in events]
    assert 3 == len({event["userKey"] for event in events})
    named = Scene(HOOK, defaults={"Identifier": "kiosk"})
    named.post("/api/sdk1/eval", {"key": "on"})
    assert ["kiosk"] == [event["userKey"] for event in named.events()]


def test_a_refused_request_is_not_exported() -> None:
    """No flag was evaluated."""
    scene = Scene(BULK)
    assert 400 == scene.post("/api/sdk1/eval", {"key": "nowhere"}).status
    assert 404 == scene.post(f"{OFREP}/nowhere", {}, **BY_ID).status
    assert 404 == scene.post("/api/sdk2/eval", {"key": "on"}).status
    assert 400 == scene.post("/api/sdk1/eval-all", {"user": 1}).status
    assert [] == scene.events()


@pytest.mark.parametrize(("exporter", "expected"), [(HOOK, []), (BULK, ["changing", "failing", "on"])])
def test_bulk_evaluations_are_exported_if_configured(exporter: dict[str, Any], expected: list[str]) -> None:
    """The answers do not depend on it."""
    scene, plain = Scene(exporter), Scene({})
    for path, body in (("/api/sdk1/eval-all", {"user": ANNA}), (OFREP, {"context": ANNA})):
        assert plain.post(path, body, **BY_ID).body == scene.post(path, body, **BY_ID).body
        assert expected == scene.keys()
        assert [] == plain.events()


def test_an_unchanged_bulk_answer_is_neither_evaluated_nor_exported() -> None:
    """304 shows no values."""
    scene = Scene(BULK)
    etag = scene.post(OFREP, {"context": ANNA}, **BY_ID)["Etag"]
    scene.events()
    assert 304 == scene.post(OFREP, {"context": ANNA}, **BY_ID, **{"If-None-Match": etag}).status
    assert [] == scene.events()


@pytest.mark.parametrize("query", ["", "?mode=delta"])
def test_each_event_of_a_stream_of_one_flag_is_exported(query: str) -> None:
    """The first event and each event after a change, once per stream."""
    scene = Scene(HOOK)
    for _ in range(2):
        scene.open("changing", query)
    scene.open("on", query)
    assert ["changing", "changing", "on"] == scene.keys()
    scene.publish(config(False))
    assert [("changing", False, "anna")] * 2 == [
        (event["key"], event["value"], event["userKey"]) for event in scene.events()
    ]
    scene.publish({"f": {"on": config()["f"]["on"]}})
    assert [] == scene.events()  # the flag is gone: nothing was evaluated


def test_a_flag_of_a_stream_that_fails_is_exported_as_default() -> None:
    """The event of a deleted flag, which has the same payload, is not exported."""
    scene = Scene(HOOK)
    scene.open("changing")
    scene.events()
    scene.publish(config(changing={"t": 0, "v": {"s": "x"}, "i": "v"}))
    assert [(None, True)] == [(event["value"], event["default"]) for event in scene.events()]


def test_a_stream_that_resumes_without_data_is_not_exported() -> None:
    """``recovered`` and the id alone show no values; the same data again does."""
    scene = Scene(HOOK)
    seen = {}
    for query in ("?mode=delta", "?resume=quiet"):
        line = Connection(scene.server.site)
        line.send(f"GET {stream_path('sdk1', ANNA, 'on')}{query} HTTP/1.1\r\nHost: g\r\n\r\n".encode())
        seen[query] = parse_answer(line.received()).text.split("id: ")[1].split("\n")[0]
    assert 2 == len(scene.events())
    for query, last in seen.items():
        scene.open("on", query, headers=f"Last-Event-ID: {last}\r\n")
    assert [] == scene.events()
    scene.open("on", headers=f"Last-Event-ID: {seen['?resume=quiet']}\r\n")
    assert ["on"] == scene.keys()


@pytest.mark.parametrize("exporter", [HOOK, BULK])
def test_streams_of_all_flags_are_exported_if_configured(exporter: dict[str, Any]) -> None:
    """Each plain event counts for all flags, a patch for the flags in it."""
    scene = Scene(exporter)
    wanted = exporter is BULK
    scene.open(None)
    assert (["changing", "failing", "on"] if wanted else []) == scene.keys()
    scene.open(None, "?mode=delta")
    assert (["changing", "failing", "on"] if wanted else []) == scene.keys()
    scene.publish(config(False))
    assert (["changing"] * 2 + ["failing", "on"] if wanted else []) == scene.keys()


def test_ofrep_event_streams_are_not_exported() -> None:
    """Their events show no values."""
    scene = Scene(BULK)
    answer = scene.post(OFREP, {"context": ANNA}, **BY_ID).json
    scene.events()
    line = Connection(scene.server.site)
    path = answer["eventStreams"][0]["endpoint"]["requestUri"]
    line.send(f"GET {path} HTTP/1.1\r\nHost: g\r\n\r\n".encode())
    scene.publish(config(False))
    scene.clock.advance(60)
    assert b"refetchEvaluation" in line.received()
    assert [] == scene.events()


def test_a_stream_that_waits_for_the_first_config_is_exported_with_it() -> None:
    """Nothing is exported before."""
    scene = Scene(HOOK, snapshot=None)
    scene.open("on", headers="Accept: text/event-stream\r\n")
    assert [] == scene.events()
    scene.publish(config())
    assert ["on"] == scene.keys()


def test_sampling_and_aggregate_hold_for_every_route() -> None:
    """Aggregated events have no user."""
    scene = Scene(BULK | {"aggregate": True})
    scene.post("/api/sdk1/eval", {"key": "on", "user": ANNA})
    scene.post("/api/sdk1/eval-all", {"user": {"Identifier": "zoe"}})
    scene.open("on")
    events = {event["key"]: (event["count"], event["userKey"]) for event in scene.events()}
    assert {"on": (3, ""), "changing": (1, ""), "failing": (1, "")} == events
    nothing = Scene(BULK | {"sampling": 0})
    nothing.post("/api/sdk1/eval", {"key": "on", "user": ANNA})
    nothing.open(None)
    assert [] == nothing.events()


def test_a_reload_switches_the_export_on_and_off() -> None:
    """For answers and for streams that are open already."""
    scene = Scene({})
    scene.open("changing")
    scene.post("/api/sdk1/eval", {"key": "on"})
    assert [] == scene.events()
    scene.server.check(settings_of({"exporter": HOOK}))()
    scene.publish(config(False))
    scene.post("/api/sdk1/eval", {"key": "on"})
    assert ["changing", "on"] == scene.keys()
    scene.server.check(settings_of({}))()
    scene.publish(config(True))
    scene.post("/api/sdk1/eval", {"key": "on"})
    assert [] == scene.events()
