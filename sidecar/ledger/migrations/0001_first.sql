-- The first shape of a ledger. One file belongs to one workload, so no key repeats the workload.
-- Hours are whole hours since the epoch; quantities of events are integers of 10^-6 (micros);
-- amounts after scaling are exact decimals as plain text.

-- Who this ledger belongs to, and how far it is sealed. `open_from` only moves forward.
CREATE TABLE meta (
  one          INTEGER PRIMARY KEY CHECK (one = 1),
  ledger       TEXT NOT NULL,
  workload     TEXT NOT NULL,
  product_code TEXT NOT NULL,
  region       TEXT NOT NULL,
  opened_at    TEXT NOT NULL,
  open_from    INTEGER NOT NULL,
  turned_at    INTEGER NOT NULL,
  written_at   TEXT NOT NULL,
  writes       INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TRIGGER open_from_only_moves_forward BEFORE UPDATE OF open_from ON meta
WHEN new.open_from < old.open_from
BEGIN
  SELECT raise(ABORT, 'open_from only moves forward');
END;

-- What came in for one hour, dimension and tag set, until the hour is sealed. An integer that would not
-- fit makes STRICT refuse the row, so a sum cannot wrap.
CREATE TABLE bucket (
  hour      INTEGER NOT NULL,
  dimension TEXT NOT NULL,
  tags      TEXT NOT NULL,
  events    INTEGER NOT NULL,
  sum       INTEGER NOT NULL CHECK (sum >= 0),
  max       INTEGER NOT NULL CHECK (max >= 0),
  last      INTEGER NOT NULL CHECK (last >= 0),
  last_at   INTEGER NOT NULL,
  PRIMARY KEY (hour, dimension, tags)
) STRICT, WITHOUT ROWID;

-- The distinct keys of one hour and dimension that counts them.
CREATE TABLE unique_key (
  hour      INTEGER NOT NULL,
  dimension TEXT NOT NULL,
  key       BLOB NOT NULL CHECK (length(key) = 16),
  PRIMARY KEY (hour, dimension, key)
) STRICT, WITHOUT ROWID;

-- Ids of this generation and of the one before, with a digest of what was sent under them. A generation
-- lasts at least 24 hours, so an id is known for 24 to 48.
CREATE TABLE seen (id BLOB PRIMARY KEY, content BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE seen_before (id BLOB PRIMARY KEY, content BLOB NOT NULL) STRICT, WITHOUT ROWID;

-- Which ledgers have been given the ids: another workload's product may send again what this one kept.
CREATE TABLE ids_given (ledger TEXT PRIMARY KEY, at TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- The newest ids of this generation in the order they came, before they are sorted into `seen`: of each group one row,
-- its ids and contents in turn. `number` says how many ids the log took until then.
CREATE TABLE seen_log (
  number  INTEGER PRIMARY KEY,
  entries BLOB NOT NULL CHECK (length(entries) % 32 = 0)
) STRICT;

-- Which events of an hour came too late for their own: the link to their origin. Their quantity is in the bucket.
CREATE TABLE late (
  hour      INTEGER NOT NULL,
  dimension TEXT NOT NULL,
  from_hour INTEGER NOT NULL,
  events    INTEGER NOT NULL,
  sum       INTEGER NOT NULL,
  PRIMARY KEY (hour, dimension, from_hour)
) STRICT, WITHOUT ROWID;

-- Totals for ever, one row per dimension. `pushed_*` counts what was acknowledged, in units and micros;
-- `sealed_*` what left the buckets. The other amounts are scaled.
CREATE TABLE lifetime (
  dimension     TEXT PRIMARY KEY,
  aggregation   TEXT NOT NULL,
  scale         TEXT NOT NULL,
  decimals      INTEGER NOT NULL,
  events        INTEGER NOT NULL DEFAULT 0,
  pushed_units  INTEGER NOT NULL DEFAULT 0,
  pushed_micros INTEGER NOT NULL DEFAULT 0,
  sealed        TEXT NOT NULL DEFAULT '0',
  accepted      TEXT NOT NULL DEFAULT '0',
  settled       TEXT NOT NULL DEFAULT '0',
  carry         TEXT NOT NULL DEFAULT '0',
  merged        INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Amounts that missed their hour and are counted in a later one: `into_hour` is null while they wait.
-- A record is rolled forward once, and so is what another ledger handed over.
CREATE TABLE rolled (
  id        INTEGER PRIMARY KEY,
  dimension TEXT NOT NULL,
  tags      TEXT NOT NULL,
  amount    TEXT NOT NULL,
  from_hour INTEGER NOT NULL,
  origin    TEXT NOT NULL,
  why       TEXT NOT NULL,
  rolled_at TEXT NOT NULL,
  into_hour INTEGER,
  UNIQUE (origin, dimension, from_hour, tags, why)
) STRICT;
CREATE INDEX rolled_waiting ON rolled (dimension) WHERE into_hour IS NULL;
CREATE INDEX rolled_counted ON rolled (into_hour, dimension) WHERE into_hour IS NOT NULL;

-- What one hour owes for one dimension. The key is AWS's rule: a task or pod reports once per hour and dimension.
-- `sending` is set on disk before a request leaves: after a crash in between, AWS may have billed it.
CREATE TABLE usage_record (
  hour         INTEGER NOT NULL,
  dimension    TEXT NOT NULL,
  state        TEXT NOT NULL CHECK (state IN
                 ('sealed', 'settled', 'disputed', 'expired', 'rejected', 'rolled_forward')),
  quantity     TEXT NOT NULL,
  client_token TEXT NOT NULL REFERENCES request (client_token),
  attempts     INTEGER NOT NULL DEFAULT 0,
  definite     INTEGER NOT NULL DEFAULT 1 CHECK (definite IN (0, 1)),
  sending      INTEGER NOT NULL DEFAULT 0 CHECK (sending IN (0, 1)),
  retry_at     TEXT,
  last_error   TEXT,
  record_id    TEXT,
  rolled_to    INTEGER,
  repairs      TEXT NOT NULL DEFAULT '',
  sealed_at    TEXT NOT NULL,
  changed_at   TEXT NOT NULL,
  PRIMARY KEY (hour, dimension)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_record_unsettled ON usage_record (hour) WHERE state NOT IN ('settled', 'rolled_forward');

-- Each request that was ever made for a record, exactly as it goes to AWS. Never changed once written.
CREATE TABLE request (
  client_token TEXT PRIMARY KEY,
  hour         INTEGER NOT NULL,
  dimension    TEXT NOT NULL,
  number       INTEGER NOT NULL,
  body         TEXT NOT NULL,
  digest       TEXT NOT NULL,
  sealed_at    TEXT NOT NULL,
  UNIQUE (hour, dimension, number)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER a_request_is_frozen BEFORE UPDATE ON request
BEGIN
  SELECT raise(ABORT, 'a request is frozen');
END;

-- A record with its request in force, and the earliest hour that something in it came from.
CREATE VIEW record_whole AS
SELECT r.*, q.body, (
  SELECT min(from_hour) FROM (
    SELECT from_hour FROM rolled WHERE into_hour = r.hour AND dimension = r.dimension
    UNION ALL SELECT from_hour FROM late WHERE late.hour = r.hour AND late.dimension = r.dimension)) AS rolled_from
FROM usage_record AS r JOIN request AS q ON q.client_token = r.client_token;

-- The audit trail of what was sent and answered; only the newest are kept.
CREATE TABLE attempt (
  id           INTEGER PRIMARY KEY,
  hour         INTEGER NOT NULL,
  dimension    TEXT NOT NULL,
  client_token TEXT NOT NULL,
  at           TEXT NOT NULL,
  outcome      TEXT NOT NULL,
  detail       TEXT NOT NULL
) STRICT;
CREATE INDEX attempt_of_record ON attempt (hour, dimension);

-- What this ledger hands to another workload's that adopts it: frozen here first, taken there once, then marked here.
-- Only the ledger that claimed it may take it: it may have done so before a crash kept it from saying so.
CREATE TABLE handed (
  id        INTEGER PRIMARY KEY,
  dimension TEXT NOT NULL,
  tags      TEXT NOT NULL,
  amount    TEXT NOT NULL,
  from_hour INTEGER NOT NULL,
  why       TEXT NOT NULL,
  frozen_at TEXT NOT NULL,
  claimed_by TEXT NOT NULL,
  taken_by  TEXT
) STRICT;
CREATE INDEX handed_waiting ON handed (dimension) WHERE taken_by IS NULL;
