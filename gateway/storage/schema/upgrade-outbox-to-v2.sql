-- The time of the last Retry-After, before which a message is not sent even if it may be sent early.
ALTER TABLE messages ADD COLUMN asked REAL NOT NULL DEFAULT 0;
-- Version 1 did not store it; it was not later than the next attempt.
UPDATE messages SET asked = due WHERE state = 'pending' AND tries > 0;

-- The size of the events precedes them, and commas replace line feeds.
CREATE TABLE spool_v2 (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    count  INTEGER NOT NULL,
    bytes  INTEGER NOT NULL,
    events BLOB NOT NULL
) STRICT;
INSERT INTO spool_v2
    SELECT id, count, length(lines), CAST(replace(lines, char(10), ',') AS BLOB) FROM spool ORDER BY id;
DROP TABLE spool;
ALTER TABLE spool_v2 RENAME TO spool;
CREATE TRIGGER spool_grows AFTER INSERT ON spool BEGIN
    UPDATE spooled SET bytes = bytes + new.bytes, count = count + new.count;
END;
CREATE TRIGGER spool_shrinks AFTER DELETE ON spool BEGIN
    UPDATE spooled SET bytes = bytes - old.bytes, count = count - old.count;
END;
