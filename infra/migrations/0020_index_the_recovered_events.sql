-- no transaction
-- Events that wait have two lanes. One whose wake_at is infinity was recovered: nobody wakes it by its time, its lane
-- takes it (docs/decisions/0015-recovered-events-have-a-lane.md). Each lane reads what waits in it and nothing else,
-- however much waits in the other. call_events_waiting_idx has both, for retention and for the version before this one.
CREATE INDEX CONCURRENTLY call_events_live_idx ON call_events (enterprise_number, received_at)
    WHERE call_id IS NULL AND wake_at < 'infinity';
CREATE INDEX CONCURRENTLY call_events_recovered_idx ON call_events (enterprise_number, received_at, id)
    WHERE call_id IS NULL AND wake_at = 'infinity';
