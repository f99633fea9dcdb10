-- Deliveries as fetched last: what was fetched again, or while it was still running, counts once.
CREATE VIEW delivery_prices AS
SELECT *
FROM delivery_prices_raw
QUALIFY row_number() OVER (
    PARTITION BY category, symbol, delivery_time ORDER BY receive_time DESC, sequence DESC
) = 1;
