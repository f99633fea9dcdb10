-- How late messages came, by nearest rank: of so many readings the least that as many percent are at most. They are counted per
-- microsecond first, which bounds what has to be held, whatever the range. Whether level 1 says anything new shows against
-- its message before, so that reading begins a while before the range.
WITH book_updates_raw AS (
    SELECT '' AS category, '' AS symbol, NULL AS date, *
    FROM read_parquet(getvariable('{name} book_updates'), hive_partitioning = false, union_by_name = true)
    WHERE receive_time >= '{since}' AND receive_time < '{t1}'
),

trades_raw AS (
    SELECT '' AS category, '' AS symbol, NULL AS date, *
    FROM read_parquet(getvariable('{name} trades'), hive_partitioning = false, union_by_name = true)
    WHERE receive_time >= '{since}' AND receive_time < '{t1}'
),

tickers_raw AS (
    SELECT '' AS category, '' AS symbol, NULL AS date, *
    FROM read_parquet(getvariable('{name} tickers'), hive_partitioning = false, union_by_name = true)
    WHERE receive_time >= '{since}' AND receive_time < '{t1}'
),

lateness AS ({lateness}),

readings AS (
    SELECT
        class,
        {bar_ns} AS start_ns,
        unnest(['push', 'match']) AS clock,
        unnest([push_ms, match_ms]) AS late_ms
    FROM lateness
    WHERE receive_time >= '{t0}'
),

counted AS (
    SELECT class, start_ns, clock, CAST(round(late_ms * 1000) AS BIGINT) AS late_us, count(*) AS messages
    FROM readings
    WHERE late_ms IS NOT NULL
    GROUP BY ALL
),

ranked AS (
    SELECT
        *,
        sum(messages) OVER (PARTITION BY class, start_ns, clock ORDER BY late_us) AS rank,
        sum(messages) OVER (PARTITION BY class, start_ns, clock) AS total
    FROM counted
)

SELECT
    make_timestamptz(start_ns // 1000) AS time,
    class,
    clock,
    CAST(max(total) AS BIGINT) AS messages,
    min(late_us) / 1000 AS least_ms,
    min(late_us) FILTER (WHERE rank * 100 >= total * 50) / 1000 AS p50_ms,
    min(late_us) FILTER (WHERE rank * 100 >= total * 90) / 1000 AS p90_ms,
    min(late_us) FILTER (WHERE rank * 100 >= total * 99) / 1000 AS p99_ms,
    max(late_us) / 1000 AS most_ms
FROM ranked
GROUP BY time, class, clock
ORDER BY time, class, clock
