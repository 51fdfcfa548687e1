-- What the sources of usage that is pulled were last read to be: of each series its last value, when that was, and what
-- was seen and is not counted yet. A row changes in the transaction that counts what it grew by. Instants are
-- microseconds since the epoch, amounts exact decimals.
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
