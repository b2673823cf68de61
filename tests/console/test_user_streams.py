"""Test streams: the values of a user, what a config changes for the user and why, slow clients."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from twisted.internet.task import Clock

from gateway.console.event_stream import HEARTBEAT
from gateway.console.open_streams import open_user_stream
from gateway.console.schema import UserStreamBody
from gateway.console.user_streams import FLAGS, MOST, UserStreams
from gateway.flags import Snapshot, attributes_from_json, effective_user, load
from gateway.telemetry import RequestError
from shop import FRENCH, GERMAN, shop
from stream_request import StreamRequest


class Scene:
    """A stream for a user, and configs that come into use."""

    def __init__(self, user: dict[str, Any], key: str | None = None, config: dict[str, Any] | None = None) -> None:
        self.clock = Clock()
        self.streams = UserStreams(self.clock, self.clock.seconds)
        self.request = StreamRequest()
        self.number = 0
        now = self.load(config or shop("first"))
        read = effective_user(attributes_from_json(user), {})
        self.streams.open(cast("Any", self.request), "shop", key, read, now)

    def load(self, config: dict[str, Any]) -> Snapshot:
        """Compile a config."""
        self.number += 1
        return load(json.dumps(config).encode(), f'"{self.number}"')

    def apply(self, config: dict[str, Any], sdk_id: str = "shop") -> None:
        """Bring a config into use."""
        self.streams.config_applied(sdk_id, self.load(config))

    def heard(self) -> list[tuple[str, Any]]:
        """Return kind and data of the events so far, and forget them."""
        self.clock.pump([0] * 50)
        blocks = [block.splitlines() for block in self.request.wire.decode().split("\n\n") if "data: " in block]
        self.request.wire = b""
        return [(kind[-1].split(": ")[1], json.loads(data.split(": ", 1)[1])) for *kind, data in blocks]


def test_values_come_first_and_then_what_a_config_changes() -> None:
    """With what decided each; what changes for other users only is counted as nothing."""
    scene = Scene(GERMAN)
    ((kind, opened),) = scene.heard()
    assert ("opened", "shop", 3) == (kind, opened["sdk"], opened["flags"])
    first = {"value": "first", "variationId": "v-first", "decided_by": "rule 1", "error": None}
    assert first == opened["values"]["banner"]
    second = first | {"value": "second", "variationId": "v-second"}
    scene.apply(shop("second"))
    (changed, summary) = scene.heard()
    assert ("changed", "banner", first, second) == (
        changed[0],
        *(changed[1][name] for name in ("key", "before", "after")),
    )
    assert ("config", 1) == (summary[0], summary[1]["changed"])
    french = Scene(FRENCH)
    french.heard()
    french.apply(shop("second"))
    assert [("config", 0)] == [(kind, data["changed"]) for kind, data in french.heard()]


def test_one_flag_is_streamed() -> None:
    """Other flags and other SDKs change nothing; a flag that vanishes has no value."""
    scene = Scene(GERMAN, key="limit")
    assert ["limit"] == list(scene.heard()[0][1]["values"])
    scene.apply(shop("second"), sdk_id="other")
    assert [] == scene.heard()
    scene.apply(shop("second"))
    assert [0] == [data["changed"] for _, data in scene.heard()]
    scene.apply({"f": {}})
    vanished = scene.heard()[0][1]
    assert (3, None) == (vanished["before"]["value"], vanished["after"])


def test_a_client_that_does_not_read_skips_configs() -> None:
    """It gets the difference between what it has and the newest."""
    scene = Scene(GERMAN)
    scene.heard()
    scene.request.producer.pauseProducing()
    for value in ("second", "third"):
        scene.apply(shop(value))
    scene.clock.advance(HEARTBEAT)
    assert [] == scene.heard()
    scene.request.producer.resumeProducing()
    (changed, _) = scene.heard()
    assert ("first", "third") == tuple(changed[1][side]["value"] for side in ("before", "after"))


def test_many_changes_are_counted_and_the_first_are_sent() -> None:
    """As are many values at the start."""
    configs = [{"f": {f"flag{at:04}": {"t": 2, "v": {"i": value}} for at in range(FLAGS + 50)}} for value in (1, 2)]
    scene = Scene(GERMAN, config=configs[0])
    opened = scene.heard()[0][1]
    assert (FLAGS + 50, FLAGS) == (opened["flags"], len(opened["values"]))
    scene.apply(configs[1])
    *changed, (_, summary) = scene.heard()
    assert (FLAGS, FLAGS + 50) == (len(changed), summary["changed"])


def test_a_stream_ends_with_its_connection() -> None:
    """Nothing of it stays, whether the client or the gateway ends it."""
    scene = Scene(GERMAN)
    scene.heard()
    scene.clock.advance(HEARTBEAT)
    assert b":\n" == scene.request.wire
    scene.apply(shop("second"))
    scene.streams.close()
    assert 0 == len(scene.streams)
    assert [] == scene.heard()
    assert [] == scene.clock.getDelayedCalls()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (UserStreamBody("other"), 404),
        (UserStreamBody("shop", key="banners"), 404),
        (UserStreamBody("shop", user={"Country": {}}), 400),
        (UserStreamBody("empty"), 503),
    ],
)
def test_what_cannot_be_streamed_is_refused(body: UserStreamBody, code: int) -> None:
    """With the status of the fault."""
    scene = Scene(GERMAN)
    with pytest.raises(RequestError) as refused:
        open_user_stream(facade(scene), body)
    assert code == refused.value.code


def test_the_number_of_streams_is_bounded() -> None:
    """One that ends makes room."""
    scene = Scene(GERMAN)
    requests = [StreamRequest() for _ in range(MOST - 1)]
    for request in requests:
        open_user_stream(facade(scene), UserStreamBody("shop"))(cast("Any", request))
    with pytest.raises(RequestError) as refused:
        open_user_stream(facade(scene), UserStreamBody("shop"))
    assert 503 == refused.value.code
    requests[0].finish()
    open_user_stream(facade(scene), UserStreamBody("shop"))


def facade(scene: Scene) -> Any:
    """Return what the function reads of the gateway."""
    sdks = {
        "shop": SimpleNamespace(id="shop", snapshot=scene.load(shop("now")), defaults={}),
        "empty": SimpleNamespace(id="empty", snapshot=None, defaults={}),
    }
    return SimpleNamespace(user_streams=scene.streams, registry=SimpleNamespace(by_id=sdks.get))
