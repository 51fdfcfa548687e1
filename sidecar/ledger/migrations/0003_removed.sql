-- What ledgers of workloads that are gone came to in the end, each with its own name: the ledger is removed after its
-- audit time, the totals stay. Nothing is billed from them.
CREATE TABLE removed (
  ledger     TEXT NOT NULL,
  workload   TEXT NOT NULL,
  dimension  TEXT NOT NULL,
  events     INTEGER NOT NULL,
  accepted   TEXT NOT NULL,
  settled    TEXT NOT NULL,
  removed_at TEXT NOT NULL,
  PRIMARY KEY (ledger, dimension)
) STRICT, WITHOUT ROWID;
