-- A pop-up to people whom the CRM does not know was seen by nobody: a state of its own. The table is not read while it is
-- locked: a later migration does that.
ALTER TABLE deliveries
    DROP CONSTRAINT deliveries_state_check,
    ADD CONSTRAINT deliveries_state_check CHECK (state IN (
        'ready', 'leased', 'retry', 'in_doubt', 'delivered', 'failed', 'not_shown', 'expired', 'superseded', 'held'))
        NOT VALID;

-- A row of history that the CRM refused for its owner goes without one, however often it is derived again.
ALTER TABLE deliveries ADD COLUMN is_ownerless boolean NOT NULL DEFAULT false;

-- Whom a pop-up is tried for once more, by the CRM's own ids, because it did not know their extensions.
ALTER TABLE deliveries ADD COLUMN user_ids bigint[] NOT NULL DEFAULT '{}';
