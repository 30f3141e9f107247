-- When a token was last used, what an ended session's tokens are known by, and which call asked
-- for a letter; and labels that the first release did not give.

ALTER TABLE identity.employee_tokens
    -- Kept only where tokens end because nobody uses them; NULL: not since it was made.
    ADD COLUMN last_used_time timestamptz;

-- For the sweep.
CREATE INDEX employee_tokens_by_use
    ON identity.employee_tokens (coalesce(last_used_time, created));

ALTER TABLE identity.revoked_sessions
    -- The session's: without it nobody can tell which tokens were its own.
    ADD COLUMN nonce bytea;

ALTER TABLE identity.address_requests
    -- Which call it was, and from where: for the record of what comes of it.
    ADD COLUMN network    text NOT NULL DEFAULT '',
    ADD COLUMN request_id text NOT NULL DEFAULT '';

-- Whoever signed a company up before there were system roles has what one who does so now gets.
UPDATE identity.employees
SET system_roles = '{admin,user}', update_time = now(), version = version + 1
WHERE system_roles = '{user}'
  AND (account_id, id) IN (
      SELECT DISTINCT ON (account_id) account_id, id FROM identity.employees
      WHERE role = 'super_admin' AND delete_time IS NULL
      ORDER BY account_id, create_time, id)
  AND create_time < (SELECT installed_on FROM identity.migrations WHERE version = 5);
