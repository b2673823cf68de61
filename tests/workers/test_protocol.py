"""The messages between leader and workers: each is decoded as it was encoded."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.export import Parcel
from gateway.settings import load
from gateway.streams import Example, Forecast, Prediction, Reach, StreamGroup, TailedFlag, TailEvent, Transition
from gateway.telemetry import SeenAgent, SeenClients, SeenKey, UnknownFlag
from gateway.workers import protocol

SETTINGS = load(
    """
    workers: auto
    log: {level: info, format: json}
    default_user_attributes: {Country: DE, Age: 3, Ratio: 0.5, Plans: [a, b]}
    sdks: {a: {key: k1, poll_interval: 7}, b: {key: k2, default_user_attributes: {x: [y]}, log: {level: debug}}}
    tls: {certificates: [{cert: c, key: k}]}
    http: {trusted_proxies: [10.0.0.0/8], api: {auth_headers: {X-A: b}}}
    """,
    {},
).settings
FLAG = ("shop", None)

TO_WORKER = [
    protocol.Initialize(1, SETTINGS, b"\x00secret\xff", 2),
    protocol.IssuerKeySet("https://id.example.com/jwks.json", b"\x00{}\xff"),
    protocol.KeysRefreshed(4),
    protocol.ApplySettings(SETTINGS),
    protocol.AddSdk("a", "key", {"s": "x", "n": 1.5, "l": ("a", "b")}),
    protocol.EarlierConfigs("a", ("t1", "t2")),
    protocol.PublishConfig("a", 'W/"1"', b"\x00{}\xff"),
    protocol.FirstFetchEnded("a"),
    protocol.RemoveSdk("a"),
    protocol.ReopenLog("/var/log/gateway.log"),
    protocol.Prepare(),
    protocol.Accept((2, 1)),
    protocol.OtherStreams(3, {"::1": 2}),
    protocol.OtherStreams(0, {}, complete=True),
    protocol.StatusDocument(b"{}"),
    protocol.RefreshResult(7, None, True),
    protocol.RefreshResult(8, "config fetch failed", False),
    protocol.CallIdResult(9, True),
    protocol.EvaluationsStored(10),
    protocol.Echo(4),
    protocol.RequestForecast(7, "shop", b"{}"),
    protocol.RequestForecast(8, "shop", b"{}", b"[]", connected=True),
    protocol.StartTail(8, "shop", {"Identifier": "anna", "Age": 5.0, "Groups": ("a", "b")}, None),
    protocol.StopTail(8),
    protocol.RequestClients(9),
    protocol.RequestStreams(8),
    protocol.Drain(),
]
CHANGE = Transition("banner", None, b'{"value":1,"variationId":""}', 3)
PREDICTION = Prediction(3, 4, 2, b"x" * 24, b"\0\1\1", [CHANGE], 1, [Example({"n": 1.5, "l": ("a",)}, [CHANGE])])
TO_LEADER = [
    protocol.Ready(),
    protocol.Full(True),
    protocol.Listening(),
    protocol.StartFailed("port 80 on all addresses cannot be opened: Permission denied"),
    protocol.Refresh(1, "a", True),
    protocol.Refresh(2, "a", False, b'{"changedBy":"Jane"}'),
    protocol.RefreshKeys(4),
    protocol.CheckCallId(2, "a", b"\xff id", 1.5),
    protocol.OwnStreams(5, {"127.0.0.1": 5}),
    protocol.MetricsReport(
        [(FLAG, 1)], [(FLAG, 1)], [(("shop", "banner"), 2)], {"address": 1}, {"stalled": 1}, [("shop", 0.5)],
        [protocol.AnswerCounts("/api/{sdkId}/eval", "POST", 200, [1, 0], 0.001)], [0.25], 3,
    ),
    protocol.StoreEvaluations(3, Parcel(b"{}\n{}", 2, [(60, b"{}", 5)], {"memory": 1})),
    protocol.ForecastResult(5, None),
    protocol.StreamsResult(7, [StreamGroup("shop", None, "plain", 3, 1, 0.5, 2)]),
    protocol.ForecastResult(6, Forecast(PREDICTION, PREDICTION)),
    protocol.ClientsResult(
        9,
        SeenClients(
            [SeenAgent("a/1", "b/2", 3, 0.5)],
            [UnknownFlag("shop", "none", 2, 1.5)],
            {"shop": ["flag"]},
            [SeenKey("team", 1, 4, 2.5)],
        ),
    ),
    protocol.Tailed(
        8, TailEvent("shop", "changes", 2, "tag", None, "plain", [TailedFlag("a", None, b"{}", None, "rule 1")], 1, 2)
    ),
    protocol.Reached(Reach("shop", "tag", 5.0, [(0.25, 3)], 2, 1, ended=True)),
    protocol.Echo(4),
]  # fmt: skip


@pytest.mark.parametrize("message", TO_WORKER, ids=lambda message: type(message).__name__)
def test_messages_to_a_worker_are_decoded_as_they_were_sent(message: protocol.ToWorker) -> None:
    """With their values and their types."""
    decoded = protocol.to_worker.decode(protocol.encode(message))
    assert message == decoded
    assert type(message) is type(decoded)


@pytest.mark.parametrize("message", TO_LEADER, ids=lambda message: type(message).__name__)
def test_messages_to_the_leader_are_decoded_as_they_were_sent(message: protocol.ToLeader) -> None:
    """With their values and their types."""
    decoded = protocol.to_leader.decode(protocol.encode(message))
    assert message == decoded
    assert type(message) is type(decoded)


def test_all_messages_are_tested() -> None:
    """A message that is added is added to these tests too."""
    assert set(protocol.ToWorker.__args__) == {type(message) for message in TO_WORKER}
    assert set(protocol.ToLeader.__args__) == {type(message) for message in TO_LEADER}


@given(st.binary(max_size=60))
def test_bytes_that_are_not_a_message_raise_one_of_the_known_errors(data: bytes) -> None:
    """The link catches ``DECODE_ERRORS`` and closes."""
    for decoder in (protocol.to_worker, protocol.to_leader):
        with contextlib.suppress(*protocol.DECODE_ERRORS):
            decoder.decode(data)
