-- Which ids are known. Entries come as one blob, 22 bytes each: 14 of an id, 8 of its content.

-- name: ids_known
-- Which of the ids in :entries are sorted in, as (position, content).
WITH RECURSIVE number (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM number WHERE i + 1 < :count)
SELECT i, seen.content FROM number CROSS JOIN seen ON seen.id = substr(:entries, 1 + i * 22, 14)
UNION ALL
SELECT i, seen_before.content FROM number CROSS JOIN seen_before ON seen_before.id = substr(:entries, 1 + i * 22, 14);

-- name: ids_log
-- Put the ids that were just taken on disk; number: how many the log took with them.
INSERT INTO seen_log (number, entries, checksum) VALUES (:number, :entries, :number + :checksum);

-- name: ids_place
-- In which generation the ledger is, and how many ids the log took since it began.
SELECT turned_at, (SELECT coalesce(max(number), 0) FROM seen_log) FROM meta;

-- name: ids_move
-- Sort the ids in :entries in among the others.
INSERT INTO seen (id, content)
WITH RECURSIVE number (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM number WHERE i + 1 < :count)
SELECT substr(:entries, 1 + i * 22, 14), substr(:entries, 15 + i * 22, 8) FROM number
WHERE true
ON CONFLICT DO NOTHING;

-- name: ids_log_cut
-- Drop what the log took up to :number: all of it was sorted in.
DELETE FROM seen_log WHERE number <= :number;

-- name: ids_log_clear
-- Drop the whole log: all of it was sorted in.
DELETE FROM seen_log;

-- name: ids_logged
-- What the log holds, as it came.
SELECT number, entries, checksum FROM seen_log ORDER BY number;

-- name: ids_page
-- The first :count ids behind :after of this generation that were sorted in: the last of them, and all with contents.
SELECT max(id), CAST(group_concat(id || content, '') AS BLOB)
FROM (SELECT id, content FROM seen WHERE id > :after ORDER BY id LIMIT :count);

-- name: ids_page_before
-- The same of the generation before.
SELECT max(id), CAST(group_concat(id || content, '') AS BLOB)
FROM (SELECT id, content FROM seen_before WHERE id > :after ORDER BY id LIMIT :count);

-- name: ids_forget_oldest
-- Empty the generation before, so that the current one can take its place.
DELETE FROM seen_before;

-- name: ids_rotate_emptied
-- First step of the exchange of generations: the emptied table makes room.
ALTER TABLE seen_before RENAME TO seen_emptied;

-- name: ids_rotate_current
-- Second step: what was current is the generation before.
ALTER TABLE seen RENAME TO seen_before;

-- name: ids_rotate_new
-- Third step: the emptied table is current.
ALTER TABLE seen_emptied RENAME TO seen;

-- name: ids_rotated
-- A new generation begins.
UPDATE meta SET turned_at = :now;

-- name: ids_rotate_sums
-- The sums go with their ids.
UPDATE seen_sum SET before = now, now = 0;

-- name: ids_sums
-- What the ids that were sorted in came to when they were written, in this generation and the one before.
SELECT now, before FROM seen_sum;

-- name: ids_sums_set
-- Note what they come to.
UPDATE seen_sum SET now = :now, before = :before;

-- name: ids_sum_add
-- Add what new ids come to.
UPDATE seen_sum SET now = (now + :sum) % :modulus;

-- name: ids_page_whole
-- The same of this generation's whole digests, which an older version kept.
SELECT max(id), CAST(group_concat(id || content, '') AS BLOB)
FROM (SELECT id, content FROM seen_whole WHERE id > :after ORDER BY id LIMIT :count);

-- name: ids_page_before_whole
-- The same of the generation before.
SELECT max(id), CAST(group_concat(id || content, '') AS BLOB)
FROM (SELECT id, content FROM seen_before_whole WHERE id > :after ORDER BY id LIMIT :count);

-- name: ids_logged_whole
-- What the log held of whole digests.
SELECT number, entries, checksum FROM seen_log_whole ORDER BY number;

-- name: ids_cut_before
-- Keep the ids in :entries, whose digests were cut, in the generation before.
INSERT INTO seen_before (id, content)
WITH RECURSIVE number (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM number WHERE i + 1 < :count)
SELECT substr(:entries, 1 + i * 22, 14), substr(:entries, 15 + i * 22, 8) FROM number
WHERE true
ON CONFLICT DO NOTHING;

-- name: ids_whole_clear
-- SQLite keeps the pages of a full table in memory where it drops one, and not where it empties it.
DELETE FROM seen_whole;

-- name: ids_whole_clear_before
-- The same of the generation before.
DELETE FROM seen_before_whole;

-- name: ids_whole_drop
-- What an older version kept is cut.
DROP TABLE seen_whole;

-- name: ids_whole_drop_before
-- The same of the generation before.
DROP TABLE seen_before_whole;

-- name: ids_whole_drop_log
-- The same of the log, which is short.
DROP TABLE seen_log_whole;
