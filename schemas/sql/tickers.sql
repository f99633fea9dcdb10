-- Ticker states that can be believed: a delta without a snapshot before it is hidden.
CREATE VIEW tickers AS
SELECT *
FROM tickers_raw
WHERE applied OR NOT getvariable('masked');
