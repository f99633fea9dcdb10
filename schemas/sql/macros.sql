-- What one step of an exponent is worth, and how many of them make one.
CREATE MACRO step_of(exponent) AS
    CASE exponent
        WHEN 0 THEN CAST('1' AS DECIMAL(19, 18))
        WHEN -1 THEN CAST('0.1' AS DECIMAL(19, 18))
        WHEN -2 THEN CAST('0.01' AS DECIMAL(19, 18))
        WHEN -3 THEN CAST('0.001' AS DECIMAL(19, 18))
        WHEN -4 THEN CAST('0.0001' AS DECIMAL(19, 18))
        WHEN -5 THEN CAST('0.00001' AS DECIMAL(19, 18))
        WHEN -6 THEN CAST('0.000001' AS DECIMAL(19, 18))
        WHEN -7 THEN CAST('0.0000001' AS DECIMAL(19, 18))
        WHEN -8 THEN CAST('0.00000001' AS DECIMAL(19, 18))
        WHEN -9 THEN CAST('0.000000001' AS DECIMAL(19, 18))
        WHEN -10 THEN CAST('0.0000000001' AS DECIMAL(19, 18))
        WHEN -11 THEN CAST('0.00000000001' AS DECIMAL(19, 18))
        WHEN -12 THEN CAST('0.000000000001' AS DECIMAL(19, 18))
        WHEN -13 THEN CAST('0.0000000000001' AS DECIMAL(19, 18))
        WHEN -14 THEN CAST('0.00000000000001' AS DECIMAL(19, 18))
        WHEN -15 THEN CAST('0.000000000000001' AS DECIMAL(19, 18))
        WHEN -16 THEN CAST('0.0000000000000001' AS DECIMAL(19, 18))
        WHEN -17 THEN CAST('0.00000000000000001' AS DECIMAL(19, 18))
        WHEN -18 THEN CAST('0.000000000000000001' AS DECIMAL(19, 18))
    END;
CREATE MACRO steps_of(exponent) AS CAST(pow(10, -exponent) AS HUGEINT);

-- Exact decimals. DECIMAL(19,0) x DECIMAL(19,18) is DECIMAL(38,18): integer arithmetic from end to end, no double.
-- Every int64 mantissa with an exponent of -18 to 0 fits; another exponent gives null.
CREATE MACRO exact_price(mantissa, exponent) AS CAST(mantissa AS DECIMAL(19, 0)) * step_of(exponent);

-- The same of a mantissa that may have more digits than an int64, as decimals of tickers are stored. Beyond nineteen of them
-- the whole part and the rest are multiplied each by itself. Step and steps are those of the exponent.
CREATE MACRO exact_decimal(mantissa, step, steps) AS
    CASE
        WHEN abs(mantissa) <= 9999999999999999999 THEN CAST(mantissa AS DECIMAL(19, 0)) * step
        ELSE CAST(CAST(mantissa AS HUGEINT) // steps AS DECIMAL(38, 18))
            + CAST(CAST(mantissa AS HUGEINT) % steps AS DECIMAL(19, 0)) * step
    END;

CREATE MACRO exact_size(mantissa, exponent) AS exact_price(mantissa, exponent);

-- The nearest double: 10^n is a double without error up to n = 22, so one division rounds once.
CREATE MACRO nearest_double(mantissa, exponent) AS mantissa / pow(10, -exponent);

-- Nanoseconds from one moment to another, whatever the resolution of the two columns.
CREATE MACRO elapsed_ns(earlier, later) AS epoch_ns(later) - epoch_ns(earlier);
