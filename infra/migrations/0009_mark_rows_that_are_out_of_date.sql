-- A row of history whose call changed while it was being sent: it is derived again before it goes out once more.

ALTER TABLE deliveries ADD COLUMN is_stale boolean NOT NULL DEFAULT false;
