"""What must hold for several nodes whatever happens, on both shared caches; and that the model finds faults."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from gateway.settings import Redis
from gateway.storage import shared_configs
from gateway.upstream.shared import redis_cache, scripts
from gateway.upstream.shared.redis_client import RedisClient, Script
from gateway.webhooks import change_writer
from node_model import STEPS, Model, random_steps
from redis_server import redis_server

SEARCHED = 100  # runs; a fault is found by the first twenty
CHECKS = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow)


@pytest.fixture(scope="module")
def redis() -> Iterator[dict[str, Any]]:
    """A Redis and a client for the nodes."""
    with redis_server() as server, server.client() as connection:
        client = RedisClient(Redis(addresses=[server.address]))
        yield {"redis": connection, "client": client}
        client.drop()


@pytest.fixture(scope="module")
def postgres(postgres_server: Any) -> Iterator[dict[str, Any]]:
    """A PostgreSQL."""
    from outbox_postgres import PostgresDirectStore

    store = PostgresDirectStore(postgres_server, postgres_server.new_schema())
    yield {"store": store}
    store.close()


@pytest.fixture(autouse=True)
def expected_errors(logged_errors: Any) -> Iterator[None]:
    """Take what the recorder of a node logs that is cut off."""
    yield
    assert {event["log_format"][:30] for event in logged_errors.flush()} <= {"the outbox cannot be written, "}


@given(steps=STEPS)
@settings(deadline=None, max_examples=settings().max_examples // 3, suppress_health_check=CHECKS)
def test_nodes_with_a_redis_end_at_the_upstreams_config_and_none_goes_back(redis: Any, steps: Any) -> None:
    """Whatever happens in between, and in which order."""
    Model(**redis).run(steps)


@given(steps=STEPS)
@settings(deadline=None, max_examples=settings().max_examples // 12, suppress_health_check=CHECKS)
def test_nodes_with_a_postgresql_also_record_each_change_once(postgres: Any, steps: Any) -> None:
    """In the order in which the configs were stored, although nodes crash between storing and recording."""
    Model(**postgres).run(steps)


def finds(servers: dict[str, Any], message: str) -> None:
    """Check that the model finds a fault within some runs, and reports it with this message."""
    for number in range(SEARCHED):
        try:
            Model(**servers).run(random_steps(Random(number)))
        except AssertionError as error:
            found, run = str(error), number
            break
    else:
        pytest.fail("the model finds nothing")
    print(f"found by run {run}: {found}")
    assert re.search(message, found)


def mutated(function: Any, old: str, new: str) -> Any:
    """Return a function in whose text ``old`` is replaced."""
    text = textwrap.dedent(inspect.getsource(function))
    assert 1 == text.count(old)
    names: dict[str, Any] = {}
    exec(
        compile(f"from __future__ import annotations\n{text.replace(old, new)}", "<mutation>", "exec"),
        function.__globals__,
        names,
    )
    return names[function.__name__]


FAULTS = {
    "compare-and-set": ("base != (version, row[1])", "False", "back|not at the end"),
    "version": ("max(version, base[0], own) + 1", "version + 1", "fallen"),
}
"""Name: text of ``shared_configs.put``, what replaces it, and what the model reports."""


@pytest.mark.parametrize("fault", [pytest.param("compare-and-set", marks=pytest.mark.slow), "version"])
def test_the_model_finds_a_fault_of_storing(postgres: Any, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """A model that finds nothing proves nothing."""
    old, new, message = FAULTS[fault]
    monkeypatch.setattr(shared_configs, "put", mutated(shared_configs.put, old, new))
    finds(postgres, message)


def test_the_model_finds_a_record_without_its_fence(postgres: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that was stopped for a while then records an earlier config over a later one."""
    writer = change_writer.ChangeWriter
    fenceless = mutated(writer._write_in_order, "if same and version <= found.place:", "if False:")
    monkeypatch.setattr(writer, "_write_in_order", fenceless)
    finds(postgres, "record")


REDIS_FAULTS = {
    "compare-and-set": (
        "(v ~= tonumber(ARGV[1]) or etag ~= ARGV[2])",
        "false",
        "back|not at the end",
    ),
    "version": ("v = math.max(v, tonumber(ARGV[1]), tonumber(ARGV[3])) + 1", "v = v + 1", "fallen"),
}


@pytest.mark.parametrize("fault", REDIS_FAULTS)
def test_the_model_finds_a_fault_of_the_script(redis: Any, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """The same of the script that Redis runs."""
    old, new, message = REDIS_FAULTS[fault]
    assert 1 == scripts.PUT.count(old)
    monkeypatch.setattr(redis_cache, "_PUT", Script.of(scripts.PUT.replace(old, new)))
    finds(redis, message)
