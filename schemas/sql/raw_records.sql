-- What rows don't say of the journal's records: with it the archive hands every record back (docs/capture.md).
CREATE VIEW raw_records AS
SELECT * FROM raw_records_raw;
