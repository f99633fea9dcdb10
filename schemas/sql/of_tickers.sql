-- What guides call streams of their own and the exchange sends in tickers: one row per message that named the key.
CREATE VIEW mark_prices AS
SELECT category, symbol, date, sequence, collector, receive_time, push_time, mark_price
FROM tickers
WHERE (keys & {markPrice}) <> 0 AND mark_price IS NOT NULL;

CREATE VIEW index_prices AS
SELECT category, symbol, date, sequence, collector, receive_time, push_time, index_price
FROM tickers
WHERE (keys & {indexPrice}) <> 0 AND index_price IS NOT NULL;

CREATE VIEW funding_rates AS
SELECT
    category, symbol, date, sequence, collector, receive_time, push_time,
    funding_rate, next_funding_time, funding_interval_hour, funding_cap
FROM tickers
WHERE (keys & {fundingRate}) <> 0 AND funding_rate IS NOT NULL;

-- Predictions of the last half hour before a delivery; outside of it the key is absent, empty or 0.
CREATE VIEW deliveries AS
SELECT
    category, symbol, date, sequence, collector, receive_time, push_time,
    predicted_delivery_price, delivery_time
FROM tickers
WHERE (keys & {predictedDeliveryPrice}) <> 0 AND predicted_delivery_price <> 0;
