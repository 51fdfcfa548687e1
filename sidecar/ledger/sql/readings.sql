-- What sources of usage that is pulled were last read to be.

-- name: readings_of
-- Every series of one source.
SELECT series, value, rest, at, note FROM reading WHERE source = :source;

-- name: readings_keep
-- Keep [source, series, value, rest, at, note] rows in place of what was read before.
INSERT INTO reading (source, series, value, rest, at, note)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 FROM json_each(:rows) WHERE true
ON CONFLICT (source, series) DO UPDATE SET
  value = excluded.value, rest = excluded.rest, at = excluded.at, note = excluded.note;
