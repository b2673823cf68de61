"""The last config of each SDK and its recorded changes, as functions of a connection inside a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from attrs import frozen

from gateway.flags import ConfigError, Snapshot, load

if TYPE_CHECKING:
    from collections.abc import Collection

    from gateway.storage import Connection
    from gateway.webhooks.formats import Change


def last_config(connection: Connection, sdk_id: str) -> Snapshot | None:
    """Return the last recorded config of an SDK; None without one, and if this version cannot read it.

    After None the next config counts as the first one: no message is sent about it.
    """
    row = connection.execute("SELECT body, etag FROM configs WHERE sdk_id = ?", (sdk_id,)).fetchone()
    try:
        return None if row is None else load(bytes(row[0]), row[1])
    except ConfigError:
        return None


def save_config(connection: Connection, sdk_id: str, snapshot: Snapshot, at: float) -> None:
    """Make ``snapshot`` the last recorded config of an SDK."""
    connection.execute(
        "INSERT INTO configs (sdk_id, etag, body, at) VALUES (?, ?, ?, ?) ON CONFLICT (sdk_id) DO UPDATE"
        " SET etag = excluded.etag, body = excluded.body, at = excluded.at",
        (sdk_id, snapshot.etag, snapshot.body, at),
    )


@frozen
class Recorded:
    """The last recorded config of an SDK that several nodes record; all zero or empty without one.

    ``version`` counts the recorded configs.  ``place`` is the version of the shared config with ``key`` up to which
    all are recorded.
    """

    version: int = 0
    etag: str = ""
    key: str = ""
    place: int = 0


def recorded(connection: Connection, sdk_id: str) -> Recorded:
    """Return what is recorded of an SDK by any node; on a database that several nodes share."""
    query = "SELECT version, etag, key, place FROM configs WHERE sdk_id = ?"
    row = connection.execute(query, (sdk_id,)).fetchone()
    return Recorded() if row is None else Recorded(int(row[0]), row[1], row[2], int(row[3]))


def count_version(connection: Connection, sdk_id: str, place: tuple[str, int] | None) -> int:
    """Return the version of the config that was just saved; for ``place`` see ``save_place``."""
    placed, values = (", key = ?, place = ?", place) if place is not None else ("", ())
    query = f"UPDATE configs SET version = version + 1{placed} WHERE sdk_id = ? RETURNING version"  # noqa: S608 - our text
    return int(connection.execute(query, (*values, sdk_id)).fetchone()[0])


def save_place(connection: Connection, sdk_id: str, key: str, place: int) -> None:
    """Note that the configs of ``key`` up to the version ``place`` are recorded."""
    connection.execute("UPDATE configs SET key = ?, place = ? WHERE sdk_id = ?", (key, place, sdk_id))


def count_transition(connection: Connection, sdk_id: str, old_etag: str, new_etag: str) -> int:
    """Return how often this transition was recorded, this time included."""
    row = connection.execute(
        "INSERT INTO transitions (sdk_id, old_etag, new_etag, rounds) VALUES (?, ?, ?, 1)"
        " ON CONFLICT (sdk_id, old_etag, new_etag) DO UPDATE SET rounds = transitions.rounds + 1 RETURNING rounds",
        (sdk_id, old_etag, new_etag),
    ).fetchone()
    return int(row[0])


def add_change(connection: Connection, change: Change) -> int:
    """Record a change with the definitions before and after; return its number."""
    author = None if change.author is None else msgspec.json.encode(change.author).decode()
    row = connection.execute(
        "INSERT INTO changes (sdk_id, old_etag, new_etag, round, at, author, notes, detail)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        (
            change.sdk_id, change.old.etag, change.new.etag, change.round, change.at, author, change.notes,
            msgspec.json.encode(_detail(change)).decode(),
        ),
    ).fetchone()  # fmt: skip
    return int(row[0])


def _detail(change: Change) -> dict[str, object]:
    old, new, keys = change.old.flags, change.new.flags, change.changes
    return {
        "added": {key: new[key].definition for key in keys.added},
        "removed": {key: old[key].definition for key in keys.removed},
        "updated": {key: {"old_value": old[key].definition, "new_value": new[key].definition} for key in keys.updated},
        "segments": keys.segments,
    }


def update_sdks(connection: Connection, configured: Collection[str]) -> list[tuple[str, str, int]]:
    """Record the SDKs of the settings; return each that is new or gone: id, ``added`` or ``removed``, how often so far.

    A new outbox records the SDKs and returns none of them.
    """
    known = dict(connection.execute("SELECT sdk_id, present FROM sdks").fetchall())
    changed = [(sdk_id, "added") for sdk_id in configured if not known.get(sdk_id)]
    changed += [(sdk_id, "removed") for sdk_id, present in known.items() if present and sdk_id not in configured]
    acts: list[tuple[str, str, int]] = []
    for sdk_id, act in changed:
        row = connection.execute(
            "INSERT INTO sdks (sdk_id, present, acts) VALUES (?, ?, 1)"
            " ON CONFLICT (sdk_id) DO UPDATE SET present = excluded.present, acts = sdks.acts + 1 RETURNING acts",
            (sdk_id, int(act == "added")),
        ).fetchone()
        acts.append((sdk_id, act, int(row[0])))
    return acts if known else []
