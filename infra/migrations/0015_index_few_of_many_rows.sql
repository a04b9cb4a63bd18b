-- no transaction
-- Of a hundred thousand rows that wait, those that are being sent or are out of date are found without reading the rest.
CREATE INDEX CONCURRENTLY deliveries_leased_rows_idx ON deliveries (enterprise_number, crm, lease_until)
    WHERE effect = 'upload' AND state = 'leased';
CREATE INDEX CONCURRENTLY deliveries_stale_rows_idx ON deliveries (enterprise_number, crm)
    WHERE effect = 'upload' AND is_stale;
