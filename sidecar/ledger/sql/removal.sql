-- Ledgers of workloads that are gone are removed once nothing in them is needed.

-- name: needed_still
-- Whether anything waits here, or is of :hour and later, or was changed at :at and later.
SELECT EXISTS (SELECT 1 FROM bucket)
OR EXISTS (SELECT 1 FROM usage_record WHERE state NOT IN ('settled', 'rolled_forward') OR hour >= :hour OR changed_at >= :at)
OR EXISTS (SELECT 1 FROM rolled WHERE into_hour IS NULL)
OR EXISTS (SELECT 1 FROM handed WHERE taken_by IS NULL OR frozen_at >= :at)
OR EXISTS (SELECT 1 FROM meta WHERE written_at >= :at);

-- name: removed_rows
-- What this ledger keeps of those that were removed.
SELECT ledger, workload, dimension, events, accepted, settled, written_off, over_billed, removed_at
FROM removed ORDER BY removed_at, ledger, dimension;

-- name: removed_keep
-- Keep what a ledger came to that is about to be removed; once more after a crash.
INSERT INTO removed (ledger, workload, dimension, events, accepted, settled, written_off, over_billed, removed_at)
VALUES (:ledger, :workload, :dimension, :events, :accepted, :settled, :written_off, :over_billed, :removed_at)
ON CONFLICT (ledger, dimension) DO UPDATE SET
  events = excluded.events, accepted = excluded.accepted, settled = excluded.settled,
  written_off = excluded.written_off, over_billed = excluded.over_billed, removed_at = excluded.removed_at;
