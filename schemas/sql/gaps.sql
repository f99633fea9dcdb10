-- One row per gap. A gap still open when its segment ended is written again by every later one, until one heals it;
-- gaps that are healed stay, even when the next one of the feed begins at the same good frame.
CREATE VIEW gaps AS
SELECT *
FROM gaps_raw
QUALIFY end_time IS NOT NULL OR row_number() OVER (
    PARTITION BY category, symbol, collector, topic, cause, start_time
    ORDER BY sequence DESC, end_time IS NULL
) = 1;
