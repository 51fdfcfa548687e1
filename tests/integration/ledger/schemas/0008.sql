BEGIN TRANSACTION;
CREATE TABLE accepted_aws (
  hour        INTEGER NOT NULL,
  dimension   TEXT NOT NULL,
  sealed      TEXT NOT NULL,
  billed      TEXT NOT NULL,
  accepted_at TEXT NOT NULL,
  as_read     TEXT AS (printf('%d|%s|%s|%s|%s', hour, dimension, sealed, billed, accepted_at)),
  as_written  TEXT AS (as_read) STORED,
  PRIMARY KEY (hour, dimension)
) STRICT, WITHOUT ROWID;
CREATE TABLE attempt (
  id           INTEGER PRIMARY KEY,
  hour         INTEGER NOT NULL,
  dimension    TEXT NOT NULL,
  client_token TEXT NOT NULL,
  at           TEXT NOT NULL,
  outcome      TEXT NOT NULL,
  detail       TEXT NOT NULL
) STRICT;
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
INSERT INTO "bucket" VALUES(490933,'requests','[]',1,1000000,1000000,1000000,1767359400000000);
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
CREATE TABLE ids_given (ledger TEXT PRIMARY KEY, at TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE late (
  hour      INTEGER NOT NULL,
  dimension TEXT NOT NULL,
  from_hour INTEGER NOT NULL,
  events    INTEGER NOT NULL,
  sum       INTEGER NOT NULL,
  PRIMARY KEY (hour, dimension, from_hour)
) STRICT, WITHOUT ROWID;
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
INSERT INTO "lifetime" VALUES('gigabytes','sum','0.001',3,0,0,0,'0','0','0','0',0);
INSERT INTO "lifetime" VALUES('level','last','1',0,0,0,0,'0','0','0','0',0);
INSERT INTO "lifetime" VALUES('peak','max','1',0,0,0,0,'0','0','0','0',0);
INSERT INTO "lifetime" VALUES('requests','sum','1',0,2,3,0,'2000000','2','0','0',0);
INSERT INTO "lifetime" VALUES('users','unique','1',0,0,0,0,'0','0','0','0',0);
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
INSERT INTO "meta" VALUES(1,'520149e67078e06f2cb35e832c8ff199','pod-1','product','us-east-1','2026-01-02T12:10:00+00:00',490933,1767355800,'2026-01-02T12:10:00+00:00',0);
CREATE TABLE migration (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at TEXT NOT NULL) STRICT;
INSERT INTO "migration" VALUES(1,'first','2026-01-02T12:10:00+00:00');
INSERT INTO "migration" VALUES(2,'rows_as_written','2026-01-02T12:10:00+00:00');
INSERT INTO "migration" VALUES(3,'removed','2026-01-02T12:10:00+00:00');
INSERT INTO "migration" VALUES(4,'accepted_aws','2026-01-02T12:10:00+00:00');
INSERT INTO "migration" VALUES(5,'readings','2026-01-02T12:10:00+00:00');
INSERT INTO "migration" VALUES(6,'request_forms','2026-01-02T12:10:00+00:00');
INSERT INTO "migration" VALUES(7,'checksums','2026-01-02T12:10:00+00:00');
INSERT INTO "migration" VALUES(8,'shorter_digests','2026-01-02T12:10:00+00:00');
CREATE TABLE reading (
  source     TEXT NOT NULL,
  series     TEXT NOT NULL,
  value      TEXT NOT NULL,
  rest       TEXT NOT NULL,
  at         INTEGER NOT NULL,
  note       TEXT NOT NULL,
  as_read    TEXT AS (printf('%s|%s|%s|%s|%d|%s', source, series, value, rest, at, note)),
  as_written TEXT AS (as_read) STORED,
  PRIMARY KEY (source, series)
) STRICT, WITHOUT ROWID;
INSERT INTO "reading" VALUES('source','[]','7.5','0.0000001',1767355800000000,'1');
CREATE TABLE removed (
  ledger     TEXT NOT NULL,
  workload   TEXT NOT NULL,
  dimension  TEXT NOT NULL,
  events     INTEGER NOT NULL,
  accepted   TEXT NOT NULL,
  settled    TEXT NOT NULL,
  removed_at TEXT NOT NULL, written_off TEXT NOT NULL DEFAULT '0', over_billed TEXT NOT NULL DEFAULT '0',
  PRIMARY KEY (ledger, dimension)
) STRICT, WITHOUT ROWID;
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
INSERT INTO "request" VALUES('4f198bbe-f5b9-532c-8e0f-0bfae3c75896',490932,'requests',1,'{"allocations":[],"client_token":"4f198bbe-f5b9-532c-8e0f-0bfae3c75896","decimals":0,"dimension":"requests","product_code":"product","quantity":"2","quantity_kind":"decimal","timestamp":1767358799}','fa4c9df3a09c2a9275915f1ebd2929078dd484e3064bde8b4faf448240f30339','2026-01-02T13:10:00.000000+00:00');
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
CREATE TABLE seen (id BLOB PRIMARY KEY, content BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE seen_before (id BLOB PRIMARY KEY, content BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE seen_log (
  number   INTEGER PRIMARY KEY,
  entries  BLOB NOT NULL CHECK (length(entries) % 22 = 0),
  checksum INTEGER NOT NULL
) STRICT;
INSERT INTO "seen_log" VALUES(1,X'FBC7E3E0C48D4873B1D48F39B173020B3E13A7A2F1B6',2381809659);
INSERT INTO "seen_log" VALUES(2,X'14DD9E9579D57601058F1C1814993FC1898AA0EC89FB',3529667152);
CREATE TABLE seen_sum (one INTEGER PRIMARY KEY CHECK (one = 1), now INTEGER, before INTEGER) STRICT;
INSERT INTO "seen_sum" VALUES(1,0,0);
CREATE TABLE unique_key (
  hour      INTEGER NOT NULL,
  dimension TEXT NOT NULL,
  key       BLOB NOT NULL CHECK (length(key) = 16), checksum INTEGER,
  PRIMARY KEY (hour, dimension, key)
) STRICT, WITHOUT ROWID;
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
INSERT INTO "usage_record" VALUES(490932,'requests','sealed','2','4f198bbe-f5b9-532c-8e0f-0bfae3c75896',0,1,0,'2026-01-02T13:10:00.000000+00:00',NULL,NULL,NULL,'','2026-01-02T13:10:00.000000+00:00','2026-01-02T13:10:00.000000+00:00');
CREATE TRIGGER a_request_is_frozen BEFORE UPDATE ON request
BEGIN
  SELECT raise(ABORT, 'a request is frozen');
END;
CREATE INDEX attempt_of_record ON attempt (hour, dimension);
CREATE TRIGGER open_from_only_moves_forward BEFORE UPDATE OF open_from ON meta
WHEN new.open_from < old.open_from
BEGIN
  SELECT raise(ABORT, 'open_from only moves forward');
END;
CREATE INDEX rolled_waiting ON rolled (dimension) WHERE into_hour IS NULL;
CREATE INDEX rolled_counted ON rolled (into_hour, dimension) WHERE into_hour IS NOT NULL;
CREATE INDEX usage_record_unsettled ON usage_record (hour) WHERE state NOT IN ('settled', 'rolled_forward');
CREATE INDEX handed_waiting ON handed (dimension) WHERE taken_by IS NULL;
CREATE VIEW record_whole AS
SELECT r.*, q.body, q.digest, a.billed AS aws_quantity
FROM usage_record AS r JOIN request AS q ON q.client_token = r.client_token
LEFT JOIN accepted_aws AS a ON a.hour = r.hour AND a.dimension = r.dimension;
COMMIT;
