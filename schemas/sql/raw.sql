-- One table exactly as recorded, over the files that the manifest names. Category, symbol and date come from the
-- path, as expressions of the file name alone: DuckDB evaluates a filter on them per file before it opens any. Where
-- rows of many symbols share a file, the symbol is a column of its own.
CREATE VIEW {table}_raw AS
SELECT
    substr(string_split(filename, '/')[-4], 10) AS category,
    {symbol} AS symbol,
    CAST(substr(string_split(filename, '/')[-2], 6) AS DATE) AS date,
    {columns}
FROM {source}{earlier};
