-- Messages that a book took, with prices and sizes as lists of doubles beside the mantissas.
CREATE VIEW book_updates AS
SELECT
    *,
    [nearest_double(mantissa, price_exponent) FOR mantissa IN bid_price_mantissa] AS bid_price,
    [nearest_double(mantissa, size_exponent) FOR mantissa IN bid_size_mantissa] AS bid_size,
    [nearest_double(mantissa, price_exponent) FOR mantissa IN ask_price_mantissa] AS ask_price,
    [nearest_double(mantissa, size_exponent) FOR mantissa IN ask_size_mantissa] AS ask_size
FROM book_updates_raw
WHERE applied OR NOT getvariable('masked');
