-- Messages that an RPI book took, with prices and both sizes as lists of doubles beside the mantissas.
CREATE VIEW rpi_book_updates AS
SELECT
    *,
    [nearest_double(mantissa, price_exponent) FOR mantissa IN bid_price_mantissa] AS bid_price,
    [nearest_double(mantissa, size_exponent) FOR mantissa IN bid_size_mantissa] AS bid_size,
    [nearest_double(mantissa, size_exponent) FOR mantissa IN bid_rpi_size_mantissa] AS bid_rpi_size,
    [nearest_double(mantissa, price_exponent) FOR mantissa IN ask_price_mantissa] AS ask_price,
    [nearest_double(mantissa, size_exponent) FOR mantissa IN ask_size_mantissa] AS ask_size,
    [nearest_double(mantissa, size_exponent) FOR mantissa IN ask_rpi_size_mantissa] AS ask_rpi_size
FROM rpi_book_updates_raw
WHERE applied OR NOT getvariable('masked');
