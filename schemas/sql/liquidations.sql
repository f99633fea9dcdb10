-- Liquidations: a long position is closed by a sell.
CREATE VIEW liquidations AS
SELECT
    *,
    CASE side WHEN 'buy' THEN 'long' ELSE 'short' END AS position
FROM liquidations_raw;
