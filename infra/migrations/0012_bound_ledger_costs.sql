-- no transaction
-- What is asked often, and what is deleted, costs the same however large the ledger is.

-- `GET /stats` counts the deliveries that are not finished, and those that were finished lately. Led by the call, so
-- that the first index serves those who look for a call's live deliveries, and never sends them through all live ones.
-- The second is a BRIN: a B-tree would be written to once more for every delivery.
CREATE INDEX CONCURRENTLY deliveries_live_idx ON deliveries (call_id, state)
    WHERE state IN ('ready', 'leased', 'retry', 'in_doubt', 'held');
CREATE INDEX CONCURRENTLY deliveries_finished_at_idx ON deliveries USING brin (finished_at) WITH (autosummarize = on);

-- Retention leaves dead rows in these tables: they are vacuumed when a fiftieth is dead, not a fifth.
ALTER TABLE calls SET (autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE call_events SET (autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE call_links SET (autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE deliveries SET (autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE attempts SET (autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE integration_logs SET (autovacuum_vacuum_scale_factor = 0.02);
