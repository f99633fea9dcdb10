-- Candles as they were said, the open ones too; the last row of each is in candles.
CREATE VIEW klines AS
SELECT * FROM klines_raw;

-- One row per candle: the final one where it is on record, else the last that was heard of it.
CREATE VIEW candles AS
SELECT *
FROM klines
QUALIFY row_number() OVER (
    PARTITION BY category, symbol, interval, start_time
    ORDER BY confirmed DESC, push_time DESC, collector, sequence DESC
) = 1;
