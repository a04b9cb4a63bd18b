-- Sign-in that strangers cannot lock: they wait for their turn, and browsers that signed in before do not.

-- A turn: an attempt that is not judged yet, with the time at which it may be. Old code inserts none.
ALTER TABLE sign_in_attempts ADD COLUMN is_waiting boolean NOT NULL DEFAULT false;
CREATE UNIQUE INDEX sign_in_attempts_login_sha256_address_key ON sign_in_attempts (login_sha256, address)
    WHERE is_waiting;

-- Which browsers signed in to which logins, by the hash of the secret in their cookie.
CREATE TABLE known_browsers (
    token_sha256 bytea NOT NULL,
    user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    -- Passwords that were tried since then, and not right.
    tries integer NOT NULL DEFAULT 0,
    tried_since timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (token_sha256, user_id)
);
CREATE INDEX known_browsers_user_id_idx ON known_browsers (user_id);
CREATE INDEX known_browsers_seen_at_idx ON known_browsers (seen_at);
