-- no transaction
-- One delivery of a kind for each CRM.
CREATE UNIQUE INDEX CONCURRENTLY deliveries_one_of_each_key
    ON deliveries (call_id, crm, effect, external_id, extensions, generation);
CREATE UNIQUE INDEX CONCURRENTLY deliveries_upload_crm_external_id_key
    ON deliveries (enterprise_number, crm, external_id, generation) WHERE effect = 'upload';

-- A row of history never keeps a pop-up of its call waiting.
CREATE UNIQUE INDEX CONCURRENTLY deliveries_one_notice_in_flight_key
    ON deliveries (call_id, crm) WHERE state = 'leased' AND effect <> 'upload';

CREATE INDEX CONCURRENTLY deliveries_waiting_rows_idx
    ON deliveries (enterprise_number, crm, id) WHERE effect = 'upload' AND state IN ('ready', 'retry', 'leased');
