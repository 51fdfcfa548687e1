-- What an acknowledged push leaves behind. What a group adds comes as rows: a commit has few, and SQLite would take longer to
-- read them from one JSON text.

-- name: push_state
-- What a push has to know: the first open hour, and what ids_place says.
SELECT open_from, turned_at, (SELECT coalesce(max(number), 0) FROM seen_log) FROM meta;

-- name: buckets_add
-- Add hour, dimension, tags, events, sum, max, last, last_at. Of two instants that are equal the later arrival is the last.
INSERT INTO bucket (hour, dimension, tags, events, sum, max, last, last_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (hour, dimension, tags) DO UPDATE SET
  events = events + excluded.events,
  sum = sum + excluded.sum,
  max = max(max, excluded.max),
  last = iif(excluded.last_at >= last_at, excluded.last, last),
  last_at = max(last_at, excluded.last_at);

-- name: buckets_last
-- Set the last value of hour, dimension, tags to last, last_at, whose event came after what is there.
UPDATE bucket SET last = ?4, last_at = ?5 WHERE hour = ?1 AND dimension = ?2 AND tags = ?3;

-- name: unique_keys_add
-- Count a key of an hour and dimension once.
INSERT INTO unique_key (hour, dimension, key, checksum) VALUES (:hour, :dimension, :key, :checksum)
ON CONFLICT DO NOTHING;

-- name: unique_keys_slots
-- The hours and dimensions that have keys.
SELECT DISTINCT hour, dimension FROM unique_key;

-- name: unique_keys_part
-- The keys of one hour and dimension from :first to :last, and their checksums; without those of an older version.
SELECT CAST(group_concat(key, '') AS BLOB), group_concat(checksum) FROM unique_key
WHERE hour = :hour AND dimension = :dimension AND key BETWEEN :first AND :last AND checksum IS NOT NULL;

-- name: tag_sets_count
-- How many tag sets one hour and dimension has.
SELECT count(*) FROM bucket WHERE hour = :hour AND dimension = :dimension AND tags <> '[]';

-- name: tag_sets_known
-- How many of the tag sets in :tags, a JSON array, one hour and dimension has.
SELECT count(*) FROM json_each(:tags) AS asked CROSS JOIN bucket
ON bucket.hour = :hour AND bucket.dimension = :dimension AND bucket.tags = asked.value;

-- name: unique_keys_known
-- How many of the keys in :keys, 16 bytes each, one hour and dimension has.
WITH RECURSIVE number (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM number WHERE i + 1 < :count)
SELECT count(*) FROM number CROSS JOIN unique_key AS k
ON k.hour = :hour AND k.dimension = :dimension AND k.key = substr(:keys, 1 + i * 16, 16);

-- name: late_add
-- Link hour, dimension, from_hour, events, sum to the sealed hour they belonged to.
INSERT INTO late (hour, dimension, from_hour, events, sum) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (hour, dimension, from_hour) DO UPDATE SET events = events + excluded.events, sum = sum + excluded.sum;

-- name: lifetime_push
-- Add dimension, events, units, micros to the totals for ever.
UPDATE lifetime SET
  events = events + ?2,
  pushed_units = pushed_units + ?3 + (pushed_micros + ?4) / 1000000,
  pushed_micros = (pushed_micros + ?4) % 1000000
WHERE dimension = ?1;

-- name: bucket_sum
-- What one bucket holds so far.
SELECT sum FROM bucket WHERE hour = :hour AND dimension = :dimension AND tags = :tags;
