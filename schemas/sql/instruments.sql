-- What instruments-info says, whenever that changed, and the latest of it for all that is listed. A recording run begins
-- by listing everything anew, and so does every collector: the latest row of a symbol counts, whoever recorded it.
CREATE VIEW instruments AS
SELECT *
FROM instruments_raw;

CREATE VIEW instruments_now AS
SELECT *
FROM instruments_raw
QUALIFY row_number() OVER (PARTITION BY category, symbol ORDER BY receive_time DESC, sequence DESC) = 1 AND kind <> 'gone';
