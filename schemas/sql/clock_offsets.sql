-- How far the exchange's clock is from ours, and when ours jumped.
CREATE VIEW clock_offsets AS
SELECT * FROM clock_offsets_raw;
