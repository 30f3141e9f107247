-- How far a stream of clients was imported, for whoever sends it again: each chunk commits
-- together with the number of its last row.

CREATE TABLE crm.client_imports (
    account_id  bigint      NOT NULL,
    -- Whose it is: as in answers.
    actor       text        NOT NULL,
    request_id  uuid        NOT NULL,
    -- What the rows up to `row_number` are compared by.
    fingerprint bytea       NOT NULL,
    -- The last row that was dealt with.
    row_number  bigint      NOT NULL,
    create_time timestamptz NOT NULL,
    CONSTRAINT client_imports_pkey PRIMARY KEY (account_id, actor, request_id),
    CONSTRAINT client_imports_account_fkey FOREIGN KEY (account_id) REFERENCES crm.accounts (id)
);

-- For the sweep.
CREATE INDEX client_imports_by_age ON crm.client_imports (create_time);

ALTER TABLE crm.client_imports ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON crm.client_imports
    USING (account_id = nullif(current_setting('app.account_id', true), '')::bigint);
