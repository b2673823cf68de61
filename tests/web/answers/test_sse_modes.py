"""Modes and resuming of event streams, as the query selects them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.flags import load
from gateway.web.answers.wait_for_config import WAITING_LIMIT
from web_memory import Connection, MemorySite, parse_answer

ALL = "/sse/sdk1/eval-all"
UNKNOWN_ID = "00000000000000ff.0123456789abcdef"


def config(value: bool) -> dict[str, Any]:
    return {"f": {"a": {"t": 0, "v": {"b": value}, "i": "v"}, "b": {"t": 0, "v": {"b": True}, "i": "v"}}}


@pytest.fixture
def site() -> MemorySite:
    return MemorySite(config(True))


def opened(site: MemorySite, query: str = "", peer: str = "192.0.2.7", **headers: str) -> Connection:
    connection = site.connect(peer)
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    connection.send(f"GET {ALL}{query} HTTP/1.1\r\nHost: g\r\n{lines}\r\n".encode())
    return connection


def events(data: bytes) -> list[dict[str, str]]:
    """Return the fields of each block but ``retry``; a head in front is skipped."""
    text = parse_answer(data).text if data.startswith(b"HTTP") else unchunked(data)
    blocks = [dict(line.split(": ", 1) for line in block.split("\n")) for block in text.split("\n\n")[:-1]]
    assert all("data" in block for block in blocks)
    return [{name: value for name, value in block.items() if name != "retry"} for block in blocks]


def unchunked(data: bytes) -> str:
    return parse_answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data).text


def publish(site: MemorySite, value: bool) -> None:
    site.sdk.snapshot = load(json.dumps(config(value)).encode(), f'"{value}"', site.sdk.snapshot)
    site.hub.publish(site.sdk.snapshot)
    assert site.hub.work(lambda: False)


def test_delta_over_the_wire(site: MemorySite) -> None:
    """``?mode=delta`` gives ``put``, then ``patch`` with only what changed."""
    connection = opened(site, "?mode=delta")
    first = events(connection.received())
    publish(site, False)
    second = events(connection.received())
    shown = {"value": True, "variationId": "v"}
    assert [("put", {"a": shown, "b": shown})] == [(event["event"], json.loads(event["data"])) for event in first]
    patch = {"changed": {"a": {"value": False, "variationId": "v"}}, "removed": []}
    assert [("patch", patch)] == [(event["event"], json.loads(event["data"])) for event in second]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("?mode=all", "'mode' must be 'plain' or 'delta'\n"),
        ("?mode=ofrep", "'mode' must be 'plain' or 'delta'\n"),
        ("?mode=", "'mode' must be 'plain' or 'delta'\n"),
        ("?resume=loud", "'resume' must be 'quiet'\n"),
    ],
)
def test_unknown_values_are_refused(site: MemorySite, query: str, text: str) -> None:
    """An unknown ``mode`` or ``resume`` is 400, with the headers of a stream."""
    answer = site.request("GET", ALL + query)
    assert (400, text, "no-cache, no-transform") == (answer.status, answer.text, answer["cache-control"])


def test_other_query_fields_are_ignored(site: MemorySite) -> None:
    """Other fields, ``mode=plain`` and a query with too many fields change nothing."""
    for query in ("?mode=plain&x=1", "?v", "?" + "&".join(f"x{number}=1" for number in range(200))):
        assert ["id", "data"] == list(events(opened(site, query).received())[0])


@pytest.mark.parametrize("way", ["header", "query", "header over query"])
def test_delta_recovers(site: MemorySite, way: str) -> None:
    """With the last id, in the header or else in the query, only ``recovered`` is sent."""
    last = events(opened(site, "?mode=delta").received())[0]["id"]
    if way == "query":
        connection = opened(site, f"?mode=delta&last_event_id={last}")
    elif way == "header":
        connection = opened(site, "?mode=delta", Last_Event_ID=last)
    else:
        connection = opened(site, f"?mode=delta&last_event_id={UNKNOWN_ID}", Last_Event_ID=last)
    assert [{"event": "recovered", "id": last, "data": "{}"}] == events(connection.received())


def test_plain_resumes_quietly_only_when_requested(site: MemorySite) -> None:
    """With the last id the data are sent again, unless ``resume=quiet`` and nothing changed."""
    last = events(opened(site).received())[0]["id"]
    assert ["id", "data"] == list(events(opened(site, "", Last_Event_ID=last).received())[0])
    quiet = events(opened(site, "?resume=quiet", Last_Event_ID=last).received())
    assert [{"event": "recovered", "id": last, "data": "{}"}] == quiet
    publish(site, False)
    assert ["id", "data"] == list(events(opened(site, "?resume=quiet", Last_Event_ID=last).received())[0])


def test_a_config_that_is_not_here_yet_is_waited_for(site: MemorySite) -> None:
    """A client with a newer config from elsewhere is answered when that arrives, never from an older one."""
    newer = MemorySite(config(False))
    site.sdk.instant = False
    last = events(opened(newer, "?mode=delta").received())[0]["id"]
    connection = opened(site, "?mode=delta", Last_Event_ID=last)
    assert b"" == connection.received()
    publish(site, False)
    assert [{"event": "recovered", "id": last, "data": "{}"}] == events(connection.received())
    assert 0 == site.site.routes.dispatcher.context.state.waiting


def test_an_unknown_config_is_fetched(site: MemorySite) -> None:
    """The client may have it from another node; all such clients share one fetch a second."""
    opened(site, "", Last_Event_ID=UNKNOWN_ID)
    assert [True] == site.sdk.refreshes


def test_an_unknown_config_that_the_upstream_does_not_have_is_not_waited_for(site: MemorySite) -> None:
    """After a restart most clients come with an earlier config than the current one."""
    connection = opened(site, "", Last_Event_ID=UNKNOWN_ID)
    assert ["id", "data"] == list(events(connection.received())[0])
    assert 0 == site.site.routes.dispatcher.context.state.waiting


def test_a_fetch_that_fails_does_not_end_the_waiting(site: MemorySite) -> None:
    """The config may still come from elsewhere."""
    site.sdk.error = "the connection failed"
    connection = opened(site, "", Last_Event_ID=UNKNOWN_ID)
    assert b"" == connection.received()
    site.clock.advance(1.1)
    assert ["id", "data"] == list(events(connection.received())[0])


def test_waiting_ends_after_a_second(site: MemorySite) -> None:
    """A tag that never arrives delays the reply by one second, if the upstream takes as long."""
    site.sdk.instant = False
    connection = opened(site, "", Last_Event_ID=UNKNOWN_ID)
    site.clock.advance(0.9)
    assert b"" == connection.received()
    site.clock.advance(0.2)
    assert ["id", "data"] == list(events(connection.received())[0])
    assert (0, []) == (site.site.routes.dispatcher.context.state.waiting, site.clock.getDelayedCalls()[:0])


@pytest.mark.parametrize("known_at_once", [True, False])
def test_a_node_that_is_cut_off_waits_longer(site: MemorySite, known_at_once: bool) -> None:
    """The client has a newer config than this node, which cannot hear of it; a worker learns that by its refresh."""
    site.sdk.error = "the connection failed"
    site.sdk.cut_off = known_at_once
    site.sdk.failed_cut_off = True
    connection = opened(site, "", Last_Event_ID=UNKNOWN_ID)
    site.clock.advance(4.9)
    assert b"" == connection.received()
    site.clock.advance(0.2)
    assert ["id", "data"] == list(events(connection.received())[0])
    assert 0 == site.site.routes.dispatcher.context.state.waiting


def test_a_node_that_is_cut_off_waits_no_longer_than_a_fetch_that_succeeds(site: MemorySite) -> None:
    """The upstream has nothing newer, so an old client does not wait five seconds after a rolling restart."""
    site.sdk.cut_off = True
    connection = opened(site, "", Last_Event_ID=UNKNOWN_ID)
    assert ["id", "data"] == list(events(connection.received())[0])


def test_an_older_config_is_not_waited_for(site: MemorySite) -> None:
    """A tag of an earlier config of this process is not waited for."""
    last = events(opened(site).received())[0]["id"]
    publish(site, False)
    assert ["id", "data"] == list(events(opened(site, "", Last_Event_ID=last).received())[0])


def test_the_number_of_waiting_answers_is_bounded(site: MemorySite) -> None:
    """Beyond the limit of waiting answers an unknown tag is answered at once."""
    site.site.routes.dispatcher.context.state.waiting = WAITING_LIMIT
    assert ["id", "data"] == list(events(opened(site, "", Last_Event_ID=UNKNOWN_ID).received())[0])
    assert WAITING_LIMIT == site.site.routes.dispatcher.context.state.waiting


def test_a_client_that_hangs_up_while_it_waits_leaves_nothing(site: MemorySite) -> None:
    """A client that hangs up while its answer waits is not counted, and nothing fails later."""
    site.sdk.instant = False
    connection = opened(site, "", Last_Event_ID=UNKNOWN_ID)
    connection.hang_up()
    site.clock.advance(1.1)
    state = site.site.routes.dispatcher.context.state
    assert (0, 0, []) == (state.waiting, state.streams.total, site.hub.subscribers())


@pytest.mark.parametrize(
    ("option", "reason"), [("max_connections", "connections"), ("max_connections_per_address", "address")]
)
def test_refusals_are_counted_by_reason(option: str, reason: str) -> None:
    """Each stream that a limit refuses is counted, browser or not."""
    site = MemorySite(config(True), {"http": {"sse": {option: 1}}})
    opened(site)
    opened(site, Accept="text/event-stream")
    opened(site)
    assert [reason, reason] == site.metrics.refusals
