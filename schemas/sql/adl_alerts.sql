-- Insurance pools and the ratios that decide about auto-deleveraging.
CREATE VIEW adl_alerts AS
SELECT * FROM adl_alerts_raw;
