"""Entry points of the outbox on PostgreSQL; psycopg is imported only by a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.storage.database import OutboxUnusable

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from gateway.storage.postgres_connection import PostgresConnection
    from gateway.storage.store import OutboxStore


def check_shared(url: str) -> None:
    """Check that a shared outbox could be opened; its server may be away, also for the start.

    :raises OutboxUnusable: if psycopg is not installed, or cannot read the URL
    """
    try:
        from gateway.storage.postgres_connection import check_url

        check_url(url)
    except ImportError as error:
        raise OutboxUnusable(f"outbox.url: {error}; install flaggateway[postgres]") from error
    except ValueError as error:
        raise OutboxUnusable(f"outbox.url: {error}") from None


def open_shared(reactor: IReactorTime, url: str, *, listen_url: str, schema: str, name: str) -> OutboxStore:
    """Return the store of this node, with its threads running; ``check_shared`` has accepted the URL."""
    from gateway.storage.postgres import PostgresStore

    store = PostgresStore(reactor, url, listen_url=listen_url, schema=schema, name=name)
    store.open()
    return store


def connect_shared(url: str, schema: str) -> PostgresConnection:
    """Return a connection for a command, with the limits of a session; the URL is not that of a pooler.

    :raises OutboxUnusable: if psycopg is not installed, or cannot read the URL
    :raises StoreError: if the server cannot be reached, or its tables not be used
    """
    check_shared(url)
    from gateway.storage import postgres_connection as postgres

    raw = postgres.connect(url, pooled=False, name="flaggateway command")
    try:
        postgres.migrate(raw, schema)
        postgres.stay_in(raw, schema)
    except BaseException:
        raw.close()
        raise
    return postgres.PostgresConnection(raw, schema)
