-- Trades are facts of their own: none is hidden by a gap.
CREATE VIEW trades AS
SELECT
    *,
    nearest_double(price_mantissa, price_exponent) AS price,
    nearest_double(size_mantissa, size_exponent) AS size
FROM trades_raw;
