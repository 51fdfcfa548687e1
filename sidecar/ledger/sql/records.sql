-- Records after they were sealed.

-- name: records_due
-- Sealed records whose time has come, oldest first.
SELECT * FROM record_whole AS r
WHERE r.state = 'sealed' AND r.retry_at <= :now ORDER BY r.hour, r.dimension LIMIT :limit;

-- name: records_after
-- A page of all records in the order of their hours, behind (:hour, :dimension).
SELECT * FROM record_whole AS r
WHERE (r.hour, r.dimension) > (:hour, :dimension) ORDER BY r.hour, r.dimension LIMIT :limit;

-- name: record
-- One record.
SELECT * FROM record_whole AS r
WHERE r.hour = :hour AND r.dimension = :dimension;

-- name: records_in
-- Every record in a state, oldest first.
SELECT * FROM record_whole AS r
WHERE r.state = :state ORDER BY r.hour, r.dimension;

-- name: record_update
-- What the last answer made of a record. Its hour, dimension and quantity never change.
UPDATE usage_record SET
  state = :state, client_token = :client_token, attempts = :attempts, definite = :definite, retry_at = :retry_at,
  last_error = :last_error, record_id = :record_id, rolled_to = :rolled_to, repairs = :repairs, sending = 0,
  changed_at = :at
WHERE hour = :hour AND dimension = :dimension;

-- name: record_sending
-- A request is about to leave; until its outcome is kept, AWS may have billed it.
UPDATE usage_record SET sending = 1
WHERE hour = :hour AND dimension = :dimension AND client_token = :client_token AND state = 'sealed';

-- name: accepted_aws_add
-- A person accepts AWS's quantity of a record; both stay known.
INSERT INTO accepted_aws (hour, dimension, sealed, billed, accepted_at)
VALUES (:hour, :dimension, :sealed, :billed, :at);

-- name: attempt_add
-- One line of the audit trail.
INSERT INTO attempt (hour, dimension, client_token, at, outcome, detail)
VALUES (:hour, :dimension, :client_token, :at, :outcome, :detail);

-- name: requests_of
-- All requests of one record, the first first.
SELECT number, client_token, body, digest, sealed_at FROM request
WHERE hour = :hour AND dimension = :dimension ORDER BY number;

-- name: attempts_of
-- What was sent and answered for one record.
SELECT at, client_token, outcome, detail FROM attempt WHERE hour = :hour AND dimension = :dimension ORDER BY id;

-- name: attempts_failing_since
-- The first answer since AWS last took a record.
SELECT min(at) FROM attempt WHERE id > coalesce((SELECT max(id) FROM attempt WHERE outcome = 'settled'), 0);

-- name: attempts_answered
-- Whether the audit trail has this outcome anywhere.
SELECT EXISTS (SELECT 1 FROM attempt WHERE outcome = :outcome);

-- name: rolled_into
-- Where amounts in one hour and dimension came from, other than its own events.
SELECT from_hour, amount, origin, why FROM rolled WHERE into_hour = :hour AND dimension = :dimension ORDER BY id;

-- name: late_into
-- Which earlier hours the late events of one hour and dimension belonged to, in micros.
SELECT from_hour, events, sum FROM late WHERE hour = :hour AND dimension = :dimension ORDER BY from_hour;

-- name: attempts_prune
-- Keep the newest :keep lines of the audit trail.
DELETE FROM attempt WHERE id <= (SELECT max(id) FROM attempt) - :keep;

-- name: records_prune
-- Forget records that nothing waits for and whose hour is before :hour.
DELETE FROM usage_record WHERE hour < :hour
AND state IN ('settled', 'rolled_forward');

-- name: requests_prune
-- Forget requests of forgotten records.
DELETE FROM request WHERE hour < :hour AND NOT EXISTS (
  SELECT 1 FROM usage_record AS r WHERE r.hour = request.hour AND r.dimension = request.dimension);

-- name: late_prune
-- Forget links of hours long sealed.
DELETE FROM late WHERE hour < :hour;

-- name: rolled_prune
-- Forget links of amounts that were counted long ago.
DELETE FROM rolled WHERE into_hour < :hour;

-- name: handed_prune
-- Forget what was handed over and taken long ago.
DELETE FROM handed WHERE taken_by IS NOT NULL AND frozen_at < :at;

-- name: open_slots
-- Hours and dimensions that hold usage which is not sealed, oldest first.
SELECT DISTINCT hour, dimension FROM bucket ORDER BY hour, dimension;
