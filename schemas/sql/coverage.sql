-- One row per span. A span that outlives its segment is written in pieces, each beginning where the last one ended.
CREATE VIEW coverage AS
WITH pieces AS (
    SELECT
        *,
        lag(end_time) OVER feed IS DISTINCT FROM start_time AS begins
    FROM coverage_raw
    WINDOW feed AS (PARTITION BY category, symbol, collector, topic ORDER BY start_time, sequence)
),

spans AS (
    SELECT
        *,
        count(*) FILTER (WHERE begins) OVER feed AS span
    FROM pieces
    WINDOW feed AS (
        PARTITION BY category, symbol, collector, topic ORDER BY start_time, sequence
        ROWS UNBOUNDED PRECEDING
    )
)

SELECT
    category,
    symbol,
    min(date) AS date,
    min(sequence) AS sequence,
    collector,
    topic,
    min(start_time) AS start_time,
    max(end_time) AS end_time,
    CAST(sum(messages) AS BIGINT) AS messages,
    max(lines) AS lines
FROM spans
GROUP BY category, symbol, collector, topic, span;
