"""The store on PostgreSQL: statements in its SQL, transactions of several works, and a server that is away or hangs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import trustme
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


HOST = "db.example.com"  # of the certificate; addresses are not looked up, since the URL has ``hostaddr``


@pytest.fixture(scope="module")
def authorities(postgres_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """The file of the authority that has signed the server's certificate, and that of another one."""
    folder = tmp_path_factory.mktemp("authorities")
    made = {name: trustme.CA() for name in ("right", "wrong")}
    files = {name: folder / f"{name}.pem" for name in made}
    for name, authority in made.items():
        authority.cert_pem.write_to_path(str(files[name]))
    certificate = made["right"].issue_cert(HOST)
    postgres_server.serve_tls(
        b"".join(each.bytes() for each in certificate.cert_chain_pems), certificate.private_key_pem.bytes()
    )
    try:
        yield files
    finally:
        postgres_server.end_tls()


@pytest.mark.parametrize(
    ("authority", "host", "reason"),
    [
        ("right", HOST, ""),
        ("wrong", HOST, "certificate verify failed"),
        (
            "right",
            "other.example.com",
            f'server certificate for "{HOST}".* does not match host name "other.example.com"',
        ),
        ("missing", HOST, "root certificate file .* does not exist"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_the_certificate_of_the_server_is_checked(
    postgres_server: Any, authorities: dict[str, Path], authority: str, host: str, reason: str
) -> None:
    """Both connections and the one that listens are encrypted; a fault is named, without the password."""
    from twisted.internet import reactor  # noqa: TID251 - real threads

    file = authorities.get(authority, Path("/nowhere/ca.pem"))
    options = f"hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={file}"
    url = f"postgresql://tester:geheim@{host}:{postgres_server.port}/postgres?{options}"
    made = open_shared(reactor, url, listen_url="", schema=postgres_server.new_schema(), name="n")
    query = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    for channel in (made, made.recording):
        if not reason:
            ((encrypted, version),) = await channel.run(lambda connection: connection.execute(query).fetchall())
            assert (True, "TLSv1.") == (encrypted, version[:6])
            continue
        with pytest.raises(StoreError, match=reason) as failed:
            await channel.run(lambda _: None)
        assert "geheim" not in str(failed.value)
    if not reason:
        woken: Deferred[None] = Deferred()
        made.listen(lambda: None if woken.called else woken.callback(None))
        await woken.addTimeout(60, reactor)
        listening = "SELECT ssl FROM pg_stat_ssl NATURAL JOIN pg_stat_activity WHERE application_name LIKE ?"
        found = await made.run(
            lambda connection: connection.execute(listening, (f"%listener {made.node}%",)).fetchall()
        )
        assert [(True,)] == found
    await made.close()


@pytest_twisted.ensureDeferred
async def test_a_pooler_in_transaction_mode_may_be_in_front(postgres_server: Any) -> None:
    """Transactions go through it, notifications past it, by ``outbox.listen_url``."""
    from twisted.internet import reactor  # noqa: TID251 - real threads

    from postgres_server import PgBouncer

    schema = postgres_server.new_schema()
    with PgBouncer(postgres_server) as pooler:
        stores = [
            open_shared(reactor, pooler.url, listen_url=postgres_server.url(), schema=schema, name=name)
            for name in "ab"
        ]
        for number, each in enumerate(stores * 3):  # on either of the pooler's two connections
            await each.recording.run(lambda connection, number=number: count_drop(connection, "ops", "r", number))
        assert [("r", 15)] == await drops(stores[0])
        heard: list[Deferred[None]] = [Deferred(), Deferred()]
        stores[1].listen(lambda: heard.pop(0).callback(None) if heard else None)
        connected, announced = heard
        await connected.addTimeout(60, reactor)
        await stores[0].recording.run(lambda connection: connection.announce())
        await announced.addTimeout(60, reactor)
        for each in stores:
            await each.close()


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
