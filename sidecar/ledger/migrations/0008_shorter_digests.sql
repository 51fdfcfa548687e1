-- 14 bytes of an id's digest are kept, and 8 of its content's. `seen_ids.cut` fills these tables in the same transaction from
-- those of whole digests, and drops them.
ALTER TABLE seen RENAME TO seen_whole;
ALTER TABLE seen_before RENAME TO seen_before_whole;
ALTER TABLE seen_log RENAME TO seen_log_whole;
CREATE TABLE seen (id BLOB PRIMARY KEY, content BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE seen_before (id BLOB PRIMARY KEY, content BLOB NOT NULL) STRICT, WITHOUT ROWID;

-- The newest ids of this generation in the order they came, before they are sorted into `seen`: of each group one row,
-- its ids and contents in turn. `number` says how many ids the log took until then; `checksum` is the CRC-32 of `entries`
-- plus `number`.
CREATE TABLE seen_log (
  number   INTEGER PRIMARY KEY,
  entries  BLOB NOT NULL CHECK (length(entries) % 22 = 0),
  checksum INTEGER NOT NULL
) STRICT;
