-- The sum of infra/migrations/, written by `make schema`: read it, do not run or edit it.

CREATE OR REPLACE FUNCTION public.notify_integration_config_changed()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
DECLARE
    old_row jsonb := coalesce(to_jsonb(OLD), '{}');
    new_row jsonb := coalesce(to_jsonb(NEW), '{}');
    changed jsonb := CASE WHEN TG_OP = 'DELETE' THEN old_row ELSE new_row END;
    enterprise text := coalesce(changed ->> 'enterprise_number', changed ->> 'number');
    sections jsonb := coalesce(old_row -> 'integrations_config', '{}') || coalesce(new_row -> 'integrations_config', '{}');
    names text[];
BEGIN
    IF TG_TABLE_NAME <> 'enterprises' THEN
        sections := coalesce((SELECT integrations_config FROM enterprises WHERE number = enterprise), '{}');
    ELSIF TG_OP = 'UPDATE'
          AND old_row - '{integrations_config,updated_at}'::text[] = new_row - '{integrations_config,updated_at}'::text[]
    THEN
        names := ARRAY(
            SELECT section FROM jsonb_object_keys(sections) AS section
            WHERE old_row -> 'integrations_config' -> section IS DISTINCT FROM
                  new_row -> 'integrations_config' -> section);
    END IF;
    IF coalesce(cardinality(names), 0) = 0 THEN
        names := ARRAY(SELECT section FROM jsonb_object_keys(sections) AS section);
    END IF;
    IF cardinality(names) = 0 THEN
        names := '{retailcrm}';  -- it has none yet, and whoever listens must hear of it all the same
    END IF;
    PERFORM pg_notify('integration_config_changed', json_build_object(
        'enterprise_number', enterprise, 'integration_type', name)::text) FROM unnest(names) AS name;
    RETURN NULL;
END $function$;

CREATE OR REPLACE FUNCTION public.store_call_events(events jsonb, copy_seconds double precision)
 RETURNS TABLE(event_id uuid, received_at timestamp with time zone, is_copy boolean)
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
DECLARE
    event record;
BEGIN
    FOR event IN
        SELECT given.*, decode(given.fingerprint, 'hex') AS fingerprint_bytes
        FROM jsonb_to_recordset(events) AS given (
            event_id uuid, enterprise_number text, unique_id text, event_type text, raw jsonb, record_url text,
            data_source text, fingerprint text, received_at timestamptz, is_recovered boolean)
    LOOP
        RETURN QUERY
            WITH previous AS (
                SELECT id, occurrence, received_at FROM call_events
                WHERE enterprise_number = event.enterprise_number AND fingerprint = event.fingerprint_bytes
                ORDER BY occurrence DESC LIMIT 1
            )
            INSERT INTO call_events (event_id, enterprise_number, unique_id, event_type, raw_data, record_url,
                                     data_source, fingerprint, received_at, wake_at, occurrence)
            SELECT event.event_id, event.enterprise_number, event.unique_id, event.event_type, event.raw,
                   event.record_url, event.data_source, event.fingerprint_bytes,
                   coalesce(event.received_at, clock_timestamp()),
                   CASE WHEN event.is_recovered THEN 'infinity' ELSE clock_timestamp() + interval '3 seconds' END,
                   coalesce((SELECT occurrence FROM call_events WHERE event_id = event.event_id), (
                       SELECT previous.occurrence + CASE
                           WHEN event.event_type IN ('start', 'hangup', 'recording') OR event.data_source <> 'live'
                               THEN 0
                           WHEN coalesce(event.received_at, clock_timestamp())
                                > previous.received_at + make_interval(secs => copy_seconds) THEN 1
                           WHEN event.event_type IN ('bridge', 'bridge_leave') AND EXISTS (
                               SELECT 1 FROM call_events other
                               WHERE other.enterprise_number = event.enterprise_number
                                 AND other.unique_id = event.unique_id
                                 AND other.event_type IN ('bridge', 'bridge_leave') AND other.id > previous.id) THEN 1
                           ELSE 0 END
                       FROM previous), 0)
            ON CONFLICT (enterprise_number, fingerprint, occurrence) DO UPDATE
                SET copies = call_events.copies + (call_events.event_id <> excluded.event_id)::integer,
                    -- What comes live as well has a timer.
                    wake_at = least(call_events.wake_at, excluded.wake_at)
            RETURNING call_events.event_id, call_events.received_at,
                      call_events.xmax <> 0 AND call_events.event_id <> event.event_id;
    END LOOP;
END $function$;

CREATE OR REPLACE FUNCTION public.token_hash(token text)
 RETURNS bytea
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE STRICT
RETURN sha256(convert_to(token, 'UTF8'::name));

CREATE TABLE enterprises (
    number text NOT NULL,
    name text NOT NULL,
    token text NOT NULL,
    secret text NOT NULL,
    token_sha256 bytea NOT NULL GENERATED ALWAYS AS (token_hash(token)) STORED,
    secret_sha256 bytea NOT NULL GENERATED ALWAYS AS (token_hash(secret)) STORED,
    client_id text NOT NULL DEFAULT replace((gen_random_uuid())::text, '-'::text, ''::text),
    region text NOT NULL DEFAULT 'BY'::text,
    timezone text NOT NULL DEFAULT 'Europe/Minsk'::text,
    asterisk_url text,
    integrations_config jsonb NOT NULL DEFAULT '{}'::jsonb,
    created_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    account_link_version integer NOT NULL DEFAULT 0,
    host_networks cidr[] NOT NULL DEFAULT '{}'::cidr[],
    CONSTRAINT enterprises_integrations_config_check CHECK ((jsonb_typeof(integrations_config) = 'object'::text)),
    CONSTRAINT enterprises_number_check CHECK ((number ~ '^[0-9A-Za-z_-]{1,32}$'::text)),
    CONSTRAINT enterprises_region_check CHECK ((region ~ '^[A-Z]{2}$'::text)),
    CONSTRAINT enterprises_secret_check CHECK ((secret <> ''::text)),
    CONSTRAINT enterprises_token_check CHECK ((token <> ''::text)),
    CONSTRAINT enterprises_pkey PRIMARY KEY (number),
    CONSTRAINT enterprises_client_id_key UNIQUE (client_id),
    CONSTRAINT enterprises_secret_key UNIQUE (secret),
    CONSTRAINT enterprises_secret_sha256_key UNIQUE (secret_sha256),
    CONSTRAINT enterprises_token_key UNIQUE (token),
    CONSTRAINT enterprises_token_sha256_key UNIQUE (token_sha256)
);

CREATE TRIGGER enterprises_changed AFTER INSERT OR DELETE OR UPDATE ON enterprises FOR EACH ROW EXECUTE FUNCTION notify_integration_config_changed();

CREATE TABLE users (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    enterprise_number text NOT NULL,
    login text NOT NULL,
    password_hash text,
    is_admin boolean NOT NULL DEFAULT false,
    first_name text NOT NULL DEFAULT ''::text,
    last_name text NOT NULL DEFAULT ''::text,
    personal_phone text,
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_enterprise_number_login_key UNIQUE (enterprise_number, login),
    CONSTRAINT users_enterprise_number_fkey FOREIGN KEY (enterprise_number) REFERENCES enterprises(number) ON UPDATE CASCADE ON DELETE CASCADE
);

CREATE TRIGGER users_changed AFTER INSERT OR DELETE OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION notify_integration_config_changed();

CREATE TABLE user_internal_phones (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    enterprise_number text NOT NULL,
    user_id bigint,
    phone_number text NOT NULL,
    CONSTRAINT user_internal_phones_phone_number_check CHECK ((phone_number ~ '^[0-9]{1,10}$'::text)),
    CONSTRAINT user_internal_phones_pkey PRIMARY KEY (id),
    CONSTRAINT user_internal_phones_enterprise_number_phone_number_key UNIQUE (enterprise_number, phone_number),
    CONSTRAINT user_internal_phones_enterprise_number_fkey FOREIGN KEY (enterprise_number) REFERENCES enterprises(number) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT user_internal_phones_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE SET NULL
);

CREATE INDEX user_internal_phones_user_id_idx ON user_internal_phones USING btree (user_id);

CREATE TRIGGER user_internal_phones_changed AFTER INSERT OR DELETE OR UPDATE ON user_internal_phones FOR EACH ROW EXECUTE FUNCTION notify_integration_config_changed();

CREATE TABLE lines (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    enterprise_number text NOT NULL,
    line_id text NOT NULL,
    name text NOT NULL DEFAULT ''::text,
    phone_number text,
    site_code text,
    incoming_transform text,
    CONSTRAINT lines_line_id_check CHECK ((line_id <> ''::text)),
    CONSTRAINT lines_pkey PRIMARY KEY (id),
    CONSTRAINT lines_enterprise_number_line_id_key UNIQUE (enterprise_number, line_id),
    CONSTRAINT lines_enterprise_number_fkey FOREIGN KEY (enterprise_number) REFERENCES enterprises(number) ON UPDATE CASCADE ON DELETE CASCADE
);

CREATE TRIGGER lines_changed AFTER INSERT OR DELETE OR UPDATE ON lines FOR EACH ROW EXECUTE FUNCTION notify_integration_config_changed();

CREATE TABLE calls (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    enterprise_number text NOT NULL,
    main_unique_id text NOT NULL,
    kind text NOT NULL,
    customer text,
    line_id text,
    result text,
    owner_extension text,
    started_at timestamp with time zone NOT NULL,
    first_event_at timestamp with time zone NOT NULL,
    last_event_at timestamp with time zone NOT NULL,
    over_at timestamp with time zone,
    due_at timestamp with time zone,
    next_wake_at timestamp with time zone,
    wakes integer NOT NULL DEFAULT 0,
    decisions jsonb NOT NULL DEFAULT '[]'::jsonb,
    updated_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    events_forgotten boolean NOT NULL DEFAULT false,
    events integer NOT NULL DEFAULT 0,
    CONSTRAINT calls_kind_check CHECK ((kind = ANY (ARRAY['in'::text, 'out'::text, 'internal'::text, 'unknown'::text]))),
    CONSTRAINT calls_pkey PRIMARY KEY (id)
) WITH (autovacuum_vacuum_scale_factor=0.02);

CREATE INDEX calls_at_rest_idx ON calls USING btree (events_forgotten, updated_at) WHERE (next_wake_at IS NULL);

CREATE INDEX calls_enterprise_number_customer_started_at_idx ON calls USING btree (enterprise_number, customer, started_at) WHERE ((result = 'answered'::text) AND (owner_extension IS NOT NULL));

CREATE INDEX calls_enterprise_number_main_unique_id_idx ON calls USING btree (enterprise_number, main_unique_id);

CREATE INDEX calls_enterprise_number_next_wake_at_idx ON calls USING btree (enterprise_number, next_wake_at) WHERE (next_wake_at IS NOT NULL);

CREATE INDEX calls_enterprise_number_started_at_idx ON calls USING btree (enterprise_number, started_at DESC, id DESC);

CREATE INDEX calls_missed_idx ON calls USING btree (enterprise_number, started_at) WHERE ((kind = 'in'::text) AND (result = 'no answer'::text) AND (over_at IS NOT NULL) AND (customer IS NOT NULL));

CREATE INDEX calls_over_of_customer_idx ON calls USING btree (enterprise_number, customer, started_at) WHERE ((over_at IS NOT NULL) AND (customer IS NOT NULL));

CREATE INDEX calls_without_effect_idx ON calls USING btree (enterprise_number, updated_at) WHERE ((next_wake_at IS NULL) AND (kind <> 'internal'::text) AND (decisions @? '$[*]?((!(exists (@."crm")) || @."crm" == "retailcrm") && (((@."code" == "no_phone" || @."code" == "only_channels") || @."code" == "no_date") || @."code" == "integration_disabled"))'::jsonpath));

CREATE TABLE call_events (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    event_id uuid NOT NULL,
    enterprise_number text NOT NULL,
    unique_id text NOT NULL,
    event_type text NOT NULL,
    raw_data jsonb NOT NULL,
    record_url text,
    data_source text NOT NULL DEFAULT 'live'::text,
    fingerprint bytea NOT NULL,
    occurrence integer NOT NULL DEFAULT 0,
    copies integer NOT NULL DEFAULT 0,
    received_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    call_id bigint,
    wake_at timestamp with time zone NOT NULL DEFAULT (clock_timestamp() + '00:00:03'::interval),
    wakes integer NOT NULL DEFAULT 0,
    CONSTRAINT call_events_data_source_check CHECK ((data_source = ANY (ARRAY['live'::text, 'download'::text, 'backfill'::text]))),
    CONSTRAINT call_events_event_type_check CHECK ((event_type = ANY (ARRAY['start'::text, 'dial'::text, 'bridge'::text, 'bridge_create'::text, 'bridge_leave'::text, 'bridge_destroy'::text, 'new_callerid'::text, 'hangup'::text, 'recording'::text]))),
    CONSTRAINT call_events_pkey PRIMARY KEY (id),
    CONSTRAINT call_events_enterprise_number_fingerprint_occurrence_key UNIQUE (enterprise_number, fingerprint, occurrence),
    CONSTRAINT call_events_event_id_key UNIQUE (event_id),
    CONSTRAINT call_events_call_id_fkey FOREIGN KEY (call_id) REFERENCES calls(id)
) WITH (autovacuum_vacuum_scale_factor=0.02);

CREATE INDEX call_events_call_id_idx ON call_events USING btree (call_id);

CREATE INDEX call_events_enterprise_number_unique_id_idx ON call_events USING btree (enterprise_number, unique_id);

CREATE INDEX call_events_live_idx ON call_events USING btree (enterprise_number, received_at) WHERE ((call_id IS NULL) AND (wake_at < 'infinity'::timestamp with time zone));

CREATE INDEX call_events_recovered_idx ON call_events USING btree (enterprise_number, received_at, id) WHERE ((call_id IS NULL) AND (wake_at = 'infinity'::timestamp with time zone));

CREATE INDEX call_events_unassembled_idx ON call_events USING btree (wake_at) WHERE (call_id IS NULL);

CREATE INDEX call_events_waiting_idx ON call_events USING btree (enterprise_number, received_at) WHERE (call_id IS NULL);

CREATE TABLE call_links (
    enterprise_number text NOT NULL,
    key text NOT NULL,
    call_id bigint NOT NULL,
    first_at timestamp with time zone NOT NULL,
    last_at timestamp with time zone NOT NULL,
    is_crowded boolean NOT NULL DEFAULT false,
    CONSTRAINT call_links_pkey PRIMARY KEY (enterprise_number, key, call_id),
    CONSTRAINT call_links_call_id_fkey FOREIGN KEY (call_id) REFERENCES calls(id) ON DELETE CASCADE
) WITH (autovacuum_vacuum_scale_factor=0.02);

CREATE INDEX call_links_call_id_idx ON call_links USING btree (call_id);

CREATE INDEX call_links_enterprise_number_key_last_at_idx ON call_links USING btree (enterprise_number, key, last_at);

CREATE TABLE host_clocks (
    enterprise_number text NOT NULL,
    lag_seconds double precision,
    wall_seconds double precision,
    observed_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT host_clocks_pkey PRIMARY KEY (enterprise_number)
);

CREATE TABLE deliveries (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    enterprise_number text NOT NULL,
    call_id bigint NOT NULL,
    effect text NOT NULL,
    external_id text NOT NULL,
    extensions text[] NOT NULL DEFAULT '{}'::text[],
    generation integer NOT NULL DEFAULT 0,
    content jsonb NOT NULL,
    state text NOT NULL DEFAULT 'ready'::text,
    reason text,
    run_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamp with time zone,
    fence bigint NOT NULL DEFAULT 0,
    lease_until timestamp with time zone,
    attempts_made integer NOT NULL DEFAULT 0,
    created_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamp with time zone,
    batch_limit smallint NOT NULL DEFAULT 50,
    is_stale boolean NOT NULL DEFAULT false,
    crm text NOT NULL DEFAULT 'retailcrm'::text,
    is_ownerless boolean NOT NULL DEFAULT false,
    user_ids bigint[] NOT NULL DEFAULT '{}'::bigint[],
    CONSTRAINT deliveries_batch_limit_check CHECK (((batch_limit >= 1) AND (batch_limit <= 50))),
    CONSTRAINT deliveries_check CHECK (((state = 'leased'::text) = (lease_until IS NOT NULL))),
    CONSTRAINT deliveries_effect_check CHECK ((effect = ANY (ARRAY['popup'::text, 'hangup'::text, 'upload'::text]))),
    CONSTRAINT deliveries_state_check CHECK ((state = ANY (ARRAY['ready'::text, 'leased'::text, 'retry'::text, 'in_doubt'::text, 'delivered'::text, 'failed'::text, 'not_shown'::text, 'expired'::text, 'superseded'::text, 'held'::text]))),
    CONSTRAINT deliveries_pkey PRIMARY KEY (id),
    CONSTRAINT deliveries_call_id_fkey FOREIGN KEY (call_id) REFERENCES calls(id)
) WITH (autovacuum_vacuum_scale_factor=0.02);

CREATE INDEX deliveries_failed_rows_idx ON deliveries USING btree (enterprise_number, call_id) WHERE ((effect = 'upload'::text) AND (state = ANY (ARRAY['failed'::text, 'expired'::text, 'in_doubt'::text])));

CREATE INDEX deliveries_finished_at_idx ON deliveries USING brin (finished_at) WITH (autosummarize='on');

CREATE INDEX deliveries_given_up_idx ON deliveries USING btree (finished_at, id) WHERE ((effect = 'upload'::text) AND (state = ANY (ARRAY['failed'::text, 'expired'::text, 'in_doubt'::text])));

CREATE INDEX deliveries_leased_rows_idx ON deliveries USING btree (enterprise_number, crm, lease_until) WHERE ((effect = 'upload'::text) AND (state = 'leased'::text));

CREATE INDEX deliveries_live_idx ON deliveries USING btree (call_id, state) WHERE (state = ANY (ARRAY['ready'::text, 'leased'::text, 'retry'::text, 'in_doubt'::text, 'held'::text]));

CREATE INDEX deliveries_stale_rows_idx ON deliveries USING btree (enterprise_number, crm) WHERE ((effect = 'upload'::text) AND is_stale);

CREATE INDEX deliveries_waiting_rows_idx ON deliveries USING btree (enterprise_number, crm, id) WHERE ((effect = 'upload'::text) AND (state = ANY (ARRAY['ready'::text, 'retry'::text, 'leased'::text])));

CREATE UNIQUE INDEX deliveries_one_notice_in_flight_key ON deliveries USING btree (call_id, crm) WHERE ((state = 'leased'::text) AND (effect <> 'upload'::text));

CREATE UNIQUE INDEX deliveries_one_of_each_key ON deliveries USING btree (call_id, crm, effect, external_id, extensions, generation);

CREATE UNIQUE INDEX deliveries_upload_crm_external_id_key ON deliveries USING btree (enterprise_number, crm, external_id, generation) WHERE (effect = 'upload'::text);

CREATE TABLE attempts (
    delivery_id bigint NOT NULL,
    fence bigint NOT NULL,
    started_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamp with time zone,
    outcome text,
    http_status integer,
    error text,
    request jsonb NOT NULL,
    response text,
    CONSTRAINT attempts_outcome_check CHECK ((outcome = ANY (ARRAY['done'::text, 'permanent'::text, 'authentication'::text, 'busy'::text, 'unavailable'::text, 'in_doubt'::text]))),
    CONSTRAINT attempts_pkey PRIMARY KEY (delivery_id, fence),
    CONSTRAINT attempts_delivery_id_fkey FOREIGN KEY (delivery_id) REFERENCES deliveries(id) ON DELETE CASCADE
) WITH (autovacuum_vacuum_scale_factor=0.02);

CREATE INDEX attempts_started_at_idx ON attempts USING btree (started_at);

CREATE TABLE integration_logs (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    enterprise_number text NOT NULL,
    integration_type text NOT NULL,
    event_type text NOT NULL,
    request_data jsonb,
    response_data jsonb,
    status text NOT NULL,
    error_message text,
    created_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT integration_logs_status_check CHECK ((status = ANY (ARRAY['success'::text, 'error'::text]))),
    CONSTRAINT integration_logs_pkey PRIMARY KEY (id)
) WITH (autovacuum_vacuum_scale_factor=0.02);

CREATE INDEX integration_logs_created_at_idx ON integration_logs USING btree (created_at);

CREATE INDEX integration_logs_enterprise_number_created_at_idx ON integration_logs USING btree (enterprise_number, created_at DESC);

CREATE INDEX integration_logs_unknown_to_crm_idx ON integration_logs USING btree (enterprise_number, created_at) WHERE ((response_data -> 'body'::text) ?| ARRAY['notExistCodes'::text, 'notExistUsers'::text]);

CREATE TABLE rejected_messages (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    source text NOT NULL,
    reason text NOT NULL,
    raw bytea NOT NULL,
    headers jsonb NOT NULL DEFAULT '{}'::jsonb,
    received_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    replayed_at timestamp with time zone,
    CONSTRAINT rejected_messages_pkey PRIMARY KEY (id)
);

CREATE INDEX rejected_messages_received_at_idx ON rejected_messages USING btree (received_at);

CREATE TABLE clicks (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    enterprise_number text NOT NULL,
    user_id bigint,
    extension text NOT NULL,
    phone text NOT NULL,
    clicked_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    http_status integer,
    answer jsonb,
    finished_at timestamp with time zone,
    CONSTRAINT clicks_check CHECK (((finished_at IS NULL) = (http_status IS NULL))),
    CONSTRAINT clicks_check1 CHECK (((finished_at IS NULL) = (answer IS NULL))),
    CONSTRAINT clicks_pkey PRIMARY KEY (id)
);

CREATE INDEX clicks_clicked_at_idx ON clicks USING btree (clicked_at);

CREATE INDEX clicks_enterprise_number_clicked_at_idx ON clicks USING btree (enterprise_number, clicked_at);

CREATE TABLE user_statuses (
    enterprise_number text NOT NULL,
    user_id bigint NOT NULL,
    status text NOT NULL,
    changed_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT user_statuses_status_check CHECK ((status = ANY (ARRAY['free'::text, 'busy'::text, 'dinner'::text, 'break'::text]))),
    CONSTRAINT user_statuses_pkey PRIMARY KEY (enterprise_number, user_id)
);

CREATE TABLE sessions (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    token_sha256 bytea NOT NULL,
    enterprise_number text NOT NULL,
    user_id bigint,
    created_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    last_seen_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    revoked_at timestamp with time zone,
    CONSTRAINT sessions_pkey PRIMARY KEY (id),
    CONSTRAINT sessions_token_sha256_key UNIQUE (token_sha256),
    CONSTRAINT sessions_enterprise_number_fkey FOREIGN KEY (enterprise_number) REFERENCES enterprises(number) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);

CREATE INDEX sessions_created_at_idx ON sessions USING btree (created_at);

CREATE INDEX sessions_enterprise_number_idx ON sessions USING btree (enterprise_number);

CREATE INDEX sessions_user_id_idx ON sessions USING btree (user_id);

CREATE TABLE sign_in_attempts (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    login_sha256 bytea NOT NULL,
    address text NOT NULL,
    attempted_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    is_waiting boolean NOT NULL DEFAULT false,
    CONSTRAINT sign_in_attempts_pkey PRIMARY KEY (id)
);

CREATE INDEX sign_in_attempts_address_attempted_at_idx ON sign_in_attempts USING btree (address, attempted_at);

CREATE INDEX sign_in_attempts_attempted_at_idx ON sign_in_attempts USING btree (attempted_at);

CREATE INDEX sign_in_attempts_login_sha256_attempted_at_idx ON sign_in_attempts USING btree (login_sha256, attempted_at);

CREATE UNIQUE INDEX sign_in_attempts_login_sha256_address_key ON sign_in_attempts USING btree (login_sha256, address) WHERE is_waiting;

CREATE TABLE module_commands (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    enterprise_number text NOT NULL,
    action text NOT NULL,
    state text NOT NULL DEFAULT 'ready'::text,
    steps jsonb NOT NULL DEFAULT '[]'::jsonb,
    code text,
    message text,
    run_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    fence bigint NOT NULL DEFAULT 0,
    lease_until timestamp with time zone,
    attempts_made integer NOT NULL DEFAULT 0,
    created_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamp with time zone,
    CONSTRAINT module_commands_action_check CHECK ((action = ANY (ARRAY['register'::text, 'deactivate'::text, 'push_mapping'::text]))),
    CONSTRAINT module_commands_check CHECK (((state = 'leased'::text) = (lease_until IS NOT NULL))),
    CONSTRAINT module_commands_state_check CHECK ((state = ANY (ARRAY['ready'::text, 'leased'::text, 'retry'::text, 'done'::text, 'failed'::text, 'superseded'::text]))),
    CONSTRAINT module_commands_pkey PRIMARY KEY (id),
    CONSTRAINT module_commands_enterprise_number_fkey FOREIGN KEY (enterprise_number) REFERENCES enterprises(number) ON UPDATE CASCADE ON DELETE CASCADE
);

CREATE INDEX module_commands_enterprise_number_idx ON module_commands USING btree (enterprise_number, id);

CREATE INDEX module_commands_finished_at_idx ON module_commands USING btree (finished_at) WHERE (finished_at IS NOT NULL);

CREATE INDEX module_commands_run_at_idx ON module_commands USING btree (run_at) WHERE (state = ANY (ARRAY['ready'::text, 'retry'::text, 'leased'::text]));

CREATE UNIQUE INDEX module_commands_one_in_flight_per_enterprise_key ON module_commands USING btree (enterprise_number) WHERE (state = 'leased'::text);

CREATE TABLE replays (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    enterprise_number text,
    delivery_id bigint,
    session_id bigint,
    requested_by text NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    rejected_message_id bigint,
    reason text NOT NULL DEFAULT ''::text,
    subject text NOT NULL DEFAULT ''::text,
    CONSTRAINT replays_check CHECK ((num_nonnulls(delivery_id, rejected_message_id) <= 1)),
    CONSTRAINT replays_pkey PRIMARY KEY (id),
    CONSTRAINT replays_delivery_id_fkey FOREIGN KEY (delivery_id) REFERENCES deliveries(id) ON DELETE SET NULL,
    CONSTRAINT replays_rejected_message_id_fkey FOREIGN KEY (rejected_message_id) REFERENCES rejected_messages(id) ON DELETE SET NULL,
    CONSTRAINT replays_session_id_fkey FOREIGN KEY (session_id) REFERENCES sessions(id) ON DELETE SET NULL
);

CREATE INDEX replays_created_at_idx ON replays USING btree (created_at);

CREATE INDEX replays_delivery_id_idx ON replays USING btree (delivery_id);

CREATE INDEX replays_rejected_message_id_idx ON replays USING btree (rejected_message_id);

CREATE INDEX replays_session_id_idx ON replays USING btree (session_id);

CREATE TABLE crm_gates (
    account text NOT NULL,
    telephony_under_way timestamp with time zone[] NOT NULL DEFAULT '{}'::timestamp with time zone[],
    telephony_ended timestamp with time zone[] NOT NULL DEFAULT '{}'::timestamp with time zone[],
    other_under_way timestamp with time zone[] NOT NULL DEFAULT '{}'::timestamp with time zone[],
    other_ended timestamp with time zone[] NOT NULL DEFAULT '{}'::timestamp with time zone[],
    failures integer NOT NULL DEFAULT 0,
    away_since timestamp with time zone,
    ask_at timestamp with time zone,
    is_probed boolean NOT NULL DEFAULT false,
    probes_failed integer NOT NULL DEFAULT 0,
    pause_until timestamp with time zone,
    pauses jsonb NOT NULL DEFAULT '{}'::jsonb,
    CONSTRAINT crm_gates_check CHECK (((away_since IS NULL) = (ask_at IS NULL))),
    CONSTRAINT crm_gates_pkey PRIMARY KEY (account)
) WITH (fillfactor=20);

CREATE TABLE row_timers (
    enterprise_number text NOT NULL,
    crm text NOT NULL,
    wake_at timestamp with time zone,
    account text,
    CONSTRAINT row_timers_pkey PRIMARY KEY (enterprise_number, crm)
) WITH (fillfactor=50);

CREATE INDEX row_timers_account_idx ON row_timers USING btree (account) WHERE (wake_at IS NOT NULL);

CREATE INDEX row_timers_wake_at_idx ON row_timers USING btree (wake_at) WHERE (wake_at IS NOT NULL);

CREATE TABLE token_rotations (
    enterprise_number text NOT NULL,
    next_token text NOT NULL,
    next_token_sha256 bytea NOT NULL GENERATED ALWAYS AS (token_hash(next_token)) STORED,
    began_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    old_used_at timestamp with time zone,
    CONSTRAINT token_rotations_next_token_check CHECK ((next_token <> ''::text)),
    CONSTRAINT token_rotations_pkey PRIMARY KEY (enterprise_number),
    CONSTRAINT token_rotations_next_token_key UNIQUE (next_token),
    CONSTRAINT token_rotations_next_token_sha256_key UNIQUE (next_token_sha256),
    CONSTRAINT token_rotations_enterprise_number_fkey FOREIGN KEY (enterprise_number) REFERENCES enterprises(number) ON UPDATE CASCADE ON DELETE CASCADE
);

CREATE TRIGGER token_rotations_changed AFTER INSERT OR DELETE OR UPDATE OF next_token ON token_rotations FOR EACH ROW EXECUTE FUNCTION notify_integration_config_changed();

CREATE TABLE dropped_tokens (
    token_sha256 bytea NOT NULL,
    enterprise_number text NOT NULL,
    dropped_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT dropped_tokens_pkey PRIMARY KEY (token_sha256),
    CONSTRAINT dropped_tokens_enterprise_number_fkey FOREIGN KEY (enterprise_number) REFERENCES enterprises(number) ON UPDATE CASCADE ON DELETE CASCADE
);

CREATE INDEX dropped_tokens_enterprise_number_idx ON dropped_tokens USING btree (enterprise_number);

CREATE TABLE known_browsers (
    token_sha256 bytea NOT NULL,
    user_id bigint NOT NULL,
    tries integer NOT NULL DEFAULT 0,
    tried_since timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT known_browsers_pkey PRIMARY KEY (token_sha256, user_id),
    CONSTRAINT known_browsers_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);

CREATE INDEX known_browsers_seen_at_idx ON known_browsers USING btree (seen_at);

CREATE INDEX known_browsers_user_id_idx ON known_browsers USING btree (user_id);

CREATE TABLE callbacks (
    enterprise_number text NOT NULL,
    customer text NOT NULL,
    state text NOT NULL,
    said_by text NOT NULL,
    note text,
    said_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT callbacks_state_check CHECK ((state = ANY (ARRAY['taken'::text, 'closed'::text]))),
    CONSTRAINT callbacks_pkey PRIMARY KEY (enterprise_number, customer),
    CONSTRAINT callbacks_enterprise_number_fkey FOREIGN KEY (enterprise_number) REFERENCES enterprises(number) ON UPDATE CASCADE ON DELETE CASCADE
);

CREATE INDEX callbacks_said_at_idx ON callbacks USING btree (said_at);
