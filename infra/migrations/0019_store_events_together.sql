-- Stores events in the order in which they stand, or counts them as copies (docs/calls.md): one statement, however many
-- there are. `events`: an array of objects with the columns of call_events, `raw` for raw_data, the fingerprint in hex;
-- received_at null is now. is_recovered: its lane finds it, and no timer. Returns a row for each, in order; event_id is
-- that of the first copy.
CREATE FUNCTION store_call_events(events jsonb, copy_seconds double precision)
    RETURNS TABLE (event_id uuid, received_at timestamptz, is_copy boolean)
    LANGUAGE plpgsql AS $$
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
END $$;
