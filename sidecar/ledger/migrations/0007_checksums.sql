-- What the ids of each generation that were sorted in come to, so that one that the disk changed is found before it would
-- count as new; null until it is read for the first time.
CREATE TABLE seen_sum (one INTEGER PRIMARY KEY CHECK (one = 1), now INTEGER, before INTEGER) STRICT;
INSERT INTO seen_sum (one, now, before)
SELECT 1, iif(EXISTS (SELECT * FROM seen), NULL, 0), iif(EXISTS (SELECT * FROM seen_before), NULL, 0);

-- The CRC-32 of hour, dimension and key; null in rows that an older version wrote.
ALTER TABLE unique_key ADD COLUMN checksum INTEGER;

-- The CRC-32 of `entries` plus `number`; null in rows that an older version wrote.
ALTER TABLE seen_log ADD COLUMN checksum INTEGER;
