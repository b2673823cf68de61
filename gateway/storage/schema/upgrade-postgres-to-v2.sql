-- Version 2: the configs that nodes share, in the order that all of them use.  A gateway of version 1 can go on.

-- Up to where the shared configs of ``key`` are recorded; 0 for a config that was recorded without a place there.
ALTER TABLE configs ADD COLUMN key text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE configs ADD COLUMN place bigint NOT NULL DEFAULT 0;

-- The latest configs of each SDK key, named by the official cache key.  The one with the highest version is in use.
CREATE TABLE shared_configs (
    key     text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    etag    text NOT NULL,
    tag     text NOT NULL,
    body    bytea,                       -- NULL for a config that is long past, of which only the tag is needed
    fetched bigint NOT NULL,             -- ms since 1970, never later than the database's clock
    stored  bigint NOT NULL,             -- the same, by the database's clock
    node    text NOT NULL,
    credit  text NOT NULL,               -- JSON with author and notes; empty if unknown
    PRIMARY KEY (key, version)
);

-- What each node reports of itself to the others; see the cluster view.
CREATE TABLE reports (
    node   text COLLATE "C" PRIMARY KEY,
    seen   timestamptz NOT NULL,
    report text NOT NULL
);
