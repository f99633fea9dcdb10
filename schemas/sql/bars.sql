-- Bars of trades. Prices and sizes are added as the integers that they are; what comes out is rounded once, to doubles.
WITH trades AS ({trades}),

bars AS (
    SELECT
        match_ms // {every_ms} * {every_ms} AS start_ms,
        arg_min(price_mantissa, place) AS open,
        max(price_mantissa) AS high,
        min(price_mantissa) AS low,
        arg_max(price_mantissa, place) AS close,
        sum(size_mantissa) AS volume,
        sum(CAST(price_mantissa AS HUGEINT) * size_mantissa) AS turnover,
        count(*) AS trades,
        coalesce(sum(size_mantissa) FILTER (WHERE side = 'buy'), 0) AS buy_volume
    FROM trades
    GROUP BY start_ms
),

spans AS (SELECT unnest(getvariable('{name} spans'), recursive := true))

SELECT
    make_timestamptz(bars.start_ms * 1000) AS time,
    nearest_double(open, {price_exponent}) AS open,
    nearest_double(high, {price_exponent}) AS high,
    nearest_double(low, {price_exponent}) AS low,
    nearest_double(close, {price_exponent}) AS close,
    nearest_double(volume, {size_exponent}) AS volume,
    nearest_double(turnover / volume, {price_exponent}) AS vwap,
    trades,
    nearest_double(buy_volume, {size_exponent}) AS buy_volume,
    coalesce(least(bars.start_ms + {every_ms}, {t1_ms}) <= spans.end_ms, false) AS trusted
FROM bars ASOF LEFT JOIN spans ON greatest(bars.start_ms, {t0_ms}) >= spans.start_ms
{kept}
ORDER BY time
