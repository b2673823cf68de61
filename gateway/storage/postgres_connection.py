"""Connections to PostgreSQL: opened, brought to the schema, and used inside transactions that set their own limits.

Every setting is made by the first statement of a transaction, so that a pooler such as PgBouncer may hand each
transaction to another server connection.  psycopg is imported here, and this module only where ``outbox.url`` is set.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from gateway.storage.dialect import escaped, restored, to_postgres
from gateway.storage.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gateway.storage.store import Cursor

T = TypeVar("T")

VERSION: Final = 2  # of the newest schema
READABLE_FROM: Final = 1  # the oldest version of a gateway's schema that can work with it
CONNECT_SECONDS: Final = 3
# A node that is stopped inside a transaction holds its locks until the server ends its session.  A config so large that
# composing its messages takes longer gets ``PATIENT_FACTOR`` times as long after the first refusal.
IDLE_MILLISECONDS: Final = 1500
PATIENT_FACTOR: Final = 20
LOCK_MILLISECONDS: Final = 4000
STATEMENT_MILLISECONDS: Final = 8000
TCP: Final = {  # a server host that has vanished is noticed after some ten seconds, not after two hours
    "keepalives_idle": "5", "keepalives_interval": "2", "keepalives_count": "3", "tcp_user_timeout": "10000",
}  # fmt: skip
CHANNEL: Final = "flaggateway_outbox"  # of NOTIFY; the payload is the schema


class _TextLoader:
    """A ``psycopg.abc.Loader``."""

    format = psycopg.pq.Format.TEXT

    def __init__(self, oid: int, context: object = None) -> None:
        pass

    def load(self, data: Any) -> str:
        """Return a text as it was before ``escaped``."""
        return restored(str(data, "utf-8"))


class PostgresConnection:
    """A ``Connection`` over one of psycopg."""

    def __init__(self, raw: psycopg.Connection[Any], schema: str) -> None:
        self.raw = raw
        self._schema = schema

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Cursor:
        """See ``Connection``.

        :raises StoreError: if the database refuses it
        """
        query: Any = to_postgres(statement)  # psycopg wants literals, against injection
        try:
            return self.raw.execute(query, escaped(parameters))
        except psycopg.Error as error:
            raise store_error(error) from None

    def executemany(self, statement: str, parameters: Iterable[Sequence[Any]], /) -> object:
        """See ``Connection``.

        :raises StoreError: if the database refuses it
        """
        query: Any = to_postgres(statement)
        cursor = self.raw.cursor()
        try:
            cursor.executemany(query, [escaped(each) for each in parameters])
        except psycopg.Error as error:
            raise store_error(error) from None
        return cursor

    def used_bytes(self) -> int:
        """See ``Connection``."""
        return int(self.execute("SELECT bytes FROM held").fetchone()[0])

    def begin(self) -> None:
        """Begin a transaction that may add or delete messages; on a connection of a command."""
        try:
            begin(self.raw, self._schema, lock=True, patient=True)
        except psycopg.Error as error:
            raise store_error(error) from None

    def commit(self) -> None:
        """End the transaction."""
        self.execute("COMMIT")

    def rollback(self) -> None:
        """Undo the transaction."""
        with suppress(psycopg.Error):
            self.raw.execute("ROLLBACK", prepare=False)

    def close(self) -> None:
        """Close the connection."""
        self.raw.close()

    def announce(self) -> None:
        """See ``Connection``: wakes the nodes when the transaction is committed."""
        self.execute("SELECT pg_notify(?, ?)", (CHANNEL, self._schema))


def check_url(url: str) -> None:
    """Check that a URL can be read.

    :raises ValueError: with a text without the URL, which may hold a password
    """
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise ValueError(str(error).splitlines()[0].replace(url, "the URL")) from None
    if not url.startswith(("postgresql://", "postgres://")):
        raise ValueError("the URL does not begin with postgresql://")
    if not parts.get("dbname"):
        raise ValueError("the URL names no database")


def connect(url: str, *, pooled: bool, name: str) -> psycopg.Connection[Any]:
    """Return a new connection; blocks for some seconds at most.

    :raises StoreError: without the password in its text
    """
    given = conninfo_to_dict(url)
    options: dict[str, Any] = {
        "connect_timeout": str(CONNECT_SECONDS),
        "application_name": name,
        **TCP,
        **given,
        "client_encoding": "utf8",
    }
    try:
        raw = psycopg.connect(make_conninfo(**options), autocommit=True, cursor_factory=psycopg.RawCursor)
    except psycopg.Error as error:
        raise store_error(error) from None
    if pooled:
        raw.prepare_threshold = None  # the next transaction may be on another server connection
    raw.adapters.register_loader("text", _TextLoader)
    return raw


def begin(raw: psycopg.Connection[Any], schema: str, *, lock: bool, patient: bool = False, read: bool = False) -> None:
    """Begin a transaction within limits; with ``lock`` it is the only one of all nodes that adds messages."""
    idle = IDLE_MILLISECONDS * (PATIENT_FACTOR if patient else 1)
    statements = [
        sql.SQL("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" if read else "BEGIN"),
        sql.SQL("SET LOCAL search_path TO {}").format(sql.Identifier(schema)),
        sql.SQL(f"SET LOCAL statement_timeout TO {STATEMENT_MILLISECONDS}"),
        sql.SQL(f"SET LOCAL lock_timeout TO {LOCK_MILLISECONDS}"),
        sql.SQL(f"SET LOCAL idle_in_transaction_session_timeout TO {idle}"),
    ]
    if lock:
        key = sql.Literal(f"flaggateway:record:{schema}")
        statements.append(sql.SQL("SELECT pg_advisory_xact_lock(hashtextextended({}, 0))").format(key))
    raw.execute(sql.SQL("; ").join(statements), prepare=False)  # one round trip


def stay_in(raw: psycopg.Connection[Any], schema: str) -> None:
    """Use the tables of ``schema`` outside transactions, too."""
    raw.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema)))
    raw.execute(f"SET statement_timeout TO {STATEMENT_MILLISECONDS}", prepare=False)


def in_transaction(
    raw: psycopg.Connection[Any], schema: str, work: Callable[[PostgresConnection], T], **how: bool
) -> T:
    """Return the result of ``work`` in a transaction.

    :raises StoreError: for what the database refuses
    """
    try:
        begin(raw, schema, **how)
        result = work(PostgresConnection(raw, schema))
        raw.execute("COMMIT", prepare=False)
    except BaseException as error:
        with suppress(psycopg.Error):
            raw.execute("ROLLBACK", prepare=False)
        if isinstance(error, psycopg.Error):
            raise store_error(error) from None
        raise
    return result


def migrate(raw: psycopg.Connection[Any], schema: str) -> None:
    """Create or upgrade the tables, while other nodes that start wait.

    :raises StoreError: for a database of a gateway that is too new, and for one that refuses
    """
    try:
        if _version(raw, schema) >= VERSION:
            return
        with raw.transaction():
            key = sql.Literal(f"flaggateway:schema:{schema}")
            raw.execute(sql.SQL("SELECT pg_advisory_xact_lock(hashtextextended({}, 0))").format(key))
            found = _version(raw, schema)
            name = sql.Identifier(schema)
            if found == 0:
                raw.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(name))
            raw.execute(sql.SQL("SET LOCAL search_path TO {}").format(name))
            if found == 0:
                raw.execute(_script("postgres-v1.sql"), prepare=False)
                raw.execute("CREATE TABLE about (schema integer NOT NULL, readable_from integer NOT NULL)")
                raw.execute("INSERT INTO about VALUES (1, 1)")
            for version in range(max(found, 1) + 1, VERSION + 1):
                raw.execute(_script(f"upgrade-postgres-to-v{version}.sql"), prepare=False)
            raw.execute("UPDATE about SET schema = $1, readable_from = $2", (VERSION, READABLE_FROM))
    except psycopg.Error as error:
        raise store_error(error) from None


def _script(name: str) -> Any:
    return resources.files("gateway.storage").joinpath("schema", name).read_text("utf-8")


def _version(raw: psycopg.Connection[Any], schema: str) -> int:
    """Return the version of the tables, 0 without any.

    :raises StoreError: if this gateway is too old for them
    """
    # Not to_regclass, which may have cached that the schema does not exist.
    query = "SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = $1 AND tablename = 'about'"
    if raw.execute(query, (schema,)).fetchone() is None:
        return 0
    about = raw.execute(sql.SQL("SELECT schema, readable_from FROM {}.about").format(sql.Identifier(schema))).fetchone()
    version, readable_from = (0, 0) if about is None else about
    if readable_from > VERSION:
        raise StoreError(
            f"the outbox was upgraded by a newer gateway (it needs schema {readable_from}, this one has {VERSION});"
            " start that version"
        )
    return int(version)


def abort(raw: psycopg.Connection[Any]) -> None:
    """End a connection from another thread: what waits for the server's answer fails at once."""
    with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(raw.fileno())) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)


def store_error(error: psycopg.Error) -> StoreError:
    """Return the error of a store for one of the driver; neither holds a password."""
    return StoreError(" ".join(str(error).split()) or type(error).__name__, error.sqlstate or "")
