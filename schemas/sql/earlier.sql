
-- files of schema version 1, which have the table's own columns
UNION ALL BY NAME
SELECT
    substr(string_split(filename, '/')[-4], 10) AS category,
    {symbol} AS symbol,
    CAST(substr(string_split(filename, '/')[-2], 6) AS DATE) AS date,
    * EXCLUDE ({excluded})
FROM read_parquet(getvariable('{table}_files_1'), hive_partitioning = false, filename = true)
