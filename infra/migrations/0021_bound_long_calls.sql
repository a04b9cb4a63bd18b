-- How many events a call has, those of them that are not read included; 0: nobody counted them yet.
ALTER TABLE calls ADD COLUMN events integer NOT NULL DEFAULT 0;
-- A bridge or Local name that more channels carry than any call has; it ties none of them together.
ALTER TABLE call_links ADD COLUMN is_crowded boolean NOT NULL DEFAULT false;
