-- The history of configs, version 1.  Times are seconds since 1970, as REAL.

-- Each config JSON once.  The large column is the last, because SQLite reads a row up to the columns of the query.
CREATE TABLE configs (
    hash  TEXT PRIMARY KEY,              -- SHA-256 of the body, 64 hex digits
    bytes INTEGER NOT NULL,              -- of the body
    flags INTEGER NOT NULL,
    body  BLOB NOT NULL                  -- compressed with zlib
) STRICT;

-- When each config came into use.  AUTOINCREMENT: the order of the applications is the order of the ids.
CREATE TABLE applications (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    sdk_id    TEXT NOT NULL,
    at        REAL NOT NULL,
    hash      TEXT NOT NULL REFERENCES configs (hash),
    etag      TEXT NOT NULL,
    source    TEXT NOT NULL,             -- remote | file | cache | accepted | served | released
    author    TEXT NOT NULL,             -- empty when unknown
    notes     TEXT NOT NULL,
    change_id INTEGER                    -- in the outbox; null without webhooks, and for a first config
) STRICT;
CREATE INDEX applications_sdk ON applications (sdk_id, id);
CREATE INDEX applications_change ON applications (change_id) WHERE change_id IS NOT NULL;
CREATE INDEX applications_hash ON applications (hash);

-- The config that an operator has pinned for an SDK.
CREATE TABLE pins (
    sdk_id  TEXT PRIMARY KEY,
    sdk_key TEXT NOT NULL,               -- digest of the SDK key: another key may be another product's
    hash    TEXT NOT NULL REFERENCES configs (hash),
    etag    TEXT NOT NULL,
    at      REAL NOT NULL
) STRICT, WITHOUT ROWID;
