-- The ledger: one row per effect that a CRM shall see, and every attempt at it.

CREATE TABLE deliveries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    enterprise_number text NOT NULL,
    call_id bigint NOT NULL REFERENCES calls,
    effect text NOT NULL CHECK (effect IN ('popup', 'hangup', 'upload')),
    external_id text NOT NULL,
    extensions text[] NOT NULL DEFAULT '{}',
    generation integer NOT NULL DEFAULT 0,
    content jsonb NOT NULL,
    state text NOT NULL DEFAULT 'ready' CHECK (state IN ('ready', 'leased', 'retry', 'in_doubt', 'delivered',
        'failed', 'expired', 'superseded', 'held')),
    reason text,
    run_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz,
    fence bigint NOT NULL DEFAULT 0,
    lease_until timestamptz,
    attempts_made integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    CHECK ((state = 'leased') = (lease_until IS NOT NULL)),
    UNIQUE (call_id, effect, external_id, extensions, generation)
);
-- RetailCRM keys a history row by its external id; so do we, whatever becomes of the grouping.
CREATE UNIQUE INDEX deliveries_upload_external_id_key ON deliveries (enterprise_number, external_id, generation)
    WHERE effect = 'upload';
CREATE UNIQUE INDEX deliveries_one_in_flight_per_call_key ON deliveries (call_id) WHERE state = 'leased';

CREATE TABLE attempts (
    delivery_id bigint NOT NULL REFERENCES deliveries ON DELETE CASCADE,
    fence bigint NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    outcome text CHECK (outcome IN ('done', 'permanent', 'authentication', 'busy', 'unavailable', 'in_doubt')),
    http_status integer,
    error text,
    request jsonb NOT NULL,
    response text,
    PRIMARY KEY (delivery_id, fence)
);

CREATE TABLE integration_logs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    enterprise_number text NOT NULL,
    integration_type text NOT NULL,
    event_type text NOT NULL,
    request_data jsonb,
    response_data jsonb,
    status text NOT NULL CHECK (status IN ('success', 'error')),
    error_message text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX integration_logs_enterprise_number_created_at_idx ON integration_logs (enterprise_number, created_at DESC);

-- How fast one CRM account may be talked to: a token bucket, and a pause after refusals.
CREATE TABLE crm_gates (
    enterprise_number text PRIMARY KEY,
    tokens double precision NOT NULL,
    tokens_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    failures integer NOT NULL DEFAULT 0,
    closed_until timestamptz,
    reason text
) WITH (fillfactor = 50);

CREATE TABLE rejected_messages (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL,
    reason text NOT NULL,
    raw bytea NOT NULL,
    headers jsonb NOT NULL DEFAULT '{}',
    received_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX rejected_messages_received_at_idx ON rejected_messages (received_at);
