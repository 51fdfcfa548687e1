-- What is where, to the unit.

-- name: lifetimes
-- The totals of every dimension that was ever counted.
SELECT dimension, aggregation, scale, decimals, events, pushed_units, pushed_micros, sealed, accepted, settled, carry, merged
FROM lifetime ORDER BY dimension;

-- name: bucket_sums
-- The sums of micros in open hours, per tag set: added up outside, where integers have no limit.
SELECT sum FROM bucket WHERE dimension = :dimension;

-- name: amounts_waiting
-- Every amount of one dimension that was sealed or frozen and is not settled.
SELECT amount FROM handed WHERE dimension = :dimension AND taken_by IS NULL
UNION ALL
SELECT quantity FROM usage_record WHERE dimension = :dimension AND state NOT IN ('settled', 'rolled_forward');

-- name: accepted_aws
-- What was sealed and what AWS billed, where a person accepted AWS's quantity.
SELECT dimension, sealed, billed FROM accepted_aws;

-- name: states_count
-- How many records are in each state.
SELECT state, count(*) FROM usage_record GROUP BY state;

-- name: oldest_unsettled
-- The oldest hour for which something is not settled.
SELECT min(hour) FROM usage_record WHERE state NOT IN ('settled', 'rolled_forward');

-- name: last_settled
-- When AWS last gave a metering record id.
SELECT max(changed_at) FROM usage_record WHERE state = 'settled';

-- name: ever_settled
-- Whether the totals for ever know of anything settled.
SELECT EXISTS (SELECT 1 FROM lifetime WHERE settled <> '0');

-- name: rolled_count
-- How many amounts wait to be counted in a later hour.
SELECT count(*) FROM rolled WHERE into_hour IS NULL;
