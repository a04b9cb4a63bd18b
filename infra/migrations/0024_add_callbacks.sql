-- What people said about customers who called in vain: somebody takes it, or it is closed with a word.
CREATE TABLE callbacks (
    enterprise_number text NOT NULL REFERENCES enterprises ON UPDATE CASCADE ON DELETE CASCADE,
    customer text NOT NULL,
    state text NOT NULL CHECK (state IN ('taken', 'closed')),
    said_by text NOT NULL,
    note text,
    said_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (enterprise_number, customer)
);
CREATE INDEX callbacks_said_at_idx ON callbacks (said_at);
