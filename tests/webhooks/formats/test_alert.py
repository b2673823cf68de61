"""Messages that a config is held or degraded."""

from __future__ import annotations

import json

import attrs
import pytest

from gateway.settings import Endpoint
from gateway.webhooks.formats import Alert, compose_alert
from outbound_scene import AT, check
from recorder_scene import RecorderScene

HELD = Alert("CONFIG_HELD", "shop", '"1"', '"2"', "2 of 5 flags would fail", 5, 0, {"a": "no value", "`b": "x"}, AT)


def endpoint(message_format="envelope", **more):
    return Endpoint(name="ops", url="http://ops/", format=message_format, **more)


@pytest.mark.parametrize("kind", ["CONFIG_HELD", "CONFIG_DEGRADED"])
def test_an_envelope_has_the_reason_and_the_flags(kind):
    """The event follows the schema; equal alerts have equal ids, other ones other ids."""
    alert = attrs.evolve(HELD, type=kind)
    message = compose_alert(alert, endpoint())
    body = json.loads(message.body)
    check("envelope", body)
    assert (kind, message.id, 2, 5) == (
        body["type"],
        body["id"],
        body["data"]["failingCount"],
        body["data"]["flagCount"],
    )
    assert {"key": "a", "reason": "no value"} == body["data"]["failing"][0]
    assert message.id == compose_alert(attrs.evolve(alert, at=AT + 1), endpoint()).id
    others = [attrs.evolve(alert, **each) for each in ({"sdk_id": "x"}, {"old_etag": None}, {"new_etag": "x"})]
    assert 4 == len({message.id, *(compose_alert(each, endpoint()).id for each in others)})


def test_many_flags_are_bounded():
    """A message names 100 flags; the count is that of all."""
    body = json.loads(compose_alert(attrs.evolve(HELD, failing={f"f{n}": "x" for n in range(500)}), endpoint()).body)
    assert (100, 500) == (len(body["data"]["failing"]), body["data"]["failingCount"])


@pytest.mark.parametrize("service", ["slack", "teams", "discord"])
def test_chats_get_it_as_text(service):
    """The schema of the service holds, and markup in keys has no effect."""
    body = json.loads(compose_alert(HELD, endpoint(service)).body)
    check(service, body)
    assert "2 of 5 flags would fail" in json.dumps(body)
    assert "`b" not in json.dumps(body) or service == "teams"


@pytest.mark.parametrize(
    "other",
    [
        endpoint("notifier"),
        endpoint("environment"),
        endpoint("audit_log"),
        endpoint(events=["FLAG_UPDATED", "CONFIG_DEGRADED"]),
        endpoint(sdks=["x"]),
        endpoint("slack", sdks=["x"]),
    ],
)
def test_other_endpoints_get_nothing(other):
    """Formats without a place for it, and endpoints that do not subscribe."""
    assert None is compose_alert(HELD, other)
    assert None is not compose_alert(HELD, endpoint(events=["CONFIG_HELD"], sdks=["shop"]))


def test_the_recorder_stores_it_once():
    """The same alert again, after a restart for example, is no second message."""
    scene = RecorderScene("envelope", "slack", "notifier")
    assert scene.recorder.alert(HELD).called
    scene.recorder.alert(attrs.evolve(HELD, at=AT + 5))
    assert [("CONFIG_HELD", "shop"), ("CONFIG_HELD", "shop")] == scene.messages()
    assert ["envelope", "slack"] == scene.woken
