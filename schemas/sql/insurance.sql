-- Insurance pools whose balance changed.
CREATE VIEW insurance AS
SELECT * FROM insurance_raw;
