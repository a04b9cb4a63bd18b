-- How an account of a CRM may be asked, shared by all instances: places in two lanes, and a breaker.

DROP TABLE crm_gates;
CREATE TABLE crm_gates (
    account text PRIMARY KEY,
    -- Of each request: until when it may last at most; when it ended, for a second.
    telephony_under_way timestamptz[] NOT NULL DEFAULT '{}',
    telephony_ended timestamptz[] NOT NULL DEFAULT '{}',
    other_under_way timestamptz[] NOT NULL DEFAULT '{}',
    other_ended timestamptz[] NOT NULL DEFAULT '{}',
    failures integer NOT NULL DEFAULT 0,
    away_since timestamptz,
    ask_at timestamptz,
    is_probed boolean NOT NULL DEFAULT false,
    probes_failed integer NOT NULL DEFAULT 0,
    pause_until timestamptz,
    -- Enterprises whose key was refused: {"<number>": {"credentials", "since", "until"}}.
    pauses jsonb NOT NULL DEFAULT '{}',
    CHECK ((away_since IS NULL) = (ask_at IS NULL))
) WITH (fillfactor = 20);

-- Into a request of how many rows of history this one may go; a request that was refused is split.
ALTER TABLE deliveries ADD COLUMN batch_limit smallint NOT NULL DEFAULT 50 CHECK (batch_limit BETWEEN 1 AND 50);
CREATE INDEX deliveries_waiting_uploads_idx ON deliveries (enterprise_number, id)
    WHERE effect = 'upload' AND state IN ('ready', 'retry');

-- The sweep goes round the enterprises.
CREATE INDEX calls_enterprise_number_next_wake_at_idx ON calls (enterprise_number, next_wake_at)
    WHERE next_wake_at IS NOT NULL;
DROP INDEX calls_next_wake_at_idx;
