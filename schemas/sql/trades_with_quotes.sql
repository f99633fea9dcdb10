-- Trades with the best bid and ask that they met: the last state of the book before them, by match time and then by the matching
-- engine's sequence. What a trade itself left behind has its own sequence, and is not before it.
-- DuckDB moves conditions on one side of an ASOF join below it, where they would change what is joined; so no column is of
-- the quotes' side alone.
WITH trades AS ({trades})

SELECT
    trades.match_time AS time,
    trades.trade_id,
    trades.side,
    nearest_double(trades.price_mantissa, {price_exponent}) AS price,
    nearest_double(trades.size_mantissa, {size_exponent}) AS size,
    trades.is_block,
    trades.cross_sequence,
    CASE WHEN trades.match_ms >= quotes.from_ms THEN quotes.bid_price END AS bid_price,
    CASE WHEN trades.match_ms >= quotes.from_ms THEN quotes.bid_size END AS bid_size,
    CASE WHEN trades.match_ms >= quotes.from_ms THEN quotes.ask_price END AS ask_price,
    CASE WHEN trades.match_ms >= quotes.from_ms THEN quotes.ask_size END AS ask_size,
    trades.match_ms - quotes.quote_ms AS quote_age_ms,
    coalesce(CASE WHEN trades.match_ms >= quotes.from_ms THEN quotes.trusted END, false) AS trusted
FROM trades
ASOF LEFT JOIN "{name} quotes" AS quotes
    ON CAST(trades.match_ms AS HUGEINT) * 18446744073709551616 + coalesce(trades.cross_sequence, 0)
        > CAST(quotes.from_ms AS HUGEINT) * 18446744073709551616 + quotes.from_sequence
{kept}
ORDER BY trades.place
