-- The answers to calls that carried a request_id, for whoever repeats them.

CREATE TABLE identity.answers (
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

ALTER TABLE identity.answers ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON identity.answers
    USING (account_id = nullif(current_setting('app.account_id', true), '')::bigint);

-- The same for public calls, which no account stands before. Not a tenant's table: a row is
-- found only by a digest of method, e-mail address and request_id.
CREATE TABLE identity.public_answers (
    scope       bytea       NOT NULL,
    fingerprint bytea       NOT NULL,
    answer      bytea,
    create_time timestamptz NOT NULL,
    CONSTRAINT public_answers_pkey PRIMARY KEY (scope)
);
