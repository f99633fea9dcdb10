-- One row per gap. A gap still open when its segment ended is written again by the segment that heals it.
CREATE VIEW gaps AS
SELECT *
FROM gaps_raw
QUALIFY row_number() OVER (
    PARTITION BY category, symbol, collector, topic, cause, start_time
    ORDER BY end_time IS NULL, sequence DESC
) = 1;
