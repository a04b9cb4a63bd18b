-- What the hosts told us, and the calls that it makes. Hot tables carry no foreign key to enterprises:
-- its share lock on one row would be the busiest lock of the database.

CREATE TABLE calls (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    enterprise_number text NOT NULL,
    main_unique_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('in', 'out', 'internal', 'unknown')),
    customer text,
    line_id text,
    result text,
    owner_extension text,
    started_at timestamptz NOT NULL,
    first_event_at timestamptz NOT NULL,
    last_event_at timestamptz NOT NULL,
    over_at timestamptz,
    -- When the call itself wants another look (settle, finalize); next_wake_at also counts its deliveries in.
    due_at timestamptz,
    next_wake_at timestamptz,
    wakes integer NOT NULL DEFAULT 0,
    decisions jsonb NOT NULL DEFAULT '[]',
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX calls_next_wake_at_idx ON calls (next_wake_at) WHERE next_wake_at IS NOT NULL;
CREATE INDEX calls_enterprise_number_started_at_idx ON calls (enterprise_number, started_at DESC, id DESC);
CREATE INDEX calls_enterprise_number_main_unique_id_idx ON calls (enterprise_number, main_unique_id);

CREATE TABLE call_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id uuid NOT NULL UNIQUE,
    enterprise_number text NOT NULL,
    unique_id text NOT NULL,
    event_type text NOT NULL CHECK (event_type IN ('start', 'dial', 'bridge', 'bridge_create', 'bridge_leave',
        'bridge_destroy', 'new_callerid', 'hangup', 'recording')),
    raw_data jsonb NOT NULL,
    record_url text,
    data_source text NOT NULL DEFAULT 'live' CHECK (data_source IN ('live', 'download', 'backfill')),
    -- Same type and body, same fingerprint; a real repeat of it is the next occurrence, a copy only counts.
    fingerprint bytea NOT NULL,
    occurrence integer NOT NULL DEFAULT 0,
    copies integer NOT NULL DEFAULT 0,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    call_id bigint REFERENCES calls,
    -- Until it is part of a call: when the sweep wakes it, and how often it has.
    wake_at timestamptz NOT NULL DEFAULT clock_timestamp() + interval '3 seconds',
    wakes integer NOT NULL DEFAULT 0,
    UNIQUE (enterprise_number, fingerprint, occurrence)
);
CREATE INDEX call_events_call_id_idx ON call_events (call_id);
CREATE INDEX call_events_enterprise_number_unique_id_idx ON call_events (enterprise_number, unique_id);
-- Stored, but not yet part of a call: their wake-up is on its way, or was lost.
CREATE INDEX call_events_unassembled_idx ON call_events (wake_at) WHERE call_id IS NULL;
CREATE INDEX call_events_waiting_idx ON call_events (enterprise_number, received_at) WHERE call_id IS NULL;

-- What links events of one call (docs/calls.md): found by key, so cost does not grow with history.
CREATE TABLE call_links (
    enterprise_number text NOT NULL,
    key text NOT NULL,
    call_id bigint NOT NULL REFERENCES calls ON DELETE CASCADE,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (enterprise_number, key, call_id)
);
CREATE INDEX call_links_enterprise_number_key_last_at_idx ON call_links (enterprise_number, key, last_at);
CREATE INDEX call_links_call_id_idx ON call_links (call_id);

-- What the last calls showed of an enterprise's host: how late its events come, and how far its wall clock is off.
CREATE TABLE host_clocks (
    enterprise_number text PRIMARY KEY,
    lag_seconds double precision,
    wall_seconds double precision,
    observed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
