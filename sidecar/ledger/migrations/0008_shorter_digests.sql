-- 14 bytes of an id's digest and 8 of its content's: what an older version wrote is cut off. Two ids that begin alike would
-- be one, with odds below one in 10^18 for a hundred million ids.
-- A table is emptied before it is dropped: SQLite would keep the pages of a full one in memory until the statement ends.
CREATE TABLE seen_cut (id BLOB PRIMARY KEY, content BLOB NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO seen_cut (id, content)
SELECT substr(id, 1, 14), substr(content, 1, 8) FROM seen WHERE true ORDER BY id ON CONFLICT DO NOTHING;
DELETE FROM seen;
DROP TABLE seen;
ALTER TABLE seen_cut RENAME TO seen;

CREATE TABLE seen_before_cut (id BLOB PRIMARY KEY, content BLOB NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO seen_before_cut (id, content)
SELECT substr(id, 1, 14), substr(content, 1, 8) FROM seen_before WHERE true ORDER BY id ON CONFLICT DO NOTHING;
DELETE FROM seen_before;
DROP TABLE seen_before;
ALTER TABLE seen_before_cut RENAME TO seen_before;

-- The newest ids of this generation in the order they came, before they are sorted into `seen`: of each group one row,
-- its ids and contents in turn. `number` says how many ids the log took until then; `checksum` is the CRC-32 of `entries`
-- plus `number`, null in rows that an older version wrote.
CREATE TABLE seen_log_cut (
  number   INTEGER PRIMARY KEY,
  entries  BLOB NOT NULL CHECK (length(entries) % 22 = 0),
  checksum INTEGER
) STRICT;
INSERT INTO seen_log_cut (number, entries)
SELECT number, (
  WITH RECURSIVE entry (at) AS (SELECT 1 UNION ALL SELECT at + 32 FROM entry WHERE at + 32 < length(entries))
  SELECT CAST(group_concat(substr(entries, at, 14) || substr(entries, at + 16, 8), '') AS BLOB) FROM entry
) FROM seen_log;
DELETE FROM seen_log;
DROP TABLE seen_log;
ALTER TABLE seen_log_cut RENAME TO seen_log;

UPDATE seen_sum SET
  now = iif(EXISTS (SELECT * FROM seen), NULL, 0), before = iif(EXISTS (SELECT * FROM seen_before), NULL, 0);
