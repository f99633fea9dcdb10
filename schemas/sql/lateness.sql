-- How late each message came, in milliseconds: since the exchange pushed it, and since the matching engine's stamp. What says
-- nothing about that is left out: keyframes, level 1's keep-alives, and, by match time, the snapshots of deeper books.
CREATE VIEW lateness AS
SELECT
    category, symbol, date, sequence, collector, 'orderbook.' || depth AS class, receive_time,
    elapsed_ns(push_time, receive_time) / 1e6 AS push_ms,
    CASE WHEN kind = 'delta' THEN elapsed_ns(match_time, receive_time) / 1e6 END AS match_ms
FROM book_updates_raw
WHERE kind <> 'keyframe' AND applied AND depth > 1
UNION ALL
SELECT
    category, symbol, date, sequence, collector, 'orderbook.1' AS class, receive_time,
    elapsed_ns(push_time, receive_time) / 1e6 AS push_ms,
    elapsed_ns(match_time, receive_time) / 1e6 AS match_ms
FROM book_updates_raw
WHERE kind <> 'keyframe' AND applied AND depth = 1
QUALIFY update_id IS DISTINCT FROM lag(update_id) OVER (PARTITION BY category, symbol, collector ORDER BY sequence)
UNION ALL
SELECT
    category, symbol, date, sequence, collector, 'publicTrade' AS class, receive_time,
    elapsed_ns(push_time, receive_time) / 1e6 AS push_ms,
    elapsed_ns(max(match_time), receive_time) / 1e6 AS match_ms
FROM trades_raw
WHERE source = 'stream'
GROUP BY category, symbol, date, sequence, collector, receive_time, push_time
UNION ALL
SELECT
    category, symbol, date, sequence, collector, 'tickers' AS class, receive_time,
    elapsed_ns(push_time, receive_time) / 1e6 AS push_ms,
    NULL AS match_ms
FROM tickers_raw
WHERE applied;
