-- Opening a ledger: whose it is and which shape it has.

-- name: tables_count
-- How many tables the file has; none in a new one.
SELECT count(*) FROM sqlite_schema WHERE type = 'table';

-- name: migrations_seen
-- How many migrations the file has seen, and the newest; a number below the first counts against both.
SELECT count(*), coalesce(max(version) * (min(version) = 1), 0) FROM migration;

-- name: schema_version
-- The newest migration that the file has seen.
SELECT max(version) FROM migration;

-- name: migration_table
-- The record of migrations; each row commits together with what it says.
CREATE TABLE migration (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at TEXT NOT NULL) STRICT;

-- name: migration_done
-- Say that a migration was applied.
INSERT INTO migration (version, name, applied_at) VALUES (:version, :name, :at);

-- name: meta_first
-- Give a new ledger its owner.
INSERT INTO meta (one, ledger, workload, product_code, region, opened_at, open_from, turned_at, written_at)
VALUES (1, :ledger, :workload, :product_code, :region, :at, :open_from, :turned_at, :at);

-- name: meta
-- Whose ledger this is and how far it is sealed.
SELECT ledger, workload, product_code, region, open_from, turned_at FROM meta;

-- name: meta_place
-- The region became known after the ledger was begun.
UPDATE meta SET region = :region WHERE region = '';

-- name: meta_written
-- Prove that the ledger can be written. The number differs each time: SQLite writes no page that stays the same.
UPDATE meta SET written_at = :at, writes = writes + 1;

-- name: meta_overwritten
-- Write one page, which says nothing new.
UPDATE meta SET writes = writes + 1;

-- name: lifetime_settings
-- The dimensions that were ever counted, as they were last configured.
SELECT dimension, aggregation, scale, decimals FROM lifetime;

-- name: lifetime_configure
-- Make room for a dimension, or note how it is counted from now on.
INSERT INTO lifetime (dimension, aggregation, scale, decimals) VALUES (:dimension, :aggregation, :scale, :decimals)
ON CONFLICT (dimension) DO UPDATE SET
  aggregation = excluded.aggregation, scale = excluded.scale, decimals = excluded.decimals;

-- name: rows_changed
-- The tables with a row that is not what was written, one at most. A key is written with the bucket that counts it.
SELECT 'meta' FROM meta WHERE as_read IS NOT as_written
UNION ALL SELECT 'bucket' FROM bucket WHERE as_read IS NOT as_written
UNION ALL SELECT 'unique_key' FROM (SELECT DISTINCT hour, dimension FROM unique_key) AS k
  WHERE NOT EXISTS (SELECT 1 FROM bucket AS b WHERE b.hour = k.hour AND b.dimension = k.dimension)
UNION ALL SELECT 'lifetime' FROM lifetime WHERE as_read IS NOT as_written
UNION ALL SELECT 'rolled' FROM rolled WHERE as_read IS NOT as_written
UNION ALL SELECT 'usage_record' FROM usage_record WHERE as_read IS NOT as_written
UNION ALL SELECT 'handed' FROM handed WHERE as_read IS NOT as_written
LIMIT 1;

-- name: rows_changed_since_4
-- The same for what the fourth schema brought.
SELECT 'accepted_aws' FROM accepted_aws WHERE as_read IS NOT as_written LIMIT 1;

-- name: rows_changed_since_5
-- The same for what the fifth schema brought.
SELECT 'reading' FROM reading WHERE as_read IS NOT as_written LIMIT 1;
