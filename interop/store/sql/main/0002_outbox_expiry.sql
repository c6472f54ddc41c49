ALTER TABLE outbox ADD COLUMN until_wall REAL;
