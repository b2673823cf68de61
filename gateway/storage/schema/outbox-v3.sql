-- The outbox, version 3.  Times are seconds since 1970, as REAL.

-- The config of each SDK that was recorded last: what a restart is compared with.
CREATE TABLE configs (
    sdk_id  TEXT PRIMARY KEY,
    etag    TEXT NOT NULL,
    body    BLOB NOT NULL,
    at      REAL NOT NULL
) STRICT;

-- The SDKs of the settings, to notice those that are added or removed while the gateway is down.
CREATE TABLE sdks (
    sdk_id  TEXT PRIMARY KEY,
    present INTEGER NOT NULL,
    acts    INTEGER NOT NULL             -- how often it was added or removed
) STRICT, WITHOUT ROWID;

-- How often a transition was recorded, so that on, off, on, off has four different ids.
CREATE TABLE transitions (
    sdk_id   TEXT NOT NULL,
    old_etag TEXT NOT NULL,
    new_etag TEXT NOT NULL,
    rounds   INTEGER NOT NULL,
    PRIMARY KEY (sdk_id, old_etag, new_etag)
) STRICT, WITHOUT ROWID;

CREATE TABLE changes (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    sdk_id   TEXT NOT NULL,
    old_etag TEXT NOT NULL,
    new_etag TEXT NOT NULL,
    round    INTEGER NOT NULL,
    at       REAL NOT NULL,
    author   TEXT,                       -- JSON, or null when unknown
    notes    TEXT,
    detail   TEXT NOT NULL               -- JSON: definitions before and after
) STRICT;
CREATE INDEX changes_at ON changes (at);

-- Integer ids that receivers store.  AUTOINCREMENT: an id is never assigned again after a deletion.
CREATE TABLE numbers (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    kind          TEXT NOT NULL,         -- environment | project | feature | state | segment
    sdk_id        TEXT NOT NULL,
    key           TEXT NOT NULL,
    target        TEXT NOT NULL,
    created       REAL NOT NULL,
    initial_value TEXT,                  -- JSON; the default value when first seen
    UNIQUE (kind, sdk_id, key, target)
) STRICT;

CREATE TABLE endpoints (
    name     TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL            -- of its newest message
) STRICT, WITHOUT ROWID;

CREATE TABLE messages (
    row       INTEGER PRIMARY KEY AUTOINCREMENT,
    id        TEXT NOT NULL,
    endpoint  TEXT NOT NULL,
    sequence  INTEGER NOT NULL,
    format    TEXT NOT NULL,
    type      TEXT NOT NULL,
    subject   TEXT NOT NULL,
    body      BLOB NOT NULL,
    created   REAL NOT NULL,
    change_id INTEGER,
    sdk_id    TEXT,                      -- null for tests
    old_etag  TEXT,
    new_etag  TEXT,
    state     TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'failed', 'skipped')),
    reason    TEXT NOT NULL DEFAULT '',
    due       REAL NOT NULL,             -- when to try next, while pending
    tries     INTEGER NOT NULL DEFAULT 0,
    earlier   INTEGER NOT NULL DEFAULT 0, -- of them, before a retry was requested
    first_try REAL,
    asked     REAL NOT NULL DEFAULT 0,  -- no attempt before then, by the last Retry-After
    finished  REAL,
    UNIQUE (endpoint, id)
) STRICT;
CREATE INDEX messages_due ON messages (endpoint, due, sequence) WHERE state = 'pending';
CREATE INDEX messages_pending ON messages (endpoint) WHERE state = 'pending';
CREATE INDEX messages_failed ON messages (endpoint) WHERE state = 'failed';
CREATE INDEX messages_finished ON messages (finished) WHERE state <> 'pending';

CREATE TABLE attempts (
    message  INTEGER NOT NULL REFERENCES messages (row) ON DELETE CASCADE,
    number   INTEGER NOT NULL,
    at       REAL NOT NULL,
    status   INTEGER,                    -- null when no answer came
    outcome  TEXT NOT NULL,
    duration REAL NOT NULL,              -- seconds
    answer   BLOB NOT NULL,              -- the first 1 KiB
    PRIMARY KEY (message, number)
) STRICT, WITHOUT ROWID;

-- What was dropped and why: purged, refused because the database is full, beyond the cap of the spool.
CREATE TABLE drops (
    endpoint TEXT NOT NULL,
    reason   TEXT NOT NULL,
    count    INTEGER NOT NULL,
    PRIMARY KEY (endpoint, reason)
) STRICT, WITHOUT ROWID;

-- Requests of the command line to the running gateway, or to the next one that starts.
CREATE TABLE wakes (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    act      TEXT NOT NULL,              -- look | test
    argument TEXT NOT NULL
) STRICT;

-- Evaluation events that wait for a batch: several per row, as JSON separated by commas.
-- The large column is the last, because SQLite reads a row up to the columns of the query.
CREATE TABLE spool (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    count  INTEGER NOT NULL,
    bytes  INTEGER NOT NULL,             -- of its events
    events BLOB NOT NULL
) STRICT;

-- Evaluations that become one event once their minute is over.
CREATE TABLE minutes (
    minute INTEGER NOT NULL,             -- its first second
    told   BLOB NOT NULL,                -- the event but for its count
    count  INTEGER NOT NULL,
    PRIMARY KEY (minute, told)
) STRICT, WITHOUT ROWID;

-- Batches that wait for a receiver and never change: the rows of the spool up to ``last``, after ``head``.
-- AUTOINCREMENT: a sequence is never assigned again.
CREATE TABLE batches (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id       TEXT NOT NULL UNIQUE,
    head     BLOB NOT NULL,
    last     INTEGER NOT NULL            -- its last row in the spool
) STRICT;

-- Evaluation events that the receiver refuses for good; the next start, or new settings, move them to the spool again.
CREATE TABLE refused (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    at     REAL NOT NULL,
    status INTEGER NOT NULL,             -- that it answered
    bytes  INTEGER NOT NULL,
    event  BLOB NOT NULL
) STRICT;

-- The size of the spool, kept by triggers: a sum would take longer the more events wait.
CREATE TABLE spooled (
    bytes INTEGER NOT NULL,
    count INTEGER NOT NULL
) STRICT;
INSERT INTO spooled VALUES (0, 0);
CREATE TRIGGER spool_grows AFTER INSERT ON spool BEGIN
    UPDATE spooled SET bytes = bytes + new.bytes, count = count + new.count;
END;
CREATE TRIGGER spool_shrinks AFTER DELETE ON spool BEGIN
    UPDATE spooled SET bytes = bytes - old.bytes, count = count - old.count;
END;
