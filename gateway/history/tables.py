"""The tables of the history, as functions of a connection inside a transaction.

applications (when, which) ──► configs (each JSON once, compressed) ◄── pins
"""

from __future__ import annotations

import zlib
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from gateway.text import iso

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Mapping

    from gateway.flags import Snapshot

PURGE_STEP: Final = 500  # applications deleted in one transaction
ID_LENGTH: Final = 16  # hex digits of a config's hash that are shown; those of ``Snapshot.tag``
LEAST_ID: Final = 4  # hex digits that name a config
_FIELDS: Final = "a.id, a.sdk_id, a.at, a.hash, a.etag, a.source, a.author, a.notes, a.change_id, c.flags, c.bytes"
_TABLES: Final = " FROM applications a JOIN configs c ON c.hash = a.hash"
_COLUMNS: Final = f"{_FIELDS}{_TABLES} WHERE a.sdk_id = ?"
_PREVIOUS: Final = "(SELECT max(p.id) FROM applications p WHERE p.sdk_id = a.sdk_id AND p.id < a.id)"
_REPLACED_AT: Final = (
    "(SELECT n.at FROM applications n WHERE n.sdk_id = a.sdk_id AND n.id > a.id ORDER BY n.id LIMIT 1)"
)


class NotKept(LookupError):
    """The history does not have it; the text names what it has."""


@frozen
class Application:
    """One config that came into use, and how."""

    id: int  # grows with each application
    sdk_id: str
    at: float  # Unix seconds
    hash: str
    etag: str
    source: str  # ``remote``, ``file``, ``cache``, ``accepted``, ``served`` or ``released``
    author: str  # empty when unknown
    notes: str
    change_id: int | None  # of the outbox
    flags: int
    bytes: int  # of the config JSON

    @property
    def config_id(self) -> str:
        """The id of the config that is shown."""
        return self.hash[:ID_LENGTH]


@frozen
class Page:
    """Applications, the newest first; ``next`` continues the list, None at its end."""

    found: list[Application]
    next: int | None


@frozen
class Transition:
    """An application of an SDK, and the one before it."""

    before: Application
    after: Application

    @property
    def number(self) -> int:
        """The number of the change: the id of the application."""
        return self.after.id


@frozen
class Transitions:
    """Changes, the newest first; ``next`` continues the list, None at its end."""

    found: list[Transition]
    next: int | None


@frozen
class StoredConfig:
    """A config JSON with the time at which it last came into use."""

    application: Application
    body: bytes


@frozen
class Pin:
    """The config that an operator has pinned; ``sdk_key`` is a digest of the SDK key."""

    sdk_key: str
    hash: str
    etag: str
    at: float  # Unix seconds

    @property
    def config_id(self) -> str:
        """The id of the config that is shown."""
        return self.hash[:ID_LENGTH]


@frozen
class Applied:
    """How a config came into use."""

    source: str  # see ``Application``
    author: str = ""
    notes: str = ""


@frozen
class Entry:
    """An application that is to be stored."""

    snapshot: Snapshot
    at: float  # Unix seconds
    how: Applied
    change_id: int | None


def hash_of(body: bytes) -> str:
    """Return the hash of a config JSON; its first ``ID_LENGTH`` digits are its id."""
    return sha256(body, usedforsecurity=False).hexdigest()


def digest_of(sdk_key: str) -> str:
    """Return the digest of an SDK key that a pin is stored with."""
    return sha256(sdk_key.encode(), usedforsecurity=False).hexdigest()[:ID_LENGTH]


def add_config(connection: sqlite3.Connection, snapshot: Snapshot) -> str:
    """Store a config unless it is stored already; return its hash."""
    found = hash_of(snapshot.body)
    if connection.execute("SELECT 1 FROM configs WHERE hash = ?", (found,)).fetchone() is None:
        connection.execute(
            "INSERT INTO configs (hash, bytes, flags, body) VALUES (?, ?, ?, ?)",
            (found, len(snapshot.body), len(snapshot.keys), zlib.compress(snapshot.body)),
        )
    return found


def add_application(connection: sqlite3.Connection, sdk_id: str, entry: Entry) -> int | None:
    """Store that a config came into use, and return the id of the application.

    None, and nothing is stored, if it is the one that came into use last, as after a restart.
    """
    found, how = add_config(connection, entry.snapshot), entry.how
    last = connection.execute(
        "SELECT hash FROM applications WHERE sdk_id = ? ORDER BY id DESC LIMIT 1", (sdk_id,)
    ).fetchone()
    if last is not None and last[0] == found:
        return None
    return connection.execute(
        "INSERT INTO applications (sdk_id, at, hash, etag, source, author, notes, change_id)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (sdk_id, entry.at, found, entry.snapshot.etag, how.source, how.author, how.notes, entry.change_id),
    ).lastrowid


def is_known(connection: sqlite3.Connection, sdk_id: str) -> bool:
    """Return whether any application of the SDK is stored."""
    return connection.execute("SELECT 1 FROM applications WHERE sdk_id = ?", (sdk_id,)).fetchone() is not None


def set_change(connection: sqlite3.Connection, sdk_id: str, tag: str, change_id: int) -> None:
    """Store the number of the change that the last application of a config was recorded as."""
    connection.execute(
        "UPDATE applications SET change_id = ? WHERE id = (SELECT max(id) FROM applications WHERE sdk_id = ?)"
        " AND substr(hash, 1, ?) = ?",
        (change_id, sdk_id, ID_LENGTH, tag),
    )


def applications(connection: sqlite3.Connection, sdk_id: str, before: int | None, limit: int) -> Page:
    """Return a page of the list; ``before`` is the ``next`` of the page before."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} AND a.id < ? ORDER BY a.id DESC LIMIT ?",
        (sdk_id, 2**62 if before is None else before, limit + 1),
    ).fetchall()
    found = [Application(*row) for row in rows[:limit]]
    return Page(found, found[-1].id if len(rows) > limit else None)


def transitions(
    connection: sqlite3.Connection, sdk_id: str | None, since: float, before: int | None, limit: int
) -> Transitions:
    """Return a page of the changes from ``since`` on, in Unix seconds, of an SDK or of all; see ``applications``.

    The first application that is kept of an SDK is no change, since what was before is unknown.
    """
    rows = connection.execute(
        f"SELECT {_FIELDS}, {_PREVIOUS}{_TABLES} WHERE (?1 IS NULL OR a.sdk_id = ?1) AND a.at >= ?2 AND a.id < ?3"
        f" AND {_PREVIOUS} IS NOT NULL ORDER BY a.id DESC LIMIT ?4",
        (sdk_id, since, 2**62 if before is None else before, limit + 1),
    ).fetchall()
    found = [_transition(connection, row) for row in rows[:limit]]
    return Transitions(found, found[-1].number if len(rows) > limit else None)


def transition(connection: sqlite3.Connection, number: int) -> Transition:
    """Return a change.

    :raises NotKept: if it is not kept, or the config before it is not
    """
    row = connection.execute(f"SELECT {_FIELDS}, {_PREVIOUS}{_TABLES} WHERE a.id = ?", (number,)).fetchone()
    if row is None or row[-1] is None:
        raise NotKept(f"the history has no change {number}")
    return _transition(connection, row)


def _transition(connection: sqlite3.Connection, row: tuple[Any, ...]) -> Transition:
    before = connection.execute(f"SELECT {_FIELDS}{_TABLES} WHERE a.id = ?", (row[-1],)).fetchone()
    return Transition(Application(*before), Application(*row[:-1]))


def at_moment(connection: sqlite3.Connection, sdk_id: str, at: float) -> Application:
    """Return what was in use at a time, in Unix seconds.

    :raises NotKept: for a time before the first application
    """
    last = _one(connection, sdk_id, "ORDER BY a.id DESC LIMIT 1")
    if last is None:
        raise NotKept(_nothing(sdk_id))
    if at >= last.at:  # the order of the ids is right even where the clock was set back
        return last
    found = _one(connection, sdk_id, "AND a.at <= ? ORDER BY a.at DESC, a.id DESC LIMIT 1", at)
    if found is None:
        (first,) = connection.execute("SELECT min(at) FROM applications WHERE sdk_id = ?", (sdk_id,)).fetchone()
        raise NotKept(f"the history of SDK {sdk_id} begins at {iso(first)}")
    return found


def at_change(connection: sqlite3.Connection, sdk_id: str, number: int) -> Application:
    """Return what a change brought into use; the first application of an SDK counts too.

    :raises NotKept: for a change that is not kept, or of another SDK
    """
    found = _one(connection, sdk_id, "AND a.id = ?", number)
    if found is None:
        raise NotKept(f"the history of SDK {sdk_id} has no change {number}")
    return found


def find_config(connection: sqlite3.Connection, sdk_id: str, config_id: str) -> Application:
    """Return the last application of the config whose id begins with ``config_id``.

    :raises NotKept: if none or several do
    """
    digits = config_id.lower()
    if len(digits) < LEAST_ID or digits.strip("0123456789abcdef"):
        raise NotKept(f"the id of a config has {LEAST_ID} to 64 hex digits")
    rows = connection.execute(
        f"SELECT {_COLUMNS} AND a.hash >= ? AND a.hash < ? ORDER BY a.id DESC",
        (sdk_id, digits, digits + "g"),
    ).fetchall()
    found: dict[str, Application] = {}
    for row in rows:
        one = Application(*row)
        found.setdefault(one.hash, one)
    if not found:
        raise NotKept(f"the history of SDK {sdk_id} has no config {config_id}")
    if len(found) > 1:
        ids = ", ".join(sorted(one.config_id for one in found.values())[:5])
        raise NotKept(f"several configs of SDK {sdk_id} begin with {config_id}: {ids}")
    return next(iter(found.values()))


def read_config(connection: sqlite3.Connection, application: Application) -> StoredConfig:
    """Return the config JSON of an application."""
    return StoredConfig(application, read_body(connection, application.hash))


def read_body(connection: sqlite3.Connection, found: str) -> bytes:
    """Return the config JSON with this hash.

    :raises NotKept: if there is none, or it is damaged
    """
    row = connection.execute("SELECT body FROM configs WHERE hash = ?", (found,)).fetchone()
    try:
        body = b"" if row is None else zlib.decompress(row[0])
    except zlib.error:
        body = b""
    if hash_of(body) != found:
        raise NotKept(f"the config {found[:ID_LENGTH]} is missing or damaged")
    return body


def shift(connection: sqlite3.Connection, first: int, seconds: float) -> None:
    """Move the times of the applications from the id ``first`` on, after the system clock was set by ``seconds``."""
    connection.execute("UPDATE applications SET at = at + ? WHERE id >= ?", (seconds, first))


def purge_old(connection: sqlite3.Connection, before: float, live: Collection[str]) -> int:
    """Delete what was out of use ``before``; return how many applications were deleted, ``PURGE_STEP`` at most.

    The last application of the SDKs ``live`` stays; of others it counts as replaced at once.
    """
    places = ", ".join("?" * len(live))
    count = connection.execute(
        "DELETE FROM applications WHERE id IN (SELECT a.id FROM applications a WHERE coalesce("  # noqa: S608 - constants
        f"{_REPLACED_AT}, CASE WHEN a.sdk_id IN ({places}) THEN ? ELSE a.at END) < ? LIMIT ?)",
        (*live, before, before, PURGE_STEP),
    ).rowcount
    _drop_unused(connection)
    return count


def make_room(connection: sqlite3.Connection, max_bytes: int, live: Collection[str]) -> int:
    """Delete the oldest application if the file has more than ``max_bytes``; return how many were deleted, 0 or 1.

    The last application of the SDKs ``live`` stays.
    """
    if used_bytes(connection) <= max_bytes:
        return 0
    places = ", ".join("?" * len(live))
    count = connection.execute(
        "DELETE FROM applications WHERE id = (SELECT min(id) FROM applications WHERE id NOT IN"  # noqa: S608 - constants
        f" (SELECT max(id) FROM applications WHERE sdk_id IN ({places}) GROUP BY sdk_id))",
        tuple(live),
    ).rowcount
    if count:
        _drop_unused(connection)
    return count


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return the bytes of pages in use; the file may be larger, and reuses free pages."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def count_configs(connection: sqlite3.Connection) -> int:
    """Return the number of stored configs."""
    return int(connection.execute("SELECT count(hash) FROM configs").fetchone()[0])


def last_id(connection: sqlite3.Connection) -> int:
    """Return the id of the newest application; 0 without one."""
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM applications").fetchone()[0])


def read_pins(connection: sqlite3.Connection) -> Mapping[str, Pin]:
    """Return the pins by SDK."""
    rows = connection.execute("SELECT sdk_id, sdk_key, hash, etag, at FROM pins").fetchall()
    return {sdk_id: Pin(*rest) for sdk_id, *rest in rows}


def set_pin(connection: sqlite3.Connection, sdk_id: str, pin: Pin | None) -> None:
    """Store the pin of an SDK, or that it has none."""
    connection.execute("DELETE FROM pins WHERE sdk_id = ?", (sdk_id,))
    if pin is not None:
        connection.execute(
            "INSERT INTO pins (sdk_id, sdk_key, hash, etag, at) VALUES (?, ?, ?, ?, ?)",
            (sdk_id, pin.sdk_key, pin.hash, pin.etag, pin.at),
        )


def _one(connection: sqlite3.Connection, sdk_id: str, rest: str, *parameters: object) -> Application | None:
    row = connection.execute(f"SELECT {_COLUMNS} {rest}", (sdk_id, *parameters)).fetchone()
    return None if row is None else Application(*row)


def _nothing(sdk_id: str) -> str:
    return f"the history has no config of SDK {sdk_id}"


def _drop_unused(connection: sqlite3.Connection) -> None:
    connection.execute(
        "DELETE FROM configs WHERE NOT EXISTS (SELECT 1 FROM applications a WHERE a.hash = configs.hash)"
        " AND NOT EXISTS (SELECT 1 FROM pins p WHERE p.hash = configs.hash)"
    )
