-- Open interest as fetched last: what was fetched again, or while it was still running, counts once.
CREATE VIEW open_interest AS
SELECT *
FROM open_interest_raw
QUALIFY row_number() OVER (
    PARTITION BY category, symbol, interval, time ORDER BY receive_time DESC, sequence DESC
) = 1;
