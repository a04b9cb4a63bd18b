-- A token is replaced without a pause: while a rotation lasts, hosts may show either. And from where hosts may speak.

CREATE TABLE token_rotations (
    enterprise_number text PRIMARY KEY REFERENCES enterprises ON UPDATE CASCADE ON DELETE CASCADE,
    -- `enterprises.token` stays the old one until it is dropped.
    next_token text NOT NULL UNIQUE CHECK (next_token <> ''),
    next_token_sha256 bytea NOT NULL UNIQUE GENERATED ALWAYS AS (token_hash(next_token)) STORED,
    began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- When a host last showed the old one, to the minute.
    old_used_at timestamptz
);
CREATE TRIGGER token_rotations_changed AFTER INSERT OR DELETE OR UPDATE OF next_token ON token_rotations
    FOR EACH ROW EXECUTE FUNCTION notify_integration_config_changed();

-- A provisioning file that was not brought up to date must not bring a token back.
CREATE TABLE dropped_tokens (
    token_sha256 bytea PRIMARY KEY,
    enterprise_number text NOT NULL REFERENCES enterprises ON UPDATE CASCADE ON DELETE CASCADE,
    dropped_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX dropped_tokens_enterprise_number_idx ON dropped_tokens (enterprise_number);

-- None: from everywhere.
ALTER TABLE enterprises ADD COLUMN host_networks cidr[] NOT NULL DEFAULT '{}';
