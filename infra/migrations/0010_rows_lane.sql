-- History rows get a lane of their own: a timer for each enterprise and CRM, and the name of the CRM in the ledger. The
-- version before this one runs on for a while: what it writes has the name that it does not know of.
ALTER TABLE deliveries ADD COLUMN crm text NOT NULL DEFAULT 'retailcrm';

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
