"""The configs and changes that the outbox remembers, as functions of a connection inside a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.flags import ConfigError, Snapshot, load

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection

    from gateway.webhooks.formats.change import Change


def last_config(connection: sqlite3.Connection, sdk_id: str) -> Snapshot | None:
    """Return the config of an SDK that was recorded last; None when there is none, or it can no longer be read.

    With None the next config counts as the first ever: nobody is told of it.
    """
    row = connection.execute("SELECT body, etag FROM configs WHERE sdk_id = ?", (sdk_id,)).fetchone()
    try:
        return None if row is None else load(bytes(row[0]), row[1])
    except ConfigError:
        return None


def keep_config(connection: sqlite3.Connection, sdk_id: str, snapshot: Snapshot, at: float) -> None:
    """Make ``snapshot`` the last recorded config of an SDK."""
    connection.execute(
        "INSERT INTO configs (sdk_id, etag, body, at) VALUES (?, ?, ?, ?) ON CONFLICT (sdk_id) DO UPDATE"
        " SET etag = excluded.etag, body = excluded.body, at = excluded.at",
        (sdk_id, snapshot.etag, snapshot.body, at),
    )


def next_round(connection: sqlite3.Connection, sdk_id: str, old_etag: str, new_etag: str) -> int:
    """Count a transition, and return how often it was recorded, this time included."""
    row = connection.execute(
        "INSERT INTO transitions (sdk_id, old_etag, new_etag, rounds) VALUES (?, ?, ?, 1)"
        " ON CONFLICT (sdk_id, old_etag, new_etag) DO UPDATE SET rounds = rounds + 1 RETURNING rounds",
        (sdk_id, old_etag, new_etag),
    ).fetchone()
    return int(row[0])


def add_change(connection: sqlite3.Connection, change: Change) -> int:
    """Record a change with the definitions before and after; returns its number."""
    author = None if change.author is None else msgspec.json.encode(change.author).decode()
    made = connection.execute(
        "INSERT INTO changes (sdk_id, old_etag, new_etag, round, at, author, notes, detail)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            change.sdk_id, change.old.etag, change.new.etag, change.round, change.at, author, change.notes,
            msgspec.json.encode(_detail(change)).decode(),
        ),
    ).lastrowid  # fmt: skip
    assert made is not None
    return made


def _detail(change: Change) -> dict[str, object]:
    old, new, what = change.old.flags, change.new.flags, change.changes
    return {
        "added": {key: new[key].definition for key in what.added},
        "removed": {key: old[key].definition for key in what.removed},
        "updated": {key: {"old_value": old[key].definition, "new_value": new[key].definition} for key in what.updated},
        "segments": what.segments,
    }


def sdk_acts(connection: sqlite3.Connection, configured: Collection[str]) -> list[tuple[str, str, int]]:
    """Compare the SDKs of the settings with those known; returns (id, ``added`` or ``removed``, how often so far).

    An outbox that knows no SDK yet learns them all and tells nothing.
    """
    known = dict(connection.execute("SELECT sdk_id, present FROM sdks").fetchall())
    came = [sdk_id for sdk_id in configured if not known.get(sdk_id)]
    went = [sdk_id for sdk_id, present in known.items() if present and sdk_id not in configured]
    acts: list[tuple[str, str, int]] = []
    for sdk_id, act in (*((each, "added") for each in came), *((each, "removed") for each in went)):
        row = connection.execute(
            "INSERT INTO sdks (sdk_id, present, acts) VALUES (?, ?, 1)"
            " ON CONFLICT (sdk_id) DO UPDATE SET present = excluded.present, acts = acts + 1 RETURNING acts",
            (sdk_id, act == "added"),
        ).fetchone()
        acts.append((sdk_id, act, int(row[0])))
    return acts if known else []
