-- What goes, and when; and sending again what came to nothing: who wanted it, and why.

-- What the host said is not kept any more. Its events stay as keys, so that a copy is still one; nothing is
-- concluded from them again, and no key leads here.
ALTER TABLE calls ADD COLUMN events_forgotten boolean NOT NULL DEFAULT false;
-- Calls that nothing waits for, longest unchanged first.
CREATE INDEX calls_at_rest_idx ON calls (events_forgotten, updated_at) WHERE next_wake_at IS NULL;

CREATE INDEX attempts_started_at_idx ON attempts (started_at);
CREATE INDEX integration_logs_created_at_idx ON integration_logs (created_at);
CREATE INDEX clicks_clicked_at_idx ON clicks (clicked_at);
CREATE INDEX module_commands_finished_at_idx ON module_commands (finished_at) WHERE finished_at IS NOT NULL;

-- History rows that came to nothing: what may be sent again.
CREATE INDEX deliveries_given_up_idx ON deliveries (finished_at, id)
    WHERE effect = 'upload' AND state IN ('failed', 'expired', 'in_doubt');

ALTER TABLE rejected_messages ADD COLUMN replayed_at timestamptz;

-- A replay is remembered longer than what was replayed.
ALTER TABLE replays
    DROP CONSTRAINT replays_delivery_id_fkey,
    ALTER COLUMN delivery_id DROP NOT NULL,
    ALTER COLUMN enterprise_number DROP NOT NULL,
    ADD COLUMN rejected_message_id bigint REFERENCES rejected_messages ON DELETE SET NULL,
    ADD COLUMN reason text NOT NULL DEFAULT '',
    ADD COLUMN subject text NOT NULL DEFAULT '',
    ADD CONSTRAINT replays_delivery_id_fkey FOREIGN KEY (delivery_id) REFERENCES deliveries ON DELETE SET NULL,
    ADD CHECK (num_nonnulls(delivery_id, rejected_message_id) <= 1);
CREATE INDEX replays_rejected_message_id_idx ON replays (rejected_message_id);
CREATE INDEX replays_created_at_idx ON replays (created_at);
