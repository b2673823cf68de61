"""The configs that several nodes share through PostgreSQL, in one order; functions of a connection in a transaction.

    put ──► version + 1, if the newest one is still ``base`` ──► NOTIFY ──► look, at the other nodes
                 └──► unrecorded: what the recorder of any node has not turned into messages yet

Only the database's clock is used.  The versions of a key are the one order of its configs: nodes publish, record and
report by them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.storage.store import Connection

CHANNEL: Final = "flaggateway_configs"  # of NOTIFY; the payload is the schema, a verb and a key
KNOWN: Final = 32  # configs whose tags are kept: clients of a rolling restart come with one of them
RECENT_MILLISECONDS: Final = 600_000  # for which a config is waited for to be recorded by itself: see ``unrecorded``
BODIES: Final = 16  # configs whose bodies are kept until they are recorded; more at once become one change

_NOW: Final = "SELECT (extract(epoch from clock_timestamp()) * 1000)::bigint"
_NEWEST: Final = (
    "SELECT version, etag, fetched, stored, credit FROM shared_configs WHERE key = ? ORDER BY version DESC LIMIT 1"
)
_NTH: Final = "(SELECT version FROM shared_configs WHERE key = ? ORDER BY version DESC OFFSET ? LIMIT 1)"
_FORGET: Final = f"DELETE FROM shared_configs WHERE key = ? AND version <= {_NTH}"  # noqa: S608 - our own text
_STRIP: Final = (
    "UPDATE shared_configs SET body = NULL WHERE key = ? AND body IS NOT NULL AND version <= " + _NTH  # noqa: S608 - the same
)
_UNRECORDED: Final = (
    "SELECT version, etag, body, credit, stored FROM shared_configs WHERE key = ? AND version > ? AND version < ?"
    " AND body IS NOT NULL AND stored > (extract(epoch from clock_timestamp()) * 1000)::bigint - ? ORDER BY version"
)
_TAKE_LEASE: Final = (
    "INSERT INTO leases (name, node, epoch, until)"
    " VALUES (?, ?, 1, clock_timestamp() + make_interval(secs => ?))"
    " ON CONFLICT (name) DO UPDATE SET node = excluded.node, until = excluded.until,"
    " epoch = leases.epoch + CASE WHEN leases.node = excluded.node THEN 0 ELSE 1 END"
    " WHERE leases.node = excluded.node OR leases.until <= clock_timestamp()"
)


@frozen
class SharedConfig:
    """The newest config of a key; ``body`` is None for a caller that has it, or a later one."""

    version: int
    etag: str
    fetched_at: int  # ms since 1970
    lag: float  # seconds since it was stored
    credit: str
    body: bytes | None = None


@frozen
class Looked:
    """What ``look`` finds; ``poller`` is the node that polls, empty without one."""

    newest: SharedConfig | None
    poller: str
    tags: Sequence[str]


@frozen
class Recordable:
    """A config that is stored and not recorded yet."""

    version: int
    etag: str
    body: bytes
    credit: str
    stored: float  # Unix seconds


def look(connection: Connection, key: str, node: str, lease: float, have: tuple[int, str], *, tags: bool) -> Looked:
    """Return the newest config, with its body if it is later than ``have``, a version and an ETag.

    With ``lease``, in seconds, ``node`` also takes or renews the lease for polling, unless another node has it.
    """
    poller = _poller(connection, key, node, lease)
    row = connection.execute(_NEWEST, (key,)).fetchone()
    if row is None:
        return Looked(None, poller, ())
    version, etag, fetched, stored, credit = row
    own, own_etag = have
    if etag == own_etag and own > version:  # an older version came back, as from a backup
        connection.execute("UPDATE shared_configs SET version = ? WHERE key = ? AND version = ?", (own, key, version))
        version = own
    body = None
    if etag != own_etag and version > own:
        query = "SELECT body FROM shared_configs WHERE key = ? AND version = ?"
        found = connection.execute(query, (key, version)).fetchone()
        body = None if found is None or found[0] is None else bytes(found[0])
    (now,) = connection.execute(_NOW).fetchone()
    lag = max(0, now - stored) / 1000
    known = _tags(connection, key) if tags or body is not None else ()
    return Looked(SharedConfig(version, etag, min(fetched, now), lag, credit, body), poller, known)


def put(  # noqa: PLR0917 - the fields of a row
    connection: Connection, key: str, base: tuple[int, str], own: int, entry: tuple[int, str, bytes], tag: str,
    node: str, credit: str,
) -> tuple[int, int] | None:  # fmt: skip
    """Store a config if the newest one is still ``base``, a version and an ETag.

    Its version becomes higher than ``own``.  ``entry`` is fetch time, ETag and body.
    Return version and fetch time; None if another node has stored one since.
    """
    lock = "SELECT pg_advisory_xact_lock(hashtextextended('flaggateway:config:' || current_schema() || ?, 0))"
    connection.execute(lock, (key,))
    (now,) = connection.execute(_NOW).fetchone()
    row = connection.execute(_NEWEST, (key,)).fetchone()
    fetched, etag, body = min(entry[0], now), entry[1], entry[2]
    version = 0 if row is None else row[0]
    if row is not None and etag != row[1] and base != (version, row[1]):
        return None
    if row is not None and etag == row[1]:  # another node was faster with the same config
        connection.execute(
            "UPDATE shared_configs SET version = ?, credit = CASE WHEN credit = '' THEN ? ELSE credit END"
            " WHERE key = ? AND version = ?",
            (max(own, version), credit, key, version),
        )
        return max(own, version), min(row[2], now)
    version = max(version, base[0], own) + 1
    connection.execute(
        "INSERT INTO shared_configs (key, version, etag, tag, body, fetched, stored, node, credit)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (key, version, etag, tag, body, fetched, now, node, credit),
    )
    connection.execute(_FORGET, (key, key, KNOWN))
    connection.execute(_STRIP, (key, key, BODIES))
    announce(connection, "changed", key)
    return version, fetched


def touch(connection: Connection, key: str, etag: str) -> tuple[int, int] | None:
    """Date the newest config now, if it still has this ETag; return version and time, None if it has not."""
    row = connection.execute(_NEWEST, (key,)).fetchone()
    if row is None or row[1] != etag:
        return None
    (now,) = connection.execute(_NOW).fetchone()
    connection.execute(
        "UPDATE shared_configs SET fetched = ? WHERE key = ? AND version = ?", (max(row[2], now), key, row[0])
    )
    return row[0], max(row[2], now)


def announce(connection: Connection, verb: str, key: str) -> None:
    """Call the other nodes once the transaction is committed: ``changed`` or ``refresh``."""
    payload = "current_schema() || ' ' || ? || ' ' || ?"
    connection.execute(f"SELECT pg_notify('{CHANNEL}', {payload})", (verb, key))


def give_up_lease(connection: Connection, key: str, node: str) -> None:
    """Let another node poll, if ``node`` has the lease."""
    end = "UPDATE leases SET until = clock_timestamp() WHERE name = ? AND node = ?"
    connection.execute(end, (_lease_of(key), node))


def meet(connection: Connection, node: str, report: str, valid: float) -> tuple[Mapping[str, str], str]:
    """Store the report of ``node``; return those of all nodes, and the one that it had before.

    An empty report takes the node out.  One that is older than ``valid`` seconds is dropped.
    """
    found = connection.execute("SELECT report FROM reports WHERE node = ?", (node,)).fetchone()
    if report:
        connection.execute(
            "INSERT INTO reports (node, seen, report) VALUES (?, clock_timestamp(), ?)"
            " ON CONFLICT (node) DO UPDATE SET seen = excluded.seen, report = excluded.report",
            (node, report),
        )
    else:
        connection.execute("DELETE FROM reports WHERE node = ?", (node,))
    connection.execute("DELETE FROM reports WHERE seen < clock_timestamp() - make_interval(secs => ?)", (valid,))
    reports = dict(connection.execute("SELECT node, report FROM reports").fetchall())
    return reports, "" if found is None else found[0]


def unrecorded(connection: Connection, key: str, after: int, before: int) -> list[Recordable]:
    """Return the configs between two versions, without both, in their order.

    Those that are long past are left out, as after a time without webhooks: their changes become part of the next one.
    """
    if before - after < 2:
        return []
    rows = connection.execute(_UNRECORDED, (key, after, before, RECENT_MILLISECONDS)).fetchall()
    return [Recordable(version, etag, bytes(body), credit, at / 1000) for version, etag, body, credit, at in rows]


def credit_of(connection: Connection, key: str, version: int) -> str:
    """Return author and notes of a config as JSON; empty if they are unknown."""
    row = connection.execute(
        "SELECT credit FROM shared_configs WHERE key = ? AND version = ?", (key, version)
    ).fetchone()
    return "" if row is None else str(row[0])


def _poller(connection: Connection, key: str, node: str, lease: float) -> str:
    name = _lease_of(key)
    if lease:
        connection.execute(_TAKE_LEASE, (name, node, lease))
    row = connection.execute("SELECT node FROM leases WHERE name = ? AND until > clock_timestamp()", (name,)).fetchone()
    return "" if row is None else str(row[0])


def _lease_of(key: str) -> str:
    return f"poller:{key}"


def _tags(connection: Connection, key: str) -> tuple[str, ...]:
    rows = connection.execute("SELECT tag FROM shared_configs WHERE key = ? ORDER BY version", (key,)).fetchall()
    return tuple(tag for (tag,) in rows if tag)
