"""A stop over memory: each answer from its beginning on is the last of its connection, on both paths."""

from __future__ import annotations

import pytest

from gateway.web.server.fast_http import FastHttpFactory
from server_paths import Client
from web_memory import MemorySite, request_bytes

CONFIG = {"f": {"on": {"t": 0, "v": {"b": True}, "i": "v1"}}}
KEYS = request_bytes("GET", "/api/sdk1/keys")
EVALUATE = request_bytes("POST", "/api/sdk1/eval", body='{"key":"on"}')
HEAD = request_bytes("HEAD", "/api/sdk1/keys")
MISSING = request_bytes("GET", "/nowhere")
STREAM = request_bytes("GET", "/sse/sdk1/eval-all")
REFRESH = request_bytes("POST", "/api/sdk1/refresh")
CLOSE = b"Connection: close\r\n"


def draining(memory: MemorySite) -> FastHttpFactory:
    """Return the factory of the port of ``memory``."""
    return FastHttpFactory(memory.site, memory.clock)


@pytest.mark.parametrize("first", [KEYS, HEAD], ids=["fast path", "Klein path"])
@pytest.mark.parametrize("second", [KEYS, EVALUATE, HEAD, MISSING])
def test_the_next_answer_of_a_kept_connection_is_its_last(first: bytes, second: bytes) -> None:
    factory = draining(MemorySite(CONFIG))
    client = Client(factory)
    client.send(first)
    assert CLOSE not in client.everything()
    factory.begin_drain()
    assert not client.closed
    client.send(second)
    answer = client.everything()
    assert (1, 1) == (answer.count(CLOSE), answer.count(b"HTTP/1.1 "))
    assert client.closed


def test_a_connection_that_is_opened_during_the_delay_gets_one_answer() -> None:
    factory = draining(MemorySite(CONFIG))
    factory.begin_drain()
    client = Client(factory)
    client.send(KEYS + KEYS)
    answer = client.everything()
    assert (1, 1) == (answer.count(CLOSE), answer.count(b"HTTP/1.1 200 OK"))
    assert client.closed


@pytest.mark.parametrize("first", [b"", HEAD], ids=["fast path", "Klein path"])
def test_an_answer_that_was_pending_is_the_last(first: bytes) -> None:
    memory = MemorySite(CONFIG, sdk={"instant": False})
    factory = draining(memory)
    client = Client(factory)
    client.send(first + REFRESH)
    client.everything()
    factory.begin_drain()
    assert not client.closed
    memory.sdk.pending.pop().callback(type("Refreshed", (), {"error": None, "changed": False})())
    assert 1 == client.everything().count(CLOSE)
    assert client.closed


@pytest.mark.parametrize("first", [b"", HEAD], ids=["fast path", "Klein path"])
def test_a_stream_whose_config_comes_during_the_drain_says_so_too(first: bytes) -> None:
    memory = MemorySite(CONFIG, sdk={"snapshot": None, "loading": True})
    factory = draining(memory)
    client = Client(factory)
    client.send(first.replace(b"/api/sdk1/keys", b"/nowhere") + STREAM)
    client.everything()
    factory.begin_drain()
    memory.sdk.first_fetch_ended(memory.snapshot)
    memory.hub.publish(memory.snapshot)
    head = client.everything()
    assert (1, 0) == (head.count(CLOSE), head.count(b"keep-alive"))
    assert not client.closed


@pytest.mark.parametrize("first", [b"", HEAD], ids=["fast path", "Klein path"])
def test_a_stop_waits_for_requests_that_are_arriving_and_for_clients_that_just_sent_one(first: bytes) -> None:
    memory = MemorySite(CONFIG)
    factory = draining(memory)
    client = Client(factory)
    client.send(first + EVALUATE)
    client.everything()
    assert factory.in_use()
    memory.clock.advance(2)
    assert not factory.in_use()
    client.send(EVALUATE[:-3])
    memory.clock.advance(5)
    assert factory.in_use()
    factory.begin_drain()
    client.send(EVALUATE[-3:])
    assert 1 == client.everything().count(CLOSE)
    assert not factory.in_use()


def test_a_client_that_sent_more_reads_its_last_answer() -> None:
    """The Klein path closes its side only: closing with unread bytes would reset the connection."""
    factory = draining(MemorySite(CONFIG))
    client = Client(factory)
    client.send(KEYS)
    client.everything()
    factory.begin_drain()
    client.send(KEYS)
    assert client.transport.half_closed
    assert client.transport.gone is None
    client.send(KEYS)
    assert 1 == client.everything().count(b"HTTP/1.1 200 OK")
