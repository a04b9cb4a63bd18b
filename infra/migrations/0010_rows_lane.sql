-- History rows get a lane of their own: a timer for each enterprise and CRM, and the name of the CRM in the ledger.
ALTER TABLE deliveries ADD COLUMN crm text NOT NULL DEFAULT 'retailcrm';

-- The version before this one runs on for a while: what it writes keeps a name that it does not know of.
CREATE UNIQUE INDEX deliveries_one_of_each_key
    ON deliveries (call_id, crm, effect, external_id, extensions, generation);
ALTER TABLE deliveries DROP CONSTRAINT deliveries_call_id_effect_external_id_extensions_generation_key;

CREATE UNIQUE INDEX deliveries_upload_crm_external_id_key
    ON deliveries (enterprise_number, crm, external_id, generation) WHERE effect = 'upload';
DROP INDEX deliveries_upload_external_id_key;

-- A row of history never keeps a pop-up of its call waiting.
CREATE UNIQUE INDEX deliveries_one_notice_in_flight_key
    ON deliveries (call_id, crm) WHERE state = 'leased' AND effect <> 'upload';
DROP INDEX deliveries_one_in_flight_per_call_key;

DROP INDEX deliveries_waiting_uploads_idx;
CREATE INDEX deliveries_waiting_rows_idx
    ON deliveries (enterprise_number, crm, id) WHERE effect = 'upload' AND state IN ('ready', 'retry', 'leased');

CREATE TABLE row_timers (
    enterprise_number text NOT NULL,
    crm text NOT NULL,
    wake_at timestamptz,
    account text,
    PRIMARY KEY (enterprise_number, crm)
) WITH (fillfactor = 50);
CREATE INDEX row_timers_wake_at_idx ON row_timers (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX row_timers_account_idx ON row_timers (account) WHERE wake_at IS NOT NULL;

INSERT INTO row_timers (enterprise_number, crm, wake_at)
SELECT DISTINCT enterprise_number, 'retailcrm', now() FROM deliveries
WHERE effect = 'upload' AND state IN ('ready', 'retry', 'leased');

-- What a call wakes for from now on: itself, and its pop-ups and their ends.
UPDATE calls SET next_wake_at = least(due_at, (
    SELECT min(coalesce(d.lease_until, d.run_at)) FROM deliveries d
    WHERE d.call_id = calls.id AND d.effect <> 'upload' AND d.state IN ('ready', 'retry', 'leased')))
WHERE next_wake_at IS NOT NULL;
