-- What receivers ask by Retry-After is kept, so that a message that may go early never goes before that.
ALTER TABLE messages ADD COLUMN asked REAL NOT NULL DEFAULT 0;
-- It was not kept before: what was asked then cannot have been later than the attempt that was planned.
UPDATE messages SET asked = due WHERE state = 'pending' AND tries > 0;

-- The size of the events stands in front of them, and commas take the place of line feeds.
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
