-- What receivers ask by Retry-After is kept, so that a message that may go early never goes before that.
ALTER TABLE messages ADD COLUMN asked REAL NOT NULL DEFAULT 0;
-- It was not kept before: what was asked then cannot have been later than the attempt that was planned.
UPDATE messages SET asked = due WHERE state = 'pending' AND tries > 0;
