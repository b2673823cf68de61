"""The store on PostgreSQL: statements in its SQL, transactions of several works, and a server that is away or hangs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import deferLater

from gateway.storage import OutboxUnusable, StoreError, check_shared, connect_shared, count_drop, dialect, open_shared


def test_a_statement_gets_numbered_parameters_and_loses_hints() -> None:
    """The rest stays as it is."""
    given_text = "SELECT a, length(CAST(detail AS BLOB)) FROM t INDEXED BY t_a WHERE a = ? AND b LIKE '%' AND c < ?"
    expected = "SELECT a, octet_length(detail) FROM t WHERE a = $1 AND b LIKE '%' AND c < $2"
    assert expected == dialect.to_postgres(given_text)


@given(st.text(alphabet=st.sampled_from("a0\x001\x1a")))
def test_any_text_survives_the_way_there_and_back(text: str) -> None:
    """PostgreSQL's text takes no NUL."""
    (there,) = dialect.escaped([text])
    assert "\0" not in there
    assert text == dialect.restored(there)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://user:geheim@host/", "names no database"),
        ("postgresql://user:geheim@host/db?nonsense=1", "nonsense"),
        ("mysql://user:geheim@host/db", "outbox.url"),
    ],
)
def test_a_url_that_cannot_be_used_stops_the_start_without_its_password(url: str, reason: str) -> None:
    """A server that is away does not."""
    with pytest.raises(OutboxUnusable, match=reason) as refused:
        check_shared(url)
    assert "geheim" not in str(refused.value)
    check_shared("postgresql://user@127.0.0.1:1/db")


@pytest_twisted.async_yield_fixture
async def store(postgres_server: Any) -> AsyncIterator[Any]:
    """A store in a schema of its own."""
    from twisted.internet import reactor  # noqa: TID251 - real threads

    made = open_shared(reactor, postgres_server.url(), listen_url="", schema=postgres_server.new_schema(), name="n")
    yield made
    await made.close()


async def drops(store: Any) -> list[tuple[Any, ...]]:
    """The reasons of drops."""
    found: list[tuple[Any, ...]] = await store.run(
        lambda c: c.execute("SELECT reason, count FROM drops ORDER BY reason").fetchall()
    )
    return found


@pytest_twisted.ensureDeferred
async def test_work_that_fails_affects_no_other(store: Any) -> None:
    """In Python or in the database; the rest of the transaction is written, and results come in order."""
    order: list[str] = []

    def add(reason: str, then: Any = None) -> Deferred[Any]:
        def work(connection: Any) -> str:
            count_drop(connection, "ops", reason, 1)
            if then is not None:
                then(connection)
            return reason

        done: Deferred[Any] = store.run(work)
        return done.addBoth(lambda result: order.append(reason) or result)

    one, bad, wrong, two = (
        add("one"),
        add("bad", lambda _: 1 / 0),
        add("wrong", lambda connection: connection.execute("SELECT nonsense")),
        add("two"),
    )
    assert "one" == await one
    with pytest.raises(ZeroDivisionError):
        await bad
    with pytest.raises(StoreError, match="nonsense"):
        await wrong
    assert "two" == await two
    assert ["one", "bad", "wrong", "two"] == order
    assert [("one", 1), ("two", 1)] == await drops(store)


@pytest_twisted.ensureDeferred
async def test_a_query_of_an_operator_cannot_write(store: Any) -> None:
    """It sees one state of the tables."""
    await store.run(lambda connection: count_drop(connection, "ops", "one", 1))
    found = store.read(lambda c: c.execute("SELECT count(*) FROM drops").fetchone(), 5, lambda: False)
    assert (1,) == found
    with pytest.raises(StoreError, match="read-only"):
        store.read(lambda c: c.execute("DELETE FROM drops"), 5, lambda: False)


@pytest_twisted.ensureDeferred
async def test_other_nodes_are_woken_by_what_is_committed(store: Any) -> None:
    """Once they listen, and after each interruption."""
    from twisted.internet import reactor  # noqa: TID251 - a real thread

    looks: list[Deferred[None]] = [Deferred(), Deferred()]
    waiting = iter(looks)

    def look() -> None:
        for each in waiting:
            each.callback(None)
            return

    store.listen(look)
    await looks[0].addTimeout(60, reactor)
    await store.recording.run(lambda connection: connection.announce())
    await looks[1].addTimeout(60, reactor)


@pytest_twisted.ensureDeferred
async def test_only_one_transaction_that_adds_messages_runs_at_a_time(store: Any, postgres_server: Any) -> None:
    """Of all nodes; deliveries wait for none of them."""
    held = connect_shared(postgres_server.url(), store.schema)
    await store.run(lambda _: None)
    held.begin()
    waiting = ensureDeferred(_result(store.recording.run(lambda _: "recorded")))
    assert "delivered" == await store.run(lambda _: "delivered")
    assert not waiting.called
    held.rollback()
    assert "recorded" == await waiting
    held.close()


async def _result(done: Deferred[Any]) -> Any:
    return await done


@pytest_twisted.ensureDeferred
async def test_a_session_that_was_ended_is_replaced(store: Any, postgres_server: Any) -> None:
    """The transaction that meets the loss fails, and the next one connects again."""
    from twisted.internet import reactor  # noqa: TID251 - a real thread

    await store.run(lambda connection: count_drop(connection, "ops", "one", 1))
    name = f"flaggateway delivery {store.node}"[:63]
    postgres_server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'")
    with pytest.raises(StoreError, match=r"terminat|closed"):
        await drops(store)
    await deferLater(reactor, 0)
    assert [("one", 1)] == await drops(store)


@pytest_twisted.ensureDeferred
async def test_a_server_that_is_away_fails_the_transaction_alone(postgres_server: Any) -> None:
    """The store opens, each work fails by itself, and it closes."""
    from twisted.internet import reactor  # noqa: TID251 - real threads

    made = open_shared(reactor, "postgresql://u:geheim@127.0.0.1:1/d", listen_url="", schema="s", name="n")
    results = [made.run(lambda _: None), made.recording.run(lambda _: None)]
    for each in results:
        with pytest.raises(StoreError, match="refused") as failed:
            await each
        assert "geheim" not in str(failed.value)
    await made.close()


@pytest_twisted.ensureDeferred
async def test_tables_of_a_newer_gateway_are_refused_only_where_they_cannot_be_read(store: Any) -> None:
    """The table ``about`` declares the oldest gateway that can work with them."""
    from twisted.internet import reactor  # noqa: TID251 - real threads

    await store.run(lambda connection: connection.execute("UPDATE about SET schema = 7"))
    other = open_shared(reactor, store._url, listen_url="", schema=store.schema, name="n")
    assert [] == await drops(other)
    await other.close()
    await store.run(lambda connection: connection.execute("UPDATE about SET readable_from = 7"))
    other = open_shared(reactor, store._url, listen_url="", schema=store.schema, name="n")
    with pytest.raises(StoreError, match="upgraded by a newer gateway"):
        await drops(other)
    await other.close()


@pytest_twisted.ensureDeferred
async def test_work_that_is_slow_in_python_gets_more_time_the_second_time(store: Any, monkeypatch: Any) -> None:
    """Composing messages about a very large config may take longer than a node may stand still."""
    from threading import Event

    from gateway.storage import postgres_connection

    monkeypatch.setattr(postgres_connection, "IDLE_MILLISECONDS", 200)

    def slow(connection: Any) -> str:
        Event().wait(1.0)
        count_drop(connection, "ops", "slow", 1)
        return "done"

    with pytest.raises(StoreError):
        await store.run(slow)
    assert "done" == await store.run(slow)
