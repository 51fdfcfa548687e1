-- Records that a person settled with the quantity that AWS billed instead of ours: both quantities, for ever. Totals of
-- what was written off or over-billed are added up from these rows; there are as many as a person typed.
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

ALTER TABLE removed ADD COLUMN written_off TEXT NOT NULL DEFAULT '0';
ALTER TABLE removed ADD COLUMN over_billed TEXT NOT NULL DEFAULT '0';

-- A record with its request in force, and with AWS's quantity where a person accepted that.
DROP VIEW record_whole;
CREATE VIEW record_whole AS
SELECT r.*, q.body, q.digest, a.billed AS aws_quantity
FROM usage_record AS r JOIN request AS q ON q.client_token = r.client_token
LEFT JOIN accepted_aws AS a ON a.hour = r.hour AND a.dimension = r.dimension;
