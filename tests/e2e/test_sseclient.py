"""An independent parser reads the gateway's event streams."""

from __future__ import annotations

import base64
import json

import pytest
import requests
import sseclient

from cdn_stand_in import SDK_KEY
from shop import FRENCH, GERMAN, shop


def encoded(**data):
    """Return stream data as the documentation's examples make it: standard base64, padded."""
    return base64.b64encode(json.dumps(data).encode()).decode().replace("/", "%2F")


def stream(url):
    """Open a stream: the response, to be closed, and an iterator of its events."""
    response = requests.get(url, stream=True, timeout=30, headers={"Accept": "text/event-stream"})
    assert 200 == response.status_code
    assert "text/event-stream" == response.headers["Content-Type"].split(";")[0]
    return response, sseclient.SSEClient(response).events()


@pytest.mark.parametrize(
    "path",
    ["/sse/shop/eval/{by_id}", "/sse/eval/k/{by_key}"],
    ids=["by SDK id", "by SDK key"],
)
def test_a_single_flag_stream_sends_the_value_before_and_after(gateway, upstream, path):
    """A single-flag stream sends the value at once and the next one after a change, each with an id."""
    path = path.format(
        by_id=encoded(key="banner", user=GERMAN), by_key=encoded(sdkKey=SDK_KEY, key="banner", user=GERMAN)
    )
    response, events = stream(gateway.url + path)
    with response:
        first = next(events)
        assert {"value": "before", "variationId": "v-before"} == json.loads(first.data)
        upstream.set(shop("after"))
        second = next(events)
        assert {"value": "after", "variationId": "v-after"} == json.loads(second.data)
        assert 2 == len({first.id, second.id} - {None, ""})


@pytest.mark.parametrize(
    "path",
    ["/sse/shop/eval-all/{by_id}", "/sse/eval-all/k/{by_key}"],
    ids=["by SDK id", "by SDK key"],
)
def test_an_all_flags_stream_sends_the_values_before_and_after(gateway, upstream, path):
    """An all-flags stream sends the whole map at once and again after a change."""
    path = path.format(by_id=encoded(user=GERMAN), by_key=encoded(sdkKey=SDK_KEY, user=GERMAN))
    response, events = stream(gateway.url + path)
    with response:
        first = json.loads(next(events).data)
        assert ["banner", "checkout", "limit"] == list(first)
        assert "before" == first["banner"]["value"]
        upstream.set(shop("after"))
        assert first | {"banner": {"value": "after", "variationId": "v-after"}} == json.loads(next(events).data)


def test_a_user_whose_value_stays_gets_no_event(gateway, upstream):
    """After a change for Germany a French user's next event is the change for France."""
    response, events = stream(f"{gateway.url}/sse/shop/eval/{encoded(key='banner', user=FRENCH)}")
    other, german = stream(f"{gateway.url}/sse/shop/eval/{encoded(key='banner', user=GERMAN)}")
    with response, other:
        assert "elsewhere" == json.loads(next(events).data)["value"]
        assert "before" == json.loads(next(german).data)["value"]
        upstream.set(shop("after"))
        assert "after" == json.loads(next(german).data)["value"]  # the push has ended
        config = shop("after")
        config["f"]["banner"]["v"]["s"] = "everywhere"
        upstream.set(config)
        assert "everywhere" == json.loads(next(events).data)["value"]
