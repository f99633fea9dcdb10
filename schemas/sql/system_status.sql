-- Maintenances and incidents, as announced.
CREATE VIEW system_status AS
SELECT * FROM system_status_raw;
