-- What RetailCRM's managers do: click on a number, change their status. And who talked with a customer before.

CREATE TABLE clicks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    enterprise_number text NOT NULL,
    user_id bigint,
    extension text NOT NULL,
    phone text NOT NULL,
    clicked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- What the manager's CRM was told; NULL while the Asterisk service is being asked.
    http_status integer,
    answer jsonb,
    finished_at timestamptz,
    CHECK ((finished_at IS NULL) = (http_status IS NULL)),
    CHECK ((finished_at IS NULL) = (answer IS NULL))
);
CREATE INDEX clicks_enterprise_number_clicked_at_idx ON clicks (enterprise_number, clicked_at);

CREATE TABLE user_statuses (
    enterprise_number text NOT NULL,
    user_id bigint NOT NULL,
    status text NOT NULL CHECK (status IN ('free', 'busy', 'dinner', 'break')),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (enterprise_number, user_id)
);

CREATE INDEX calls_enterprise_number_customer_started_at_idx ON calls (enterprise_number, customer, started_at)
    WHERE result = 'answered' AND owner_extension IS NOT NULL;
