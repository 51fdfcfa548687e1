-- Closing an hour for good.

-- name: hours_open
-- Hours that hold usage which is not sealed, oldest first.
SELECT DISTINCT hour FROM bucket ORDER BY hour;

-- name: buckets_of
-- What came in for one hour and dimension: the untagged bucket, then the largest.
SELECT tags, sum, max, last FROM bucket WHERE hour = :hour AND dimension = :dimension
ORDER BY tags <> '[]', sum DESC, tags LIMIT :most;

-- name: bucket_sums_of
-- The sums of micros of one hour and dimension, per tag set.
SELECT sum FROM bucket WHERE hour = :hour AND dimension = :dimension;

-- name: unique_keys_count
-- How many distinct keys one hour and dimension has.
SELECT count(*) FROM unique_key WHERE hour = :hour AND dimension = :dimension;

-- name: bucket_hours_all
-- Hours in which a dimension has usage.
SELECT DISTINCT hour FROM bucket WHERE dimension = :dimension ORDER BY hour;

-- name: bucket_delete
-- Forget what one hour and dimension came to; its amount is on record now.
DELETE FROM bucket WHERE hour = :hour AND dimension = :dimension;

-- name: unique_keys_delete
-- Forget the keys of a sealed hour and dimension.
DELETE FROM unique_key WHERE hour = :hour AND dimension = :dimension;

-- name: open_from_move
-- Everything before :hour is sealed.
UPDATE meta SET open_from = max(open_from, :hour);

-- name: lifetime_amounts
-- The scaled amounts of one dimension.
SELECT sealed, accepted, settled, carry, merged FROM lifetime WHERE dimension = :dimension;

-- name: lifetime_save
-- Write the scaled amounts of one dimension back.
UPDATE lifetime SET sealed = :sealed, accepted = :accepted, settled = :settled, carry = :carry, merged = :merged
WHERE dimension = :dimension;

-- name: rolled_waiting
-- Amounts of one dimension that wait for an hour to be counted in.
SELECT id, tags, amount, from_hour, origin FROM rolled WHERE dimension = :dimension AND into_hour IS NULL ORDER BY id;

-- name: rolled_count_in
-- The hour being sealed counts what waited.
UPDATE rolled SET into_hour = :hour WHERE dimension = :dimension AND into_hour IS NULL;

-- name: rolled_add
-- An amount that missed its hour waits for the next. A second time for the same origin is refused.
INSERT INTO rolled (dimension, tags, amount, from_hour, origin, why, rolled_at)
VALUES (:dimension, :tags, :amount, :from_hour, :origin, :why, :at);

-- name: origins_link
-- The records that were rolled forward since :open_from learn in which hour they are counted.
UPDATE usage_record SET rolled_to = :hour
WHERE dimension = :dimension AND state = 'rolled_forward' AND rolled_to >= :open_from;

-- name: record_add
-- A sealed record. A second one for the same hour and dimension is impossible.
INSERT INTO usage_record (hour, dimension, state, quantity, client_token, retry_at, sealed_at, changed_at)
VALUES (:hour, :dimension, 'sealed', :quantity, :client_token, :retry_at, :at, :at);

-- name: request_add
-- A request, frozen.
INSERT INTO request (client_token, hour, dimension, number, body, digest, sealed_at)
VALUES (:client_token, :hour, :dimension,
        1 + (SELECT count(*) FROM request WHERE hour = :hour AND dimension = :dimension), :body, :digest, :at);
