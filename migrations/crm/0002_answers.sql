-- The answers to calls that carried a request_id, for whoever repeats them.

CREATE TABLE crm.answers (
    account_id  bigint      NOT NULL,
    actor       text        NOT NULL,
    method      text        NOT NULL,
    request_id  uuid        NOT NULL,
    -- What the body is compared by.
    fingerprint bytea       NOT NULL,
    -- Sealed; NULL only inside the transaction that is still at it.
    answer      bytea,
    create_time timestamptz NOT NULL,
    CONSTRAINT answers_pkey PRIMARY KEY (account_id, actor, method, request_id)
);

ALTER TABLE crm.answers ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON crm.answers
    USING (account_id = nullif(current_setting('app.account_id', true), '')::bigint);
