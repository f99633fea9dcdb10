-- Books held against REST and against other depths of their symbol.
CREATE VIEW audits AS
SELECT * FROM audits_raw;
