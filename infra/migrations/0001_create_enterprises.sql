-- Who uses the gateway: enterprises, their people, numbers and lines. Other systems of the platform read these names.

CREATE FUNCTION token_hash(token text) RETURNS bytea
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN sha256(convert_to(token, 'UTF8'));

CREATE TABLE enterprises (
    number text PRIMARY KEY CHECK (number ~ '^[0-9A-Za-z_-]{1,32}$'),
    name text NOT NULL,
    token text NOT NULL UNIQUE CHECK (token <> ''),
    secret text NOT NULL UNIQUE CHECK (secret <> ''),
    token_sha256 bytea NOT NULL GENERATED ALWAYS AS (token_hash(token)) STORED UNIQUE,
    secret_sha256 bytea NOT NULL GENERATED ALWAYS AS (token_hash(secret)) STORED UNIQUE,
    client_id text NOT NULL UNIQUE DEFAULT replace(gen_random_uuid()::text, '-', ''),
    region text NOT NULL DEFAULT 'BY' CHECK (region ~ '^[A-Z]{2}$'),
    timezone text NOT NULL DEFAULT 'Europe/Minsk',
    asterisk_url text,
    integrations_config jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(integrations_config) = 'object'),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    enterprise_number text NOT NULL REFERENCES enterprises ON UPDATE CASCADE ON DELETE CASCADE,
    login text NOT NULL,
    password_hash text,
    is_admin boolean NOT NULL DEFAULT false,
    first_name text NOT NULL DEFAULT '',
    last_name text NOT NULL DEFAULT '',
    personal_phone text,
    UNIQUE (enterprise_number, login)
);

CREATE TABLE user_internal_phones (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    enterprise_number text NOT NULL REFERENCES enterprises ON UPDATE CASCADE ON DELETE CASCADE,
    user_id bigint REFERENCES users ON DELETE SET NULL,
    phone_number text NOT NULL CHECK (phone_number ~ '^[0-9]{1,10}$'),
    UNIQUE (enterprise_number, phone_number)
);
CREATE INDEX user_internal_phones_user_id_idx ON user_internal_phones (user_id);

CREATE TABLE lines (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    enterprise_number text NOT NULL REFERENCES enterprises ON UPDATE CASCADE ON DELETE CASCADE,
    line_id text NOT NULL CHECK (line_id <> ''),
    name text NOT NULL DEFAULT '',
    phone_number text,
    site_code text,
    incoming_transform text,
    UNIQUE (enterprise_number, line_id)
);

-- Whoever writes, every instance hears of it and drops its cached entry.
CREATE FUNCTION notify_integration_config_changed() RETURNS trigger
    LANGUAGE plpgsql AS $$
DECLARE
    changed jsonb := to_jsonb(coalesce(NEW, OLD));
BEGIN
    PERFORM pg_notify('integration_config_changed', json_build_object(
        'enterprise_number', coalesce(changed ->> 'enterprise_number', changed ->> 'number'),
        'integration_type', 'retailcrm')::text);
    RETURN NULL;
END $$;

CREATE TRIGGER enterprises_changed AFTER INSERT OR UPDATE OR DELETE ON enterprises
    FOR EACH ROW EXECUTE FUNCTION notify_integration_config_changed();
CREATE TRIGGER users_changed AFTER INSERT OR UPDATE OR DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION notify_integration_config_changed();
CREATE TRIGGER user_internal_phones_changed AFTER INSERT OR UPDATE OR DELETE ON user_internal_phones
    FOR EACH ROW EXECUTE FUNCTION notify_integration_config_changed();
CREATE TRIGGER lines_changed AFTER INSERT OR UPDATE OR DELETE ON lines
    FOR EACH ROW EXECUTE FUNCTION notify_integration_config_changed();
