-- Fundings as fetched last: what was fetched again, or while it was still running, counts once.
CREATE VIEW funding_history AS
SELECT *
FROM funding_history_raw
QUALIFY row_number() OVER (
    PARTITION BY category, symbol, funding_time ORDER BY receive_time DESC, sequence DESC
) = 1;
