-- Rows that are billed from carry what they were when they were written. SQLite checks how a page is built, not what a
-- row says: a byte that the disk changed in an amount reads as another amount. `as_read` is the row as it is read now,
-- `as_written` what it was; where they differ the file is corrupt. Requests have a digest since the first shape.

DROP VIEW record_whole;
DROP TRIGGER open_from_only_moves_forward;

ALTER TABLE meta RENAME TO meta_before;
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
  writes       INTEGER NOT NULL DEFAULT 0,
  as_read      TEXT AS (printf('%s|%s|%s|%s|%d|%d', ledger, workload, product_code, region, open_from, turned_at)),
  as_written   TEXT AS (as_read) STORED
) STRICT;
INSERT INTO meta (one, ledger, workload, product_code, region, opened_at, open_from, turned_at, written_at, writes)
SELECT one, ledger, workload, product_code, region, opened_at, open_from, turned_at, written_at, writes FROM meta_before;
DROP TABLE meta_before;

CREATE TRIGGER open_from_only_moves_forward BEFORE UPDATE OF open_from ON meta
WHEN new.open_from < old.open_from
BEGIN
  SELECT raise(ABORT, 'open_from only moves forward');
END;

ALTER TABLE bucket RENAME TO bucket_before;
CREATE TABLE bucket (
  hour       INTEGER NOT NULL,
  dimension  TEXT NOT NULL,
  tags       TEXT NOT NULL,
  events     INTEGER NOT NULL,
  sum        INTEGER NOT NULL CHECK (sum >= 0),
  max        INTEGER NOT NULL CHECK (max >= 0),
  last       INTEGER NOT NULL CHECK (last >= 0),
  last_at    INTEGER NOT NULL,
  as_read    TEXT AS (printf('%d|%s|%s|%d|%d|%d|%d|%d', hour, dimension, tags, events, sum, max, last, last_at)),
  as_written TEXT AS (as_read) STORED,
  PRIMARY KEY (hour, dimension, tags)
) STRICT, WITHOUT ROWID;
INSERT INTO bucket (hour, dimension, tags, events, sum, max, last, last_at)
SELECT hour, dimension, tags, events, sum, max, last, last_at FROM bucket_before;
DROP TABLE bucket_before;

ALTER TABLE lifetime RENAME TO lifetime_before;
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
  merged        INTEGER NOT NULL DEFAULT 0,
  as_read       TEXT AS (printf('%s|%s|%s|%d|%d|%d|%d|%s|%s|%s|%s|%d', dimension, aggregation, scale, decimals,
                  events, pushed_units, pushed_micros, sealed, accepted, settled, carry, merged)),
  as_written    TEXT AS (as_read) STORED
) STRICT, WITHOUT ROWID;
INSERT INTO lifetime (dimension, aggregation, scale, decimals, events, pushed_units, pushed_micros, sealed, accepted,
  settled, carry, merged)
SELECT dimension, aggregation, scale, decimals, events, pushed_units, pushed_micros, sealed, accepted, settled, carry,
  merged FROM lifetime_before;
DROP TABLE lifetime_before;

ALTER TABLE rolled RENAME TO rolled_before;
CREATE TABLE rolled (
  id         INTEGER PRIMARY KEY,
  dimension  TEXT NOT NULL,
  tags       TEXT NOT NULL,
  amount     TEXT NOT NULL,
  from_hour  INTEGER NOT NULL,
  origin     TEXT NOT NULL,
  why        TEXT NOT NULL,
  rolled_at  TEXT NOT NULL,
  into_hour  INTEGER,
  as_read    TEXT AS (printf('%d|%s|%s|%s|%d|%s|%s|%s', id, dimension, tags, amount, from_hour, origin, why,
               quote(into_hour))),
  as_written TEXT AS (as_read) STORED,
  UNIQUE (origin, dimension, from_hour, tags, why)
) STRICT;
INSERT INTO rolled (id, dimension, tags, amount, from_hour, origin, why, rolled_at, into_hour)
SELECT id, dimension, tags, amount, from_hour, origin, why, rolled_at, into_hour FROM rolled_before;
DROP TABLE rolled_before;
CREATE INDEX rolled_waiting ON rolled (dimension) WHERE into_hour IS NULL;
CREATE INDEX rolled_counted ON rolled (into_hour, dimension) WHERE into_hour IS NOT NULL;

ALTER TABLE usage_record RENAME TO usage_record_before;
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
  as_read      TEXT AS (printf('%d|%s|%s|%s|%s|%d|%d|%d|%s|%s|%s|%s|%s', hour, dimension, state, quantity,
                 client_token, attempts, definite, sending, quote(retry_at), quote(last_error), quote(record_id),
                 quote(rolled_to), repairs)),
  as_written   TEXT AS (as_read) STORED,
  PRIMARY KEY (hour, dimension)
) STRICT, WITHOUT ROWID;
INSERT INTO usage_record (hour, dimension, state, quantity, client_token, attempts, definite, sending, retry_at,
  last_error, record_id, rolled_to, repairs, sealed_at, changed_at)
SELECT hour, dimension, state, quantity, client_token, attempts, definite, sending, retry_at, last_error, record_id,
  rolled_to, repairs, sealed_at, changed_at FROM usage_record_before;
DROP TABLE usage_record_before;
CREATE INDEX usage_record_unsettled ON usage_record (hour) WHERE state NOT IN ('settled', 'rolled_forward');

ALTER TABLE handed RENAME TO handed_before;
CREATE TABLE handed (
  id         INTEGER PRIMARY KEY,
  dimension  TEXT NOT NULL,
  tags       TEXT NOT NULL,
  amount     TEXT NOT NULL,
  from_hour  INTEGER NOT NULL,
  why        TEXT NOT NULL,
  frozen_at  TEXT NOT NULL,
  claimed_by TEXT NOT NULL,
  taken_by   TEXT,
  as_read    TEXT AS (printf('%d|%s|%s|%s|%d|%s|%s|%s|%s', id, dimension, tags, amount, from_hour, why, frozen_at,
               claimed_by, quote(taken_by))),
  as_written TEXT AS (as_read) STORED
) STRICT;
INSERT INTO handed (id, dimension, tags, amount, from_hour, why, frozen_at, claimed_by, taken_by)
SELECT id, dimension, tags, amount, from_hour, why, frozen_at, claimed_by, taken_by FROM handed_before;
DROP TABLE handed_before;
CREATE INDEX handed_waiting ON handed (dimension) WHERE taken_by IS NULL;

-- A record with its request in force.
CREATE VIEW record_whole AS
SELECT r.*, q.body, q.digest FROM usage_record AS r JOIN request AS q ON q.client_token = r.client_token;
