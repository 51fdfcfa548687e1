-- A ledger whose workload is gone hands over what may be billed by another.

-- name: handed_add
-- Freeze one amount for the ledger that adopts this one.
INSERT INTO handed (dimension, tags, amount, from_hour, why, frozen_at, claimed_by)
VALUES (:dimension, :tags, :amount, :from_hour, :why, :at, :claimed_by);

-- name: handed_waiting
-- What is frozen and not known to be taken.
SELECT id, dimension, tags, amount, from_hour, why, frozen_at, claimed_by FROM handed WHERE taken_by IS NULL ORDER BY id;

-- name: handed_taken
-- The adopting ledger has it on disk.
UPDATE handed SET taken_by = :taken_by WHERE id = :id;

-- name: handed_claim
-- Another ledger may take it: the one that claimed it has not, and is not in use.
UPDATE handed SET claimed_by = :claimed_by WHERE id = :id;

-- name: handed_like
-- How many amounts are frozen here that were rolled forward before, and are like this one.
SELECT count(*) FROM handed WHERE dimension = :dimension AND tags = :tags AND amount = :amount
AND from_hour = :from_hour AND why = 'rolled_forward';

-- name: ids_given_to
-- Whether a ledger has been given the ids.
SELECT count(*) FROM ids_given WHERE ledger = :ledger;

-- name: ids_give
-- A ledger has been given the ids.
INSERT INTO ids_given (ledger, at) VALUES (:ledger, :at) ON CONFLICT DO NOTHING;

-- name: ids_given_clear
-- The workload lives: what it keeps from now on no other ledger has been given.
DELETE FROM ids_given;

-- name: rolled_hand_over
-- Amounts that waited here are handed over; where they came from is still known. No hour has the number :never.
UPDATE rolled SET into_hour = :never WHERE dimension = :dimension AND into_hour IS NULL;

-- name: rolled_known
-- Was this handed amount taken before?
SELECT count(*) FROM rolled WHERE origin = :origin;
