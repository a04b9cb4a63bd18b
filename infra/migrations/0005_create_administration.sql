-- Who administers an enterprise, and what its integration module is asked to do.

-- Registering again and deleting raise it: links that were issued before open nothing any more.
ALTER TABLE enterprises ADD COLUMN account_link_version integer NOT NULL DEFAULT 0;

CREATE TABLE sessions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token_sha256 bytea NOT NULL UNIQUE,
    enterprise_number text NOT NULL REFERENCES enterprises ON UPDATE CASCADE ON DELETE CASCADE,
    -- Of a sign-in by password; the account link names an enterprise, not a person.
    user_id bigint REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    revoked_at timestamptz
);
CREATE INDEX sessions_enterprise_number_idx ON sessions (enterprise_number);
CREATE INDEX sessions_user_id_idx ON sessions (user_id);
CREATE INDEX sessions_created_at_idx ON sessions (created_at);

CREATE TABLE sign_in_attempts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    login_sha256 bytea NOT NULL,
    address text NOT NULL,
    attempted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX sign_in_attempts_login_sha256_attempted_at_idx ON sign_in_attempts (login_sha256, attempted_at);
CREATE INDEX sign_in_attempts_address_attempted_at_idx ON sign_in_attempts (address, attempted_at);
CREATE INDEX sign_in_attempts_attempted_at_idx ON sign_in_attempts (attempted_at);

CREATE TABLE module_commands (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    enterprise_number text NOT NULL REFERENCES enterprises ON UPDATE CASCADE ON DELETE CASCADE,
    action text NOT NULL CHECK (action IN ('register', 'deactivate', 'push_mapping')),
    state text NOT NULL DEFAULT 'ready' CHECK (state IN ('ready', 'leased', 'retry', 'done', 'failed', 'superseded')),
    -- What was done so far, step by step, for the person who watches.
    steps jsonb NOT NULL DEFAULT '[]',
    code text,
    message text,
    run_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    fence bigint NOT NULL DEFAULT 0,
    lease_until timestamptz,
    attempts_made integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    CHECK ((state = 'leased') = (lease_until IS NOT NULL))
);
CREATE UNIQUE INDEX module_commands_one_in_flight_per_enterprise_key ON module_commands (enterprise_number)
    WHERE state = 'leased';
CREATE INDEX module_commands_enterprise_number_idx ON module_commands (enterprise_number, id);
CREATE INDEX module_commands_run_at_idx ON module_commands (run_at) WHERE state IN ('ready', 'retry', 'leased');

CREATE TABLE replays (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    enterprise_number text NOT NULL,
    delivery_id bigint NOT NULL REFERENCES deliveries,
    session_id bigint REFERENCES sessions ON DELETE SET NULL,
    requested_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX replays_delivery_id_idx ON replays (delivery_id);
CREATE INDEX replays_session_id_idx ON replays (session_id);
