-- One row per gap. A gap still open when its segment ended is written again by every later one, until one heals it;
-- gaps that are healed stay, even when the next one of the feed begins at the same good frame. One whose trades were
-- fetched back after its segment had ended has a second row, which says so and stands for both.
CREATE VIEW gaps AS
SELECT *
FROM gaps_raw
QUALIFY
    CASE WHEN end_time IS NULL
        THEN row_number() OVER (
            PARTITION BY category, symbol, collector, topic, cause, start_time
            ORDER BY sequence DESC, end_time IS NULL
        ) = 1
        ELSE healed_by = 'backfill' OR NOT bool_or(healed_by = 'backfill') OVER (
            PARTITION BY category, symbol, collector, topic, cause, start_time, end_time
        )
    END;
