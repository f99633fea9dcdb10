-- The prices between which orders are accepted.
CREATE VIEW price_limits AS
SELECT * FROM price_limits_raw;
