-- What an acknowledged push leaves behind. Lists come as one JSON text or one blob, so that a whole group is
-- one statement of each kind.

-- name: ids_known
-- Which of the ids in :entries (32 bytes each: id, content) are known, as (position, content).
WITH RECURSIVE number (i) AS (
  SELECT 0 WHERE :count > 0 UNION ALL SELECT i + 1 FROM number WHERE i + 1 < :count
)
SELECT i, seen.content FROM number CROSS JOIN seen ON seen.id = substr(:entries, 1 + i * 32, 16)
UNION ALL
SELECT i, seen_before.content FROM number CROSS JOIN seen_before ON seen_before.id = substr(:entries, 1 + i * 32, 16);

-- name: ids_take
-- Remember those of the ids in :entries that are not known; how many those were is the number of rows changed.
INSERT INTO seen (id, content)
WITH RECURSIVE number (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM number WHERE i + 1 < :count)
SELECT substr(:entries, 1 + i * 32, 16), substr(:entries, 17 + i * 32, 16) FROM number
WHERE substr(:entries, 1 + i * 32, 16) NOT IN (SELECT id FROM seen_before)
ON CONFLICT DO NOTHING;

-- name: standing
-- What a push has to know: the first open hour, and when the current generation of ids began.
SELECT open_from, turned_at FROM meta;

-- name: ids_keep
-- Remember the ids in :entries, each with its content.
WITH RECURSIVE number (i) AS (
  SELECT 0 WHERE :count > 0 UNION ALL SELECT i + 1 FROM number WHERE i + 1 < :count
)
INSERT INTO seen (id, content)
SELECT substr(:entries, 1 + i * 32, 16), substr(:entries, 17 + i * 32, 16) FROM number;

-- name: ids_forget_oldest
-- Empty the generation before, so that the current one can take its place.
DELETE FROM seen_before;

-- name: ids_turn_away
-- First step of the exchange of generations: the emptied table makes room.
ALTER TABLE seen_before RENAME TO seen_emptied;

-- name: ids_turn_over
-- Second step: what was current is the generation before.
ALTER TABLE seen RENAME TO seen_before;

-- name: ids_turn_anew
-- Third step: the emptied table is current.
ALTER TABLE seen_emptied RENAME TO seen;

-- name: ids_turned
-- A new generation begins.
UPDATE meta SET turned_at = :now;

-- name: buckets_add
-- Add [hour, dimension, tags, events, sum, max, last, last_at] rows. Of two instants that are equal the later arrival is the last.
INSERT INTO bucket (hour, dimension, tags, events, sum, max, last, last_at)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7
FROM json_each(:rows) WHERE true
ON CONFLICT (hour, dimension, tags) DO UPDATE SET
  events = events + excluded.events,
  sum = sum + excluded.sum,
  max = max(max, excluded.max),
  last = iif(excluded.last_at >= last_at, excluded.last, last),
  last_at = max(last_at, excluded.last_at);

-- name: unique_keys_add
-- Count a key of an hour and dimension once.
INSERT INTO unique_key (hour, dimension, key) VALUES (:hour, :dimension, :key) ON CONFLICT DO NOTHING;

-- name: late_add
-- Link [hour, dimension, from_hour, events, sum] rows to the sealed hour they belonged to.
INSERT INTO late (hour, dimension, from_hour, events, sum)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(:rows) WHERE true
ON CONFLICT (hour, dimension, from_hour) DO UPDATE SET events = events + excluded.events, sum = sum + excluded.sum;

-- name: lifetime_push
-- Add [dimension, events, units, micros] rows to the totals for ever.
UPDATE lifetime SET
  events = events + pushed.more,
  pushed_units = pushed_units + pushed.units + (pushed_micros + pushed.micros) / 1000000,
  pushed_micros = (pushed_micros + pushed.micros) % 1000000
FROM (SELECT value ->> 0 AS dimension, value ->> 1 AS more, value ->> 2 AS units, value ->> 3 AS micros
      FROM json_each(:rows)) AS pushed
WHERE lifetime.dimension = pushed.dimension;

-- name: bucket_sum
-- What one bucket holds so far.
SELECT sum FROM bucket WHERE hour = :hour AND dimension = :dimension AND tags = :tags;
