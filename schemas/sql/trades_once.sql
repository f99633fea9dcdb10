-- Trades of one symbol and range of match time, with mantissas of one pair of exponents, each trade once where several
-- collectors recorded it. Their place is their order: by match time, then as they were recorded.
SELECT
    match_time,
    epoch_ms(match_time) AS match_ms,
    (CAST(epoch_ms(match_time) AS HUGEINT) * 1048576 + file_index) * 1099511627776 + file_row_number AS place,
    sequence, collector, receive_time, side, cross_sequence, is_block, is_rpi, source, {trade_id} AS trade_id,
    {price_mantissa} AS price_mantissa,
    {size_mantissa} AS size_mantissa
FROM read_parquet(getvariable('{name} files'), hive_partitioning = false, union_by_name = {by_name})
WHERE match_time >= make_timestamptz({t0_us}) AND match_time < make_timestamptz({t1_us}){once}
