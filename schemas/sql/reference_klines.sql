-- Candles as fetched last: what was fetched again, or while it was still running, counts once.
CREATE VIEW reference_klines AS
SELECT *
FROM reference_klines_raw
QUALIFY row_number() OVER (
    PARTITION BY category, symbol, kind, interval, start_time ORDER BY receive_time DESC, sequence DESC
) = 1;
